#!/usr/bin/env bats
# framework/shell/messages.sh and run.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317,SC1003 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

@test "quote: what it prints is the same words again, in every shell" {
  local words=('' ' ' "it's" '"' '$HOME' '`id`' '*' '~' '-x' 'a=b' $'two\nlines' $'ends\n' '\' '!' 'ü' 'a  b' '#' ';' '&')
  local shell line
  line=$(quote printf '%s|' "${words[@]}")
  for shell in bash dash; do
    assert_equal "$("$shell" -c "$line")" "$(printf '%s|' "${words[@]}")"
  done
}

@test "quote: leaves plain words as they are, but no assignment in front" {
  assert_equal "$(quote docker run --label=a.b/c:1 x=y)" 'docker run --label=a.b/c:1 x=y'
  assert_equal "$(quote x=y)" "'x=y'"
}

@test "run: shows nothing by default, the command when verbose" {
  stub change
  capture run change 'a b'
  assert_equal "$messages" ''
  VERBOSE=yes
  capture run change 'a b'
  assert_equal "$messages" "local\$ change 'a b'"
  assert_equal "$(<"$CALLS")" $'change \'a b\'\nchange \'a b\''
}

@test "run: a dry run shows and does nothing" {
  stub change
  DRY_RUN=yes
  capture run change x
  assert_equal "$messages" 'local$ change x'
  assert_equal "$(<"$CALLS")" ''
}

@test "run: hands out the exit code" {
  stub change 'exit 7'
  capture run change
  assert_equal "$status" 7
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

@test "wait_until: polls until it succeeds" {
  sleep() { echo slept >>"$CALLS"; }
  succeed_at_last() { [[ $(wc -l <"$CALLS") == 2 ]]; }
  wait_until 10 'it is there' succeed_at_last
}

@test "wait_until: fails at the deadline with the last message" {
  sleep() { SECONDS=$((SECONDS + 1)); }
  never() { echo "not there" && return 1; }
  capture wait_until 25 'it is there' never
  assert_equal "$status" 1
  assert_part 'waiting until it is there (20 s)'
  assert_part 'not within 25 s: it is there'
  assert_line 'not there'
}

@test "wait_until: gives up at once when waiting is of no use" {
  sleep() { die "must not wait"; }
  hopeless() { echo "container has ended" && return "$NEVER_READY"; }
  capture wait_until 100 'it is there' hopeless
  assert_equal "$status" 1
  assert_line 'container has ended'
}

@test "stop_on_problems: names each, once all are known" {
  problem 'hostA: one'
  problem 'hostB: two'
  capture stop_on_problems 2
  assert_equal "$status" 2
  assert_equal "$output" ''
  assert_equal "$messages" $'error: hostA: one\nerror: hostB: two'
}

@test "stop_on_problems: goes on if there are none" {
  capture stop_on_problems 2
  assert_equal "$status" 0
}
