# shellcheck shell=bash
# Which host does what: the numbers behind -m and -w.

MASTER_HOST=''  # number of the host of the broker, the master and Flower; empty: not in this run
WORKER_HOSTS=() # numbers of the hosts with workers
ASKED_HOSTS=()  # numbers of this machine and the hosts that are to get something: those that must be fine

# resolve_roles: sets MASTER_HOST and WORKER_HOSTS from -m and -w. Records a problem for each number that is wrong.
resolve_roles() {
  local master=()
  MASTER_HOST=''
  WORKER_HOSTS=()
  if [[ $MASTER && $MASTER != *[,-]* ]]; then
    parse_host_numbers -m "$MASTER" master
    MASTER_HOST=${master[0]:-}
  fi
  if [[ $WORKERS ]]; then
    parse_host_numbers -w "$WORKERS" WORKER_HOSTS
  fi
}

# check_roles: records what is wrong with the combination of -m, -w and -b.
check_roles() {
  if [[ -z $MASTER && -z $WORKERS ]]; then
    problem "neither -m nor -w is given: nothing would be started"
  elif [[ -z $MASTER && -z $BROKER ]]; then
    problem "-w without -m and -b: start the master with -m, or give the running broker's address with -b"
  fi
  if [[ $BROKER ]] && ! is_address "$BROKER"; then
    problem "-b: $(quote "$BROKER") is no name or address; its port is BROKER_PORT in config.sh"
  fi
  if [[ $MASTER == *[,-]* ]]; then
    problem "-m names one host: local or a number, not $MASTER"
  fi
}

# choose_asked_hosts: sets ASKED_HOSTS. A host of -a that neither -m nor -w names need not even be switched on.
choose_asked_hosts() {
  mapfile -t ASKED_HOSTS < <(in_order 0 ${MASTER:+"$MASTER_HOST"} "${WORKER_HOSTS[@]}")
}

# say_unused_hosts: names the hosts of -a that are not asked.
say_unused_hosts() {
  local host names=()
  # shellcheck disable=SC2153 # of hosts.sh
  for host in "${!HOSTS[@]}"; do
    is_one_of "$host" "${ASKED_HOSTS[@]}" "${PRESENT_HOSTS[@]}" || names+=("${HOST_NAMES[host]}")
  done
  ((${#names[@]} == 0)) || say "neither -m nor -w names them, so they are not asked: ${names[*]}"
}

# choose_labelled_hosts: takes hosts off WORKER_HOSTS that lack a label which the project asks for, after saying so; records a problem if
# none is left.
choose_labelled_hosts() {
  local host label labels lacking hosts=() without=()
  [[ ${NEEDS[label]:-} && $WORKERS ]] || return 0
  mapfile -t labels <<<"${NEEDS[label]}"
  for host in "${WORKER_HOSTS[@]}"; do
    lacking=''
    for label in "${labels[@]}"; do
      [[ ,$(host_setting "$host" labels), == *",$label,"* ]] || lacking=$label
    done
    if [[ $lacking ]]; then
      without+=("${HOST_NAMES[host]}")
    else
      hosts+=("$host")
    fi
  done
  if ((${#hosts[@]} == 0)); then
    problem "no host of -w has the labels that the project asks for (${labels[*]}); give them labels in the hosts file of -a, or change hosts: in project.yml"
  elif ((${#without[@]} > 0)); then
    say "without the labels that the project asks for (${labels[*]}), so no worker there: ${without[*]}"
  fi
  WORKER_HOSTS=("${hosts[@]}")
}

# parse_host_numbers OPTION LIST ARRAY: appends the hosts of LIST (local, numbers and ranges) to ARRAY.
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

# role_of HOST: prints its roles, or - if it has none.
role_of() {
  local roles=''
  [[ $1 != "$MASTER_HOST" ]] || roles='master'
  ! is_one_of "$1" "${WORKER_HOSTS[@]}" || roles+="${roles:+, }worker"
  printf '%s\n' "${roles:--}"
}

# hosts_in_use: prints the numbers of the hosts that have containers.
hosts_in_use() {
  in_order "$MASTER_HOST" "${WORKER_HOSTS[@]}"
}

# workers_with_access: prints the names of the worker hosts that may use the broker, one a line: those of this run, also if they are
# left out, as a worker may still run there; without -m, those that they join, too.
workers_with_access() {
  local host numbers=("${WORKER_HOSTS[@]}" "${LEFT_OUT[@]}")
  [[ $MASTER ]] || numbers+=("${PRESENT_WORKER_HOSTS[@]}")
  for host in "${numbers[@]}"; do
    printf '%s\n' "${HOST_NAMES[host]}"
  done | sort --unique
}

# is_reached_from_outside: does anything but the master host's own containers use the broker?
is_reached_from_outside() {
  local host
  [[ ! $TUNNEL ]] || return 1 # sshd on the master host connects to it there
  for host in "${WORKER_HOSTS[@]}" "${LEFT_OUT[@]}"; do
    ((host == MASTER_HOST)) || return 0
  done
  [[ $BROKER ]] # workers will join from elsewhere
}

# knows_all_workers: are the facts of all workers known, and can no other workers join?
knows_all_workers() {
  local host
  [[ $MASTER && ! $BROKER && ${#LEFT_OUT[@]} == 0 ]] || return 1
  for host in "${WORKER_HOSTS[@]}"; do
    [[ $(fact "$host" memory) ]] || return 1
  done
}
