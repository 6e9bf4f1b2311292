# shellcheck shell=bash
# shellcheck disable=SC1091,SC2034 # what is sourced is the copy; what is set here is for the tests
# What the tests of the shell share. Each test works on a copy of the scripts, in a directory with a space and a quote in its path,
# and finds programs that it replaces (stub) in front of the real ones.

# No test takes as long; one that hangs is ended, and is named.
export BATS_TEST_TIMEOUT=300

# prepare: for setup(). TOOL is the copy.
prepare() {
  TOOL="$BATS_TEST_TMPDIR/the tool's copy"
  # For the place of a failure bats notes each command before it runs, which takes longer than most of the tool's commands.
  if [[ -v BATS_DEBUG_LAST_STACK_TRACE_IS_VALID ]]; then
    trap - DEBUG
    trap 'note_place; bats_error_trap' ERR
    BATS_DEBUG_LAST_STACK_TRACE=() BATS_DEBUG_LASTLAST_STACK_TRACE=()
  fi
  STUBS="$BATS_TEST_TMPDIR/stubs"
  CALLS="$BATS_TEST_TMPDIR/calls"
  HOME="$BATS_TEST_TMPDIR/home"
  mkdir "$TOOL" "$STUBS" "$HOME"
  cd "$BATS_TEST_DIRNAME/../.."
  cp -r --parents framework/shell docker ./*.sh ./*.tmpl ./*.example "$TOOL/"
  # those of the checkout that is tested
  [[ ! -e config.sh && ! -e infra_clean.sh ]] || rm -f "$TOOL/config.sh" "$TOOL/infra_clean.sh"
  : >"$CALLS"
  output='' messages='' status=0
  PATH="$STUBS:$PATH"
  cd "$BATS_TEST_TMPDIR" # files named without a directory are made here
}

# note_place: where a command has just failed, for bats.
note_place() {
  local status=$?
  bats_capture_stack_trace
  BATS_DEBUG_LAST_STACK_TRACE_IS_VALID=1
  return "$status"
}

# load_tool: the functions of framework/shell, in the test itself.
load_tool() {
  # shellcheck source=framework/shell/all.sh
  source "$TOOL/framework/shell/all.sh"
  # Here, where teardown knows of it, and not in a subshell. To ask ssh what it knows takes longer than many a test.
  # shellcheck disable=SC2317 # the tool calls it
  ssh() { :; }
  prepare_ssh
  unset -f ssh
}

# teardown: for the files that have none of their own.
teardown() {
  if [[ ${SSH_CONNECTIONS:-} ]]; then
    close_connections
  fi
}

# stub NAME [BODY]: a program NAME that writes its words to CALLS, one call a line, and then does BODY (bash). One named docker lists
# the files of a project besides, as the framework does.
stub() {
  {
    echo "#!$BASH" # `env` would look for it each time
    if [[ $1 == docker ]]; then
      # shellcheck disable=SC2016 # the stub's own words
      printf 'if [[ "$*" == *"/framework files "* ]]; then exec %q "$@"; fi\n' "$BATS_TEST_DIRNAME/list_project"
    fi
    # shellcheck disable=SC2016 # the stub's own words
    printf 'printf "%%s\\n" "%s${*:+ ${*@Q}}" >>%q\n' "$1" "$CALLS"
    printf '%s\n' "${2:-}"
  } >"$STUBS/$1"
  [[ -x $STUBS/$1 ]] || chmod +x "$STUBS/$1"
  [[ $1 != docker || ! -e $TOOL/.infra/answers ]] || rm -rf "$TOOL/.infra/answers" # another one has other answers
  hash -r                                                                          # bash remembers where it has found the real one
}

# know_facts: hosts that are asked answer at once that they are fine. facts.bats tests how they find that out, and infrainit.bats
# that they do.
know_facts() {
  cat >"$TOOL/framework/shell/facts.sh" <<'FACTS'
remote_path=$1 infrastructure=$2 docker=ok # for host_state.sh
shift 3
for port in "$@"; do echo "port_$port=free"; done
printf '%s\n' "time=$(date +%s)" "home=$HOME" user=me "uid=$(id -u)" "gid=$(id -g)" arch=amd64 cores=4 memory=8589934592 \
  disk=99999999999 docker_disk=99999999999 root_writable=yes tmp_writable=yes docker=ok docker_kind=plain engine=28.5.2 gpus=0
FACTS
}

# make_project NAME: a valid one under tasks/.
make_project() {
  mkdir -p "$TOOL/tasks/$1"
  echo 'command: python run.py' >"$TOOL/tasks/$1/project.yml"
  echo 'n: [1, 2]' >"$TOOL/tasks/$1/parameters.yml"
}

# read_all OPTION…: the settings as infrainit.sh comes to them.
read_all() {
  parse_infrainit_options "$@"
  collect_settings
  resolve_settings
  check_settings
  stop_on_problems 2
}

# capture COMMAND…: runs it in a subshell, errexit in force; sets status, output (stdout) and messages (stderr). Not bats' own
# `run`, since the tool has a function of that name.
capture() {
  status=0
  (
    trap - ERR DEBUG # those of bats
    "$@"
  ) <&0 >"$BATS_TEST_TMPDIR/stdout" 2>"$BATS_TEST_TMPDIR/stderr" &
  # shellcheck disable=SC2031 # it is the process that was started here
  wait "$!" || status=$? # behind `||` itself, the subshell would go on after errors
  read_text output "$BATS_TEST_TMPDIR/stdout"
  read_text messages "$BATS_TEST_TMPDIR/stderr"
}

# read_text VARIABLE FILE: as VARIABLE=$(<FILE) does, without a process.
read_text() {
  local text
  IFS='' read -r -d '' text <"$2" || true # there is no NUL at its end
  while [[ $text == *$'\n' ]]; do text=${text%$'\n'}; done
  printf -v "$1" %s "$text"
}

# assert_equal ACTUAL EXPECTED
assert_equal() {
  if [[ $1 != "$2" ]]; then
    printf 'expected: %s\nactual:   %s\ncaptured:\n%s\n%s\n' "${2@Q}" "${1@Q}" "$output" "$messages"
    return 1
  fi
}

# assert_line LINE: one of the captured lines is this one.
assert_line() {
  if [[ $'\n'$output$'\n'$messages$'\n' != *$'\n'"$1"$'\n'* ]]; then
    printf 'no line: %s\nin:\n%s\n%s\n' "$1" "$output" "$messages"
    return 1
  fi
}

# assert_part TEXT: what was captured contains it.
assert_part() {
  if [[ $output$'\n'$messages != *"$1"* ]]; then
    printf 'not found: %s\nin:\n%s\n%s\n' "$1" "$output" "$messages"
    return 1
  fi
}

# refute_part TEXT
refute_part() {
  if [[ $output$'\n'$messages == *"$1"* ]]; then
    printf 'should not be there: %s\nin:\n%s\n%s\n' "$1" "$output" "$messages"
    return 1
  fi
}

# pipes_of PROCESS: the pipes that it has open, one a line.
pipes_of() {
  { find "/proc/$1/fd" -lname 'pipe:*' -printf '%l\n' || true; } | sort -u # some may be closed meanwhile
}

# set_fact HOST KEY VALUE
set_fact() {
  FACTS[$1.$2]=$3
}

# good_host NUMBER: facts with which nothing is wrong.
good_host() {
  local line
  for line in unreachable= skew=0 home=/home/me user=me uid=1000 gid=1000 arch=amd64 cores=4 memory=8589934592 disk=99999999999 \
    docker_disk=99999999999 root_writable=yes docker=ok engine=28.5.2 "engine_id=E$1" boot_id=b gpus=0 gpu_runtime=0 \
    addresses=10.0.0.100 client_address=10.0.0.100 port_5671=free port_5555=free; do
    set_fact "$1" "${line%%=*}" "${line#*=}"
  done
}

# three_hosts: local and two more, with the master on 1 and workers on all.
three_hosts() {
  parse_hosts h1,h2
  MASTER_HOST=1
  WORKER_HOSTS=(0 1 2)
  BROKER_NAME=h1
  good_host 0
  good_host 1
  good_host 2
  set_fact 0 broker 10.0.0.1
  set_fact 2 broker 10.0.0.1
}

# as_typed SCRIPT [OPTIONS]: the command for it in messages, typed in another directory than TOOL.
as_typed() {
  printf "'%s'%s\n" "${TOOL//\'/\'\\\'\'}/$1" "${2:+ $2}"
}
