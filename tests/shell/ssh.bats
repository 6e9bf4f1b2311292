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
  prepare_ssh
  local expected="exec sh -c '$RUN_SCRIPT' MARKER docker ps --all"
  capture on_host 1 docker ps --all
  assert_equal "$status" 1 # this ssh answers nothing
  assert_line 'far-2222: the answer cannot be read: it does not begin as it should; does its login shell run commands?'
  assert_equal "$(tail -n 1 "$CALLS" | sed -E 's/ [0-9a-f]{32} / MARKER /')" "ssh '-T' '-a' '-x' '-o' 'ClearAllForwardings=yes' \
'-o' 'PermitLocalCommand=no' '-o' 'Tunnel=no' '-o' 'BatchMode=yes' '-o' 'ConnectTimeout=10' '-o' 'ServerAliveInterval=15' '-o' 'ServerAliveCountMax=4' \
'-o' 'StrictHostKeyChecking=accept-new' '-o' 'ControlPath=$SSH_CONNECTIONS/%C' \
'-o' 'RemoteCommand=none' '-o' 'SessionType=default' '-o' 'StdinNull=no' '-o' 'ForkAfterAuthentication=no' \
'-o' 'ControlMaster=no' '-o' 'IdentitiesOnly=yes' '-i' '/my keys/id' '-p' '2222' '--' 'me@far' ${expected@Q}"
}

@test "on_host: start-up files that print without an end are given up" {
  local endless
  for endless in 'yes lab' 'yes | tr -d "\n"'; do
    stub ssh "$endless"
    capture on_host 1 true
    assert_line 'far-2222: the answer cannot be read: it does not begin as it should; does its login shell run commands?'
  done
}

@test "on_host: an answer that does not end is given up, unless it is passed on" {
  act_as_ssh sh
  local ANSWER_LIMIT=100000
  capture on_host 1 head -c 100000 /dev/zero
  assert_equal "$status|$messages" '0|'
  capture on_host 1 cat /dev/zero
  assert_equal "$status" 1
  assert_line 'far-2222: the answer cannot be read: it does not end'
  assert_equal "$(ANSWER_LIMIT='' on_host 1 head -c 100001 /dev/zero | wc -c)" 100001
}

@test "on_host: every argument and every byte arrives as it was, whatever the login shell is" {
  local words=('' ' ' "it's" '"' '$HOME' '$(id)' '*' '~' '-x' 'a=b' '=ls' $'two\nlines' $'ends\n' '\' '\0041' '!' '!!' 'a!b' 'ü' $'\001\377' '--' ';' %s)
  local shell expected tried=0
  expected=$(printf '%s|' "${words[@]}" | od -c)
  for shell in bash dash zsh csh tcsh fish ksh mksh; do
    command -v "$shell" || continue
    tried=$((tried + 1))
    act_as_ssh "$shell"
    assert_equal "$shell $(on_host 1 printf '%s|' "${words[@]}" | od -c)" "$shell $expected"
    assert_equal "$shell $(printf 'a\0\377\n\nb' | on_host_stdin 1 cat | od -c)" "$shell $(printf 'a\0\377\n\nb' | od -c)"
  done
  assert_equal "$(on_host 0 printf '%s|' "${words[@]}" | od -c)" "$expected"
  ((tried >= 2))
}

@test "on_host: what start-up files print is no part of an answer, be it text or an archive" {
  echo "echo lab; printf 'no newline'; trap 'echo bye' EXIT" >"$HOME/.bashrc"
  stub ssh 'exec bash -c ". \"$HOME/.bashrc\"; ${*: -1}"'
  assert_equal "$(on_host 1 echo hello)" hello
  assert_equal "$(on_host 1 printf hello)" hello
  assert_equal "$(on_host 1 true)" ''
  echo content >file
  on_host 1 tar --create --file - file | tar --extract --file - --to-stdout >out
  assert_equal "$(<out)" content
  capture on_host 1 sh -c 'echo lab; exit 7'
  assert_equal "$status|$output" '7|lab'
}

@test "on_host: the marker is another one each time" {
  act_as_ssh sh
  on_host 1 true
  on_host 1 true
  assert_equal "$(grep -oE ' [0-9a-f]{32} ' "$CALLS" | sort -u | wc -l)" 2
}

@test "stderr of hosts and containers is shown as printable text" {
  act_as_ssh sh
  local host
  for host in 0 1; do
    capture on_host "$host" sh -c 'printf "\033]52;c;AAAA\007f\303\274r\n" >&2; printf "\033"; exit 4'
    assert_equal "$status|$output|$messages" $'4|\033|?]52;c;AAAA?für'
  done
}

@test "ssh: no agent, display, ports or commands for a host, and commands run, whatever the user's config says" {
  cat >hostile <<'CONFIG'
Host *
  ForwardAgent yes
  ForwardX11 yes
  ForwardX11Trusted yes
  LocalForward 7001 localhost:1
  RemoteForward 7002 localhost:2
  DynamicForward 7003
  PermitLocalCommand yes
  LocalCommand touch evil
  RemoteCommand echo no
  RequestTTY force
  Tunnel yes
CONFIG
  local ssh
  ssh=$(PATH=${PATH#*:} command -v ssh)
  stub ssh "exec $ssh -F '$PWD/hostile' -G \"\$@\""
  SSH_DESTINATIONS=('' me@far) SSH_PORTS=('' '')
  output=$(ssh_to 1 -o ControlMaster=no -- "$RUN_SCRIPT")
  assert_line 'forwardagent no'
  assert_line 'forwardx11 no'
  assert_line 'clearallforwardings yes'
  assert_line 'permitlocalcommand no'
  assert_line 'requesttty false'
  assert_line 'tunnel false'
  refute_part 'remotecommand echo'
}

@test "ssh: options that this ssh does not know are left out" {
  close_connections
  stub ssh '[[ $* != *StdinNull=* && $* != *ForkAfter* ]] || exit 255'
  prepare_ssh
  output="${SSH_OPTIONS[*]}"
  assert_part RemoteCommand=none
  refute_part StdinNull
  refute_part ForkAfterAuthentication
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

@test "--verbose: every command is shown once, also one that asks, and one whose output is captured" {
  ask() {
    local answer
    parse_options --verbose -- --verbose
    answer=$(on_host 0 sh -c 'echo "an answer"; echo a complaint >&2' 2>&1)
    change_host 0 true >/dev/null 2>&1
    change_host_stdin 0 cat <<<secret >/dev/null
    echo "$answer"
  }
  capture ask
  assert_equal "$output" $'an answer\na complaint'
  assert_equal "$messages" $'local$ sh -c \'echo "an answer"; echo a complaint >&2\'\nlocal$ true\nlocal$ cat'
  VERBOSE='' DRY_RUN=yes
  capture on_host 0 true
  assert_equal "$messages" ''
}

@test "--verbose: a command that is repeated while something is waited for is shown once" {
  SECONDS=0
  sleep() { :; }
  third() {
    on_host 0 true
    echo >>asked
    (($(wc -l <asked) == 3))
  }
  wait_verbosely() {
    parse_options --verbose -- --verbose
    wait_until 10 'it is there' third
    on_host 0 false || true
  }
  capture wait_verbosely
  assert_equal "$messages" $'local$ true\nlocal$ false'
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
  explains $'@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n  remove with:\r\n  ssh-keygen -f "/k" -R "$(touch evil)"\r\nHost key verification failed.' \
    "forget the old key (ssh-keygen -R '[h1]:2222')"
  explains $'first\n\033]0;evil\007' 'ssh says: ?]0;evil?'
  explains $'@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nPermission denied (publickey).' "chmod 600 '/my key'"
  explains $'first\nkex_exchange_identification: something else' 'ssh says: kex_exchange_identification: something else'
}

@test "forget_key_command: the name under which ssh keeps the key" {
  parse_hosts me@h1,h2:2222
  config() { stub ssh "printf '%s\n' $(printf '%q ' "$@")"; }
  config 'hostname h1.example.org' 'port 22' 'userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2'
  assert_equal "$(forget_key_command 1)" 'ssh-keygen -R h1.example.org'
  config 'hostname 10.0.0.1' 'port 2222' 'userknownhostsfile /x/my hosts'
  assert_equal "$(forget_key_command 2)" "ssh-keygen -f '/x/my hosts' -R '[10.0.0.1]:2222'"
  config 'hostname 10.0.0.1' 'port 2222' 'hostkeyalias cluster'
  assert_equal "$(forget_key_command 2)" 'ssh-keygen -R cluster'
  stub ssh 'exit 255'
  assert_equal "$(forget_key_command 2)" "ssh-keygen -R '[h2]:2222'"
}
