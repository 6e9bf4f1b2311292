#!/usr/bin/env bats
# framework/shell/hosts.sh: numbers, names, facts, and the addresses of the broker.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

# set_fact HOST KEY VALUE
set_fact() {
  FACTS[$1.$2]=$3
}

# good_host NUMBER: facts with which nothing is wrong.
good_host() {
  local line
  for line in unreachable= skew=0 home=/home/me user=me uid=1000 gid=1000 arch=amd64 cores=4 memory=8589934592 disk=99999999999 \
    docker_disk=99999999999 root_writable=yes docker=ok engine=28.5.2 "engine_id=E$1" boot_id=b gpus=0 gpu_runtime=0 \
    addresses=10.0.0.100 client_address=10.0.0.100 port_5671=free port_5555=free; do
    set_fact "$1" "${line%%=*}" "${line#*=}"
  done
}

# three_hosts: local and two more, with the master on 1 and workers on all.
three_hosts() {
  parse_hosts h1,h2
  MASTER_HOST=1
  WORKER_HOSTS=(0 1 2)
  BROKER_NAME=h1
  good_host 0
  good_host 1
  good_host 2
  set_fact 0 broker 10.0.0.1
  set_fact 2 broker 10.0.0.1
}

@test "parse_hosts: users, ports, IPv6, ssh://" {
  parse_hosts 'a,me@b:2222,[2001:db8::1]:22,u@[::1],2001:db8::2,ssh://you@c.example.org:23/,DOMAIN\u@d_e'
  assert_equal "${PROBLEMS[*]}" ''
  assert_equal "${SSH_DESTINATIONS[*]}" ' a me@b 2001:db8::1 u@::1 2001:db8::2 you@c.example.org DOMAIN\u@d_e'
  assert_equal "${SSH_PORTS[*]}" '  2222 22   23 '
  assert_equal "${HOST_NAMES[*]}" 'local a b-2222 2001-db8--1-22 1 2001-db8--2 c.example.org-23 d-e'
}

@test "parse_hosts: names are unique" {
  parse_hosts 'd_e,d-e,a:1,a-1'
  assert_equal "${PROBLEMS[*]}" ''
  assert_equal "${HOST_NAMES[*]}" 'local d-e d-e-2 a-1 a-1-4'
}

@test "parse_hosts: refuses what is no host" {
  local wrong
  for wrong in '' -oProxyCommand=x 'a b' u@ @h '-u@h' 'h:0' 'h:99999' 'h:x' '[::1' 'a/b' 'h;id' $'h\nb' local; do
    PROBLEMS=()
    parse_hosts "x,$wrong"
    assert_equal "${wrong@Q} ${#PROBLEMS[@]}" "${wrong@Q} 1"
  done
}

@test "parse_hosts: named twice, whoever the user is" {
  parse_hosts 'h1,me@h1,h1:22'
  assert_equal "${#PROBLEMS[@]}" 1
  assert_equal "${PROBLEMS[0]}" '-a: me@h1 is named twice (also as host 1, h1)'
}

@test "probe_hosts: each host has its own answer; one that is down does not stop the others" {
  stub ssh 'case "$*" in
    *" -G "*) echo "hostname 10.0.0.1" ;;
    *" h2 "*) echo "ssh: connect to host h2 port 22: Connection refused" >&2; exit 255 ;;
    *" true") echo "Warning: Permanently added h1 to the list of known hosts." >&2 ;;
    *) echo "sent: ${*: -1}" >&2; echo home=/home/a=b; echo "time=$(($(date +%s) - 1000))"; cat >/dev/null ;;
  esac'
  parse_hosts h1,h2
  MASTER_HOST=1
  capture eval 'probe_hosts 1 2; declare -p FACTS'
  assert_equal "$status" 0
  assert_part '[1.home]="/home/a=b"'
  assert_part '[1.skew]="-100'
  assert_part '[2.unreachable]="it refuses the connection'
  assert_part 'h1: Warning: Permanently added h1'
  output=$(<"$CALLS")
  assert_part 'sh -s -- celery_tasks infra-00000001 10.0.0.1 5671 5555'
}

@test "broker_address: the network's own name on the master host, the resolved one elsewhere" {
  three_hosts
  stub ssh 'echo "hostname h1.example.org"'
  assert_equal "$(broker_address 0) $(broker_address 1) $(broker_address 2)" '10.0.0.1 broker 10.0.0.1'
  assert_equal "$(broker_addresses | paste -sd ' ')" '10.0.0.1 broker h1 h1.example.org'
  MASTER_HOST=0 BROKER_NAME=''
  assert_equal "$(broker_address 0) $(broker_address 1)" 'broker 10.0.0.100'
}

@test "broker_endpoint: where a worker finds the broker" {
  parse_hosts far
  MASTER_HOST=0
  set_fact 1 client_address 10.0.0.9
  assert_equal "$(broker_endpoint 0)|$(broker_endpoint 1)" 'broker:5671|10.0.0.9:5671'
  BROKER_PORT=7000
  assert_equal "$(broker_endpoint 0)|$(broker_endpoint 1)" 'broker:5671|10.0.0.9:7000'
  BROKER=front:8000 BROKER_NAME=front
  set_fact 1 broker 10.0.0.7
  assert_equal "$(broker_endpoint 1)" 10.0.0.7:8000
  BROKER='' BROKER_NAME=front
  set_fact 1 broker 2001:db8::7
  assert_equal "$(broker_endpoint 1)" '[2001:db8::7]:7000'
}
