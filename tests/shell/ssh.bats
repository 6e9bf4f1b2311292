#!/usr/bin/env bats
# framework/shell/ssh.sh: the exact words that ssh gets, and what arrives behind it.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317,SC1003 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  HOSTS=(local me@far:2222) HOST_NAMES=(local far-2222) SSH_DESTINATIONS=('' me@far) SSH_PORTS=('' 2222)
}

# ssh joins its words, and a shell over there reads them again.
act_as_ssh() {
  # shellcheck disable=SC2016 # the stub's own words
  stub ssh "exec $1 -c \"\${@: -1}\""
}

@test "on_host: the words of ssh" {
  stub ssh
  close_connections
  KEY='/my keys/id'
  on_host 1 docker ps --all
  assert_equal "$(<"$CALLS")" "ssh '-T' '-o' 'BatchMode=yes' '-o' 'ConnectTimeout=10' '-o' 'ServerAliveInterval=15' '-o' 'ServerAliveCountMax=4' \
'-o' 'StrictHostKeyChecking=accept-new' '-o' 'ControlPath=$SSH_CONNECTIONS/%C' '-o' 'IdentitiesOnly=yes' '-i' '/my keys/id' \
'-o' 'ControlMaster=no' '-p' '2222' '--' 'me@far' 'docker ps --all'"
}

@test "on_host: every argument arrives as it was, in bash and dash" {
  local words=('' ' ' "it's" '"' '$HOME' '$(id)' '*' '~' '-x' 'a=b' $'two\nlines' $'ends\n' '\' '!' 'ü' '--' ';')
  local shell expected
  expected=$(printf '%s|' "${words[@]}")
  for shell in bash dash; do
    act_as_ssh "$shell"
    assert_equal "$(on_host 1 printf '%s|' "${words[@]}")" "$expected"
    assert_equal "$(on_host 0 printf '%s|' "${words[@]}")" "$expected"
  done
}

@test "on_host: does not eat this script's input" {
  act_as_ssh sh
  local line all=''
  while read -r line; do
    on_host 1 cat
    on_host 0 cat
    all+=$line
  done <<<$'a\nb'
  assert_equal "$all" ab
}

@test "on_host_stdin: passes the input on" {
  act_as_ssh sh
  assert_equal "$(echo hello | on_host_stdin 1 cat)" hello
  assert_equal "$(echo hello | on_host_stdin 0 cat)" hello
}

@test "on_host: hands out the exit code" {
  act_as_ssh sh
  capture on_host 1 sh -c 'exit 9'
  assert_equal "$status" 9
}

@test "change_host: shown with the host in front, not run in a dry run" {
  stub ssh
  DRY_RUN=yes
  capture change_host 1 rm -rf 'a b'
  assert_equal "$messages" "far-2222\$ rm -rf 'a b'"
  capture change_host_stdin 1 cat <<<text
  assert_equal "$messages" 'far-2222$ cat'
  assert_equal "$(<"$CALLS")" ''
}

@test "open_connection: ssh's reason comes out, with its exit code" {
  stub ssh 'echo "ssh: no such luck" >&2; exit 255'
  capture open_connection 1
  assert_equal "$status" 255
  assert_equal "$messages" 'ssh: no such luck'
}

@test "open_connection: asks for one connection that stays" {
  stub ssh
  open_connection 1
  output=$(<"$CALLS")
  assert_part "'-o' 'ControlMaster=auto' '-o' 'ControlPersist=1h' '-p' '2222' '--' 'me@far' 'true'"
}

@test "sockets: in a private folder with a short path, gone at the end" {
  stub ssh
  open_connection 1
  assert_equal "$(stat -c %a "$SSH_CONNECTIONS")" 700
  ((${#SSH_CONNECTIONS} + 1 + 40 + 17 < 108))
  local folder=$SSH_CONNECTIONS
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$folder/socket"
  close_connections
  [[ ! -e $folder ]]
  output=$(tail -n 1 "$CALLS")
  assert_equal "$output" "ssh '-o' 'ControlPath=$folder/socket' '-O' 'exit' '--' 'any-host'"
}

@test "explain_ssh_failure: says what each message of ssh means and what to do" {
  parse_hosts me@h1:2222
  KEY='/my key'
  explains() {
    output=$(explain_ssh_failure 1 "$1")
    messages=''
    assert_part "$2"
  }
  explains 'ssh: Could not resolve hostname h1: Name or service not known' 'cannot resolve its name'
  explains 'ssh: connect to host h1 port 22: Connection refused' 'refuses the connection'
  explains 'ssh: connect to host h1 port 22: Connection timed out' 'does not answer'
  explains 'ssh: connect to host h1 port 22: No route to host' 'does not answer'
  explains 'me@h1: Permission denied (publickey).' "with /my key; check the user name, put a key that has a passphrase into ssh-agent, or: ssh-copy-id -i '/my key' -p 2222 me@h1"
  explains $'@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n  remove with:\r\n  ssh-keygen -f "/k" -R "[h1]:2222"\r\nHost key verification failed.' \
    'forget the old key (ssh-keygen -f "/k" -R "[h1]:2222")'
  explains $'@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nPermission denied (publickey).' "chmod 600 '/my key'"
  explains $'first\nkex_exchange_identification: something else' 'ssh says: kex_exchange_identification: something else'
}
