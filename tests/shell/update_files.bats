#!/usr/bin/env bats
# update_files.sh: all hosts or none; the project is checked first.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  make_project 'my project'
  mkdir -p "$TOOL/.infra" "$HOME" "$BATS_TEST_TMPDIR/far"
  echo infra-01234567 >"$TOOL/.infra/id"
  cat >"$TOOL/.infra/record" <<RECORD
HOSTS=me@far,idle
REMOTE_PATH='my tasks'
PROJECT="$TOOL/tasks/my project"
MASTER=local
WORKERS=local,1
RECORD
  act_as_host
  act_as_docker ''
  HERE="$HOME/my tasks/code/my project"
  FAR="$BATS_TEST_TMPDIR/far/my tasks/code/my project"
}

# act_as_host [COMMAND]: far is a host with a home of its own; COMMAND is run there first, with what it is asked in "$asked".
act_as_host() {
  stub ssh "[[ \$* != *' -G '* ]] || exec echo 'hostname far'
    export HOME='$BATS_TEST_TMPDIR/far'
    asked=\${*: -1}
    ${1:-}
    exec sh -c \"\$asked\""
}

# act_as_docker COMMAND: the master's container runs; COMMAND checks the project.
act_as_docker() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    *Config.Env*) printf 'A=b\nIMAGE=infrainit-worker-p:0123456789ab\n' ;;
    'run '*) $1 ;;
  esac"
}

update() {
  capture "$TOOL/update_files.sh" "$@"
}

versions() {
  if [[ -d $1 ]]; then
    find "$1" -mindepth 1 -maxdepth 1 -type d | wc -l
  else
    echo 0
  fi
}

@test "all hosts of the infrastructure get the version, and no other" {
  update
  assert_equal "$status" 0
  local version
  version=$(readlink "$HERE/current")
  assert_equal "$(readlink "$FAR/current")" "$version"
  assert_equal "$output" "version $version is used by all tasks that start from now on (all 2 hosts)"
  assert_line "far: version $version is there, the first one"
  refute_part idle
}

@test "the project is checked in the image that runs" {
  update
  grep -q "^docker 'run' .* 'infrainit-worker-p:0123456789ab' 'plan' './my project'" "$CALLS"
}

@test "an invalid project changes nothing, exit code 2" {
  act_as_docker 'echo "my project/parameters.yml:3:1: what is wrong" >&2; exit 2'
  update
  assert_equal "$status" 2
  assert_line 'my project/parameters.yml:3:1: what is wrong'
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '0 0'
}

@test "a host that is down is reported, and nothing is changed on any host" {
  update
  touch "$TOOL/tasks/my project/new"
  act_as_host 'echo "ssh: connect to host far port 22: Connection timed out" >&2; exit 255'
  update
  assert_equal "$status" 1
  assert_part 'error: far: it does not answer'
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 1'
}

@test "a host that cannot take the files: no host uses the new version" {
  update
  local before
  before=$(readlink "$HERE/current")
  touch "$TOOL/tasks/my project/new"
  act_as_host '[[ $asked != *" tar "* ]] || { echo "tar: no space left" >&2; exit 2; }'
  update
  assert_equal "$status" 1
  assert_line 'far: tar: no space left'
  assert_equal "$(readlink "$HERE/current")" "$before"
  assert_equal "$(readlink "$FAR/current")" "$before"
}

@test "-a: only these hosts, by any of their names" {
  local name
  for name in me@far far; do
    rm -rf "$BATS_TEST_TMPDIR/far/my tasks"
    update -a "$name"
    assert_equal "$status" 0
    assert_equal "$(versions "$HERE") $(versions "$FAR")" '0 1'
  done
  update --hosts local,far
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 1'
}

@test "-a with a host that is not in the infrastructure" {
  update -a far,elsewhere,idle
  assert_equal "$status" 2
  assert_part '-a: elsewhere is no host of this infrastructure; its hosts are: local me@far'
  assert_part '-a: idle is no host'
  assert_equal "$(versions "$FAR")" 0
}

@test "-n shows the commands and changes nothing" {
  update -n
  assert_equal "$status" 0
  assert_part "far\$ mv --no-target-directory -- "
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '0 0'
}

@test "no infrastructure, or no master" {
  stub docker
  update
  assert_equal "$status" 1
  assert_part 'local: there is no master of infra-01234567; ./infrainit.sh -f starts it'
  rm "$TOOL/.infra/record"
  update
  assert_equal "$status" 1
  assert_part 'nothing was started from'
}

@test "usage" {
  update -h
  assert_equal "$status" 0
  assert_part 'usage: update_files.sh'
  update --frob
  assert_equal "$status" 2
  update -a
  assert_equal "$status" 2
  assert_part '-a needs a value'
}

@test "leaves neither copies nor connections behind" {
  mkdir "$BATS_TEST_TMPDIR/tmp"
  TMPDIR="$BATS_TEST_TMPDIR/tmp" update
  assert_equal "$(ls "$BATS_TEST_TMPDIR/tmp")" ''
}
