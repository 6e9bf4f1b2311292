#!/usr/bin/env bats
# framework/shell/host_list.sh: ranges of hosts, and hosts files in both forms.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2153,SC2154 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  touch key
}

# hosts_file NAME TEXT: reads a hosts file of this text.
hosts_file() {
  PROBLEMS=()
  printf '%s\n' "$2" >"$1"
  parse_hosts "@$PWD/$1"
}

# show_hosts: a line for each host: its destination, port and name.
show_hosts() {
  local host
  for host in "${!HOSTS[@]}"; do
    printf '%s|%s|%s\n' "${SSH_DESTINATIONS[host]}" "${SSH_PORTS[host]}" "${HOST_NAMES[host]}"
  done
}

@test "ranges: with leading zeros, several, lists, users and ports; IPv6 in brackets stays" {
  parse_hosts 'me@gpu[08-10]:2222,r[1-2]n[1,3,05-06].x,[2001:db8::1]:22,u@[::1]'
  assert_equal "${PROBLEMS[*]}" ''
  assert_equal "${SSH_DESTINATIONS[*]}" \
    ' me@gpu08 me@gpu09 me@gpu10 r1n1.x r1n3.x r1n05.x r1n06.x r2n1.x r2n3.x r2n05.x r2n06.x 2001:db8::1 u@::1'
  assert_equal "${HOSTS[1]}|${SSH_PORTS[1]}|${HOST_NAMES[1]}" 'me@gpu08:2222|2222|gpu08-2222'
}

@test "ranges that are wrong" {
  local wrong
  for wrong in 'h[3-1]' 'h[]' 'h[1-]' 'h[a-b]' 'h[1,,2]' 'h[1-2' 'h1-2]' 'h[1-5000]' 'h[1-100][1-100]' 'h[1-2,2]'; do
    PROBLEMS=()
    parse_hosts "$wrong"
    assert_equal "$wrong ${#PROBLEMS[@]}" "$wrong 1"
  done
  parse_hosts 'h[3-1]'
  assert_equal "${PROBLEMS[1]}" "-a: 'h[3-1]': the range 3-1 runs backwards"
}

@test "hosts file: lines with settings, comments, and what GNU parallel writes" {
  hosts_file hosts '# ours
gpu[1-2] user=me port=2222 key=key slots=4 gpus=[0,2] labels=a100,big mount:/data=/scratch/images  # new

plain
4/you@other
2/: labels=small
2001:db8::1 port=23 name=six gpus=1'
  assert_equal "${PROBLEMS[*]}" ''
  output=$(show_hosts)
  assert_equal "$output" '||local
me@gpu1|2222|gpu1-2222
me@gpu2|2222|gpu2-2222
plain||plain
you@other||other
2001:db8::1|23|six'
  assert_equal "$(host_setting 2 slots)|$(host_setting 2 gpus)|$(host_setting 2 labels)|$(host_setting 3 slots)" '4|[0,2]|a100,big|'
  assert_equal "$(host_setting 4 slots)|$(host_setting 0 slots)|$(host_setting 0 labels)" '4|2|small'
  assert_equal "${HOST_MOUNTS["1 /data"]}|${HOST_MOUNTS["2 /data"]}|$(key_of 1)|$(key_of 3)" "/scratch/images|/scratch/images|$PWD/key|"
}

@test "hosts file: YAML" {
  hosts_file hosts.yml '---
# ours
hosts:
  - host: gpu[1-2]
    user: me
    port: 2222          # not the usual one
    slots: "4"
    gpus: [0, 2]
    labels:
      - a100
      - big
    mounts:
      /data: "/scratch/big images"
      '"'/more'"': /x
  - plain
  -   name: six
      host: 2001:db8::1
      port: 23
  - name: seven
    gpus: 3
  - host: local
    slots: 1
    labels: [cpu]'
  assert_equal "${PROBLEMS[*]}" ''
  output=$(show_hosts)
  assert_equal "$output" '||local
me@gpu1|2222|gpu1-2222
me@gpu2|2222|gpu2-2222
plain||plain
2001:db8::1|23|six
seven||seven'
  assert_equal "$(host_setting 1 slots)|$(host_setting 1 gpus)|$(host_setting 1 labels)|$(host_setting 5 gpus)" '4|[0,2]|a100,big|3'
  assert_equal "${HOST_MOUNTS["2 /data"]}|${HOST_MOUNTS["2 /more"]}|$(host_setting 0 slots) $(host_setting 0 labels)" '/scratch/big images|/x|1 cpu'
  hosts_file flat.yaml $'- a\n- host: b\n  slots: 2'
  assert_equal "${PROBLEMS[*]}|${HOSTS[*]}|$(host_setting 2 slots)" '|local a b|2'
}

# refused TEXT MESSAGE: this line of a hosts file is refused with this message after file and line.
refused() {
  hosts_file hosts "$1"
  assert_equal "$(printf '%s\n' "${PROBLEMS[@]}")" "$PWD/hosts:1: $2"
}

@test "hosts file: mistakes are named with file and line" {
  refused 'h1 slot=4' 'slot is no setting of a host; the nearest is slots'
  refused 'h1 slots=0' 'slots must be a whole number from 1, not 0'
  refused 'h1 slots=4 slots=5' 'slots is given twice'
  refused 'h1 4' '4 is no key=value; a line is: host key=value…'
  refused 'h1 key=none' "cannot read the key file $PWD/none"
  refused 'h1 gpus=many' 'gpus is how many may be used, or which ones: 2, or [0,3]; not many'
  refused 'h1 labels=a,b!' "labels: 'b!' has other characters than letters, digits, _, . and -"
  refused 'h1 mount:/data=relative' '/data and relative: the target is an absolute path, and so is the directory of the host, or it begins with ~/'
  refused 'h[1-2] name=x' 'name: h[1-2] is more than one host'
  refused 'h1 name=local' 'name: local has other characters than letters, digits, . and -'
  refused 'me@h1 user=you' 'user is given twice'
  refused 'h1 port=99999' 'h1:99999 is no host; write [user@]host[:port], an IPv6 address in brackets'
  refused 'local user=me' 'local is this machine, which needs no name, user, port or key'
  refused 'h[2-1]' "'h[2-1]': the range 2-1 runs backwards"
  refused $'h1 slots=\a' 'slots has no value'
  hosts_file hosts $'h1\nh2 name=h1\nh1'
  assert_equal "$(printf '%s\n' "${PROBLEMS[@]}")" "$PWD/hosts:2: the name h1 is given to two hosts
$PWD/hosts:3: h1 is named twice (also as host 1, h1)"
}

@test "hosts file: no file, no host" {
  parse_hosts @/no/such/file
  assert_equal "${PROBLEMS[*]}" '-a: cannot read the hosts file /no/such/file'
  hosts_file hosts '# none'
  assert_equal "${PROBLEMS[*]}" "-a: the hosts file $PWD/hosts names no host"
}

@test "hosts file: YAML that is not read" {
  local wrong
  for wrong in 'host: h1' $'- host: h1\n  slots: &x 4' $'- host: h1\n  mounts: {/data: /x}' $'- host: h1\n    slots: 4' $'- host: h1\n\tslots: 4' \
    $'- slots: 4' $'- host: h1\n  user:' $'- host: h1\n  labels: "a\\tb"' $'- host: h1\n  Slots: 4' $'- {host: h1}'; do
    hosts_file hosts.yml "$wrong"
    ((${#PROBLEMS[@]} > 0)) || {
      printf 'accepted: %q\n' "$wrong"
      return 1
    }
    [[ ${PROBLEMS[0]} == "$PWD/hosts.yml:"[12]": "* ]] || {
      printf '%q: %s\n' "$wrong" "${PROBLEMS[0]}"
      return 1
    }
  done
}

@test "settings survive in the record, by the host as typed" {
  local lines
  hosts_file hosts $'h1 slots=4 name=one mount:/data=/x\nh2\nlocal labels=cpu'
  lines=$(print_host_lines 0 1 2)
  assert_equal "$lines" $'h1\tmount:/data\t/x\nh1\tname\tone\nh1\tslots\t4\nlocal\tlabels\tcpu'
  parse_hosts h2,h1
  assert_equal "${HOST_NAMES[*]}|$(host_setting 2 slots)" 'local h2 h1|'
  take_host_lines "$lines" 0 1 2
  assert_equal "${HOST_NAMES[*]}|$(host_setting 2 slots)|${HOST_MOUNTS["2 /data"]}|$(host_setting 0 labels)" 'local h2 one|4|/x|cpu'
}

@test "a key of its own for ssh, and slots and GPUs of its own for the containers" {
  KEY=/general/key
  hosts_file hosts $'h1 key=key slots=4 gpus=[0,2]\nh2 gpus=1\nh3'
  stub ssh
  local host
  for host in 1 2 3; do
    set_fact "$host" gpus 4
    set_fact "$host" gpu_runtime 1
    ssh_to "$host" -- true
  done
  assert_equal "$(grep -o "'-i' '[^']*' '--' 'h.'" "$CALLS")" "'-i' '$PWD/key' '--' 'h1'
'-i' '/general/key' '--' 'h2'
'-i' '/general/key' '--' 'h3'"
  assert_equal "$(usable_gpus 1) $(usable_gpus 2) $(usable_gpus 3)" '2 1 4'
  assert_equal "$(gpu_request 1) $(gpu_request 2) $(gpu_request 3)" '"device=0,2" count=1 all'
}
