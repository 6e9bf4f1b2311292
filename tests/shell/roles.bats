#!/usr/bin/env bats
# framework/shell/roles.sh: which host does what.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

@test "numbers and ranges" {
  local found=()
  parse_hosts h1,h2,h3,h4
  parse_host_numbers -w local,3-4,1 found
  assert_equal "${found[*]}|${#PROBLEMS[@]}" '0 3 4 1|0'
}

@test "numbers and ranges that are wrong" {
  local wrong found
  parse_hosts h1,h2,h3
  for wrong in 0 4 1,1 1-2,2 3-2 1- -1 x '' 1,,2 1-99999 9999999999 local,local; do
    PROBLEMS=() found=()
    parse_host_numbers -w "$wrong" found
    assert_equal "$wrong ${#PROBLEMS[@]}" "$wrong 1"
  done
}
