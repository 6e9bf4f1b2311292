#!/usr/bin/env bats
# update_files.sh: all hosts or none; the project is checked first.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  know_facts
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
  FAR="$BATS_TEST_TMPDIR/far/my tasks/code/my project"
  HERE="$HOME/my tasks/code/my project"
  push_first_version infrainit-runner:0123456789ab
}

# push_first_version IMAGE: what infrainit.sh has pushed to the master host, for tasks in IMAGE.
push_first_version() {
  mkdir -p "$HERE/c00000000000"
  printf 'framework=a\nproject=b\nimage=%s\n' "$1" >"$HERE/c00000000000/VERSION"
  ln -sfn c00000000000 "$HERE/current"
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
    *Config.Env*) printf 'A=b\nIMAGE=infrainit-worker:0123456789ab\n' ;;
    *infrainit.docker_options*) echo \"\${OPTIONS_IN_USE:-}\" ;;
    *'image inspect'*) echo 'amd64 [layers]' ;;
    *' needs '*) echo \"\${ANSWER:-optuna=no}\" ;;
    'run '*) $1 ;;
  esac"
}

update() {
  rm -rf "$TOOL/.infra/answers" # ANSWER may be another one now
  capture "$TOOL/update_files.sh" "$@"
}

versions() {
  if [[ -d $1 ]]; then
    find "$1" -mindepth 1 -maxdepth 1 -type d | wc -l
  else
    echo 0
  fi
}

@test "all hosts of the infrastructure get the version, and no other; the image that runs checks it, and stays; the master says what is new" {
  local version
  push_first_version infrainit-runner-my-project:0123456789ab
  mkdir "$BATS_TEST_TMPDIR/tmp"
  sed -i "s|^    'run '\*)|    'exec '*' framework changes c00000000000') echo '8 new combinations will run' ;;\n&|" "$STUBS/docker"
  TMPDIR="$BATS_TEST_TMPDIR/tmp" update
  assert_equal "$status" 0
  version=$(readlink "$HERE/current")
  assert_equal "$(readlink "$FAR/current")" "$version"
  assert_equal "$output" "version $version is used by all tasks that start from now on (all 2 hosts)"$'\n''8 new combinations will run'
  assert_line "far: version $version is there, the first one"
  refute_part idle
  grep -q "^docker 'run' .* 'infrainit-worker:0123456789ab' '--kill-after' .* 'plan' './my project' '--host'" "$CALLS"
  assert_equal "$(grep ^image= "$HERE/current/VERSION" "$FAR/current/VERSION" | cut -d : -f 2-)" \
    $'image=infrainit-runner-my-project:0123456789ab\nimage=infrainit-runner-my-project:0123456789ab'
  assert_equal "$(ls "$BATS_TEST_TMPDIR/tmp")" ''
}

@test "a sweep file: the file, its root and the most tasks are those of the record" {
  mkdir -p "$TOOL/tasks/my project/sweeps"
  touch "$TOOL/tasks/my project/sweeps/wide.yaml"
  sed -i '/^PROJECT=/d' "$TOOL/.infra/record"
  printf '%s\n' "PROJECT='${TOOL//\'/\'\\\'\'}/tasks/my project/sweeps/wide.yaml'" \
    "ROOT='${TOOL//\'/\'\\\'\'}/tasks/my project'" RUN_CAP=20 >>"$TOOL/.infra/record"
  HERE="$HOME/my tasks/code/wide" push_first_version infrainit-runner:0123456789ab
  update
  assert_equal "$status" 0
  grep -q "'plan' './my project/sweeps/wide.yaml' '--root' './my project' '--name' 'wide' '--run-cap' '20' '--host'" "$CALLS"
  assert_equal "$(sed -n '/^framework\|^project/!p' "$HOME/my tasks/code/wide/current/VERSION")" "sweep=sweeps/wide.yaml
run_cap=20
image=infrainit-runner:0123456789ab"
}

@test "an invalid project changes nothing, exit code 2" {
  act_as_docker 'echo "my project/parameters.yml:3:1: what is wrong" >&2; exit 2'
  update
  assert_equal "$status" 2
  assert_line 'my project/parameters.yml:3:1: what is wrong'
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
}

@test "a host that is down, or cannot take the files, is reported, and no host uses the new version" {
  act_as_host 'echo "ssh: connect to host far port 22: Connection timed out" >&2; exit 255'
  update
  assert_equal "$status" 1
  assert_part 'error: far: it does not answer'
  assert_part "no host was changed; to leave them out: $(as_typed update_files.sh '-a local')"
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
  act_as_host '[[ $asked != *" receive "* ]] || { echo "tar: no space left" >&2; exit 2; }'
  update
  assert_equal "$status" 1
  assert_line 'far: tar: no space left'
  assert_equal "$(readlink "$HERE/current")" c00000000000
  [[ ! -e $FAR/current ]]
}

@test "-a: only these hosts, by any of their names" {
  update -a me@far
  assert_equal "$status" 0
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 1'
  update --hosts local,far
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '2 1'
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
  assert_part "far\$ sh -c 'ln --symbolic "
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
}

@test "more than SEND_LIMIT in config.sh is sent with -y only; unchanged files are not sent again" {
  head -c 2000000 /dev/zero >"$TOOL/tasks/my project/data"
  echo SEND_LIMIT=1 >"$TOOL/config.sh"
  update
  assert_equal "$status" 2
  assert_part '1.9 MiB would be sent to local, which is more than SEND_LIMIT (1 MiB)'
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
  update -y
  assert_equal "$status" 0
  touch "$TOOL/tasks/my project/new"
  update
  assert_equal "$status" 0
  assert_line 'the project: 4 files, 1.9 MiB; largest data 1.9 MiB'
  assert_line "far: sending version $(basename "$(readlink "$FAR/current")") of framework and project: 1 of 4 files, 0 bytes"
  echo SEND_LIMIT=all >"$TOOL/config.sh"
  update
  assert_equal "$status" 2
  assert_part 'SEND_LIMIT in config.sh must be a whole number'
}

@test "versions that nothing uses are removed on all hosts, once all use the new one" {
  local number
  for number in 1 2 3; do
    mkdir -p "$HERE/c000000000aa$number" "$FAR/c000000000aa$number"
    touch "$HERE/c000000000aa$number/"{FILES,VERSION} "$FAR/c000000000aa$number/"{FILES,VERSION}
  done
  update
  assert_equal "$status" 0
  assert_line 'far: removed 1 earlier version, which nothing uses'
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '4 3' # the first one here is without a list of its files
}

@test "no infrastructure, or no master" {
  stub docker
  update
  assert_equal "$status" 1
  assert_part "local: there is no master of infra-01234567; $(as_typed infrainit.sh -f) starts it"
  rm "$TOOL/.infra/record"
  update
  assert_equal "$status" 1
  assert_part 'nothing was started from'
}

@test "packages, an image or docker_options: that do not run yet are reported, and nothing is built" {
  local warning options_warning
  warning="warning: the project's packages, or its image, are not those of the image that runs: $(as_typed infrainit.sh -f) builds and sends it"
  options_warning="warning: docker_options: of the project are not those of the tasks on local far: $(as_typed infrainit.sh -f) replaces the containers"
  ANSWER=$'docker_option=--shm-size=8g\noptuna=no' update
  assert_equal "$status" 0
  assert_part "$warning" # the name of the usual image is another one
  assert_line "$options_warning"
  push_first_version "$(
    load_tool >/dev/null
    NAMES_ONLY=yes make_runner_image
  )"
  OPTIONS_IN_USE=$(sha256sum <<<'--shm-size=8g' | cut -c 1-12)
  export OPTIONS_IN_USE
  ANSWER=$'docker_option=--shm-size=8g\noptuna=no' update
  assert_equal "$status" 0
  refute_part warning
  echo numpy >"$TOOL/tasks/my project/requirements.txt"
  ANSWER=$'requirements=requirements.txt\noptuna=no' update
  assert_equal "$status" 0
  assert_part "$warning"
  assert_line "$options_warning"
  OPTIONS_IN_USE=--x update
  assert_equal "$status" 1
  assert_part 'local: the answer cannot be read: --x'
  assert_equal "$(grep -cE "^docker '(build|pull|tag|import)" "$CALLS")" 0
}

@test "values from the environment: one that is missing changes nothing; they come before the files are used" {
  local answer=$'optuna=no\nenvironment=WORD 2:15\nsecret=TOKEN 3:11' values='secrets/infra-01234567/runner/my project/values'
  unset WORD TOKEN
  WORD=x ANSWER=$answer update
  assert_equal "$status" 2
  assert_part "/tasks/my project/project.yml:3:11: secrets: TOKEN is not set here; export it, or name a file"
  WORD=x TOKEN=hidden ANSWER=$answer update
  assert_equal "$status" 1
  assert_part "far: an earlier version of this tool has started its runner, which cannot get WORD, TOKEN: $(as_typed infrainit.sh -f)"
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
  mkdir -p "$(dirname "$HOME/my tasks/$values")" "$(dirname "$BATS_TEST_TMPDIR/far/my tasks/$values")"
  WORD=x TOKEN=hidden ANSWER=$answer update --verbose
  assert_equal "$status" 0
  assert_equal "$(grep -o 'far: sending values for tasks: WORD, TOKEN\|far: version' <<<"$messages")" \
    $'far: sending values for tasks: WORD, TOKEN\nfar: version'
  assert_equal "$(cat "$HOME/my tasks/$values" "$BATS_TEST_TMPDIR/far/my tasks/$values" | tr '\0' '|')" 'WORD=x|TOKEN=hidden|WORD=x|TOKEN=hidden|'
  refute_part hidden
  [[ $(<"$CALLS") != *hidden* ]]
}

@test "what the image that runs was made of is not here: said, as it cannot be compared; nor does the master say what is new" {
  act_as_docker ''
  sed -i "s|^    'run '\*)|    'exec '*' framework changes '*) exit 1 ;;\n&|" "$STUBS/docker"
  sed -i "s/.*image inspect.*/*'image inspect'*) exit 1 ;;/" "$STUBS/docker"
  update
  assert_equal "$status" 0
  assert_part 'warning: the master does not say what is new'
  assert_part 'warning: infrainit-runner:0123456789ab runs, and what it was made of is not on this machine'
}

@test "files of an earlier version of the tool are not mixed with this one's" {
  echo framework=a >"$HERE/current/VERSION"
  update
  assert_equal "$status" 1
  assert_part "local: an earlier version of this tool has pushed the files; $(as_typed infrainit.sh -f)"
  assert_equal "$(versions "$HERE") $(versions "$FAR")" '1 0'
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
