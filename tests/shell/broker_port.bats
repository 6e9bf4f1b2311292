#!/usr/bin/env bats
# framework/shell/broker_port.sh, and try_port.sh: what hosts run.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  three_hosts
  # A listener's container ends when it is removed.
  mkfifo removed
  exec {REMOVED}<>removed
  stub ssh 'case "$*" in
    *" -G "*) printf "%s\n" "hostname $4" "port 2222" ;;
    *infra-01234567-trial*) echo >&'"$REMOVED"' ;;
    *) cat >/dev/null; echo "${*: -2:1}" ;;
  esac'
}

# answer CODE MESSAGE: how the trial of each host ends; the listener ends when its container is removed.
answer() {
  eval "on_host_stdin() { cat >/dev/null; printf '%s\n' \"on \${*@Q}\" >>'$CALLS'; [[ \$5 != listen ]] || read -r <&$REMOVED; echo '$2' >&2; return $1; }"
}

@test "check_broker_port: nothing is wrong" {
  answer 0 ''
  check_broker_port
  assert_equal "${PROBLEMS[*]}" ''
  [[ ! $TRIAL_LISTENER ]]
  assert_equal "$(grep -c "'connect'" "$CALLS")" 2 # not the master host itself
  output=$(<"$CALLS")
  assert_part "'connect' 'infra-01234567' '6' '10.0.0.1' '5671'"
  assert_part "'--name' 'infra-01234567-trial' '--publish' '0.0.0.0:5671:5671'"
}

@test "check_broker_port: an IPv6 address is tried from the network of the host, as the worker will use it" {
  answer 0 ''
  capture try_to_reach_master 2
  if grep -- "'--network'" "$CALLS"; then return 1; fi
  set_fact 2 broker fd00::1
  capture try_to_reach_master 2
  output=$(<"$CALLS")
  assert_part "'fd00::1' '5671' '' '--network' 'host'"
}

@test "check_broker_port: each host that does not reach it, with the reason and what to do" {
  answer 1 'bash: connect: Connection refused'
  check_broker_port
  output=$(printf '%s\n' "${PROBLEMS[@]}")
  assert_line 'h2: its containers do not reach the broker on h1 at 10.0.0.1, port 5671 (connection refused): open that port for h2, give an address that it reaches with -b, or give --tunnel, which needs ssh alone'
  assert_equal "${#PROBLEMS[@]}" 2
}

@test "check_broker_port: with --tunnel it is sshd that has to be reached, and there is no listener" {
  TUNNEL=yes
  answer 1 'no answer'
  check_broker_port
  output=$(printf '%s\n' "${PROBLEMS[@]}")
  assert_line 'h2: its containers do not reach sshd on h1 at 10.0.0.1, port 2222 (no answer): --tunnel needs that; open that port for h2, or give an address that it reaches with -b'
  assert_equal "$(grep -c "'listen'" "$CALLS")" 0
}

@test "check_broker_port: where it cannot be tried it says so, and nothing is wrong" {
  answer 3 'it has no bash'
  capture check_broker_port
  assert_equal "$status" 0
  assert_line 'h2: warning: it cannot be tried: it has no bash'
  eval "on_host_stdin() { cat >/dev/null; echo 'it has neither perl nor python3' >&2; [[ \$5 == listen ]] && return 3
    while kill -0 \$TRIAL_LISTENER 2>/dev/null; do sleep 0.05; done; return 1; }"
  capture check_broker_port
  assert_line "warning: h1: the broker's port cannot be tried: it has neither perl nor python3"
  assert_equal "${PROBLEMS[*]}" ''
}

@test "hosts_to_try: those whose workers do not use the broker yet" {
  hosts() { hosts_to_try | tr '\n' ' '; }
  assert_equal "$(hosts)" '0 2 '
  set_fact 1 port_5671 ours
  RECORD=([BROKER]='' [TUNNEL]='') PRESENT_MASTER_HOST=1 PRESENT_WORKER_HOSTS=(1 2)
  assert_equal "$(hosts)" '0 '
  PRESENT_WORKER_HOSTS=(1) # the broker listens on its own host alone, and will be replaced
  assert_equal "$(hosts)" ''
  RECORD[BROKER]=10.0.0.1
  assert_equal "$(hosts)" '0 2 '
  RECORD[TUNNEL]=yes
  assert_equal "$(hosts)" ''
  set_fact 1 port_5671 free
  set_fact 2 docker missing
  assert_equal "$(hosts)" '0 '
  set_fact 1 docker missing
  assert_equal "$(hosts)" ''
}

# try MODE ARGUMENT…: the program of hosts. Docker is a stub that runs the words after the image here.
try() {
  stub docker 'case $1 in
    import) cat >/dev/null; echo sha256:0 ;;
    run) while [[ $1 != infrainit-empty:* ]]; do shift; done; exec timeout "${@:2}" ;;
  esac'
  capture sh "$TOOL/framework/shell/try_port.sh" "$@" <<<''
}

@test "try_port.sh connect: the token, and nothing else, is an answer; the empty image is removed" {
  local port ready=$BATS_TEST_TMPDIR/port
  python3 -c '
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
open(sys.argv[1] + ".new", "w").write(str(listener.getsockname()[1]))
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    client = listener.accept()[0]
    client.sendall(b"token\n")
    client.close()' "$ready" 3>&- &
  local server=$!
  until [[ -e $ready ]]; do sleep 0.05; done
  port=$(<"$ready")
  try connect infra-01234567 3 127.0.0.1 "$port" token --network host
  assert_equal "$status" 0
  try connect infra-01234567 3 127.0.0.1 "$port" ''
  assert_equal "$status" 0
  try connect infra-01234567 2 127.0.0.1 "$port" other
  assert_equal "$status|$(tail -n 1 <<<"$messages")" '1|something else answers'
  kill "$server"
  wait "$server" || true
  try connect infra-01234567 2 127.0.0.1 "$port" token
  assert_equal "$status" 1
  assert_part 'Connection refused'
  assert_equal "$(tail -n 1 "$CALLS")" "docker 'image' 'rm' 'infrainit-empty:infra-01234567-connect'"
  assert_equal "$(grep -c -- "'--network' 'host' '--entrypoint' 'timeout'" "$CALLS")" 1
}

@test "try_port.sh: a Docker that fails is no answer" {
  stub docker 'echo "no space left" >&2; exit 125'
  capture sh "$TOOL/framework/shell/try_port.sh" connect infra-01234567 2 127.0.0.1 1 token <<<''
  assert_equal "$status" 3
  assert_part 'no space left'
}

@test "try_port.sh: a host mounts what it has of the usual directories" {
  sed -e 's|/lib64; do|/nowhere; do|' -e '$d' "$TOOL/framework/shell/try_port.sh" >part
  assert_equal "$(sh -c '. ./part && mounts' | grep -e '/usr' -e '/nowhere')" /usr:/usr:ro
}

@test "worker_reaches_broker: what to do, unless the worker does not run" {
  stub ssh 'case "$*" in *" -G "*) echo "hostname h1" ;; *) echo lab; [[ ${*: -1} =~ [0-9a-f]{32} ]] && echo "$BASH_REMATCH"; echo "timed out" ;; esac'
  capture worker_reaches_broker 2
  assert_equal "$status" 1
  assert_line 'h2: its containers do not reach the broker on h1 at 10.0.0.1, port 5671 (timed out): open that port for h2, give an address that it reaches with -b, or give --tunnel, which needs ssh alone'
  stub ssh 'exit 1'
  capture worker_reaches_broker 2
  assert_equal "$status" 0
  capture worker_reaches_broker 1
  assert_equal "$status" 0
  stub docker 'shift 3; BROKER=127.0.0.1:1 exec python3 "$@"' # what the worker runs
  capture worker_reaches_broker 0
  assert_equal "$status" 1
  assert_part 'local: its containers do not reach the broker on h1 at 10.0.0.1, port 5671 (connection refused): '
}
