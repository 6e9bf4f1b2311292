#!/usr/bin/env bats
# framework/shell/options.sh: the command line of every script.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  make_project digits
}

@test "options: short and long, with the value behind or joined" {
  touch key
  read_all -a h1,me@h2:22 --key=key -r 'a b' --project digits -b 10.0.0.1 -mlocal --workers local,1-2 -yn
  assert_equal "$HOSTS_OPTION|$KEY|$REMOTE_PATH|$PROJECT_NAME|$BROKER" "h1,me@h2:22|$PWD/key|a b|digits|10.0.0.1"
  assert_equal "$MASTER_HOST|${WORKER_HOSTS[*]}|$ASSUME_YES|$DRY_RUN|$WAIT" '0|0 1 2|yes|yes|'
}

@test "options: each long form is its short one" {
  touch key
  parse_infrainit_options --hosts=h1 --key=key --remote-path=x --project=digits --broker=b --master=1 --workers=1 --from-config --yes --dry-run --recover --wait --verbose
  assert_equal "${PROBLEMS[*]}" ''
  assert_equal "${OPTIONS[HOSTS]} ${OPTIONS[KEY]} ${OPTIONS[REMOTE_PATH]} ${OPTIONS[PROJECT]} ${OPTIONS[BROKER]} ${OPTIONS[MASTER]} ${OPTIONS[WORKERS]}" \
    'h1 key x digits b 1 1'
  assert_equal "$FROM_CONFIG $ASSUME_YES $DRY_RUN $RECOVER $WAIT $VERBOSE" "yes yes yes yes yes yes"
}

@test "options: only one of --failed, --outdated and --fresh" {
  local option
  for option in --failed --outdated --fresh; do
    read_all -d digits -m local "$option" "$option"
    assert_equal "$AGAIN" "$option"
  done
  capture read_all -d digits -m local --failed --fresh
  assert_equal "$status" 2
  assert_part '--failed and --fresh: give only one of them'
  capture read_all -d digits -m local --failled
  assert_part '--failled is no option; the nearest is --failed'
}

@test "options: defaults" {
  read_all -d digits -m local
  assert_equal "$REMOTE_PATH|$FLOWER_PORT|$BROKER_PORT|$SLOTS|$KEY" 'celery_tasks|5555|5671||'
}

@test "options: each wrong one is reported, and the exit code is 2" {
  capture read_all --mastre local -x stray -a
  assert_equal "$status" 2
  assert_equal "$output" ''
  assert_part '--mastre is no option; the nearest is --master'
  assert_part '-x is no option'
  assert_part 'stray belongs to no option'
  assert_part '-a needs a value'
}

@test "options: given twice" {
  capture read_all -d digits -m local -m local
  assert_equal "$status" 2
  assert_part '-m is given twice'
}

@test "options: what is missing or contradictory" {
  capture read_all -d digits
  assert_part 'neither -m nor -w is given'
  capture read_all -d digits -w local
  assert_part '-w without -m and -b'
  capture read_all -m local
  assert_part '-d is missing'
  capture read_all -d digits -m 1,2 -a h1,h2
  assert_part '-m names one host'
  capture read_all -d digits -m local -b broker:5671
  assert_part '-b: broker:5671 is no name or address'
  assert_equal "$status" 2
}

@test "options: everything that is wrong is named at once" {
  capture read_all -a h1,h1 -m 7 -w 3-1 -d nowhere -i /no/key -r /absolute
  assert_equal "$status" 2
  assert_equal "$(grep -c ^error: <<<"$messages")" 6
}

# parse ARGUMENT…: parse_options with one option of each kind, and then what is in OPTIONS.
parse() {
  parse_options -o,--output-file= -a,--all -n,--dry-run --verbose -- "$@"
  printf '%s|' "${OPTIONS[OUTPUT_FILE]:-}" "${OPTIONS[ALL]:-}" "$DRY_RUN" "$VERBOSE"
}

@test "parse_options: accepts every form of a value, and several flags in one word" {
  local form
  for form in -o '-ox y' --output-file '--output-file=x y'; do
    if [[ $form == *x* ]]; then
      capture parse "$form" -an
    else
      capture parse "$form" 'x y' -an
    fi
    assert_equal "$status $output" '0 x y|yes|yes||'
  done
  capture parse --verbose -a --all
  assert_equal "$status $output" '0 |yes||yes|'
}

@test "parse_options: reports everything that is wrong and ends the program with 2" {
  capture parse --al -x '' word -o -o one -o two --output-file
  assert_equal "$status $output" '2 '
  assert_equal "$messages" "error: --al is no option; the nearest is --all, see $0 --help
error: -x is no option; see $0 --help
error: '' belongs to no option; see $0 --help
error: word belongs to no option; see $0 --help
error: -o needs a value
error: -o is given twice
error: --output-file needs a value"
}

@test "parse_options: the values of an option that may be repeated are lines" {
  capture bash -c 'source "$1/framework/shell/all.sh"; parse_options -x,--ex=+ --one= -- "${@:2}"; printf "%s\n" "${OPTIONS[EX]}"' \
    test "$TOOL" -x 'a b' --ex=c --one d -x e
  assert_equal "$status $output" '0 a b
c
e'
}

@test "parse_options: --help is shown even if other options are wrong" {
  capture bash -c 'source "$1/framework/shell/all.sh"; show_help() { echo the help; }; parse_options -a,--all -- --wrong -ah' test "$TOOL"
  assert_equal "$status $output$messages" '0 the help'
}
