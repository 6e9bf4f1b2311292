#!/usr/bin/env bats
# framework/shell/checks.sh: the table of hosts, and the problems with them.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

@test "check_hosts: nothing is wrong" {
  three_hosts
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" ''
}

@test "check_hosts: each problem with its host and what to do, all at once" {
  three_hosts
  set_fact 0 docker down
  set_fact 0 docker_message 'no answer'
  set_fact 1 docker missing
  set_fact 1 port_5671 'taken by another program'
  set_fact 1 port_5555 ours
  METRICS_PORT=9464
  set_fact 1 port_9464 'taken by the container other'
  set_fact 2 docker denied
  set_fact 2 root_writable 'no: /home/me'
  set_fact 2 root_user infra-other
  set_fact 2 docker_disk 1000000000
  set_fact 2 skew -400
  set_fact 2 arch arm64
  set_fact 2 engine_id E1
  set_fact 2 broker ''
  check_hosts 0 1 2
  output=$(printf '%s\n' "${PROBLEMS[@]}")
  assert_part 'local: Docker does not answer (no answer); give -y to have it started, or run:'
  assert_part "h1: Docker is missing; give -y to have it installed, or run: ssh h1 bash -s <$(quote "$TOOL/install_docker_ubuntu.sh")"
  assert_part 'h2: the user me may not use Docker; let an administrator run: sudo usermod -aG docker me'
  assert_part 'h2: /home/me/celery_tasks cannot be written'
  assert_part 'h2: /home/me/celery_tasks is used by infra-other'
  assert_part "h2: only 953 MiB are free for Docker's images"
  assert_part "h2: its clock differs from this machine's by 400 s"
  assert_part 'h2: it is arm64, but the images are built here for amd64'
  assert_part 'h2: it is the same machine as h1'
  assert_part 'h1: port 5671 is taken by another program; free it, or choose another BROKER_PORT in config.sh'
  assert_part 'h1: port 9464 is taken by the container other; free it, or choose another METRICS_PORT in config.sh'
  assert_part "h2: it cannot resolve the broker's name h1"
  assert_equal "${#PROBLEMS[@]}" 12
}

@test "check_hosts: cloned disks are not the same machine; a loopback address is not the broker's" {
  three_hosts
  set_fact 2 engine_id E1
  set_fact 2 boot_id other
  set_fact 2 broker 127.0.1.1
  check_hosts 1 2
  assert_equal "${PROBLEMS[*]}" 'h2: it would look for the broker at 127.0.1.1, which is itself; give the address of the master host with -b'
}

@test "check_hosts: missing Docker is no problem on a host where it will be installed" {
  three_hosts
  set_fact 2 docker missing
  INSTALL_HOSTS=(2)
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" ''
}

@test "check_hosts: a local master must be seen under an address of this machine" {
  three_hosts
  MASTER_HOST=0 BROKER_NAME=''
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" ''
  set_fact 2 client_address 203.0.113.9
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" "h2: it sees this machine as 203.0.113.9, which is not its address (NAT, a jump host?); give this machine's address with -b"
}

@test "check_hosts: this machine without a role only builds: another copy of the tool may use its directory" {
  three_hosts
  WORKER_HOSTS=(1 2)
  set_fact 0 root_user infra-other
  set_fact 0 root_writable 'no: /home/me'
  set_fact 0 disk 0
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" ''
  set_fact 0 docker_disk 0
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" "local: only 0 MiB are free for Docker's images; make room for 3072 MiB"
}

@test "check_hosts: a full home or /tmp, or a quota that is used up; a disk that df cannot read is no problem" {
  three_hosts
  set_fact 0 disk ''
  set_fact 0 docker_disk ''
  set_fact 1 root_writable full
  set_fact 1 tmp_writable full
  set_fact 2 tmp_writable 'no: /tmp'
  check_hosts 0 1 2
  assert_equal "$(printf '%s\n' "${PROBLEMS[@]}")" "h1: /home/me/celery_tasks cannot be written: the disk is full, or the quota of me is used up; make room
h1: /tmp is full; make room there
h2: /tmp cannot be written; change its mode (chmod 1777 /tmp)"
}

@test "check_hosts: kinds of engines: what cannot work is named in one line, without 'only 0 MiB'" {
  three_hosts
  set_fact 0 docker_kind rootless
  set_fact 1 docker_kind userns
  set_fact 2 docker podman
  check_hosts 0 1 2
  assert_equal "${PROBLEMS[*]}" 'h2: its docker is Podman, with which this tool does not work; install Docker there, or leave this host out'
  PROBLEMS=()
  set_fact 0 docker_kind elsewhere
  set_fact 0 docker_disk ''
  set_fact 1 docker_kind snap
  set_fact 2 docker ok
  check_hosts 0 1 2
  output=$(printf '%s\n' "${PROBLEMS[@]}")
  assert_part 'local: its Docker engine keeps its files where this host has none (the socket of another machine, or Docker Desktop?)'
  assert_part 'h1: its Docker is a snap, whose AppArmor profile starts no container with the option no-new-privileges'
  assert_equal "${#PROBLEMS[@]}" 2
  assert_equal "$(docker_state 0)|$(docker_state 1)|$(docker_state 2)" '28.5.2 elsewhere|28.5.2 snap|28.5.2'
}

@test "print_table: a line for each host" {
  three_hosts
  set_fact 2 unreachable 'it does not answer'
  set_fact 0 docker denied
  WORKER_HOSTS=(0 2)
  capture print_table 0 1 2
  assert_equal "$(tr -s ' ' <<<"$messages")" " host role docker arch cores memory disk gpus ports of the master
 0 local worker not allowed amd64 4 8 GiB 93 GiB 0
 1 h1 master 28.5.2 amd64 4 8 GiB 93 GiB 0 5671 free 5555 free
 2 h2 worker unreachable"
}
