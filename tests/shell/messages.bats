#!/usr/bin/env bats
# framework/shell/messages.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

@test "stop_on_problems: reports each and ends the program" {
  problem 'hostA: one'
  problem 'hostB: two'
  capture stop_on_problems 2
  assert_equal "$status" 2
  assert_equal "$output" ''
  assert_equal "$messages" $'error: hostA: one\nerror: hostB: two'
}

@test "stop_on_problems: does nothing if there are none" {
  capture stop_on_problems 2
  assert_equal "$status" 0
}
