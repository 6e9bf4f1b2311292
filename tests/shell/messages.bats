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

# answer TEXT: what confirm does when somebody types that on a terminal.
answer() {
  script --quiet --return --command "bash -c 'source framework/shell/all.sh; confirm sure?'" /dev/null <<<"$1" >/dev/null
}

@test "usage_error: quotes words of the user as printable text, and ends with 2" {
  capture usage_error $'no \e[31moption\a'
  assert_equal "$status" 2
  [[ $messages == *': no option?' ]]
}

@test "confirm: yes is y or yes in any case; anything else is no, and so is no terminal" {
  local word
  cd "$TOOL"
  for word in y Y yes YES Yes; do
    answer "$word" || return 1
  done
  for word in '' n no yy sure 'y n'; do
    if answer "$word"; then return 1; fi
  done
  capture confirm 'sure?' <<<yes
  assert_equal "$status" 1
}

@test "put_host_in_front: of each line, also empty ones and one without its end; it stands there once" {
  output=$(printf 'one\n\nh1: two\nh1$ three\nh10: four\nlast' | put_host_in_front h1)
  assert_equal "$output" $'h1: one\nh1: \nh1: two\nh1$ three\nh1: h10: four\nh1: last'
}
