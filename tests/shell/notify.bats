#!/usr/bin/env bats
# framework/shell/notify.sh: values for the master, from the environment and from files here.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  PROJECT_PATH="$BATS_TEST_TMPDIR/p"
  FILE="$TOOL/.infra/secrets/master/notify"
  mkdir -p "$PROJECT_PATH" "${FILE%/*}"
}

# given NAME=value… -- KEY=LINE…: collects what the project needs, in a script that was started with these variables.
given() {
  local words=()
  while [[ $1 != -- ]]; do
    words+=("$1")
    shift
  done
  {
    printf 'set -euo pipefail\nsource %q\n' "$TOOL/framework/shell/all.sh"
    printf 'PROJECT_PATH=%q MASTER=%q DRY_RUN=%q\n' "$PROJECT_PATH" "${ON_MASTER-1}" "${AS_DRY_RUN:-}"
    printf '%s\n' 'for need in "$@"; do NEEDS[${need%%=*}]=${need#*=}; done; collect_user_values; collect_notify_values' 'print_user_values'
  } >script
  capture env "${words[@]}" bash script "${@:2}"
}

@test "values are in a file of the master's secrets, which others cannot read, and tasks do not get them" {
  printf 's3cret\n' >"$HOME/.token"
  chmod 600 "$HOME/.token"
  given $'HOOK=https://x\n y' A=a -- environment='A 1:1' notify='HOOK 2:9' notify_value='TOKEN 2:9 ~/.token'
  assert_equal "$status" 0
  assert_equal "$(tr '\0' '|' <"$FILE")" $'HOOK=https://x\n y|TOKEN=s3cret|'
  assert_equal "$(stat --format=%a "$FILE")" 600
  assert_equal "$(tr '\0' '|' <"$BATS_TEST_TMPDIR/stdout")" 'A=a|'
  given A=a -- environment='A 1:1'
  [[ ! -e $FILE ]]
}

@test "a value that is missing or empty is named with its place" {
  given HOOK= -- notify='HOOK 2:9'
  assert_equal "$status" 2
  assert_part "$PROJECT_PATH/project.yml:2:9: notify: HOOK is not set here; export it, or name a file in secrets:, as in HOOK: {file: ~/.token}"
  [[ ! -e $FILE ]]
}

@test "a dry run and workers that join change nothing" {
  printf old >"$FILE"
  AS_DRY_RUN=yes given HOOK=x -- notify='HOOK 2:9'
  ON_MASTER='' given HOOK=x --
  assert_equal "$(<"$FILE")" old
}
