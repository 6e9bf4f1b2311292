#!/usr/bin/env bats
# framework/shell/hosts.sh: numbers, names, facts, and the addresses of the broker.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
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
    *)
      echo "sent: ${*: -1}" >&2
      [[ ! ${*: -1} =~ [0-9a-f]{32} ]] || echo "${BASH_REMATCH[0]}"
      printf "%s\n" home=/home/a=b= "time=$(($(date +%s) - 1000))" user=me uid=1 gid=1 arch=amd64 memory=1 docker=ok
      cat >/dev/null ;;
  esac'
  parse_hosts h1,h2
  MASTER_HOST=1
  capture eval 'probe_hosts 1 2; declare -p FACTS'
  assert_equal "$status" 0
  assert_part '[1.home]="/home/a=b="'
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

# facts_with LINE…: what a host answers; a LINE takes the place of the fact of that name.
facts_with() {
  local line replaced
  for line in time=1 home=/home/me user=me uid=1000 gid=1000 arch=amd64 cores=4 memory=8589934592 disk=1 docker=ok; do
    for replaced in "$@"; do
      [[ ${line%%=*} != "${replaced%%=*}" ]] || continue 2
    done
    printf '%s\n' "$line"
  done
  printf '%s\n' "$@"
}

# answer_with LINE…: every host answers these facts.
answer_with() {
  facts_with "$@" >"$BATS_TEST_TMPDIR/facts"
  stub ssh "case \"\$*\" in
    *' -G '*) echo 'hostname far' ;;
    *\" true\") ;;
    *) cat >/dev/null; echo lab; [[ \${*: -1} =~ [0-9a-f]{32} ]] && echo \"\$BASH_REMATCH\" && cat '$BATS_TEST_TMPDIR/facts' ;;
  esac"
}

@test "facts: what a host answers is never evaluated" {
  local evil='BASH_VERSINFO[$(touch evil;echo 0)]' key
  parse_hosts far
  MASTER_HOST=1
  for key in time uid gid cores memory disk docker_disk gpus gpu_runtime gpu_kind gpu_groups engine_id boot_id port_5671; do
    answer_with "$key=$evil"
    probe_hosts 1
    capture print_table 1
    capture check_hosts 1
    assert_equal "$(fact 1 unreachable)" "the answer cannot be read: $key=$evil"
    [[ ! -e evil ]]
  done
}

@test "facts: an answer without an end is cut, and not believed" {
  local endless
  parse_hosts far
  for endless in 'echo home=/; yes | tr -d "\n"' 'yes time=1' 'yes >&2 & yes home=/x | tr -d "\n"; kill $!'; do
    answer_with
    echo "$endless" >endless
    sed -i "s#cat '$BATS_TEST_TMPDIR/facts'#bash '$PWD/endless'#" "$STUBS/ssh"
    probe_hosts 1
    assert_equal "$(fact 1 unreachable)" 'the answer cannot be read: it does not end'
    (($(cat "$SSH_CONNECTIONS"/1.* | wc --bytes) < 200000))
  done
}

@test "facts: only known ones, each once, each as it can be" {
  local wrong
  parse_hosts far
  for wrong in unreachable= skew=0 other=1 'engine_id[$(id)]=x' time=01 time=-1 time= uid=0x10 memory=99999999999999999999 home=relative \
    'user=-x' 'arch=a b' 'docker=maybe' 'broker=$(id)' 'client_address=host' $'home=/a\033b' $'docker_message=a\302\233b' $'docker_message=\377' \
    'root_user=a b' 'gpu_kind=intel' 'gpu_groups=44 x ' 'gpu_groups=44 -1 ' 'root_writable=perhaps' 'port_5671=mine' 'port_22=free' 'no fact' engine '' $'cores=4\ncores=4'; do
    answer_with "$wrong"
    probe_hosts 1
    [[ $(fact 1 unreachable) == 'the answer cannot be read: '* ]] || {
      printf 'accepted: %q\n' "$wrong"
      return 1
    }
    [[ $(fact 1 unreachable) != *[[:cntrl:]]* ]]
  done
  for wrong in 'home=/home/f\303\274r mich' 'addresses=10.0.0.1 fe80::1 ' 'client_address=fe80::1%eth0' broker= cores= 'user=DOMAIN\\me' \
    'docker_message=a "b" $(c)' 'port_5671=taken by the container a_b.c-d' 'root_writable=no: /a b' 'engine=26.1.5+dfsg1'; do
    answer_with "$(printf '%b' "$wrong")"
    probe_hosts 1
    assert_equal "$(fact 1 unreachable)" ''
  done
  printf 'time=1\nhome=/x\n' >"$BATS_TEST_TMPDIR/facts"
  probe_hosts 1
  assert_equal "$(fact 1 unreachable)" 'the answer cannot be read: it ends without user'
}

@test "facts: what a start-up file prints is no part of the answer" {
  parse_hosts far
  answer_with 'cores=7'
  probe_hosts 1
  assert_equal "$(fact 1 unreachable)|$(fact 1 cores)|$(fact 1 home)" '|7|/home/me'
}
