#!/usr/bin/env bats
# framework/shell/tunnel.sh: workers that reach the broker through ssh.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  umask 022
  INFRASTRUCTURE=infra-01234567
  three_hosts
  TUNNEL=yes
  FILE=$HOME/.ssh/authorized_keys
  # Every host is this machine. What is asked of ssh -G is answered.
  run_with_stdin() { "${@:2}"; }
  stub ssh 'printf "%s\n" "hostname h1" "port 2222"'
}

@test "is_tunnelled: workers on other hosts than the master's; their broker has its usual name" {
  assert_equal "$(tunnelled_hosts | tr '\n' ' ')" '0 2 '
  assert_equal "$(broker_endpoint 2)|$(broker_endpoint 1)" 'broker:5671|broker:5671'
  assert_equal "$(address_of_master 2)" 10.0.0.1
  WORKER_HOSTS=(1)
  assert_equal "$(tunnelled_hosts)" ''
  TUNNEL='' WORKER_HOSTS=(0 1 2)
  assert_equal "$(tunnelled_hosts)|$(broker_endpoint 2)" '|10.0.0.1:5671'
}

@test "check_tunnel: nobody can log in to this machine; only yes is a value" {
  MASTER_HOST=0
  check_tunnel
  assert_equal "${#PROBLEMS[@]} ${PROBLEMS[0]}" \
    '2 --tunnel: h1 would have to log in to this machine by ssh; have the master run on one of the hosts, with -m'
  PROBLEMS=() WORKER_HOSTS=(0) TUNNEL=no
  check_tunnel
  assert_equal "${PROBLEMS[*]}" 'TUNNEL in config.sh must be yes or empty, not no'
}

@test "check_tunnel_addresses: IPv4 only" {
  set_fact 2 broker 2001:db8::1
  check_tunnel_addresses
  assert_equal "${PROBLEMS[*]}" 'h2: --tunnel needs an IPv4 address of the master host; give one with -b'
}

@test "ask_host_keys: keys, and nothing else, are accepted" {
  local answer='ssh-ed25519 AAAAkey root@h1
ecdsa-sha2-nistp256 AAAAother='
  on_host() { printf '%s\n' "$answer"; }
  ask_host_keys
  assert_equal "${TUNNEL_HOST_KEYS[*]}" 'ssh-ed25519 AAAAkey ecdsa-sha2-nistp256 AAAAother='
  answer='ssh-ed25519 AAAA
ProxyCommand evil'
  capture ask_host_keys
  assert_equal "$status" 1
  assert_part 'the answer cannot be read: ProxyCommand evil'
  on_host() { return 1; }
  ask_host_keys
  assert_equal "${PROBLEMS[*]}" 'h1: --tunnel needs the keys of its sshd in /etc/ssh/ssh_host_*_key.pub, which cannot be read'
}

@test "make_tunnel_keys: a key for each host, kept when it is repeated, readable by the user only" {
  local line before secrets
  secrets=$(secrets_path)
  TUNNEL_HOST_KEYS=('ssh-ed25519 AAAAkey')
  capture make_tunnel_keys
  assert_equal "$status|$messages" '0|'
  assert_equal "$(cd "$secrets" && echo tunnel@*/*)" "$(echo tunnel@{h2,local}/{config,key,key.pub,known_hosts,passwd})"
  assert_equal "$(find "$secrets" -type f ! -perm 600)" ''
  assert_equal "$(<"$secrets/tunnel@h2/known_hosts")|$(<"$secrets/tunnel@h2/passwd")" \
    'master ssh-ed25519 AAAAkey|tunnel:x:1000:1000::/tmp:/bin/sh'
  grep -qx '  HostName 10.0.0.1' "$secrets/tunnel@h2/config"
  grep -qx '  Port 2222' "$secrets/tunnel@h2/config"
  # Nobody may take the master host's place, and no other key or password is tried.
  for line in 'StrictHostKeyChecking yes' 'UserKnownHostsFile /secrets/known_hosts' 'GlobalKnownHostsFile none' 'UpdateHostKeys no' \
    'IdentitiesOnly yes' 'PreferredAuthentications publickey' 'BatchMode yes'; do
    grep -qx "  $line" "$secrets/tunnel@h2/config"
  done
  before=$(cat "$secrets"/tunnel@*/*)
  make_tunnel_keys
  assert_equal "$(cat "$secrets"/tunnel@*/*)" "$before"
  forget_tunnels h2
  assert_equal "$(cd "$secrets" && echo tunnel@*)" tunnel@h2
  TUNNEL=''
  forget_tunnels h2
  assert_equal "$(find "$secrets" -name 'tunnel*')" ''
}

@test "authorize_tunnels: our lines come first, and the file is as it was when they are gone, byte by byte" {
  local before=$'# mine\nssh-rsa AAAA me\nssh-rsa BBBB infrainit-tunnel:infra-other001:h2\nno newline' moved
  mkdir -m 700 "$HOME/.ssh"
  TUNNEL_HOST_KEYS=('ssh-ed25519 AAAAkey')
  make_tunnel_keys
  printf '%s' "$before" >"$HOME/kept elsewhere"
  chmod 640 "$HOME/kept elsewhere"
  ln -s "$HOME/kept elsewhere" "$FILE"
  authorize_tunnels local h1 h2
  assert_equal "$(grep -c 'infrainit-tunnel:infra-01234567:' "$FILE")" 2
  assert_equal "$(tail -n 4 "$FILE")" "$before"
  assert_equal "$(sed -n 1p "$FILE")" "restrict,command=\"exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/5671 && echo infrainit-tunnel && { { cat; kill 0; } <&0 >&3 & cat <&3; kill 0; }'\" $(cut -d ' ' -f 1,2 <"$(secrets_path)/tunnel@local/key.pub") infrainit-tunnel:infra-01234567:local"
  moved=$(stat -c %i "$HOME/kept elsewhere")
  authorize_tunnels local h1 h2
  assert_equal "$(stat -c %i "$HOME/kept elsewhere")" "$moved" # the same lines: not written again
  authorize_tunnels h2
  assert_equal "$(grep -c 'infrainit-tunnel:infra-01234567:' "$FILE")" 1
  remove_tunnel_lines 1
  printf '%s' "$before" | cmp - "$FILE"
  assert_equal "$(stat -c %a "$HOME/kept elsewhere")" 640
  [[ -L $FILE ]]
}

@test "authorize_tunnels: a file that was not there is made, and removed again; without --tunnel nothing is" {
  TUNNEL_HOST_KEYS=('ssh-ed25519 AAAAkey')
  make_tunnel_keys
  authorize_tunnels h2
  assert_equal "$(stat -c %a "$HOME/.ssh" "$FILE" | tr '\n' ' ')" '700 600 '
  remove_tunnel_lines 1
  assert_equal "$(ls -A "$HOME/.ssh")" ''
  remove_tunnel_lines 1
  TUNNEL=''
  authorize_tunnels h2
  assert_equal "$(ls -A "$HOME/.ssh")" ''
}

# open_command: runs the command of a tunnel's key in the login shell $1, with the broker's port $2.
open_command() {
  local line BROKER_PORT=$2
  line=$(tunnel_line h2 'ssh-ed25519 AAAA')
  line=${line#*command=\"} line=${line%%\" ssh-*}
  setsid "$1" -c "$line"
}

@test "the command of a tunnel's key passes bytes on, in every login shell, and ends with either side" {
  local shell listener port held ready=$BATS_TEST_TMPDIR/port
  python3 -c '
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
open(sys.argv[1] + ".new", "w").write(str(listener.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    client = listener.accept()[0]
    client.sendall(b"\0\xff" + client.recv(100).upper())
    client.close()' "$ready" 3>&- &
  listener=$!
  until [[ -e $ready ]]; do sleep 0.05; done
  port=$(<"$ready")
  mkfifo input
  exec {held}<>input
  for shell in bash dash zsh tcsh; do
    command -v "$shell" >/dev/null || continue
    # Its stdin stays open: it is the broker that closes.
    echo hello >&"$held"
    open_command "$shell" "$port" <input >"$BATS_TEST_TMPDIR/got" 2>/dev/null || true
    assert_equal "$shell $(od -An -c <"$BATS_TEST_TMPDIR/got" | tr -d ' \n')" "$shell infrainit-tunnel\\n\\0377HELLO\\n"
  done
  kill "$listener"
  wait "$listener" || true # it was killed
  capture open_command bash "$port" </dev/null
  ((status != 0))
  assert_equal "$output" ''
}

@test "tunnel_options: the whole command" {
  REMOTE_PATH='my tasks' TUNNEL_IMAGE_ID=tunnel:1
  local words
  read_words words tunnel_options 2
  assert_equal "$(printf '%s\n' "${words[@]}")" "$(
    printf '%s\n' --detach --name infra-01234567-tunnel --label infrainit.infrastructure=infra-01234567 --label infrainit.role=tunnel \
      --restart unless-stopped --log-driver local --log-opt max-size=10m --log-opt max-file=5 --user 1000:1000 \
      --cap-drop ALL --security-opt no-new-privileges --memory 128m --init --read-only --tmpfs /tmp:size=64m \
      --mount 'type=bind,source=/home/me/my tasks/secrets/infra-01234567/tunnel,target=/secrets,readonly' \
      --network infra-01234567 --network-alias broker --hostname tunnel --stop-timeout 5 --pids-limit 256 --env HOME=/tmp \
      --mount 'type=bind,source=/home/me/my tasks/secrets/infra-01234567/tunnel/passwd,target=/etc/passwd,readonly' \
      tunnel:1 infrainit-tunnel
  )"
  output=$(read_words words broker_options 1 && printf '%s\n' "${words[@]}")
  assert_line 127.0.0.1:5671:5671
  refute_part 0.0.0.0
}
