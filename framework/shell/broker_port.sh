# shellcheck shell=bash
# The way from the worker hosts to the master host, tried before images are built: a firewall is found then, and not when all else is
# done. The broker's port is tried as workers use it, from a container to a port that Docker publishes: Docker's rules come before those of ufw,
# and what else filters may treat containers and other programs differently. try_port.sh is what the hosts run.

readonly TRIAL_SECONDS=6     # for a host to connect
readonly LISTENER_SECONDS=20 # for the listener, and as much more as all hosts may take
TRIAL_TOKEN=''               # what the listener answers; empty: the broker itself runs
TRIAL_LISTENER=''            # process that waits for the listener on the master host

# check_broker_port: records a problem for each worker host that does not reach the port, or with --tunnel the master host's sshd.
check_broker_port() {
  local hosts messages='' host reason
  mapfile -t hosts < <(hosts_to_try)
  ((${#hosts[@]} > 0)) || return 0
  doing "trying whether the worker hosts reach the master host"
  [[ ! $DRY_RUN ]] || return 0
  if [[ ! $TUNNEL ]] && ! is_broker_there; then
    messages=$(mktemp)
    TRIAL_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    listen_on_master_host "$((LISTENER_SECONDS + TRIAL_SECONDS * ${#hosts[@]}))" >"$messages" 2>&1 &
    TRIAL_LISTENER=$!
  fi
  while read -r host reason; do
    if [[ ! $TRIAL_LISTENER ]] || kill -0 "$TRIAL_LISTENER" 2>/dev/null; then
      host_problem "$host" "$(unreached "$host" "$reason")"
    fi
  done < <(for_each_host try_to_reach_master "${hosts[@]}")
  if [[ $TRIAL_LISTENER ]]; then
    kill -0 "$TRIAL_LISTENER" 2>/dev/null ||
      warn "${HOST_NAMES[MASTER_HOST]}: the broker's port cannot be tried: $(tail -n 1 -- "$messages")"
    rm -- "$messages"
  fi
  end_trial
}

# hosts_to_try: prints the worker hosts whose way to the master host is not known to be open, one a line.
hosts_to_try() {
  local host known=("$MASTER_HOST")
  [[ $(fact "$MASTER_HOST" docker) == ok ]] || return 0
  if [[ ${RECORD[TUNNEL]:-} == "$TUNNEL" ]] && is_broker_there; then
    if [[ ! $TUNNEL && ! ${RECORD[BROKER]} && ${PRESENT_WORKER_HOSTS[*]} == "$PRESENT_MASTER_HOST" ]]; then
      return 0 # the broker is there for its own host alone, and about to be replaced
    fi
    known+=("${PRESENT_WORKER_HOSTS[@]}")
  elif is_broker_there; then
    return 0 # the same
  fi
  for host in "${WORKER_HOSTS[@]}"; do
    if [[ $(fact "$host" docker) == ok ]] && ! is_one_of "$host" "${known[@]}"; then
      printf '%s\n' "$host"
    fi
  done
}

is_broker_there() {
  [[ $(fact "$MASTER_HOST" "port_$BROKER_PORT") == ours ]]
}

# listen_on_master_host SECONDS: answers TRIAL_TOKEN on the port that the broker will have.
listen_on_master_host() {
  local options
  read_words options print_published_port "$MASTER_HOST" "$BROKER_PORT" 5671
  on_host_stdin "$MASTER_HOST" sh -s -- listen "$INFRASTRUCTURE" "$1" "$TRIAL_TOKEN" --name "$INFRASTRUCTURE-trial" "${options[@]}" \
    <"$CHECKOUT/framework/shell/try_port.sh"
}

# try_to_reach_master HOST: prints the host's number and the reason if it does not reach it.
try_to_reach_master() {
  local host=$1 address port=$BROKER_PORT answer options=() code=0
  address=$(address_of_master "$host")
  if [[ $TUNNEL ]]; then
    port=$(ssh_port "$MASTER_HOST")
  elif [[ $address == *:* ]]; then
    options=(--network host) # as worker_options says
  fi
  answer=$(
    on_host_stdin "$host" sh -s -- connect "$INFRASTRUCTURE" "$TRIAL_SECONDS" "$address" "$port" "$TRIAL_TOKEN" "${options[@]}" \
      <"$CHECKOUT/framework/shell/try_port.sh" 2>&1
  ) || code=$?
  answer=$(tail -n 1 <<<"$answer")
  case $code in
    0) ;;
    1) printf '%s %s\n' "$host" "${answer##*: }" ;;
    *) warn "it cannot be tried: ${answer:0:200}" ;;
  esac
}

# unreached HOST REASON: prints what is wrong, and what to do.
unreached() {
  local name=${HOST_NAMES[$1]} master=${HOST_NAMES[MASTER_HOST]} address reason=${2,}
  address=$(address_of_master "$1")
  if [[ $TUNNEL ]]; then
    printf '%s\n' "its containers do not reach sshd on $master at $address, port $(ssh_port "$MASTER_HOST") (${reason:-no answer}): --tunnel needs that; open that port for $name, or give an address that it reaches with -b"
  else
    printf '%s\n' "its containers do not reach the broker on $master at $address, port $BROKER_PORT (${reason:-no answer}): open that port for $name, give an address that it reaches with -b, or give --tunnel, which needs ssh alone"
  fi
}

# worker_reaches_broker HOST: fails if its worker cannot connect to the broker, which runs, and says what to do.
worker_reaches_broker() {
  local answer
  if (($1 == MASTER_HOST)) || is_tunnelled "$1"; then
    return 0 # within the infrastructure's own network
  fi
  # shellcheck disable=SC2016 # Python's own
  answer=$(
    docker_on "$1" exec "$INFRASTRUCTURE-worker" python -c '
import os, socket
address, _, port = os.environ["BROKER"].rpartition(":")
try:
    socket.create_connection((address.strip("[]"), int(port)), 10)
except OSError as error:
    print(error.strerror or error)' 2>&1
  ) || return 0 # it does not run, which is another matter
  [[ $answer ]] || return 0
  printf '%s: %s\n' "${HOST_NAMES[$1]}" "$(unreached "$1" "$(tail -n 1 <<<"$answer")")" >&2
  return 1
}

# end_trial: removes the listener; also when a script is interrupted.
end_trial() {
  [[ $TRIAL_LISTENER ]] || return 0
  docker_on "$MASTER_HOST" rm --force "$INFRASTRUCTURE-trial" >/dev/null 2>&1 || true # it may have ended, or not have begun
  wait "$TRIAL_LISTENER" || true                                                      # its container was killed
  TRIAL_LISTENER=''
}
