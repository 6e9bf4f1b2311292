#!/usr/bin/env bats
# framework/shell/text.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317,SC1003 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

@test "quote: every shell reads the same words from what it prints" {
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

@test "nearest: the candidate with the fewest changes; the first one of several" {
  assert_equal "$(nearest WORKER WORKERS MASTER)" WORKERS
  assert_equal "$(nearest --wiat --fail --wait --help)" --wait
  assert_equal "$(nearest ab ax bb)" ax
}

@test "edit_distance: letters added, removed and replaced" {
  assert_equal "$(edit_distance '' abc) $(edit_distance abc '') $(edit_distance kitten sitting) $(edit_distance abc abc)" '3 3 3 0'
}

@test "is_one_of, join_by_comma, absolute_path" {
  is_one_of 'a b' x 'a b'
  ! is_one_of a 'a b' || return 1
  ! is_one_of '*' a b || return 1
  assert_equal "$(join_by_comma 'a b' c) $(join_by_comma)" 'a b,c '
  assert_equal "$(absolute_path a/b /x) $(absolute_path /a /x)" '/x/a/b /a'
}
