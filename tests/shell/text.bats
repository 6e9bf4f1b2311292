#!/usr/bin/env bats
# framework/shell/text.sh

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
