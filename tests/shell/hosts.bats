#!/usr/bin/env bats
# framework/shell/hosts.sh and facts.sh: numbers and names, facts, and what is said about hosts on which something is wrong.

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

@test "parse_hosts: what is no host" {
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

@test "numbers and ranges" {
  local found=()
  parse_hosts h1,h2,h3,h4
  parse_host_numbers -w local,3-4,1 found
  assert_equal "${found[*]}|${#PROBLEMS[@]}" '0 3 4 1|0'
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

@test "facts: answers of a real shell" {
  stub docker 'case $1 in
    version) echo 28.5.2 ;;
    info) [[ $3 != *ID* ]] || echo ENGINE; [[ $3 != *Root* ]] || echo / ;;
    ps) [[ $3 != *5671 ]] || echo "other " ;;
  esac'
  stub nvidia-smi 'printf "GPU 0: A\nGPU 1: B\n"'
  FLOWER_PORT=1 # nobody listens there
  MASTER_HOST=0
  probe_hosts 0
  assert_equal "$(fact 0 docker)|$(fact 0 engine)|$(fact 0 engine_id)|$(fact 0 gpus)" 'ok|28.5.2|ENGINE|2'
  assert_equal "$(fact 0 home)|$(fact 0 uid)|$(fact 0 user)" "$HOME|$(id -u)|$(id -un)"
  assert_equal "$(root_of 0)|$(fact 0 root_writable)" "$HOME/celery_tasks|yes"
  assert_equal "$(fact 0 port_5671)|$(fact 0 port_1)" 'taken by the container other|free'
  (($(fact 0 cores) > 0 && $(fact 0 memory) > 0 && $(fact 0 disk) > 0 && $(fact 0 docker_disk) > 0))
  is_reachable 0
}

@test "facts: Docker missing, denied, down" {
  facts() { sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''; }
  stub docker 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1'
  capture facts
  assert_line docker=denied
  stub docker 'echo "Cannot connect to the Docker daemon. Is the docker daemon running?" >&2; exit 1'
  capture facts
  assert_line docker=down
  assert_line 'docker_message=Cannot connect to the Docker daemon. Is the docker daemon running?'
}

@test "facts: a port that a program of this machine has" {
  python3 -c '
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
answer = subprocess.run(["sh", sys.argv[1], "x", "infra-1", "", port], capture_output=True, text=True).stdout
sys.exit(f"port_{port}=taken by another program" not in answer)' "$TOOL/framework/shell/facts.sh"
}

@test "facts: a port of a container that comes up while it is asked for" {
  stub docker 'case $1 in
    version) echo 28.5.2 ;;
    ps) [[ $(grep -c "^docker .ps" "$CALLS") == 1 ]] || echo "infra-1-broker infra-1" ;;
  esac'
  export CALLS
  python3 -c '
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
answer = subprocess.run(["sh", sys.argv[1], "x", "infra-1", "", port], capture_output=True, text=True).stdout
sys.exit(f"port_{port}=ours" not in answer)' "$TOOL/framework/shell/facts.sh"
}

@test "probe_hosts: all at once, each by its own answer; one that is down does not stop the others" {
  stub ssh 'case "$*" in
    *-G*) echo "hostname 10.0.0.1" ;;
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

@test "explain_ssh_failure: what each means and what to do" {
  parse_hosts me@h1:2222
  KEY='/my key'
  explains() {
    output=$(explain_ssh_failure 1 "$1")
    messages=''
    assert_part "$2"
  }
  explains 'ssh: Could not resolve hostname h1: Name or service not known' 'its name is not known'
  explains 'ssh: connect to host h1 port 22: Connection refused' 'refuses the connection'
  explains 'ssh: connect to host h1 port 22: Connection timed out' 'does not answer'
  explains 'ssh: connect to host h1 port 22: No route to host' 'does not answer'
  explains 'me@h1: Permission denied (publickey).' "with /my key; check the user name, put a key that has a passphrase into ssh-agent, or: ssh-copy-id -i '/my key' -p 2222 me@h1"
  explains $'@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n  remove with:\r\n  ssh-keygen -f "/k" -R "[h1]:2222"\r\nHost key verification failed.' \
    'forget the old key (ssh-keygen -f "/k" -R "[h1]:2222")'
  explains $'@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nPermission denied (publickey).' "chmod 600 '/my key'"
  explains $'first\nkex_exchange_identification: something else' 'ssh says: kex_exchange_identification: something else'
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
  assert_part 'local: Docker does not answer (no answer); say -y to have it started, or run:'
  assert_part "h1: Docker is missing; say -y to have it installed, or run: ssh h1 bash -s <$(quote "$TOOL/install_docker_ubuntu.sh")"
  assert_part 'h2: the user me may not use Docker; let an administrator run: sudo usermod -aG docker me'
  assert_part 'h2: /home/me/celery_tasks cannot be written'
  assert_part 'h2: /home/me/celery_tasks is used by infra-other'
  assert_part "h2: only 953 MiB are free for Docker's images"
  assert_part "h2: its clock differs from this machine's by 400 s"
  assert_part 'h2: it is arm64, but the images are built here for amd64'
  assert_part 'h2: it is the same machine as h1'
  assert_part 'h1: port 5671 is taken by another program; free it, or choose another BROKER_PORT in config.sh'
  assert_part "h2: it does not know the broker's name h1"
  assert_equal "${#PROBLEMS[@]}" 11
}

@test "check_hosts: cloned disks are not the same machine; a loopback address is not the broker's" {
  three_hosts
  set_fact 2 engine_id E1
  set_fact 2 boot_id other
  set_fact 2 broker 127.0.1.1
  check_hosts 1 2
  assert_equal "${PROBLEMS[*]}" 'h2: it would look for the broker at 127.0.1.1, which is itself; give the address of the master host with -b'
}

@test "check_hosts: a host on which Docker will be installed is not blamed for lacking it" {
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

@test "broker_address: the network's own name on the master host, the resolved one elsewhere" {
  three_hosts
  stub ssh 'echo "hostname h1.example.org"'
  assert_equal "$(broker_address 0) $(broker_address 1) $(broker_address 2)" '10.0.0.1 broker 10.0.0.1'
  assert_equal "$(broker_addresses | paste -sd ' ')" '10.0.0.1 broker h1 h1.example.org'
  MASTER_HOST=0 BROKER_NAME=''
  assert_equal "$(broker_address 0) $(broker_address 1)" 'broker 10.0.0.100'
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
