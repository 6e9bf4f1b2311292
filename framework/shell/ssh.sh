# shellcheck shell=bash
# The only file that knows ssh: one multiplexed connection to each host, and commands as argument vectors, quoted once.
# Host 0 is this machine; for it the same functions run the command directly.
#
# What a host answers is text of somebody else's: it begins where the command begins, whatever the start-up files of its login shell
# print; its stderr is shown as printable text; and whoever uses an answer checks that it looks like one.

SSH_CONNECTIONS=''        # private folder with the sockets of open connections; its path is short, as a socket's may have 108 bytes only
SSH_OPTIONS=()            # options of every call; the user's own ssh config stays in force for the rest
MESSAGES_FILTER=printable # what the stderr of commands goes through

# Runs a command, in the place of the login shell: "$0" in a line of its own says that the answer begins. It must mean the same
# between single quotes in every shell: no quotes, backslashes, exclamation marks or newlines.
# shellcheck disable=SC2016 # expands over there
readonly RUN_SCRIPT='echo $0; for w do shift; w=$(printf %b. "$w"); set -- "$@" "${w%.}"; done; exec "$@"'

readonly GREETING_LIMIT=1048576 # characters that the start-up files of a login shell may print
ANSWER_LIMIT=67108864           # bytes of an answer; empty where it is passed on, and not kept in memory

# prepare_ssh: sets both; the first connection calls it.
prepare_ssh() {
  local option options=(RemoteCommand=none SessionType=default StdinNull=no ForkAfterAuthentication=no)
  [[ -z $SSH_CONNECTIONS ]] || return 0
  SSH_CONNECTIONS=$(mktemp -d /tmp/infrainit.XXXXXXXX)
  SSH_OPTIONS=(
    -T # no terminal
    -a # no agent, no display and no ports of this machine for a host, and no commands here, whatever the user's config says
    -x
    -o ClearAllForwardings=yes
    -o PermitLocalCommand=no
    -o Tunnel=no
    -o BatchMode=yes
    -o ConnectTimeout=10
    -o ServerAliveInterval=15
    -o ServerAliveCountMax=4
    -o StrictHostKeyChecking=accept-new
    -o ControlPath="$SSH_CONNECTIONS/%C"
  )
  # A config made for logging in by hand may have these; an older ssh does not know all of them.
  if ! ssh "${options[@]/#/-o}" -V 2>/dev/null; then
    for option in "${!options[@]}"; do
      ssh -o "${options[option]}" -V 2>/dev/null || unset "options[option]"
    done
  fi
  for option in "${options[@]}"; do
    SSH_OPTIONS+=(-o "$option")
  done
}

# ssh_to HOST OPTION… -- COMMAND: runs ssh; COMMAND is one string for the shell on the host.
ssh_to() {
  local host=$1 options=() key
  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  key=$(key_of "$host")
  if [[ $key ]]; then
    options+=(-o IdentitiesOnly=yes -i "$key")
  fi
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
  [[ ! -s $messages ]] || cat -- "$messages" >&2
  return "$code"
}

# close_connection HOST: closes it if it is open.
close_connection() {
  (($1 == 0)) || ssh_to "$1" -O exit -- 2>/dev/null || true # it may have ended by itself
}

close_connections() {
  local socket jobs=()
  [[ $SSH_CONNECTIONS ]] || return 0
  for socket in "$SSH_CONNECTIONS"/*; do
    if [[ -S $socket ]]; then
      ssh -o ControlPath="$socket" -O exit -- any-host 2>/dev/null &
      jobs+=("$!")
    fi
  done
  ((${#jobs[@]} == 0)) || wait "${jobs[@]}" || true # some may have ended by themselves
  rm -rf -- "$SSH_CONNECTIONS"                      # an ssh that ends removes its socket at the same time
  SSH_CONNECTIONS=''
}

# on_host HOST COMMAND…: runs a command that changes nothing, with empty stdin.
on_host() {
  show_question_on "${HOST_NAMES[$1]}" "${@:2}"
  run_with_stdin "$@" </dev/null
}

# on_host_stdin HOST COMMAND…: the same, with the stdin of this call.
on_host_stdin() {
  show_question_on "${HOST_NAMES[$1]}" "${@:2}"
  run_with_stdin "$@"
}

run_with_stdin() {
  (($1 == 0)) || prepare_ssh
  {
    run_on_host "$@" 2>&1 >&9 9>&- | "$MESSAGES_FILTER" >&2 9>&-
  } 9>&1
}

# run_on_host HOST COMMAND…: prints the answer and nothing else. For this machine COMMAND takes the place of the calling subshell.
run_on_host() {
  local host=$1 marker codes
  shift
  if ((host == 0)); then
    exec "$@"
  fi
  read -r marker </proc/sys/kernel/random/uuid # 122 random bits
  marker=${marker//-/}
  ssh_to "$host" -o ControlMaster=no -- "exec sh -c '$RUN_SCRIPT' $marker $(quote_for_any_shell "$@")" |
    copy_after "$marker" && return
  codes=("${PIPESTATUS[@]}")
  if ((codes[1] == 8)); then
    unreadable "$host" 'it does not end'
    return
  fi
  ((codes[0] == 0 || codes[1] == 9)) || return "${codes[0]}"
  unreadable "$host" 'it does not begin as it should; does its login shell run commands?'
}

# copy_after MARKER: copies stdin to stdout from the line after MARKER on, byte by byte. What comes before it is what the login shell's
# start-up files print; ends with 9 if that does not end, and with 8 if the answer is longer than ANSWER_LIMIT. Since the command replaces
# the shell, nothing comes after the answer.
copy_after() {
  local line left=$GREETING_LIMIT
  while ((left > 0)) && IFS='' read -r -n "$left" line; do
    if [[ $line == *"$1" ]]; then
      [[ $ANSWER_LIMIT ]] || exec cat
      head --bytes="$ANSWER_LIMIT" || return
      ! read -r -n 1 -d '' line || return 8
      return 0
    fi
    left=$((left - ${#line} - 1))
  done
  ((left > 0)) || return 9
  return 1
}

# unreadable HOST TEXT: says that TEXT, which came from HOST, is not what it should be; fails.
unreadable() {
  printf '%s: the answer cannot be read: %s\n' "${HOST_NAMES[$1]}" "$(make_printable "${2:0:200}")" >&2
  return 1
}

# change_host HOST COMMAND…: runs a command that changes something on a host: it is shown, and left out of a dry run.
change_host() {
  show_on "${HOST_NAMES[$1]}" "${@:2}"
  [[ $DRY_RUN ]] || run_with_stdin "$@" </dev/null
}

# change_host_stdin HOST COMMAND…: the same, with the stdin of this call, which a dry run reads to its end.
change_host_stdin() {
  show_on "${HOST_NAMES[$1]}" "${@:2}"
  if [[ $DRY_RUN ]]; then
    cat >/dev/null
  else
    run_with_stdin "$@"
  fi
}

# ssh_address HOST: prints the name or address that ssh connects to; the user's ssh config may have another for what was typed.
ssh_address() {
  ssh_config_of "$1" | sed -n 's/^hostname //p'
}

# ssh_port HOST: prints the port that ssh connects to.
ssh_port() {
  ssh_config_of "$1" | sed -n 's/^port //p'
}

# ssh_config_of HOST: prints what ssh makes of the user's config for it, as `keyword value` lines.
ssh_config_of() {
  ssh -T -G ${SSH_PORTS[$1]:+-p "${SSH_PORTS[$1]}"} -- "${SSH_DESTINATIONS[$1]}"
}

# forget_key_command HOST: prints the command that removes the host's key from the file of known hosts.
forget_key_command() {
  local config name port files
  config=$(ssh_config_of "$1") || config=''
  name=$(sed -n 's/^hostkeyalias //p' <<<"$config")
  if [[ ! $name ]]; then
    name=$(sed -n 's/^hostname //p' <<<"$config")
    port=$(sed -n 's/^port //p' <<<"$config")
    name=${name:-${SSH_DESTINATIONS[$1]##*@}} port=${port:-${SSH_PORTS[$1]}}
    if [[ ${port:-22} != 22 ]]; then
      name="[$name]:$port"
    fi
  fi
  files=$(sed -n 's/^userknownhostsfile //p' <<<"$config")
  if [[ ! $files || $files == */.ssh/known_hosts* ]]; then
    quote ssh-keygen -R "$name"
  else
    quote ssh-keygen -f "$files" -R "$name" # a user who has named another file has named one
  fi
}

# command_on HOST WORD…: prints the command that runs these words there, which no shell changes, for people to type.
command_on() {
  local key
  key=$(key_of "$1")
  if (($1 == 0)); then
    printf '%s\n' "${*:2}"
  else
    printf 'ssh %s%s%s %s\n' "${key:+-i $(quote "$key") }" "${SSH_PORTS[$1]:+-p ${SSH_PORTS[$1]} }" "${SSH_DESTINATIONS[$1]}" "${*:2}"
  fi
}

# explain_ssh_failure HOST TEXT: prints in one line what ssh's TEXT means and what to do.
explain_ssh_failure() {
  local text=$2 key
  key=$(key_of "$1")
  case $text in
    *'Could not resolve hostname'*) echo "this machine cannot resolve its name; check the spelling in -a, or give its address" ;;
    *'Connection refused'*) echo "it refuses the connection; is sshd running there, and on this port?" ;;
    *'timed out'* | *'No route to host'* | *'unreachable'*) echo "it does not answer; is it switched on, and can it be reached from here?" ;;
    *'HOST IDENTIFICATION HAS CHANGED'*)
      echo "its host key has changed; if it was installed anew, forget the old key ($(forget_key_command "$1")); if not, someone may intercept the connection"
      ;;
    *'UNPROTECTED PRIVATE KEY'*) echo "ssh ignores the key $key, because others may read it: chmod 600 $(quote "$key")" ;;
    *'Permission denied'*)
      echo "it denies the login with ${key:-the keys that ssh finds}; check the user name, put a key that has a passphrase into ssh-agent, or: ssh-copy-id ${key:+-i $(quote "$key") }${SSH_PORTS[$1]:+-p ${SSH_PORTS[$1]} }${SSH_DESTINATIONS[$1]}"
      ;;
    *) printf 'ssh says: %s\n' "$(make_printable "$text" | tail -n 1)" ;;
  esac
}
