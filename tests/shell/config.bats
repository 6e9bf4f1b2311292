#!/usr/bin/env bats
# framework/shell/config.sh: where settings come from, what is wrong with them, and how config.sh is written.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  make_project digits
}

print_all() {
  read_all "$@"
  declare -p HOSTS_OPTION KEY REMOTE_PATH PROJECT PROJECT_NAME BROKER MASTER WORKERS SLOTS FLOWER_PORT BROKER_PORT
}

write_then_read() {
  read_all "$@"
  write_config
}

@test "config.sh: any character survives, in every setting" {
  local value=$'a b\'"$HOME`id`*\\ü\nsecond line!'
  mkdir -p "$BATS_TEST_TMPDIR/$value"
  cp "$TOOL/tasks/digits"/* "$BATS_TEST_TMPDIR/$value"
  touch "$BATS_TEST_TMPDIR/$value/key"
  ln -s "$BATS_TEST_TMPDIR/$value" "$BATS_TEST_TMPDIR/project"
  capture write_then_read -a h1 -i "$BATS_TEST_TMPDIR/$value/key" -r "it's \$HOME & \\*" -d "$BATS_TEST_TMPDIR/project" -m 1
  assert_equal "$messages|$status|$(stat -c %a "$CONFIG")" '|0|644'
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

# keep OPTION…: as infrainit.sh does it with -f; shows what it says.
keep() {
  read_all -f "$@"
  keep_options
}

@test "config.sh: with -f, options that change something are kept, and all else in it stays" {
  cat >"$TOOL/config.sh" <<'END'
# mine
  MASTER=1   # the big one
WORKERS='1'; SLOTS=2
HOSTS=h1,h2
PROJECT=digits # comes first
MULTI='two
lines'; unset MULTI
END
  local before
  before=$(<"$TOOL/config.sh")
  capture keep -m 1 -d digits
  assert_equal "$messages|$status|$(<"$TOOL/config.sh")" "|0|$before"
  capture keep -m 2 -w local,2 -d digits
  assert_equal "$messages" $'config.sh: MASTER=2 (was 1)\nconfig.sh: WORKERS=local,2 (was 1)'
  assert_equal "$(diff <(echo "$before") "$TOOL/config.sh")" "2c2
<   MASTER=1   # the big one
---
>   MASTER='2'   # the big one
7a8
> WORKERS='local,2'"
  capture keep
  assert_equal "$messages|$status" '|0'
  read_all -f
  assert_equal "$MASTER $WORKERS $SLOTS $HOSTS_OPTION" '2 local,2 2 h1,h2'
  read_all -d digits -m 2 -w 2 -a h1,h2
  capture keep_options # without -f, config.sh was written before
  assert_equal "$messages" ''
}

@test "config.sh: what was given for a project goes with it" {
  make_project other
  mkdir repository
  touch repository/sweep.yaml
  printf 'MASTER=local\nPROJECT=digits\nRUN_CAP=12\n' >"$TOOL/config.sh"
  capture keep -d digits
  assert_equal "$messages" ''
  read_all -f -d digits
  assert_equal "$RUN_CAP" 12
  RUN_CAP=''
  capture keep -d other --run-cap 3
  assert_equal "$messages" $'config.sh: PROJECT=other (was digits)\nconfig.sh: RUN_CAP=3 (was 12)'
  printf 'MASTER=local\nPROJECT=%s\nROOT=%s\nRUN_CAP=12\n' "$PWD/repository/sweep.yaml" "$PWD/repository" >"$TOOL/config.sh"
  capture keep -d other
  assert_equal "$status" 0
  assert_line "config.sh: RUN_CAP='' (was 12)"
  assert_equal "$(bash -c 'source "$1"; echo "$PROJECT $ROOT|$RUN_CAP"' bash "$TOOL/config.sh")" 'other |'
}

@test "config.sh: a dry run keeps no option; a file that computes its values is left, with a warning" {
  printf 'MASTER=local\nPROJECT=digits\n' >"$TOOL/config.sh"
  capture keep -w local -n
  assert_line "config.sh: WORKERS=local (was empty)"
  assert_equal "$(<"$TOOL/config.sh")" $'MASTER=local\nPROJECT=digits'
  printf 'PROJECT=digits MASTER=local\nreadonly MASTER WORKERS=local\n' >"$TOOL/config.sh"
  DRY_RUN=''
  capture keep -w local -m local
  assert_equal "$messages" ''
  printf 'HOSTS=h1 PROJECT=digits MASTER=local\nreadonly MASTER\n' >"$TOOL/config.sh"
  capture keep -m 1
  assert_part "config.sh cannot be changed line by line; to keep this option, put MASTER=1 into it"
}

@test "config.sh: the path of a hosts file is absolute; --tolerate is a number or all" {
  echo h1 >hosts
  write_then_read -a @hosts -d digits -m 1 --tolerate all
  assert_equal "$(bash -c 'source "$1"; echo "$HOSTS $TOLERATE"' bash "$TOOL/config.sh")" "@$PWD/hosts all"
  capture read_all -f --tolerate some
  assert_equal "$status" 2
  assert_part 'error: --tolerate: some is neither a number of hosts nor all'
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

@test "config.sh: refused if it fails, sets an array, or has an invalid number" {
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
  echo 'FLOWER_PORT=7000 BROKER_PORT=7000 METRICS_PORT=7000' >"$TOOL/config.sh"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'FLOWER_PORT and BROKER_PORT in config.sh are the same'
  assert_part 'FLOWER_PORT and METRICS_PORT in config.sh are the same'
  assert_part 'BROKER_PORT and METRICS_PORT in config.sh are the same'
  echo 'SLOTS=many FLOWER_PORT=0 METRICS_PORT=x' >"$TOOL/config.sh"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'METRICS_PORT in config.sh must be a whole number from 1 to 65535, not x'
  assert_part 'SLOTS in config.sh must be a whole number from 1 to 100000, not many'
  assert_part 'FLOWER_PORT in config.sh must be'
}

@test "config.sh: runs in a shell of its own" {
  printf 'MASTER=local; PROJECT=digits; VERBOSE_=1; cd /; PATH=/nowhere; IFS=SET; unset VERBOSE_; exec 2>&1; echo noise\n' >"$TOOL/config.sh"
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

@test "check_settings: records problems and changes nothing else" {
  state() { declare -p MASTER_HOST WORKER_HOSTS HOSTS HOST_NAMES SSH_DESTINATIONS SSH_PORTS PROJECT_PATH PROJECT_NAME OPTIONS; }
  parse_infrainit_options -a h1,h2 -d digits -m 1 -w local,2 -r /x -i /no/key
  collect_settings
  resolve_settings
  assert_equal "$MASTER_HOST|${WORKER_HOSTS[*]}|$PROJECT_NAME" '1|0 2|digits'
  local before
  before=$(state)
  check_settings
  assert_equal "${#PROBLEMS[@]}" 2
  assert_equal "$(state)" "$before"
}
