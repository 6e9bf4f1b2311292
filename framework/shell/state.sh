# shellcheck shell=bash
# The state of this checkout in .infra: the id of its infrastructure, and the record of the hosts that may hold parts of it, in the
# form of config.sh. The record and infra_clean.sh are written before anything is started.

INFRASTRUCTURE=''       # its id, made once for each checkout
declare -gA RECORD=()   # the record: setting → value
PRESENT_HOSTS=()        # numbers of the recorded hosts
PRESENT_MASTER_HOST=''  # number of the recorded master host
PRESENT_WORKER_HOSTS=() # numbers of the recorded worker hosts
readonly STATE=$CHECKOUT/.infra
readonly RECORDED=(HOSTS KEY REMOTE_PATH PROJECT ROOT RUN_CAP BROKER TUNNEL MASTER WORKERS FLOWER_PORT BROKER_PORT ADDRESSES HOST_LINES)

# load_infrastructure: reads the record and the id, or makes a new id if there is none yet. Writes no file.
load_infrastructure() {
  local name
  if [[ -e $STATE/id ]]; then
    INFRASTRUCTURE=$(<"$STATE/id")
  else
    INFRASTRUCTURE=infra-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
  fi
  RECORD=()
  if [[ -e $STATE/record ]]; then
    read_assignments "$STATE/record" "${RECORDED[@]}"
    for name in "${!ASSIGNED[@]}"; do
      RECORD[$name]=${ASSIGNED[$name]}
    done
  fi
}

# start_command: prints what starts the infrastructure for the first time.
start_command() {
  if [[ -e $CONFIG ]]; then
    our_command infrainit.sh -f
  else
    printf '%s, with the options of an example in its --help\n' "$(our_command infrainit.sh)"
  fi
}

# use_record: takes settings, hosts and roles from the record, for the scripts that are used after infrainit.sh.
use_record() {
  local name
  if [[ ! -e $STATE/record ]]; then
    die "nothing was started from $CHECKOUT yet; to start it: $(start_command)"
  fi
  load_infrastructure
  for name in "${!RECORD[@]}"; do
    [[ $name != @(ADDRESSES|HOST_LINES) ]] || continue
    set_setting "$name" "${RECORD[$name]}" "$CHECKOUT"
  done
  PROJECT_SOURCE=$PROJECT
  name_project
  PROJECT_PATH=$PROJECT
  if [[ $SWEEP_FILE ]]; then
    PROJECT_PATH=${ROOT:-$(dirname -- "$SWEEP_FILE")}
  fi
  parse_hosts "$HOSTS_OPTION"
  # shellcheck disable=SC2153 # of hosts.sh
  take_host_lines "${RECORD[HOST_LINES]:-}" "${!HOSTS[@]}"
  resolve_roles
  check_roles
  stop_on_problems 1
}

# join_record: gives the recorded hosts numbers in this run, after those of -a.
join_record() {
  local specification specifications number numbers=(0) recorded=()
  PRESENT_HOSTS=() PRESENT_MASTER_HOST='' PRESENT_WORKER_HOSTS=()
  [[ -v RECORD[HOSTS] ]] || return 0
  mapfile -d , -t specifications < <(printf '%s' "${RECORD[HOSTS]}${RECORD[HOSTS]:+,}")
  for specification in "${specifications[@]}"; do
    if ! number=$(number_of "$specification"); then
      number=${#HOSTS[@]}
      add_host "$specification"
      take_host_lines "${RECORD[HOST_LINES]:-}" "$number"
    fi
    numbers+=("$number")
  done
  # shellcheck disable=SC2034 # infrainit.sh reads it
  PRESENT_HOSTS=("${numbers[@]}")
  mapfile -t recorded < <(recorded_numbers "${RECORD[MASTER]}")
  PRESENT_MASTER_HOST=${numbers[recorded[0]]}
  mapfile -t recorded < <(recorded_numbers "${RECORD[WORKERS]}")
  for number in "${recorded[@]}"; do
    PRESENT_WORKER_HOSTS+=("${numbers[number]}")
  done
}

# join_master: without -m, workers join the recorded master, whose credentials and project are here.
join_master() {
  MASTER_HOST=$PRESENT_MASTER_HOST
}

# check_joining: records why workers cannot join the recorded master.
check_joining() {
  if [[ -z $PRESENT_MASTER_HOST ]]; then
    problem "-b without -m: no broker was started from $CHECKOUT, so its credentials are not here; start the master with -m"
    return 0
  fi
  if [[ $PROJECT_SOURCE != "${RECORD[PROJECT]}" ]]; then
    problem "-d: the master that runs works on ${RECORD[PROJECT]}; workers that join it must, too"
  fi
  if [[ $RUN_CAP != "${RECORD[RUN_CAP]:-}" ]]; then
    problem "--run-cap: the master that runs was started with ${RECORD[RUN_CAP]:-none}; it is the same for workers that join it"
  fi
  if [[ ${RECORD[TUNNEL]:-} && ! $TUNNEL ]]; then
    problem "--tunnel is missing: the broker that runs is reached through ssh only; workers that join it must do so, too"
  fi
  check_tunnel
  if [[ $REMOTE_PATH != "${RECORD[REMOTE_PATH]}" ]]; then
    problem "-r: the infrastructure that runs uses ${RECORD[REMOTE_PATH]}; workers that join it must, too"
  fi
}

# check_joining_address: records a problem if the running broker does not accept workers that use -b.
check_joining_address() {
  local address
  [[ ! $TUNNEL ]] || return 0
  for address in $(broker_addresses); do
    if [[ $address != broker && ,${RECORD[ADDRESSES]}, != *",$address,"* ]]; then
      problem "-b: the broker's certificate is not for $address; start the master again with -m and -b $BROKER"
    fi
  done
  if [[ -z ${RECORD[BROKER]} && ${PRESENT_WORKER_HOSTS[*]} == "$PRESENT_MASTER_HOST" ]]; then
    problem "-b: the broker was started for workers on its own host only; start the master again with -m and -b $BROKER"
  fi
}

# recorded_numbers LIST: prints the numbers of a list like local,2 from the record, one a line.
recorded_numbers() {
  tr , '\n' <<<"$1" | sed -e '/^$/d' -e s/local/0/
}

# record_before: before anything is started, records all hosts that may hold something afterwards. If something runs already, its
# roles stay in the record.
record_before() {
  local hosts
  mapfile -t hosts < <(in_order "$MASTER_HOST" "${WORKER_HOSTS[@]}" "${PRESENT_HOSTS[@]}")
  if [[ ! -v RECORD[HOSTS] ]]; then
    record_after "${hosts[@]}"
    return
  fi
  RECORD[HOSTS]=$(list_hosts "${hosts[@]}")
  RECORD[HOST_LINES]=$(print_host_lines "${hosts[@]}")
  RECORD[KEY]=$KEY
  RECORD[TUNNEL]=${RECORD[TUNNEL]:-$TUNNEL}
  RECORD[MASTER]=$(list_positions "$PRESENT_MASTER_HOST" -- "${hosts[@]}")
  RECORD[WORKERS]=$(list_positions "${PRESENT_WORKER_HOSTS[@]}" -- "${hosts[@]}")
  RECORD[ADDRESSES]=$(certificate_addresses | paste -sd ,)
  write_record
}

# record_after HOST…: records what runs now, and the HOSTs, which may hold something; those with roles are among them.
record_after() {
  local host workers=("${WORKER_HOSTS[@]}")
  for host in "${LEFT_OUT[@]}"; do # what they have, they keep
    ! is_one_of "$host" "$@" || workers+=("$host")
  done
  if [[ -z $MASTER ]]; then # they have joined others
    for host in "${PRESENT_WORKER_HOSTS[@]}"; do
      is_one_of "$host" "${workers[@]}" || workers+=("$host")
    done
  fi
  RECORD=(
    [HOSTS]=$(list_hosts "$@")
    [HOST_LINES]=$(print_host_lines "$@")
    [KEY]=$KEY
    [REMOTE_PATH]=$REMOTE_PATH
    [PROJECT]=$PROJECT_SOURCE
    [ROOT]=${SWEEP_FILE:+$PROJECT_PATH}
    [RUN_CAP]=$RUN_CAP
    [BROKER]=$BROKER
    [TUNNEL]=$TUNNEL
    [MASTER]=$(list_positions "$MASTER_HOST" -- "$@")
    [WORKERS]=$(list_positions "${workers[@]}" -- "$@")
    [FLOWER_PORT]=$FLOWER_PORT
    [BROKER_PORT]=$BROKER_PORT
    [ADDRESSES]=$(certificate_addresses | paste -sd ,)
  )
  write_record
}

# write_record: writes the record and infra_clean.sh.
write_record() {
  local name words=()
  if [[ ! -e $STATE/id ]]; then
    run mkdir --parents --mode=0700 -- "$STATE"
    replace_file "$STATE/id" 600 "$INFRASTRUCTURE"$'\n'
  fi
  for name in "${RECORDED[@]}"; do
    words+=("$name" "${RECORD[$name]:-}")
  done
  write_assignments "$STATE/record" 600 "${words[@]}"
  render_cleaner
}

# list_hosts HOST…: prints them as in -a.
list_hosts() {
  local host hosts=()
  for host in "$@"; do
    ((host == 0)) || hosts+=("${HOSTS[host]}")
  done
  join_by_comma "${hosts[@]}"
}

# list_positions HOST… -- RECORDED_HOST…: prints the HOSTs as in -w, with their numbers in the list of the RECORDED_HOSTs.
list_positions() {
  local host hosts=() names=() position=0
  local -A positions=([0]=local)
  while [[ $1 != -- ]]; do
    hosts+=("$1")
    shift
  done
  for host in "${@:2}"; do
    if ((host != 0)); then
      position=$((position + 1))
      positions[$host]=$position
    fi
  done
  for host in "${hosts[@]}"; do
    names+=("${positions[$host]}")
  done
  join_by_comma "${names[@]}"
}

# certificate_addresses: prints every name and address for the certificates of the broker and Flower, one a line. Earlier ones
# stay, because a new certificate would mean a new broker.
certificate_addresses() {
  {
    broker_addresses
    tr , '\n' <<<"${RECORD[ADDRESSES]:-}"
  } | sed '/^$/d' | sort -u
}

# render_cleaner: writes infra_clean.sh, with the values of this infrastructure in the assignments at its top.
render_cleaner() {
  local line text='' cleaner=$CHECKOUT/infra_clean.sh
  local -A values=([CHECKOUT]=$CHECKOUT [INFRASTRUCTURE]=$INFRASTRUCTURE [HOSTS]=${RECORD[HOSTS]} [KEY]=$KEY)
  values+=([LINES]=${RECORD[HOST_LINES]})
  values+=([PATH]=$REMOTE_PATH [EARLIER]=${RECORD[REMOTE_PATH]})
  while IFS='' read -r line || [[ $line ]]; do
    if [[ $line =~ ^([A-Z_]+)=@([A-Z]+)@$ ]]; then
      line="${BASH_REMATCH[1]}=${values[${BASH_REMATCH[2]}]@Q}"
    fi
    text+=$line$'\n'
  done <"$cleaner.tmpl"
  replace_file "$cleaner" 755 "$text"
}
