# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # what is known of the hosts is used, and the settings are made, by other files
# The hosts: their numbers and names, what each is and has (asked once, all in parallel), and where they find the broker.

HOSTS=(local)         # as typed; 0 is this machine, the rest as in -a
HOST_NAMES=(local)    # unique, of letters, digits, '.' and '-'; in labels, queue names, results and messages
SSH_DESTINATIONS=('') # what ssh is given
SSH_PORTS=('')        # its port, where one was given
MASTER_HOST=''        # number of the host of the broker, the master and Flower; empty: not in this run
WORKER_HOSTS=()       # numbers of the hosts with workers
BROKER_NAME=''        # name or address of the broker for other hosts; empty: each host's own view of this machine
INSTALL_HOSTS=()      # numbers of the hosts on which Docker is to be installed or started first
declare -gA FACTS=()  # "number.key" → what facts.sh said

# parse_hosts LIST: numbers the hosts of -a.
parse_hosts() {
  local specification specifications
  HOSTS=(local) HOST_NAMES=(local) SSH_DESTINATIONS=('') SSH_PORTS=('')
  [[ $1 ]] || return 0
  mapfile -d , -t specifications < <(printf '%s,' "$1")
  for specification in "${specifications[@]}"; do
    add_host "$specification"
  done
}

# add_host [user@]host[:port]: also ssh://…, IPv6 with or without brackets, aliases of the ssh config.
add_host() {
  local typed=$1 user address port name other
  if ! split_host "$typed" user address port; then
    problem "-a: $(quote "$typed") is no host; write [user@]host[:port], an IPv6 address in brackets"
    return 0
  fi
  if [[ $address == local ]]; then
    problem "-a: local is this machine and always there, for -m local and -w local; leave it out of -a"
    return 0
  fi
  if other=$(number_of "$typed"); then
    problem "-a: $typed is named twice (also as host $other, ${HOSTS[other]})"
    return 0
  fi
  name=${address//[^A-Za-z0-9.-]/-}${port:+-$port}
  [[ $name =~ ^-*(.*)$ ]] # a name that begins with '-' would be an option somewhere
  name=${BASH_REMATCH[1]}
  while is_one_of "$name" "${HOST_NAMES[@]}"; do
    name+=-${#HOSTS[@]}
  done
  HOSTS+=("$typed")
  HOST_NAMES+=("$name")
  SSH_DESTINATIONS+=("${user:+$user@}$address")
  SSH_PORTS+=("$port")
}

# number_of HOST: of a host as typed, whoever the user is; fails if it is none of ours.
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
    address_part=$1
    port_part=''
  else
    return 1
  fi
  [[ -z $port_part ]] || ((10#$port_part >= 1 && 10#$port_part <= 65535))
}

# parse_host_numbers OPTION LIST ARRAY: local, numbers and ranges into ARRAY.
parse_host_numbers() {
  local option=$1 item items first last
  local -n numbers=$3
  mapfile -d , -t items < <(printf '%s,' "$2")
  for item in "${items[@]}"; do
    if [[ $item == local ]]; then
      first=0 last=0
    elif [[ $item =~ ^([0-9]{1,6})(-([0-9]{1,6}))?$ ]]; then
      first=$((10#${BASH_REMATCH[1]}))
      last=$((10#${BASH_REMATCH[3]:-$first}))
    else
      problem "$option: $(quote "$item") is neither local nor a host number nor a range like 3-5"
      continue
    fi
    if [[ $item != local && $first == 0 ]]; then
      problem "$option: hosts are numbered from 1; this machine is called local"
    elif ((first > last)); then
      problem "$option: the range $item runs backwards"
    elif ((last >= ${#HOSTS[@]})); then
      problem "$option: there is no host $last; -a names $((${#HOSTS[@]} - 1))"
    else
      for (( ; first <= last; first++)); do
        if is_one_of "$first" "${numbers[@]}"; then
          problem "$option: ${HOSTS[first]} is named twice"
        else
          numbers+=("$first")
        fi
      done
    fi
  done
}

# fact HOST KEY: what facts.sh said; empty if it did not.
fact() {
  printf '%s\n' "${FACTS[$1.$2]:-}"
}

# root_of HOST: the directory that holds everything of ours there, absolute.
root_of() {
  printf '%s\n' "${FACTS[$1.home]:?of host $1 is not known}/$REMOTE_PATH"
}

is_reachable() {
  [[ -z ${FACTS[$1.unreachable]:-} ]]
}

# probe_hosts HOST…: opens the connections and asks for the facts; a host that does not answer gets the fact `unreachable`.
probe_hosts() {
  local host hosts key value
  find_broker_name
  prepare_ssh
  mapfile -t hosts < <(printf '%s\n' "$@" | sort -nu)
  for_each_host probe_host "${hosts[@]}"
  for host in "${hosts[@]}"; do
    while IFS='=' read -r key value; do
      FACTS[$host.$key]=$value
    done <"$SSH_CONNECTIONS/$host.facts"
  done
}

# probe_host HOST: writes what probe_hosts reads.
probe_host() {
  local host=$1 messages="$SSH_CONNECTIONS/$1.ssh" facts="$SSH_CONNECTIONS/$1.facts"
  if open_connection "$host" 2>"$messages" && ask_facts "$host" >"$facts" 2>>"$messages"; then
    grep 'Permanently added' "$messages" >&2 || true # a new host's key: the user should see it
    printf 'unreachable=\nskew=%s\n' "$(($(sed -n 's/^time=//p' "$facts") - $(date +%s)))" >>"$facts"
  else
    printf 'unreachable=%s\n' "$(explain_ssh_failure "$host" "$(cat -- "$messages")")" >"$facts"
  fi
}

ask_facts() {
  on_host_stdin "$1" sh -s -- "$REMOTE_PATH" "$INFRASTRUCTURE" "$BROKER_NAME" "$BROKER_PORT" "$FLOWER_PORT" \
    <"$CHECKOUT/framework/shell/facts.sh"
}

# find_broker_name: what the other hosts call the broker, as far as it can be said before they are asked.
find_broker_name() {
  local port
  BROKER_NAME=''
  if [[ $BROKER ]]; then
    split_address "$BROKER" BROKER_NAME port
  elif [[ $MASTER_HOST && $MASTER_HOST != 0 ]]; then
    BROKER_NAME=$(master_address)
  fi
}

# master_address: the master host as this machine calls it.
master_address() {
  if ((MASTER_HOST == 0)); then
    echo localhost
  else
    ssh_address "$MASTER_HOST"
  fi
}

# broker_address HOST: where a worker on HOST finds the broker. Every host resolves the name itself, since its containers do
# not see its /etc/hosts. Only on the master host it is a name: the one in the infrastructure's own Docker network.
broker_address() {
  if [[ $1 == "$MASTER_HOST" ]]; then
    echo broker
  elif [[ $BROKER_NAME ]]; then
    fact "$1" broker
  else
    fact "$1" client_address
  fi
}

# broker_addresses: every name and address of the master host that is used, one a line.
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
