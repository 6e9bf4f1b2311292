# shellcheck shell=bash
# The only file that knows ssh: one multiplexed connection to each host, and commands as argument vectors, quoted once.
# Host 0 is this machine; for it the same functions run the command directly.

SSH_CONNECTIONS='' # private folder with the sockets of open connections; its path is short, as a socket's may have 108 bytes only
SSH_OPTIONS=()     # options of every call; the user's own ssh config stays in force for the rest

# prepare_ssh: sets both; the first connection calls it.
prepare_ssh() {
  [[ -z $SSH_CONNECTIONS ]] || return 0
  SSH_CONNECTIONS=$(mktemp -d /tmp/infrainit.XXXXXXXX)
  SSH_OPTIONS=(
    -T
    -o BatchMode=yes
    -o ConnectTimeout=10
    -o ServerAliveInterval=15
    -o ServerAliveCountMax=4
    -o StrictHostKeyChecking=accept-new
    -o ControlPath="$SSH_CONNECTIONS/%C"
  )
  if [[ $KEY ]]; then
    SSH_OPTIONS+=(-o IdentitiesOnly=yes -i "$KEY")
  fi
}

# ssh_to HOST OPTION… -- COMMAND: runs ssh; COMMAND is one string for the shell on the host.
ssh_to() {
  local host=$1 options=()
  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  if [[ ${SSH_PORTS[host]} ]]; then
    options+=(-p "${SSH_PORTS[host]}")
  fi
  ssh "${SSH_OPTIONS[@]}" "${options[@]}" -- "${SSH_DESTINATIONS[host]}" "${@:2}"
}

# open_connection HOST: opens the connection that all later calls share. If it fails, stderr has ssh's reason.
open_connection() {
  (($1 != 0)) || return 0
  prepare_ssh
  # The connection outlives this call and would keep a pipe on its output open: therefore a file.
  local messages="$SSH_CONNECTIONS/$1.messages" code=0
  ssh_to "$1" -o ControlMaster=auto -o ControlPersist=1h -- true </dev/null >/dev/null 2>"$messages" || code=$?
  cat -- "$messages" >&2
  return "$code"
}

# close_connection HOST: closes it if it is open.
close_connection() {
  (($1 == 0)) || ssh_to "$1" -O exit -- 2>/dev/null || true # it may have ended by itself
}

close_connections() {
  local socket
  [[ $SSH_CONNECTIONS ]] || return 0
  for socket in "$SSH_CONNECTIONS"/*; do
    if [[ -S $socket ]]; then
      ssh -o ControlPath="$socket" -O exit -- any-host 2>/dev/null || true # it may have ended by itself
    fi
  done
  rm -rf -- "$SSH_CONNECTIONS" # an ssh that ends removes its socket at the same time
  SSH_CONNECTIONS=''
}

# on_host HOST COMMAND…: runs a command that changes nothing, with empty stdin.
on_host() {
  on_host_stdin "$@" </dev/null
}

# on_host_stdin HOST COMMAND…: the same, with the stdin of this call.
on_host_stdin() {
  local host=$1
  shift
  if ((host == 0)); then
    "$@"
  else
    prepare_ssh
    ssh_to "$host" -o ControlMaster=no -- "$(quote "$@")"
  fi
}

# change_host HOST COMMAND…: runs a command that changes something on a host: it is shown, and left out of a dry run.
change_host() {
  show_on "${HOST_NAMES[$1]}" "${@:2}"
  [[ $DRY_RUN ]] || on_host "$@"
}

# change_host_stdin HOST COMMAND…: the same, with the stdin of this call, which a dry run reads to its end.
change_host_stdin() {
  show_on "${HOST_NAMES[$1]}" "${@:2}"
  if [[ $DRY_RUN ]]; then
    cat >/dev/null
  else
    on_host_stdin "$@"
  fi
}

# ssh_address HOST: prints the name or address that ssh connects to; the user's ssh config may have another for what was typed.
ssh_address() {
  ssh -T -G -- "${SSH_DESTINATIONS[$1]}" | sed -n 's/^hostname //p'
}

# explain_ssh_failure HOST TEXT: prints in one line what ssh's TEXT means and what to do.
explain_ssh_failure() {
  local text=$2 remove
  case $text in
    *'Could not resolve hostname'*) echo "this machine cannot resolve its name; check the spelling in -a, or give its address" ;;
    *'Connection refused'*) echo "it refuses the connection; is sshd running there, and on this port?" ;;
    *'timed out'* | *'No route to host'* | *'unreachable'*) echo "it does not answer; is it switched on, and can it be reached from here?" ;;
    *'HOST IDENTIFICATION HAS CHANGED'*)
      remove=$(sed -n 's/.*\(ssh-keygen .*-R .*[^ ]\).*/\1/p' <<<"$text" | tr -d '\r')
      echo "its host key has changed; if it was installed anew, forget the old key (${remove:-ssh-keygen -R HOST}); if not, someone may intercept the connection"
      ;;
    *'UNPROTECTED PRIVATE KEY'*) echo "ssh ignores the key $KEY, because others may read it: chmod 600 $(quote "$KEY")" ;;
    *'Permission denied'*)
      echo "it denies the login with ${KEY:-the keys that ssh finds}; check the user name, put a key that has a passphrase into ssh-agent, or: ssh-copy-id ${KEY:+-i $(quote "$KEY") }${SSH_PORTS[$1]:+-p ${SSH_PORTS[$1]} }${SSH_DESTINATIONS[$1]}"
      ;;
    *) printf 'ssh says: %s\n' "$(tail -n 1 <<<"$text")" ;;
  esac
}
