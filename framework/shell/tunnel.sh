# shellcheck shell=bash
# --tunnel: workers reach the broker through ssh, and no port but ssh's is open between hosts. On each worker host a container, tunnel,
# takes the broker's place in the infrastructure's network; it logs in to the master host with a key of its own.
#
# The key is good for one command, which is connected to the broker's port, and for nothing else: no shell, and no forwarding, which many
# an sshd does not allow anyway.

readonly TUNNEL_READY=infrainit-tunnel # a line that the command prints when it has reached the broker
readonly TUNNEL_SECONDS=60             # until a tunnel has reached the broker
TUNNEL_HOST_KEYS=()                    # of the master host: type and key

# is_tunnelled HOST: does a worker there reach the broker through ssh?
is_tunnelled() {
  [[ $TUNNEL && $1 != "$MASTER_HOST" ]] && is_one_of "$1" "${WORKER_HOSTS[@]}"
}

# tunnelled_hosts: prints the numbers of these hosts.
tunnelled_hosts() {
  local host
  for host in "${WORKER_HOSTS[@]}"; do
    ! is_tunnelled "$host" || printf '%s\n' "$host"
  done
}

# check_tunnel: records what can be said about --tunnel without asking a host.
check_tunnel() {
  local host
  if [[ $TUNNEL && $TUNNEL != yes ]]; then
    problem "TUNNEL in config.sh must be yes or empty, not $(quote "$TUNNEL")"
  fi
  [[ $TUNNEL && $MASTER_HOST == 0 ]] || return 0
  for host in $(tunnelled_hosts); do
    problem "--tunnel: ${HOST_NAMES[host]} would have to log in to this machine by ssh; have the master run on one of the hosts, with -m"
  done
}

# ask_host_keys: sets TUNNEL_HOST_KEYS; records a problem if there are none. The connection on which they come is verified.
ask_host_keys() {
  local line name=${HOST_NAMES[MASTER_HOST]} pattern='(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/]+=*'
  [[ $(tunnelled_hosts) ]] || return 0
  is_reachable "$MASTER_HOST" || return 0
  TUNNEL_HOST_KEYS=()
  while IFS='' read -r line; do
    [[ $line =~ ^($pattern)($| ) ]] || unreadable "$MASTER_HOST" "$line"
    TUNNEL_HOST_KEYS+=("${BASH_REMATCH[1]}")
  done < <(on_host "$MASTER_HOST" sh -c 'cat /etc/ssh/ssh_host_*_key.pub')
  ((${#TUNNEL_HOST_KEYS[@]} > 0)) ||
    problem "$name: --tunnel needs the keys of its sshd in /etc/ssh/ssh_host_*_key.pub, which cannot be read"
}

# check_tunnel_addresses: records a problem for each host that would need IPv6: Docker's networks have it only if somebody has set it up.
check_tunnel_addresses() {
  local host
  for host in $(tunnelled_hosts); do
    if [[ $(address_of_master "$host") == *:* ]]; then
      problem "${HOST_NAMES[host]}: --tunnel needs an IPv4 address of the master host; give one with -b"
    fi
  done
}

# make_tunnel_keys: makes what the tunnels need in .infra/secrets/tunnel@NAME for each host.
make_tunnel_keys() (
  umask 077
  [[ $(tunnelled_hosts) ]] || exit 0
  port=$(ssh_port "$MASTER_HOST")
  for host in $(tunnelled_hosts); do
    directory=$(secrets_of "$host" tunnel)
    mkdir -p "$directory" || exit
    cd "$directory" || exit
    if [[ ! -s key ]]; then
      rm -f key.new key.new.pub
      ssh-keygen -q -t ed25519 -N '' -C '' -f key.new && mv key.new.pub key.pub && mv key.new key || exit
    fi
    print_tunnel_config "$host" "$port" | write_secret config &&
      printf 'master %s\n' "${TUNNEL_HOST_KEYS[@]}" | sort | write_secret known_hosts &&
      # ssh insists on a user with a name.
      printf 'tunnel:x:%s:%s::/tmp:/bin/sh\n' "$(fact "$host" uid)" "$(fact "$host" gid)" | write_secret passwd || exit
  done
)

# print_tunnel_config HOST PORT: for ssh in the tunnel. All connections of a worker share one of ssh's; it ends when the network has been
# away for 30 s.
print_tunnel_config() {
  cat <<CONFIG
Host master
  HostName $(address_of_master "$1")
  Port $2
  User "$(fact "$MASTER_HOST" user)"
  HostKeyAlias master
  UserKnownHostsFile /secrets/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  UpdateHostKeys no
  IdentityFile /secrets/key
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  BatchMode yes
  ConnectTimeout 10
  ServerAliveInterval 10
  ServerAliveCountMax 3
  ControlMaster auto
  ControlPath /tmp/%C
  ControlPersist yes
  RequestTTY no
  LogLevel ERROR
CONFIG
}

# authorize_tunnels NAME…: has the master host accept the keys of these worker hosts' tunnels, and none of other hosts any more.
authorize_tunnels() {
  local name key lines=()
  [[ $TUNNEL || ${RECORD[TUNNEL]:-} ]] || return 0
  for name in "$@"; do
    key=$(secrets_path)/tunnel@$name/key.pub
    if [[ $TUNNEL && -s $key && $name != "${HOST_NAMES[MASTER_HOST]}" ]]; then
      lines+=("$(tunnel_line "$name" "$(cut -d ' ' -f 1,2 <"$key")")")
    fi
  done
  write_tunnel_lines "$MASTER_HOST" "${lines[@]}"
}

# tunnel_line NAME KEY: prints a line of authorized_keys. Its command means the same in every login shell: no backslash, no exclamation
# mark. It ends when either side has closed, and with all that it has started.
tunnel_line() {
  local command="exec 3<>/dev/tcp/127.0.0.1/$BROKER_PORT && echo $TUNNEL_READY && { { cat; kill 0; } <&0 >&3 & cat <&3; kill 0; }"
  printf 'restrict,command="exec bash -c '\''%s'\''" %s infrainit-tunnel:%s:%s\n' "$command" "$2" "$INFRASTRUCTURE" "$1"
}

# remove_tunnel_lines HOST: leaves the file as it was before.
remove_tunnel_lines() {
  write_tunnel_lines "$1"
}

# write_tunnel_lines HOST [LINE…]: puts the LINEs in front of those in authorized_keys, in place of all earlier ones of this
# infrastructure. The rest of the file stays as it is, byte by byte; a file that is empty then is removed.
# shellcheck disable=SC2016 # expands over there
write_tunnel_lines() {
  local host=$1
  shift
  { (($# == 0)) || printf '%s\n' "$@"; } | change_host_stdin "$host" sh -c '
    set -eu
    umask 077
    lines=$(cat)
    file=$HOME/.ssh/authorized_keys
    if [ ! -e "$file" ]; then
      [ -n "$lines" ] || exit 0
      mkdir -p -- "$HOME/.ssh"
      : >"$file"
    fi
    file=$(readlink -f -- "$file")
    exec 9<"$(dirname -- "$file")"
    ! command -v flock >/dev/null || flock 9
    cp -p -- "$file" "$file.infrainit"
    trap "rm -f -- \"\$file.infrainit\"" EXIT
    {
      [ -z "$lines" ] || printf "%s\n" "$lines"
      sed -e "/ infrainit-tunnel:$1:[A-Za-z0-9.-]*\$/d" -- "$file"
    } >"$file.infrainit"
    if [ ! -s "$file.infrainit" ]; then
      rm -- "$file"
    elif [ "$(sha256sum <"$file.infrainit")" != "$(sha256sum <"$file")" ]; then
      mv -- "$file.infrainit" "$file"
    fi' tunnel "$INFRASTRUCTURE"
}

# forget_tunnels NAME…: removes the keys here of all other hosts.
forget_tunnels() {
  local directory
  for directory in "$(secrets_path)"/tunnel@*/; do
    if [[ -d $directory ]] && { [[ ! $TUNNEL ]] || ! is_one_of "$(basename -- "${directory#*tunnel@}")" "$@"; }; then
      run rm -rf -- "${directory%/}"
    fi
  done
}

start_tunnel() {
  start_container "$1" tunnel
}

wait_tunnel() {
  wait_container "$1" tunnel "$TUNNEL_SECONDS" python3 -I /usr/local/lib/relay.py "$TUNNEL_READY" check
}
