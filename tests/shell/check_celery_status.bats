#!/usr/bin/env bats
# check_celery_status.sh: what it shows, and its exit code.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  know_facts
  make_project p
  mkdir -p "$TOOL/.infra"
  echo infra-01234567 >"$TOOL/.infra/id"
  record local local,1
  stub ssh '[[ $* != *" -G "* ]] || exec echo "hostname far"
    exec sh -c "${@: -1}"'
  answer local far
}

# record MASTER WORKERS
record() {
  local project="$TOOL/tasks/p"
  printf '%s\n' HOSTS=far:2222 PROJECT="${project@Q}" "MASTER=$1" "WORKERS=$2" >"$TOOL/.infra/record"
}

# answer HOST_NAME…: the workers on these hosts do.
answer() {
  act_as_docker 'running x 0 0' "$(printf 'echo "->  worker@%s: OK";' "$@") echo; echo '$# nodes online.'"
}

# act_as_docker STATE ANSWERS
act_as_docker() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo '$1' ;;
    *'framework celery status') $2 ;;
    *'framework status') echo 'p: 6 combinations: 4 done, 1 running, 1 waiting, 0 failed' ;;
    logs*) echo 'last words' ;;
  esac"
}

check() {
  capture "$TOOL/check_celery_status.sh" "$@"
}

@test "all workers answer" {
  answer local far-2222
  check
  assert_equal "$status" 0
  assert_equal "$output" '->  worker@local: OK
->  worker@far-2222: OK

2 nodes online.
workers expected: 2 (local far-2222)
workers missing:  0
p: 6 combinations: 4 done, 1 running, 1 waiting, 0 failed'
}

@test "a worker is missing" {
  answer local far-222
  check
  assert_equal "$status" 1
  assert_line 'workers missing:  1 (far-2222); see docker logs infra-01234567-worker and infra-01234567-runner there, as in:'
  assert_line 'ssh -p 2222 far docker logs --tail 20 infra-01234567-worker'
  assert_part '4 done'
}

@test "no worker answers, and Celery says so with its exit code" {
  act_as_docker 'running x 0 0' 'echo "Error: No nodes replied within time constraint" >&2; exit 69'
  check
  assert_equal "$status" 1
  assert_line 'Error: No nodes replied within time constraint'
  assert_part 'workers missing:  2 (local far-2222)'
  assert_line 'docker logs --tail 20 infra-01234567-worker'
  assert_part '4 done'
}

@test "the master is asked on its own host" {
  record 1 1
  answer far-2222
  check
  assert_equal "$status" 0
  grep -q "^ssh .* docker exec infra-01234567-master framework celery status'$" "$CALLS"
}

@test "the master's container is gone" {
  stub docker
  check
  assert_equal "$status" 1
  assert_line "local: there is no master of infra-01234567; start it with $(as_typed infrainit.sh -f)"
}

@test "the master has ended: its last lines" {
  act_as_docker 'exited x 0 1' ''
  check
  assert_equal "$status" 1
  assert_line "local: the master does not run, its container is exited; start it again with $(as_typed infrainit.sh -f)"
  assert_line 'local: last words'
}

@test "the master's host does not answer" {
  record 1 1
  stub ssh '[[ $* != *" -G "* ]] || exec echo "hostname far"
    echo "ssh: connect to host far port 2222: Connection refused" >&2; exit 255'
  check
  assert_equal "$status" 1
  assert_part 'error: far-2222 (the master host): it refuses the connection'
}

@test "Docker does not answer" {
  stub docker 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
  check
  assert_equal "$status" 1
  assert_line 'Cannot connect to the Docker daemon'
  assert_line 'local: its Docker does not answer; see above'
}

# act_as_following_master LINE…: each time that it is asked it prints these, and ends.
act_as_following_master() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    'image ls'*) echo infrainit-worker:0123456789ab ;;
    'exec --interactive infra-01234567-master framework status --follow'*) printf '%s\\n' $(quote_all "$@") ;;
    *'framework status --json') echo '{\"done\": 4}' ;;
    'run '*) $ON_RUN ;;
  esac"
}

quote_all() {
  printf '%q ' "$@"
}

@test "-f without a terminal: lines until interrupted, also when the master ends meanwhile" {
  act_as_following_master 'first line' 'second line'
  stub sleep 'echo >>'"'$BATS_TEST_TMPDIR/sleeps'; "'(($(wc -l <'"'$BATS_TEST_TMPDIR/sleeps'"') < 3)) || kill -TERM "$PPID"'
  check -f
  ((status != 0))
  assert_equal "$(grep -c 'second line' <<<"$output")" 3
  rm "$BATS_TEST_TMPDIR/sleeps"
  check -f --json
  grep -q "'status' '--follow' '--json'\$" "$CALLS"
}

@test "--json: the master's document alone" {
  act_as_following_master
  check --json
  assert_equal "$status $output" '0 {"done": 4}'
  check explain 3 --json
  assert_equal "$status" 2
  assert_part '--json goes with the state of all, not with explain'
}

@test "-f on a terminal: a container of this machine shows what the master says, and nothing is left behind" {
  local directory
  ON_RUN='printf "%s\n" "$@"
    directory=$(printf "%s\n" "$@" | sed -n "s/^type=bind,source=\(.*\),target=.live,readonly$/\1/p")
    until [ -e "$directory/document.json" ]; do read -r -t 0.1 <> <(:) || true; done
    cat "$directory/document.json"; exit "$CODE"'
  act_as_following_master '{"done": 5}'
  export CODE=0
  capture script --quiet --return --command "$(quote_all "$TOOL/check_celery_status.sh" -f)" /dev/null
  assert_equal "$status" 0
  output=${output//$'\r'/}
  for line in --interactive --tty --read-only infrainit-worker:0123456789ab --host=local --host=far-2222 '{"done": 5}'; do
    assert_line "$line"
  done
  directory=$(sed -n 's/^type=bind,source=\(.*\),target=.live,readonly$/\1/p' <<<"$output")
  [[ $directory && ! -e $directory ]]
  [[ ! $(pgrep -f "$STUBS/docker .*framework status --follow") ]]
}

@test "-f on a terminal: lines if this machine has no image, or the view fails" {
  stub sleep 'kill -TERM "$PPID"'
  ON_RUN='echo no such image >&2; exit 125'
  act_as_following_master 'a line'
  capture script --quiet --return --command "$(quote_all "$TOOL/check_celery_status.sh" -f)" /dev/null
  assert_part 'the live view has ended (exit code 125)'
  assert_part 'a line'
}

@test "usage" {
  check --help
  assert_equal "$status" 0
  assert_part 'usage: check_celery_status.sh'
  check -x
  assert_equal "$status" 2
  rm "$TOOL/.infra/record"
  check
  assert_equal "$status" 1
  assert_part "nothing was started from $TOOL yet; to start it: $(as_typed infrainit.sh), with the options of an example in its --help"
  touch "$TOOL/config.sh"
  check
  assert_part "to start it: $(as_typed infrainit.sh -f)"
}

# act_as_master ANSWER: it runs, and answers questions about tasks.
act_as_master() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    *'framework explain -- '*) printf '%s\n' \"\${@:6}\" ;;
    *'framework where -- '*) $1 ;;
  esac"
}

@test "explain: the master is asked about these tasks" {
  act_as_master
  check explain 3 0a
  assert_equal "$status $output" $'0 3\n0a'
  check explain
  assert_equal "$status" 2
  assert_part 'explain: name a task'
  check explain 3 -f
  assert_equal "$status" 2
  assert_part '-f goes with logs, or alone'
}

@test "logs: of the latest attempt, from its host" {
  local directory
  act_as_master 'echo 00000000000000aa 2 far-2222'
  directory="$HOME/celery_tasks/worker/p/tasks/00000000000000aa/2"
  mkdir -p "$directory"
  echo from stdout >"$directory/stdout"
  echo from stderr >"$directory/stderr"
  check logs 3
  assert_equal "$status" 0
  assert_line "attempt 2 on far-2222: $directory"
  assert_part $'==> stdout <==\nfrom stdout\n\n==> stderr <==\nfrom stderr'
  check logs
  assert_part "logs: name a task, by its number from 1 or the beginning of its id: $(as_typed check_celery_status.sh 'logs 1')"
  check logs 3 4
  assert_part 'logs: name one task'
}

@test "logs: an attempt of a host that is gone, and answers that are none" {
  act_as_master 'echo 00000000000000aa 2 gone'
  check logs 3
  assert_equal "$status" 1
  assert_part 'was on gone, which is no host of this infrastructure any more'
  act_as_master 'echo 00000000000000aa 2/../.. local'
  check logs 3
  assert_equal "$status" 1
  assert_part 'cannot be read'
  act_as_master 'echo "task 4, 00000000000000aa, has not begun yet" >&2; exit 1'
  check logs 4
  assert_equal "$status" 1
  assert_part 'has not begun yet'
}

@test "logs -f: goes on until it is interrupted, and leaves nothing behind" {
  local directory follower
  act_as_master 'echo 00000000000000aa 2 far-2222'
  directory="$HOME/celery_tasks/worker/p/tasks/00000000000000aa/2"
  mkdir -p "$directory"
  echo first >"$directory/stdout"
  : >"$directory/stderr"
  setsid "$TOOL/check_celery_status.sh" logs 3 -f >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
  follower=$!
  wait_until_said first
  echo second >>"$directory/stdout"
  wait_until_said second
  kill -TERM -- "-$follower"
  wait "$follower" || true
  [[ ! $(pgrep -f "$directory") ]]
}

# wait_until_said TEXT
wait_until_said() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    ! grep -q "$1" "$BATS_TEST_TMPDIR/said" || return 0
    sleep 0.1
  done
  cat "$BATS_TEST_TMPDIR/said"
  return 1
}
