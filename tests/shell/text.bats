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

@test "printable: letters of all languages stay, what drives a terminal does not" {
  show() { printf '%b' "$1" | printable; }
  assert_equal "$(show 'für 漢字 😀 tab\there\n')" $'für 漢字 😀 tab\there'
  assert_equal "$(show 'a\033[31;1mred\033[0m\r\n')" 'ared'
  assert_equal "$(show '\033]52;c;AAAA\007')" '?]52;c;AAAA?'
  assert_equal "$(show 'a\rb\0177\0000c')" 'a?b??c'
  assert_equal "$(show '\0302\02335n \0233 \0377 \0303')" '?5n   '
  assert_equal "$(show 'exe.\0342\0200\0256gpj')" 'exe.?gpj'
  # Nothing that is left out brings together what was apart.
  assert_equal "$(show '\0302\0033\0233x')" '?x'
  assert_equal "$(LC_ALL=C show 'für')" 'für'
}

@test "make_printable, printable_redrawn" {
  assert_equal "$(make_printable $'a\nb\tc')" $'a\nb\tc'
  assert_equal "$(make_printable $'\033]0;x\007')" '?]0;x?'
  assert_equal "$(printf '\rone\033]\r2\nthree\n' | printable_redrawn | od -c)" "$(printf '\rone?]\r2\nthree\n' | od -c)"
}

@test "is_number: nothing else is computed with" {
  local text
  for text in 0 1 999999999999999999; do
    is_number "$text"
  done
  for text in '' 01 -1 +1 0x1 1.5 ' 1' $'1\n' a 'a[$(id)]' 9999999999999999999; do
    capture is_number "$text"
    assert_equal "${text@Q} $status" "${text@Q} 1"
  done
}

@test "quote_for_any_shell: on one line, without what shells disagree about" {
  assert_equal "$(quote_for_any_shell tar --create 'a b' "it's" $'x\ny' 'a!b' 'c\d' '' =ls a=b ü)" \
    "tar --create 'a b' 'it\0047s' 'x\0012y' 'a\0041b' 'c\0134d' '' '=ls' a=b '\0303\0274'"
}

@test "size_text: in the unit that people would use" {
  assert_equal "$(for bytes in 0 1023 1024 10188 10240 1048575 1048576 4310000 2147483648 5000000000000; do size_text "$bytes"; done | paste -sd ,)" \
    '0 bytes,1023 bytes,1.0 KiB,9.9 KiB,10 KiB,1023 KiB,1.0 MiB,4.1 MiB,2.0 GiB,4.5 TiB'
}

@test "count_of: one, or more" {
  assert_equal "$(count_of 0 file),$(count_of 1 file),$(count_of 12 file)" '0 files,1 file,12 files'
}

@test "duration: in the unit that people would use" {
  assert_equal "$(for seconds in 0 119 120 7199 7200 172799 172800; do duration "$seconds"; done | paste -sd ,)" \
    '0 s,119 s,2 min,119 min,2 h,47 h,2 d'
}
