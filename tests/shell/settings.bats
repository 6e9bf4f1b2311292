#!/usr/bin/env bats
# framework/shell/settings.sh: options, config.sh, defaults, and what is said about wrong ones.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  make_project digits
}

# read_all OPTION…: the settings as infrainit.sh comes to them.
read_all() {
  parse_options "$@"
  stop_on_problems 2
  collect_settings
  check_settings
}

print_all() {
  read_all "$@"
  declare -p HOSTS_OPTION KEY REMOTE_PATH PROJECT PROJECT_NAME BROKER MASTER WORKERS SLOTS FLOWER_PORT BROKER_PORT
}

write_then_read() {
  read_all "$@"
  write_config
}

@test "options: short and long, with the value behind or joined" {
  touch key
  read_all -a h1,me@h2:22 --key=key -r 'a b' --project digits -b 10.0.0.1 -mlocal --workers local,1-2 -yn
  assert_equal "$HOSTS_OPTION|$KEY|$REMOTE_PATH|$PROJECT_NAME|$BROKER" "h1,me@h2:22|$PWD/key|a b|digits|10.0.0.1"
  assert_equal "$MASTER_HOST|${WORKER_HOSTS[*]}|$ASSUME_YES|$DRY_RUN|$WAIT" '0|0 1 2|yes|yes|'
}

@test "options: each long form is its short one" {
  touch key
  parse_options --hosts=h1 --key=key --remote-path=x --project=digits --broker=b --master=1 --workers=1 --from-config --yes --dry-run --recover --wait --verbose
  assert_equal "${PROBLEMS[*]}" ''
  assert_equal "${GIVEN[HOSTS]} ${GIVEN[KEY]} ${GIVEN[REMOTE_PATH]} ${GIVEN[PROJECT]} ${GIVEN[BROKER]} ${GIVEN[MASTER]} ${GIVEN[WORKERS]}" \
    'h1 key x digits b 1 1'
  assert_equal "$FROM_CONFIG $ASSUME_YES $DRY_RUN $RECOVER $WAIT $VERBOSE" "yes yes yes yes yes yes"
}

@test "options: one of what is run again" {
  local option
  for option in --failed --outdated --fresh; do
    AGAIN='' GIVEN=()
    read_all -d digits -m local "$option" "$option"
    assert_equal "$AGAIN" "$option"
  done
  AGAIN='' GIVEN=()
  capture read_all -d digits -m local --failed --fresh
  assert_equal "$status" 2
  assert_part '--failed and --fresh: say one of them'
  capture read_all -d digits -m local --failled
  assert_part '--failled is no option; the nearest is --failed'
}

@test "options: defaults" {
  read_all -d digits -m local
  assert_equal "$REMOTE_PATH|$FLOWER_PORT|$BROKER_PORT|$SLOTS|$KEY" 'celery_tasks|5555|5671||'
}

@test "options: each wrong one has its line, and the exit code is 2" {
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

@test "project: a name under tasks/, or a path" {
  read_all -d digits -m local
  assert_equal "$PROJECT_PATH" "$TOOL/tasks/digits"
  mkdir -p 'my project'
  cp "$TOOL/tasks/digits"/* 'my project'
  GIVEN=()
  read_all -d 'my project' -m local
  assert_equal "$PROJECT_PATH|$PROJECT_NAME" "$PWD/my project|my project"
}

@test "project: this directory" {
  cd "$TOOL/tasks/digits"
  read_all -d . -m local
  assert_equal "$PROJECT_PATH|$PROJECT_NAME" "$TOOL/tasks/digits|digits"
}

@test "project: without its files" {
  rm "$TOOL/tasks/digits/parameters.yml"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'has no readable parameters.yml'
}

@test "project: a W&B sweep file stands for both of its files" {
  rm "$TOOL/tasks/digits/project.yml" "$TOOL/tasks/digits/parameters.yml"
  echo 'program: train.py' >"$TOOL/tasks/digits/sweep.yaml"
  capture read_all -d digits -m local
  assert_equal "$status" 0
  rm "$TOOL/tasks/digits/sweep.yaml"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'has no readable project.yml'
  assert_part 'has no readable parameters.yml'
}

@test "config.sh: any character survives, in every setting" {
  local value=$'a b\'"$HOME`id`*\\ü\nsecond line!'
  mkdir -p "$BATS_TEST_TMPDIR/$value"
  cp "$TOOL/tasks/digits"/* "$BATS_TEST_TMPDIR/$value"
  touch "$BATS_TEST_TMPDIR/$value/key"
  ln -s "$BATS_TEST_TMPDIR/$value" "$BATS_TEST_TMPDIR/project"
  capture write_then_read -a h1 -i "$BATS_TEST_TMPDIR/$value/key" -r "it's \$HOME & \\*" -d "$BATS_TEST_TMPDIR/project" -m 1
  assert_equal "$messages|$status" '|0'
  read_all -f
  assert_equal "$KEY" "$BATS_TEST_TMPDIR/$value/key"
  assert_equal "$REMOTE_PATH" "it's \$HOME & \\*"
  assert_equal "$HOSTS_OPTION $MASTER" 'h1 1'
}

@test "config.sh: keeps its comments, holds only the options given, and loads in any bash" {
  write_then_read -d digits -m local
  assert_equal "$(grep -c '^#' "$TOOL/config.sh")" "$(grep -c '^#' "$TOOL/config.sh.example")"
  bash -uc 'source "$1" && [[ $MASTER == local && -z $HOSTS && -z $REMOTE_PATH ]]' bash "$TOOL/config.sh"
}

@test "config.sh: what has no option survives a rewrite" {
  printf 'SLOTS=3\nWORKER_IMAGE="my image"\nMASTER=7\n' >"$TOOL/config.sh"
  write_then_read -d digits -m local
  capture print_all -f
  assert_line 'declare -- SLOTS="3"'
  assert_line 'declare -- MASTER="local"'
  assert_equal "$(bash -c 'source "$1"; echo "$WORKER_IMAGE"' bash "$TOOL/config.sh")" 'my image'
}

@test "config.sh: the command line wins" {
  printf 'MASTER=local\nWORKERS=1\nHOSTS=h1\nPROJECT=digits\n' >"$TOOL/config.sh"
  read_all -f -w local
  assert_equal "$MASTER|$WORKERS|$HOSTS_OPTION" 'local|local|h1'
}

@test "config.sh: its options count only with -f" {
  printf 'MASTER=local\nSLOTS=5\n' >"$TOOL/config.sh"
  capture read_all -d digits -w local
  assert_part '-w without -m and -b'
}

@test "config.sh: paths in it start in the checkout" {
  mkdir -p "$TOOL/mine"
  cp "$TOOL/tasks/digits"/* "$TOOL/mine"
  printf 'MASTER=local\nPROJECT=mine\n' >"$TOOL/config.sh"
  cd /
  read_all -f
  assert_equal "$PROJECT_PATH" "$TOOL/mine"
}

@test "config.sh: a wrong name is refused, the nearest one named" {
  echo 'WORKER=1' >"$TOOL/config.sh"
  capture read_all -f
  assert_equal "$status" 2
  assert_part 'WORKER is no setting; the nearest is WORKERS'
}

@test "config.sh: refused if it fails, or sets an array, or a number that is none" {
  echo 'HOSTS=(a b)' >"$TOOL/config.sh"
  capture read_all -f
  assert_equal "$status" 2
  assert_part 'HOSTS must be one value'
  echo 'HOSTS="a' >"$TOOL/config.sh"
  capture read_all -f
  assert_equal "$status" 2
  assert_part 'unexpected EOF'
  echo 'exit 0' >"$TOOL/config.sh"
  capture read_all -f
  assert_equal "$status" 2
  assert_part 'could not be read to its end'
  echo 'SLOTS=many FLOWER_PORT=0' >"$TOOL/config.sh"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'SLOTS in config.sh must be a whole number from 1 to 100000, not many'
  assert_part 'FLOWER_PORT in config.sh must be'
}

@test "config.sh: runs in a shell of its own" {
  printf 'MASTER=local; PROJECT=digits; VERBOSE_=1; cd /; PATH=/nowhere; unset VERBOSE_; exec 2>&1; echo noise\n' >"$TOOL/config.sh"
  local here=$PWD
  capture print_all -f
  assert_equal "$messages|$status" 'noise|0'
  assert_equal "$(head -n 1 <<<"$output")" 'declare -- HOSTS_OPTION=""'
  assert_equal "$PWD" "$here"
}

@test "config.sh: -f without one" {
  capture read_all -f
  assert_equal "$status" 2
  assert_part 'there is no'
}
