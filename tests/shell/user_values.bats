#!/usr/bin/env bats
# framework/shell/user_values.sh: values for tasks, from the environment and from files here to worker hosts.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

SECRET=$'it\'s "so"\nhidden=$HOME `id` \\ \n'

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567 REMOTE_PATH='my tasks' PROJECT_NAME="a project's"
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  FACTS=([0.home]="$HOME" [1.home]="$HOME/far home")
  stub ssh 'exec sh -c "${@: -1}"'
  PROJECT_PATH="$BATS_TEST_TMPDIR/p q"
  mkdir -p "$PROJECT_PATH" "$HOME/far home"
  DIRECTORY="$HOME/far home/my tasks/secrets/infra-01234567/runner/a project's"
}

# collect KEY=LINE…: what the project needs, then the values as output, each ended by a NUL that is shown as |.
collect() {
  local need
  NEEDS=()
  for need in "$@"; do
    NEEDS[${need%%=*}]+=${NEEDS[${need%%=*}]:+$'\n'}${need#*=}
  done
  collect_user_values
  print_user_values | tr '\0' '|'
  for need in "${!USER_FILES[@]}"; do
    printf '%s in %s|' "$need" "${USER_FILES[$need]}"
  done
}

# given NAME=value… -- KEY=LINE…: collect in a script that was started with these variables.
given() {
  local words=()
  while [[ $1 != -- ]]; do
    words+=("$1")
    shift
  done
  {
    printf 'set -euo pipefail\nsource %q\n' "$TOOL/framework/shell/all.sh"
    printf 'PROJECT_PATH=%q SWEEP_FILE=%q\n' "$PROJECT_PATH" "${SWEEP_FILE:-}"
    declare -f collect
    printf '%s\n' 'collect "$@"'
  } >script
  capture env "${words[@]}" bash script "${@:2}"
}

# write FILE MODE TEXT: a file in the home directory.
write() {
  printf %b "$3" >"$HOME/$1"
  chmod "$2" "$HOME/$1"
}

@test "collect_user_values: of the environment, whatever it is called and holds" {
  given "TOKEN=$SECRET" HOSTS=mine PROJECT_PATH=too A= "B=$(printf '\377')" -- \
    'secret=TOKEN 1:1' $'environment=HOSTS 2:1\nPROJECT_PATH 2:2\nA 2:3' 'environment=B 2:4'
  assert_equal "$status|$messages" '0|'
  assert_equal "$output" "HOSTS=mine|PROJECT_PATH=too|A=|B=$(printf '\377')|TOKEN=$SECRET|"
}

@test "collect_user_values: of files, without the line ends at their end; a file stays one" {
  write 'my token' 600 'a\nb = "c"\r\n\n'
  write key 400 'k\0\n'
  given -- 'secret_value=T 1:1 ~/my token' "secret_value=U 1:2 $HOME/my token" 'secret_file=K 1:3 ~/key'
  assert_equal "$status|$messages" '0|'
  assert_equal "$output" $'T=a\nb = "c"|U=a\nb = "c"|K=/infrainit/secrets/files/K|'"K in $HOME/key|"
}

@test "collect_user_values: all that is missing is said at once, with its place, and ends with 2" {
  local file="$PROJECT_PATH/project.yml"
  given EMPTY= "TOKEN=$SECRET" -- 'environment=WORD 2:15' $'secret=NONE 3:11\nEMPTY 3:17\nTOKEN 3:20'
  assert_equal "$status|$output" '2|'
  assert_equal "$messages" "error: $file:2:15: environment: WORD is not set here; export it, or write its value
error: $file:3:11: secrets: NONE is not set here; export it, or name a file, as in NONE: {file: ~/.token}
error: $file:3:17: secrets: EMPTY is empty here; export its value"
  SWEEP_FILE="$PROJECT_PATH/wide.yaml" given -- 'environment=WORD 2:15'
  assert_part "error: $PROJECT_PATH/wide.yaml:2:15: environment: WORD is not set here"
}

@test "collect_user_values: files that are refused" {
  local line
  write open 644 hidden
  write empty 600 '\r\n\n'
  write nul 600 'hid\0den'
  write inside 600 hidden
  mv "$HOME/inside" "$PROJECT_PATH/inside"
  ln -s "$PROJECT_PATH/inside" "$HOME/inside"
  head --bytes=100001 /dev/zero | tr '\0' x >"$HOME/long"
  chmod 600 "$HOME/long"
  given -- $'secret_value=A 1:1 ~/none\nB 1:2 ~/open\nC 1:3 ~/empty\nD 1:4 ~/nul\nE 1:5 ~/inside\nF 1:6 ~/long\nG 1:7 ~/'
  assert_equal "$status" 2
  refute_part hidden
  assert_equal "$messages" "$(
    while IFS='' read -r line; do
      printf 'error: %s/project.yml:%s\n' "$PROJECT_PATH" "$line"
    done <<'END'
1:1: secrets: A is in ~/none, which cannot be read: No such file or directory; correct it
1:2: secrets: B is in ~/open, which others may read (mode 644); chmod 600 ~/open
1:3: secrets: C is in ~/empty, which is empty; write it there
1:4: secrets: D is in ~/nul, which has NUL characters, as no variable can; add as: file
1:5: secrets: E is in ~/inside, in the project, which goes to every host; put it elsewhere
1:6: secrets: F is in ~/long, which is longer than 100000 bytes; add as: file
1:7: secrets: G is in ~/, which is no regular file; correct it
END
  )"
}

@test "send_user_values: for the user alone, from stdin; what the project does not want any more goes" {
  local host
  umask 000
  write key 600 'k\0hidden\n'
  USER_VALUES=("TOKEN=$SECRET" 'K=/infrainit/secrets/files/K') USER_FILES=([K]="$HOME/key")
  mkdir -p "$DIRECTORY/files"
  touch "$DIRECTORY/files/OLD"
  VERBOSE=yes
  capture send_user_values 1
  assert_equal "$status" 0
  assert_line 'far: sending values for tasks: TOKEN, K'
  refute_part hidden
  [[ $(<"$CALLS") != *hidden* ]]
  cmp "$HOME/key" "$DIRECTORY/files/K"
  printf 'TOKEN=%s\0K=/infrainit/secrets/files/K\0' "$SECRET" | cmp - "$DIRECTORY/values"
  assert_equal "$(cd "$HOME/far home/my tasks" && find . -mindepth 1 -printf '%m %P\n' | sort)" \
    "600 secrets/infra-01234567/runner/a project's/files/K
600 secrets/infra-01234567/runner/a project's/values
700 secrets
700 secrets/infra-01234567
700 secrets/infra-01234567/runner
700 secrets/infra-01234567/runner/a project's
700 secrets/infra-01234567/runner/a project's/files"
  USER_VALUES=() USER_FILES=()
  capture send_user_values 1
  assert_equal "$status|$(cd "$DIRECTORY" && find . -type f -printf '%P %s\n')" '0|values 0'
  refute_part sending
}

@test "send_user_values: a dry run shows the commands, and nothing else" {
  write key 600 hidden
  USER_VALUES=("TOKEN=$SECRET") USER_FILES=([K]="$HOME/key") DRY_RUN=yes
  capture send_user_values 1
  assert_equal "$status" 0
  assert_part 'umask 077'
  refute_part hidden
  assert_equal "$(ls "$HOME/far home")" ''
}

@test "send_user_values: a host that does not take them is a failure" {
  USER_VALUES=("TOKEN=$SECRET")
  stub ssh 'exit 255'
  capture send_user_values 1
  assert_equal "$status" 255
}

@test "forget_other_values: those of other projects go, whatever they are called" {
  mkdir -p "$DIRECTORY" "${DIRECTORY%/*}/other" "${DIRECTORY%/*}/a project?s" "${DIRECTORY%/*}/.hidden one"
  forget_other_values 1
  assert_equal "$(ls -A "${DIRECTORY%/*}")" "a project's"
  rm -r "${DIRECTORY%/*}"
  forget_other_values 1
}

@test "update_user_values: only where a runner can see them; values that it cannot see are an error before that" {
  capture update_user_values 1
  assert_equal "$status|$(ls "$HOME/far home")" '0|'
  capture check_values_place 1
  assert_equal "$status" 0
  USER_VALUES=("TOKEN=$SECRET")
  capture check_values_place 1
  assert_equal "$status" 1
  assert_part "far: an earlier version of this tool has started its runner, which cannot get TOKEN: $(as_typed infrainit.sh -f)"
  mkdir -p "$DIRECTORY"
  capture check_values_place 1
  assert_equal "$status" 0
  update_user_values 1
  printf 'TOKEN=%s\0' "$SECRET" | cmp - "$DIRECTORY/values"
  stub ssh 'exit 255'
  capture update_user_values 1
  assert_equal "$status" 255
}
