#!/usr/bin/env bats
# framework/shell/state.sh and infra_clean.sh.tmpl: what is remembered, and how it is removed.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  make_project digits
  export TOOL
  # Hosts h… are there, dead… are not; what arrives at a host runs here, with its number as HOST.
  stub ssh 'case "$*" in
    *"-O exit"*) ;;
    *" -G "*) echo "hostname ${*: -1}.example.org" ;;
    *dead*) echo "Connection refused" >&2; exit 255 ;;
    *) exec sh -c "${*: -1}" ;;
  esac'
  stub docker 'case "$*" in
    *network*--quiet*) printf "%064d\n" 9 ;;
    *volume*--quiet*) ;;
    *--quiet*) printf "%064d\n" 1 2 ;;
    *" inspect "*) for _ in "${@:5}"; do grep -ohm 1 "infra-[0-9a-f]\{8\}" "$TOOL/.infra/id"; done ;;
    version*) echo 28.5.2 ;;
    *DockerRootDir*) echo / ;;
  esac'
}

# settle OPTION…: as infrainit.sh does before it asks hosts.
settle() {
  MASTER='' WORKERS='' BROKER='' HOSTS_OPTION=''
  read_all "$@"
  load_infrastructure
  join_record
}

@test "the id is made once, and not in a dry run" {
  settle -d digits -m local
  [[ ! -e $TOOL/.infra ]]
  record_after 0
  [[ $(<"$TOOL/.infra/id") =~ ^infra-[0-9a-f]{8}$ ]]
  assert_equal "$(stat -c %a "$TOOL/.infra")" 700
  local id=$INFRASTRUCTURE
  load_infrastructure
  assert_equal "$INFRASTRUCTURE" "$id"
}

@test "a dry run writes nothing" {
  DRY_RUN=yes
  settle -d digits -m local
  record_after 0
  [[ ! -e $TOOL/.infra && ! -e $TOOL/infra_clean.sh ]]
}

@test "the later scripts get everything from the record" {
  touch "$BATS_TEST_TMPDIR/it's a key"
  settle -a h1,me@h2:22 -i "$BATS_TEST_TMPDIR/it's a key" -r 'a $b' -d digits -m 2 -w local,1-2
  record_after 0 1 2
  assert_equal "$(stat -c %a "$TOOL/.infra/record")" 600
  show_record() {
    use_record
    printf '%s|' "${HOSTS[*]}" "$KEY" "$REMOTE_PATH" "$PROJECT_PATH" "$PROJECT_NAME" "$MASTER_HOST" "${WORKER_HOSTS[*]}" "$INFRASTRUCTURE"
  }
  KEY='' REMOTE_PATH='' PROJECT_PATH='' MASTER='' WORKERS='' HOSTS_OPTION=''
  capture show_record
  assert_equal "$output" "local h1 me@h2:22|$BATS_TEST_TMPDIR/it's a key|a \$b|$TOOL/tasks/digits|digits|2|0 1 2|$INFRASTRUCTURE|"
}

@test "without a record the later scripts end with an error" {
  capture use_record
  assert_equal "$status" 1
  assert_part 'nothing was started'
  [[ ! -e $TOOL/.infra ]]
}

@test "join_record: recorded hosts get numbers after those of -a" {
  settle -a h1,h2,h3 -d digits -m 2 -w 1,2,3
  record_after 0 1 2 3
  settle -a h3,h4 -d digits -m 1 -w 1,2
  assert_equal "${HOSTS[*]}" 'local h3 h4 h1 h2'
  assert_equal "${PRESENT_HOSTS[*]}|$PRESENT_MASTER_HOST|${PRESENT_WORKER_HOSTS[*]}" '0 3 4 1|4|3 4 1'
}

@test "before anything is started, new hosts are recorded, but not new roles" {
  settle -a h1,h2 -r one -d digits -m 1 -w 1,2
  record_after 0 1 2
  settle -a h2,h3 -r two -d digits -m 1 -w 1,2
  record_before
  output=$(<"$TOOL/.infra/record")
  assert_line "HOSTS='h2,h3,h1'"
  assert_line "MASTER='3'"
  assert_line "WORKERS='3,1'"
  assert_line "REMOTE_PATH='one'"
  grep -qx "RECORDED_HOSTS='h2,h3,h1'" "$TOOL/infra_clean.sh"
}

@test "hosts that are not used are not recorded, and the numbers in the record are those of its own list" {
  settle -a h1,h2,h3,h4 -d digits -m 3 -w local,4
  record_before
  output=$(<"$TOOL/.infra/record")
  assert_line "HOSTS='h3,h4'"
  assert_line "MASTER='1'"
  assert_line "WORKERS='local,2'"
  record_after 3 4
  output=$(<"$TOOL/.infra/record")
  assert_line "HOSTS='h3,h4'"
  assert_line "MASTER='1'"
}

@test "settings of a hosts file are in the record and in infra_clean.sh" {
  printf 'h1 slots=4 name=one\nh2 mount:/data=/x key=key\n' >"$BATS_TEST_TMPDIR/hosts"
  touch "$BATS_TEST_TMPDIR/key"
  settle -a @hosts -d digits -m 1 -w 1,2
  record_before
  bash -n "$TOOL/infra_clean.sh"
  show_record() {
    use_record
    printf '%s|' "${HOST_NAMES[*]}" "$(host_setting 1 slots)" "${HOST_MOUNTS["2 /data"]}" "$(key_of 2)"
  }
  MASTER='' WORKERS='' HOSTS_OPTION=''
  capture show_record
  assert_equal "$output" "local one h2|4|/x|$BATS_TEST_TMPDIR/key|"
  grep -q '^RECORDED_LINES=.*h2.*key' "$TOOL/infra_clean.sh"
  settle -a h3 -d digits -m 1 # the others are only recorded
  assert_equal "${HOST_NAMES[*]}|$(host_setting 2 slots)" 'local h3 one h2|4'
  record_before
  grep -q '^RECORDED_LINES=.*h2.*key' "$TOOL/infra_clean.sh"
}

@test "joining: workers are added to what the record says" {
  settle -a h1,h2 -d digits -m 1 -w local,1
  record_after 0 1 2
  settle -a h3 -d digits -w 1 -b h1
  check_joining
  join_master
  assert_equal "${PROBLEMS[*]}|$MASTER_HOST" '|2'
  record_after 0 1 2 3
  output=$(<"$TOOL/.infra/record")
  assert_line "HOSTS='h3,h1,h2'"
  assert_line "MASTER='2'"
  assert_line "WORKERS='1,local,2'"
}

@test "joining: refused without a record, or for another project or path" {
  settle -a h1 -d digits -w 1 -b h9
  check_joining
  assert_equal "${#PROBLEMS[@]}" 1
  assert_equal "${PROBLEMS[0]%%,*}" "-b without -m: no broker was started from $TOOL"
  PROBLEMS=()
  settle -a h1 -d digits -m 1 -w 1
  record_after 0 1
  make_project other
  settle -a h2 -d other -r elsewhere -w 1 -b h1
  check_joining
  assert_equal "${#PROBLEMS[@]}" 2
}

@test "joining: refused at an address that the broker's certificate does not have" {
  settle -a h1 -d digits -m 1 -w 1
  BROKER_NAME=h1.example.org
  record_after 0 1
  settle -a h2 -d digits -w 1 -b 10.9.9.9
  check_joining
  join_master
  BROKER_NAME=10.9.9.9
  check_joining_address
  assert_equal "${#PROBLEMS[@]}" 2
  assert_equal "${PROBLEMS[0]}" "-b: the broker's certificate is not for 10.9.9.9; start the master again with -m and -b 10.9.9.9"
}

@test "certificates keep earlier addresses" {
  settle -a h1 -d digits -m 1 -w 1
  RECORD[ADDRESSES]=old.example.org,10.0.0.9
  BROKER_NAME=h1
  assert_equal "$(certificate_addresses | paste -sd ' ')" '10.0.0.9 broker h1 h1.example.org old.example.org'
}

@test "infra_clean.sh: valid as a template and rendered, values quoted" {
  bash -n "$TOOL/infra_clean.sh.tmpl"
  touch "$BATS_TEST_TMPDIR/a & 'key'"
  settle -a h1 -i "$BATS_TEST_TMPDIR/a & 'key'" -d digits -m 1
  record_after 0 1
  bash -n "$TOOL/infra_clean.sh"
  output=$(<"$TOOL/infra_clean.sh")
  assert_line "RECORDED_KEY=$(printf '%s' "${KEY@Q}")"
  assert_line "CHECKOUT=${TOOL@Q}"
  assert_line "RECORDED_HOSTS='h1'"
  refute_part '=@'
}

# render HOSTS: infra_clean.sh for them.
render() {
  settle -a "$1" -d digits -m 1
  record_after "${!HOSTS[@]}"
  : >"$CALLS"
}

@test "infra_clean.sh: removes by label on every host, from any directory" {
  render h1,h2
  cd /
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 0
  output=$(<"$CALLS")
  assert_equal "$(grep -c "^docker 'container' 'rm' '--force' '--volumes' '0*1' '0*2'$" "$CALLS")" 3
  assert_equal "$(grep -c "^docker 'network' 'rm' '0*9'$" "$CALLS")" 3
  assert_equal "$(grep "^docker .*'ls'" "$CALLS" | grep -v "'image' 'ls'" | grep -vc "label=infrainit.infrastructure=$INFRASTRUCTURE")" 0
  assert_equal "$(grep -c "^docker 'image' 'rm'" "$CALLS")" 0
  assert_part "to remove the images of this tool, too: "
  assert_equal "$(grep -c "^docker 'volume' 'rm'" "$CALLS")" 0
  refute_part prune
}

@test "infra_clean.sh: removes the secrets, under this and an earlier -r, and no other files" {
  local there
  settle -a h1 -r 'one $x' -d digits -m 1
  record_after 0 1
  settle -a h1 -r two -d digits -m 1
  record_before
  for there in "$HOME/one \$x" "$HOME/two"; do
    mkdir -p "$there/secrets/$INFRASTRUCTURE/worker" "$there/secrets/infra-00000000/worker" "$there/code"
  done
  capture "$TOOL/infra_clean.sh" -n
  assert_equal "$status" 0
  [[ -d $HOME/two/secrets/$INFRASTRUCTURE ]]
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 0
  for there in "$HOME/one \$x" "$HOME/two"; do
    assert_equal "$(cd "$there" && find . -mindepth 1 | sort | tr '\n' ' ')" './code ./secrets ./secrets/infra-00000000 ./secrets/infra-00000000/worker '
  done
}

@test "infra_clean.sh: a host that is down does not stop the others; it is named, exit code 1" {
  render dead1,h2
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 1
  assert_part 'dead1: it refuses the connection'
  assert_part "something may be left on the hosts named above; when they answer: $(as_typed infra_clean.sh)"
  assert_equal "$(grep -c "^docker 'container' 'rm'" "$CALLS")" 2
}

@test "infra_clean.sh: a host whose Docker does not answer is named, exit code 1" {
  render h1
  stub docker 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 1
  assert_line 'h1: Cannot connect to the Docker daemon'
  assert_line 'h1: clean host failed'
  assert_part 'something may be left on the hosts named above'
  refute_part 'nothing of'
}

@test "infra_clean.sh: a host without Docker has nothing to remove" {
  render h1
  stub ssh '[[ ! ${*: -1} =~ [0-9a-f]{32} ]] || MARKER=${BASH_REMATCH[0]}
    case "$*" in
    *" sh -s "*) cat >/dev/null; echo "$MARKER"; printf "%s\n" time=0 home=/home/x user=x uid=1 gid=1 arch=amd64 memory=1 docker=missing ;;
    *"-O exit"* | *" true") ;;
    *"sh -c"*) echo "$MARKER" ;;
    *) exit 1 ;;
  esac'
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 0
  assert_line 'h1: has no Docker, so there is nothing to remove'
}

@test "infra_clean.sh: a removal that fails is named, and does not stop the rest" {
  stub docker 'case "$*" in
    *"container rm"*) echo "cannot remove c1" >&2; exit 1 ;;
    *network*--quiet*) printf "%064d\n" 9 ;;
    *container*--quiet*) printf "%064d\n" 1 ;;
    *" inspect "*) cat "$TOOL/.infra/id" ;;
    version*) echo 28.5.2 ;;
    *DockerRootDir*) echo / ;;
  esac'
  render h1
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 1
  assert_part 'h1: cannot remove c1'
  assert_equal "$(grep -c "^docker 'network' 'rm' '0*9'$" "$CALLS")" 2
}

@test "infra_clean.sh: --dry-run shows and removes nothing" {
  render h1
  capture "$TOOL/infra_clean.sh" -n
  assert_equal "$status" 0
  assert_line "h1\$ docker container rm --force --volumes $(printf '%064d %064d' 1 2)"
  assert_line 'dry run: nothing was removed'
  assert_equal "$(grep -c "'rm'" "$CALLS")" 0
}

@test "infra_clean.sh --images: on every host and here, after all containers; what cannot be removed is named, exit code 1" {
  render h1
  stub docker 'case "$*" in
    image\ ls*) echo infrainit-empty:infra-00000000-listen ;;
    image\ inspect*Layers*) echo "0 null" ;;
    image\ inspect*) printf "sha256:%064d  infrainit-empty:infra-00000000-listen,\n" 7 ;;
    image\ rm*) [[ ! -e $TOOL/in-use ]] || { echo "it is in use" >&2; exit 1; } ;;
    version*) echo 28.5.2 ;;
    *DockerRootDir*) echo / ;;
  esac'
  capture "$TOOL/infra_clean.sh" --images
  assert_equal "$status" 0
  assert_equal "$(grep "^docker 'image' 'rm'" "$CALLS")" \
    $'docker \'image\' \'rm\' \'infrainit-empty:infra-00000000-listen\'\ndocker \'image\' \'rm\' \'infrainit-empty:infra-00000000-listen\''
  assert_line 'h1: removing 1 image, 0 bytes'
  touch "$TOOL/in-use"
  capture "$TOOL/infra_clean.sh" --images
  assert_equal "$status" 1
  assert_line 'h1: it is in use'
  assert_part 'some images could not be removed'
}

@test "infra_clean.sh: help, wrong options, a checkout that is gone" {
  render h1
  capture "$TOOL/infra_clean.sh" --help
  assert_part 'usage: infra_clean.sh'
  capture "$TOOL/infra_clean.sh" --all
  assert_equal "$status" 2
  assert_equal "$(<"$CALLS")" ''
  mv "$TOOL" "$TOOL.moved"
  capture "$TOOL.moved/infra_clean.sh"
  assert_equal "$status" 1
  assert_part "with --filter label=infrainit.infrastructure=$INFRASTRUCTURE"
  mv "$TOOL.moved" "$TOOL"
}
