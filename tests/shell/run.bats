#!/usr/bin/env bats
# framework/shell/run.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
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
