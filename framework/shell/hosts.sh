# shellcheck shell=bash
# The hosts: their numbers and names, their facts (asked once, all in parallel), our directories there, and the broker's address.

HOSTS=(local)         # as typed; 0 is this machine, the rest as in -a
HOST_NAMES=(local)    # unique, of letters, digits, '.' and '-'; in labels, queue names, results and messages
SSH_DESTINATIONS=('') # the argument of ssh for each host
SSH_PORTS=('')        # the port, where one was given
BROKER_NAME=''        # name or address of the broker for other hosts; empty: each host's own view of this machine
declare -gA FACTS=()  # "number.key" → a value that facts.sh printed and is_fact accepted
ASK_STATE=''          # not empty: hosts are asked what they hold, too: host_state.sh
readonly NEEDED_FACTS='time home user uid gid arch memory docker'
readonly FACTS_LIMIT=65536 # bytes of an answer; a host may say more without an end

# parse_hosts LIST: numbers the hosts of -a: a list, or @ and the path of a hosts file.
parse_hosts() {
  HOSTS=(local) HOST_NAMES=(local) SSH_DESTINATIONS=('') SSH_PORTS=('')
  # shellcheck disable=SC2034 # of host_list.sh
  HOST_SETTINGS=() HOST_MOUNTS=()
  case $1 in
    '') ;;
    @*) read_hosts_file "${1#@}" ;;
    *) add_listed_hosts "$1" ;;
  esac
}

# add_host TEXT [NAME]: adds a host written as [user@]host[:port], ssh://…, IPv6 with or without brackets, or an alias of the ssh
# config. NAME is its name in messages and results, if it has one of its own.
add_host() {
  local typed=$1 name=${2:-} user address port other
  if ! split_host "$typed" user address port; then
    problem "$HOSTS_PLACE: $(quote "$typed") is no host; write [user@]host[:port], an IPv6 address in brackets"
    return 0
  fi
  if [[ $address == local ]]; then
    problem "$HOSTS_PLACE: local is this machine, which is always available to -m and -w; leave it out of -a"
    return 0
  fi
  if other=$(number_of "$typed"); then
    problem "$HOSTS_PLACE: $typed is named twice (also as host $other, ${HOSTS[other]})"
    return 0
  fi
  if is_one_of "$name" "${HOST_NAMES[@]}"; then
    problem "$HOSTS_PLACE: the name $name is given to two hosts"
    return 0
  fi
  if [[ ! $name ]]; then
    name=${address//[^A-Za-z0-9.-]/-}${port:+-$port}
    [[ $name =~ ^-*(.*)$ ]] # a name that begins with '-' would be an option somewhere
    name=${BASH_REMATCH[1]}
  fi
  while is_one_of "$name" "${HOST_NAMES[@]}"; do
    name+=-${#HOSTS[@]}
  done
  HOSTS+=("$typed")
  HOST_NAMES+=("$name")
  SSH_DESTINATIONS+=("${user:+$user@}$address")
  SSH_PORTS+=("$port")
}

# number_of HOST: prints the number of a host as typed, whoever the user is; fails if it is none of ours.
number_of() {
  local user address port number
  split_host "$1" user address port
  for number in "${!HOSTS[@]}"; do
    if [[ ${SSH_DESTINATIONS[number]##*@} == "$address" && ${SSH_PORTS[number]} == "$port" ]]; then
      printf '%s\n' "$number"
      return 0
    fi
  done
  return 1
}

# split_host TEXT USER_VARIABLE ADDRESS_VARIABLE PORT_VARIABLE: fails if TEXT names no host.
split_host() {
  local rest=${1#ssh://}
  local -n user_part=$2
  rest=${rest%/}
  user_part=''
  if [[ $rest == *@* ]]; then
    user_part=${rest%@*}
    [[ $user_part && $user_part != -* && $user_part != *[[:space:][:cntrl:]]* ]] || return 1
  fi
  split_address "${rest##*@}" "$3" "$4"
}

# split_address TEXT ADDRESS_VARIABLE PORT_VARIABLE: fails if TEXT is neither an address nor address:port.
split_address() {
  local -n address_part=$2 port_part=$3
  local name='[A-Za-z0-9_]([A-Za-z0-9._-]*)' ipv6='[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?' number='[0-9]{1,5}'
  if [[ $1 =~ ^($name)(:($number))?$ || $1 =~ ^\[($ipv6)\](:($number))?$ ]]; then
    address_part=${BASH_REMATCH[1]}
    port_part=${BASH_REMATCH[4]}
  elif [[ $1 =~ ^$ipv6$ && $1 == *:*:* ]]; then
    # shellcheck disable=SC2034 # the caller's variable
    address_part=$1
    port_part=''
  else
    return 1
  fi
  [[ -z $port_part ]] || ((10#$port_part >= 1 && 10#$port_part <= 65535))
}

# is_address TEXT: is it a name or an address, without a port?
is_address() {
  local address port
  split_address "$1" address port && [[ $address && ! $port ]]
}

# fact HOST KEY: prints what facts.sh said; empty if it said nothing.
fact() {
  printf '%s\n' "${FACTS[$1.$2]:-}"
}

# root_of HOST: prints the directory that holds all our files there, absolute.
root_of() {
  printf '%s\n' "${FACTS[$1.home]:?of host $1 is not known}/$REMOTE_PATH"
}

# code_directory HOST: prints the directory of this project's versions.
code_directory() {
  local root
  root=$(root_of "$1")
  printf '%s/code/%s\n' "$root" "$PROJECT_NAME"
}

# secrets_directory HOST ROLE
secrets_directory() {
  local root
  root=$(root_of "$1")
  printf '%s/secrets/%s/%s\n' "$root" "$INFRASTRUCTURE" "$2"
}

# data_directory HOST ROLE
data_directory() {
  local root
  root=$(root_of "$1")
  printf '%s/%s/%s\n' "$root" "$2" "$PROJECT_NAME"
}

is_reachable() {
  [[ -z ${FACTS[$1.unreachable]:-} ]]
}

# probe_hosts HOST…: asks them for the facts that facts.sh prints.
probe_hosts() {
  BROKER_NAME=$(broker_name)
  collect_facts ask_facts "$NEEDED_FACTS" "$@"
}

# collect_facts FUNCTION NEEDED HOST…: opens the connections and stores the facts that FUNCTION HOST prints, those that are NEEDED among
# them; a host that does not answer gets the fact `unreachable`.
collect_facts() {
  local host hosts line FACTS_FROM=$1 FACTS_NEEDED=$2
  shift 2
  prepare_ssh
  mapfile -t hosts < <(in_order "$@")
  for_each_host probe_host "${hosts[@]}"
  for host in "${hosts[@]}"; do
    while IFS='' read -r line || [[ $line ]]; do
      FACTS[$host.${line%%=*}]=${line#*=}
    done <"$SSH_CONNECTIONS/$host.facts"
  done
  if [[ $(fact 0 docker_host) ]]; then
    DOCKER_HOST=$(fact 0 docker_host)
    export DOCKER_HOST
  fi
}

# probe_host HOST: writes the file that collect_facts reads.
probe_host() {
  local host=$1 messages="$SSH_CONNECTIONS/$1.ssh" answer="$SSH_CONNECTIONS/$1.answer" facts="$SSH_CONNECTIONS/$1.facts" wrong text now failed=''
  : >"$answer"
  {
    open_connection "$host" 2>"$messages" &&
      MESSAGES_FILTER=first_messages "$FACTS_FROM" "$host" 2>>"$messages" | head --bytes="$FACTS_LIMIT" >"$answer"
  } || failed=yes
  if (($(wc --bytes <"$answer") == FACTS_LIMIT)); then
    echo "unreachable=the answer cannot be read: it does not end" >"$facts"
  elif [[ $failed ]]; then
    printf 'unreachable=%s\n' "$(explain_ssh_failure "$host" "$(cat -- "$messages")")" >"$facts"
  elif ! wrong=$(check_facts "$answer" "$FACTS_NEEDED"); then
    printf 'unreachable=the answer cannot be read: %s\n' "$(make_printable "$wrong")" >"$facts"
  else
    text=$(<"$messages")
    [[ $text != *'Permanently added'* ]] || grep 'Permanently added' <<<"$text" | printable >&2 # a new host's key: the user should see it
    text=$(<"$answer")
    printf -v now '%(%s)T' -1
    {
      printf 'unreachable=\n%s\n' "$text"
      [[ ! $'\n'$text =~ $'\ntime='([0-9]+) ]] || printf 'skew=%s\n' "$((BASH_REMATCH[1] - now))"
    } >"$facts"
  fi
}

# check_facts FILE NEEDED: fails if the answer of a host holds anything but facts, or not all that are NEEDED, and prints what is wrong.
check_facts() {
  local line key
  local -A seen=()
  while IFS='' read -r line || [[ $line ]]; do
    key=${line%%=*}
    if [[ $line != *=* ]] || ! is_fact "$key" "${line#*=}" || [[ ${seen[$key]:-} ]]; then
      printf '%s\n' "${line:0:200}"
      return 1
    fi
    seen[$key]=yes
  done <"$1"
  for key in $2; do
    if [[ ! ${seen[$key]:-} ]]; then
      printf 'it ends without %s\n' "$key"
      return 1
    fi
  done
}

# is_fact KEY VALUE: is this a fact that facts.sh prints, with a value that it can have? Everything that a host says about itself
# comes through here; what follows computes with it and makes commands of it.
is_fact() {
  local LC_ALL=C text='[^[:cntrl:]]*' address='[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?' name='[A-Za-z0-9_.-]+' pattern
  case $1 in
    time | uid | gid | memory) is_number "$2" && return ;;
    cores | disk | docker_disk | gpus | gpu_runtime) [[ ! $2 ]] || is_number "$2" && return ;;
    home) pattern="/$text" ;;
    user) pattern="[^[:cntrl:][:space:]-]$text" ;;
    arch) pattern=$name ;;
    gpu_kind) pattern='(nvidia|amd)?' ;;
    gpu_groups) pattern='([0-9]{1,10} )*' ;;
    boot_id | engine_id) pattern='[A-Za-z0-9:_-]*' ;;
    client_address | broker) pattern="($address)?" ;;
    addresses) pattern="($address *)*" ;;
    docker) pattern='ok|missing|denied|down|podman' ;;
    docker_kind) pattern='plain|rootless|userns|snap|elsewhere' ;;
    docker_host) pattern='unix:///[A-Za-z0-9._/-]+' ;;
    engine) pattern='[A-Za-z0-9.+~:_-]*' ;;
    docker_message | docker_group) pattern=$text ;;
    root_writable | tmp_writable) pattern="yes|full|no: /$text" ;;
    root_user) pattern=$name ;;
    state | tables) pattern='[0-9a-f]{64}' ;;
    master) pattern='(c[0-9a-f]{12})? (runs|paused) (,[A-Za-z0-9.-]+)*' ;;
    "port_$BROKER_PORT" | "port_$FLOWER_PORT" | "port_${METRICS_PORT:-none}") pattern="free|ours|taken by another program|taken by the container [A-Za-z0-9_.,/-]+" ;;
    *) return 1 ;;
  esac
  # Bytes above those of ASCII are letters only if they are UTF-8.
  [[ ${pattern:-} && $2 =~ ^($pattern)$ ]] && { is_plain "$2" || [[ $(make_printable "$2") == "$2" ]]; }
}

ask_facts() {
  local ports=() scripts=(facts.sh)
  [[ $1 != "${MASTER_HOST:-$1}" ]] || ports=("$BROKER_PORT" "$FLOWER_PORT" ${METRICS_PORT:+"$METRICS_PORT"})
  [[ ! $ASK_STATE ]] || scripts+=(host_state.sh)
  (cd -- "$CHECKOUT/framework/shell" && cat -- "${scripts[@]}") |
    on_host_stdin "$1" sh -s -- "$REMOTE_PATH" "$INFRASTRUCTURE" "$BROKER_NAME" "${ports[@]}"
}

# broker_name: prints what other hosts call the broker, as far as that is known before they are asked.
broker_name() {
  local address='' port
  if [[ $BROKER ]]; then
    split_address "$BROKER" address port
    printf '%s\n' "$address"
  elif [[ $MASTER_HOST && $MASTER_HOST != 0 ]]; then
    master_address
  fi
}

# master_address: prints what this machine calls the master host.
master_address() {
  if ((MASTER_HOST == 0)); then
    echo localhost
  else
    ssh_address "$MASTER_HOST"
  fi
}

# broker_address HOST: prints where a worker on HOST finds the broker. On the master host, and where a tunnel takes its place, it is the
# name in the infrastructure's own Docker network.
broker_address() {
  if [[ $1 == "$MASTER_HOST" ]] || is_tunnelled "$1"; then
    echo broker
  else
    address_of_master "$1"
  fi
}

# address_of_master HOST: prints the master host's address for HOST. Every host resolves the name itself, because its containers do
# not see its /etc/hosts.
address_of_master() {
  if [[ $BROKER_NAME ]]; then
    fact "$1" broker
  else
    fact "$1" client_address
  fi
}

# broker_endpoint HOST: prints address:port of the broker for a worker on HOST.
broker_endpoint() {
  local address port=''
  if [[ $1 == "$MASTER_HOST" ]] || is_tunnelled "$1"; then
    port=5671 # over the infrastructure's own Docker network
  elif [[ $BROKER ]]; then
    split_address "$BROKER" address port
  fi
  address=$(broker_address "$1") # as resolved by the host itself
  if [[ $address == *:* ]]; then
    address="[$address]"
  fi
  printf '%s:%s\n' "$address" "${port:-$BROKER_PORT}"
}

# broker_addresses: prints every name and address of the master host that is used, one a line.
broker_addresses() {
  local host
  {
    master_address
    printf '%s\n' "$BROKER_NAME"
    fact 0 broker
    for host in "${WORKER_HOSTS[@]}"; do
      broker_address "$host"
    done
  } | sed '/^$/d' | sort -u
}
