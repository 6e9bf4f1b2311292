#!/usr/bin/env bats
# framework/shell/tolerance.sh: hosts that are left out, and those that cannot be.

# shellcheck disable=SC2030,SC2031,SC2034,SC2154,SC2317 # names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
  three_hosts
  TOLERATE=1
}

# check_all: as infrainit.sh does it; shows what comes of it.
check_all() {
  check_hosts 0 1 2
  leave_out_unfit
  printf 'workers: %s, left out: %s\n' "${WORKER_HOSTS[*]}" "${LEFT_OUT[*]}"
  say_left_out
  stop_on_problems 1
}

@test "a worker host with problems is left out, and named with the first of them" {
  set_fact 2 docker denied
  set_fact 2 skew 400
  capture check_all
  assert_equal "$status" 0
  assert_line 'workers: 0 1, left out: 2'
  assert_part 'warning: h2: left out: the user me may not use Docker; let an administrator'
  assert_part 'h2               left out: the user me may not use Docker'
  assert_part 'when they are fine again'
}

@test "one that does not answer is left out" {
  set_fact 2 unreachable 'it does not answer'
  TOLERATE=all
  capture check_all
  assert_equal "$status" 0
  assert_line 'warning: h2: left out: it does not answer'
}

@test "the master host, this machine, more than N and the last worker cannot be left out; all problems are then shown" {
  local unfit
  for unfit in 0 1 '1 2'; do
    three_hosts
    for host in $unfit; do set_fact "$host" unreachable 'it does not answer'; done
    capture check_all
    assert_equal "$unfit $status" "$unfit 1"
    assert_part 'it does not answer'
    assert_part 'error: --tolerate 1 is not enough: this machine, the master host and a worker host must be fine in any case'
  done
  three_hosts
  WORKER_HOSTS=(2)
  set_fact 2 unreachable 'it does not answer'
  capture check_all
  assert_equal "$status" 1
  WORKER_HOSTS=(0 1 2) TOLERATE=''
  capture check_all
  assert_equal "$status" 1
  refute_part '--tolerate'
}

@test "an old master host that answers is not left out, as its master has to end" {
  PRESENT_MASTER_HOST=2
  set_fact 2 skew 400
  capture check_all
  assert_equal "$status" 1
  set_fact 2 unreachable 'it does not answer'
  capture check_all
  assert_equal "$status" 0
}

# try_all FAILING…: starts something on all hosts that fails on these.
try_all() {
  FAILING=" $* "
  start_it() {
    [[ $FAILING != *" $1 "* ]] || die "${HOST_NAMES[$1]}: no room"
  }
  try_each_host start_it 0 1 2
  printf 'workers: %s\n' "${WORKER_HOSTS[*]}"
  try_each_host start_it "${WORKER_HOSTS[@]}"
}

@test "a host where a later step fails is left out with the reason; the steps after it do without" {
  capture try_all 2
  assert_equal "$status" 0
  assert_line 'workers: 0 1'
  assert_line 'warning: h2: left out: start it failed: error: h2: no room'
  capture try_all 1
  assert_equal "$status" 1
  assert_line 'h1: start it failed'
  TOLERATE=''
  capture try_all 2
  assert_equal "$status" 1
}

@test "workers that have ended are left out, then those that do not answer" {
  stub docker 'exit 0'
  worker_stays_up() { (($1 != 2)) || exit 1; }
  ask_master_for_workers() { true; }
  silent() {
    leave_out_silent
    printf 'workers: %s\n' "${WORKER_HOSTS[*]}"
  }
  TOLERATE=2
  capture silent
  assert_line 'workers: 0 1'
  assert_part 'h2: left out: its worker does not answer; see docker logs infra-00000001-worker'
  worker_stays_up() { true; }
  ask_master_for_workers() { (($2 != 2)); }
  capture silent
  assert_line 'workers: 0 1'
  ask_master_for_workers() { (($2 != 1)); }
  capture silent
  assert_equal "$status" 1
}

@test "hosts that are left out keep their access; the exit code says that there are some" {
  assert_equal "$(code_with_left_out 0) $(code_with_left_out 1)" '0 1'
  WORKER_HOSTS=(1) MASTER=1 BROKER=''
  is_reached_from_outside && return 1
  LEFT_OUT=(2)
  assert_equal "$(workers_with_access | paste -sd ' ')" 'h1 h2'
  is_reached_from_outside
  if knows_all_workers; then return 1; fi
  assert_equal "$(code_with_left_out 0) $(code_with_left_out 1)" '3 1'
}
