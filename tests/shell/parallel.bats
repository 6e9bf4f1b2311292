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

@test "for_each_host: goes on past a failure, names it, and fails" {
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

# add_running NUMBER: prints how many then run; one at a time, or the count would be wrong.
add_running() {
  (
    flock 9
    echo $(($(cat "$BATS_TEST_TMPDIR/running") + $1)) >"$BATS_TEST_TMPDIR/running"
    cat "$BATS_TEST_TMPDIR/running"
  ) 9>>"$BATS_TEST_TMPDIR/lock"
}

count_running() {
  add_running 1
  sleep 0.2
  add_running -1
}

@test "for_each_host: at most 8 at once" {
  local host hosts
  echo 0 >"$BATS_TEST_TMPDIR/running"
  for host in {0..19}; do
    HOST_NAMES[host]=host$host
    hosts+=("$host")
  done
  capture for_each_host count_running "${hosts[@]:1}"
  assert_equal "$(sort -n <<<"$output" | tail -n 1)" 8
}
