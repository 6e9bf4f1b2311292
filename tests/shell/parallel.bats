#!/usr/bin/env bats
# framework/shell/parallel.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

say_something() {
  step "${HOST_NAMES[$1]}" 'at once'
  echo "result $1"
  echo "message $1" >&2
}

@test "for_each_host: output comes host by host, messages with the host in front" {
  HOST_NAMES=(local a b)
  capture for_each_host say_something 1 2
  assert_equal "$status" 0
  assert_equal "$output" $'result 1\nresult 2'
  assert_equal "$(sort <<<"$messages")" $'a: at once\na: message 1\nb: at once\nb: message 2'
}

fail_on_2() {
  false || (($1 != 2)) # errexit must be in force here
  echo "past $1"
}

@test "for_each_host: a failure for one host does not stop the others; it is named, and the call fails" {
  HOST_NAMES=(local a b c)
  capture for_each_host fail_on_2 1 2 3
  assert_equal "$status" 1
  assert_line 'b: fail on 2 failed'
  assert_line 'past 1'
  assert_line 'past 3'
  refute_part 'past 2'
}

@test "for_each_host: a failure is not lost behind ||" {
  HOST_NAMES=(local a)
  return_3() { return 3; }
  for_each_host return_3 1 2>/dev/null && return 1
  true
}

@test "run_for_hosts: does not fail, and keeps the last line of what was said where it failed" {
  fail_with_words() {
    printf 'first\nlast \033[31mwords\n' >&2
    (($1 == 1))
  }
  HOST_NAMES=(local a b)
  run_for_hosts fail_with_words 1 2 2>/dev/null
  assert_equal "${!FAILURES[*]}|${FAILURES[2]}" '2|last words'
  run_for_hosts true 1
  assert_equal "${#FAILURES[@]}" 0
}

@test "for_each_host: at most 8 at once" {
  local host released=0
  for host in {0..19}; do
    HOST_NAMES[host]=host$host
  done
  mkfifo gate
  exec 8<>gate
  : >started
  # Each job waits at the gate. `wait` lets one of them pass once all that were started have arrived there.
  wait_at_gate() {
    echo >>started
    read -r -u 8
  }
  wait() {
    until (($(wc -l <started) == ${#PARALLEL_JOBS[@]})); do sleep 0.01; done
    echo "$((${#PARALLEL_JOBS[@]} - released))" >>running
    released=$((released + 1))
    if [[ $1 == -n ]]; then echo; else printf '\n%.0s' {0..19}; fi >&8
    builtin wait "$@"
  }
  for_each_host wait_at_gate {1..19}
  assert_equal "$(sort -n running | tail -n 1)" 8
}

# remind_soon: the reminder speaks after 0.05 s.
remind_soon() {
  sed -i 's/BUSY_SECONDS=15/BUSY_SECONDS=0.05/' "$TOOL/framework/shell/run.sh"
}

@test "for_each_host: tells which hosts are busy" {
  remind_soon
  capture bash -c 'source "$1/framework/shell/all.sh"
    HOST_NAMES=(local quick slow)
    work() { (($1 == 1)) || until grep -q "still busy: slow" "$BATS_TEST_TMPDIR/stderr"; do sleep 0.01; done; }
    for_each_host work 1 2' test "$TOOL"
  assert_equal "$status" 0
  assert_part 'still busy: slow ('
}

@test "for_each_host: a process that a job leaves behind does not hold the reminder" {
  local left own
  leave_process() {
    sleep 60 >/dev/null 2>&1 &
    echo "$!" >left
  }
  HOST_NAMES=(local a)
  for_each_host leave_process 1
  left=$(<left)
  own=$(pipes_of "$BASHPID")
  assert_equal "$(comm -13 <(echo "$own") <(pipes_of "$left"))" ''
  kill "$left"
}
