#!/usr/bin/env bats
# framework/shell/roles.sh: which host does what.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

@test "numbers and ranges" {
  local found=()
  parse_hosts h1,h2,h3,h4
  parse_host_numbers -w local,3-4,1 found
  assert_equal "${found[*]}|${#PROBLEMS[@]}" '0 3 4 1|0'
}

@test "asked are this machine and the hosts with a role; the others of -a are named" {
  parse_hosts h1,h2,h3,h4
  MASTER=3 MASTER_HOST=3 WORKER_HOSTS=(1) PRESENT_HOSTS=(0 4)
  choose_asked_hosts
  assert_equal "${ASKED_HOSTS[*]}" '0 1 3'
  capture say_unused_hosts
  assert_equal "$messages" 'neither -m nor -w names them, so they are not asked: h2'
  MASTER='' # they join the master on 3, which is asked for itself
  choose_asked_hosts
  assert_equal "${ASKED_HOSTS[*]}" '0 1'
}

# choose_with_labels LABELS OF_1 OF_2 OF_3: workers on three hosts with these labels.
choose_with_labels() {
  parse_hosts h1,h2,h3
  WORKERS=1-3 WORKER_HOSTS=(1 2 3)
  NEEDS=([label]=$(tr ' ' '\n' <<<"$1"))
  HOST_SETTINGS=(["1 labels"]=$2 ["2 labels"]=$3 ["3 labels"]=$4)
  choose_labelled_hosts
  printf 'workers: %s\nproblem: %s\n' "${WORKER_HOSTS[*]}" "${PROBLEMS[*]}"
}

@test "labels that the project asks for: hosts that lack one get no worker; refused if none is left" {
  capture choose_with_labels 'a100 big' big,a100,x a100 big
  assert_line 'workers: 1'
  assert_line 'problem: '
  assert_line 'without the labels that the project asks for (a100 big), so no worker there: h2 h3'
  capture choose_with_labels a10 a100 xa10 a10,
  assert_line 'workers: 3'
  capture choose_with_labels a10 '' '' ''
  assert_part 'problem: no host of -w has the labels that the project asks for (a10); give them labels in the hosts file of -a'
  NEEDS=()
  capture choose_with_labels '' '' '' ''
  assert_line 'workers: 1 2 3'
}

@test "numbers and ranges that are wrong" {
  local wrong found
  parse_hosts h1,h2,h3
  for wrong in 0 4 1,1 1-2,2 3-2 1- -1 x '' 1,,2 1-99999 9999999999 local,local; do
    PROBLEMS=() found=()
    parse_host_numbers -w "$wrong" found
    assert_equal "$wrong ${#PROBLEMS[@]}" "$wrong 1"
  done
}

@test "knows_all_workers: not where others may join, or a host has not answered" {
  parse_hosts h1,h2
  WORKER_HOSTS=(1 2) MASTER=1
  set_fact 1 memory 4096
  if knows_all_workers; then return 1; fi
  set_fact 2 memory 4096
  knows_all_workers
  BROKER=h1
  if knows_all_workers; then return 1; fi
  BROKER='' MASTER=''
  if knows_all_workers; then return 1; fi
}

@test "resolve_roles: without -m there is no master host; several for one are a mistake of their own" {
  parse_hosts h1,h2
  MASTER='' WORKERS=1-2
  resolve_roles
  assert_equal "$MASTER_HOST|${WORKER_HOSTS[*]}|${#PROBLEMS[@]}" '|1 2|0'
  MASTER=1,2
  resolve_roles
  assert_equal "$MASTER_HOST|${#PROBLEMS[@]}" '|0'
  check_roles
  assert_equal "${#PROBLEMS[@]}" 1
}

@test "is_address: a name or an address, without a port" {
  is_address host
  is_address 10.0.0.1
  is_address fe80::1
  if is_address host:22; then return 1; fi
  if is_address ''; then return 1; fi
}
