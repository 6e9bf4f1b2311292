# shellcheck shell=bash
# The only file that starts, watches and removes containers on hosts. Ours are found by label, never by a part of a name.

readonly BROKER_SECONDS=120  # until RabbitMQ listens; a slow disk and a full queue take their time
readonly MASTER_SECONDS=60   # until the master has read the project and publishes its status
readonly FLOWER_SECONDS=60   # until Flower listens
readonly WORKERS_SECONDS=120 # until every worker has answered
readonly LAST_LINES=20       # of a container's log, shown when it fails
readonly MEBIBYTE=1048576

RUN_OPTIONS=()          # of the `docker run` that is being put together
declare -gA RESTARTS=() # "host role" → how often that container had restarted when waiting for it began

# docker_on HOST ARGUMENT…: asks something.
docker_on() {
  on_host "$1" docker "${@:2}"
}

# change_docker HOST ARGUMENT…: changes something; shown, and left out of a dry run.
change_docker() {
  change_host "$1" docker "${@:2}"
}

# has_docker HOST: false only in a dry run that would install it first.
has_docker() {
  [[ ! $DRY_RUN || $(fact "$1" docker) == ok ]]
}

# hosts_in_use: the numbers of the hosts that have containers.
hosts_in_use() {
  printf '%s\n' "$MASTER_HOST" "${WORKER_HOSTS[@]}" | sort --numeric-sort --unique
}

# What is started

start_broker() {
  local host=$1
  create_volume "$host" "$INFRASTRUCTURE-broker"
  begin_options "$host" broker
  RUN_OPTIONS+=(--network "$INFRASTRUCTURE")
  RUN_OPTIONS+=(--network-alias broker)
  # Where the broker keeps its data follows from its host's name: a new one would begin with an empty directory.
  RUN_OPTIONS+=(--hostname broker)
  RUN_OPTIONS+=(--stop-timeout 120) # to write its queues
  RUN_OPTIONS+=(--pids-limit 2048)
  # The start script sets these as well; here they reach `docker exec`, whatever image is used.
  RUN_OPTIONS+=(
    --env HOME=/var/lib/rabbitmq
    --env RABBITMQ_NODENAME=rabbit@localhost
    --env ERL_EPMD_ADDRESS=127.0.0.1
  )
  RUN_OPTIONS+=(--mount "$(mount_option type=volume "source=$INFRASTRUCTURE-broker" target=/var/lib/rabbitmq)")
  if is_reached_from_outside; then
    publish "$host" "$BROKER_PORT" 5671
  else
    RUN_OPTIONS+=(--publish "127.0.0.1:$BROKER_PORT:5671")
  fi
  RUN_OPTIONS+=(--entrypoint /bin/sh)
  start_container "$host" broker "$BROKER_IMAGE_ID" /secrets/start
}

start_master() {
  local host=$1
  begin_options "$host" master
  RUN_OPTIONS+=(--network "$INFRASTRUCTURE")
  RUN_OPTIONS+=(--hostname master)
  RUN_OPTIONS+=(--stop-timeout 30) # to write what it has received
  RUN_OPTIONS+=(--pids-limit 1024)
  RUN_OPTIONS+=(--env STATUS=/dev/shm/status.json) # in memory: it is to be written when the disk is full, too
  add_framework_options "$host" broker:5671
  add_data_directory "$host" master
  start_container "$host" master "$WORKER_IMAGE_ID" master
}

start_flower() {
  local host=$1
  begin_options "$host" flower
  RUN_OPTIONS+=(--network "$INFRASTRUCTURE")
  RUN_OPTIONS+=(--hostname flower)
  RUN_OPTIONS+=(--stop-timeout 10)
  RUN_OPTIONS+=(--pids-limit 1024)
  add_framework_options "$host" broker:5671
  if ((host == 0)); then
    RUN_OPTIONS+=(--publish "127.0.0.1:$FLOWER_PORT:5555") # the browser runs on this machine
  else
    publish "$host" "$FLOWER_PORT" 5555
  fi
  start_container "$host" flower "$WORKER_IMAGE_ID" flower
}

start_worker() {
  local host=$1 name=${HOST_NAMES[$1]}
  begin_options "$host" worker
  add_worker_network "$host"
  RUN_OPTIONS+=(--hostname "${name:0:63}") # longer ones are refused by the kernel
  # Its tasks get 10 s to end by themselves; then it hands them back to the master.
  RUN_OPTIONS+=(--stop-timeout 60)
  RUN_OPTIONS+=(--pids-limit 32768) # threads count, and every task may start one for each core
  # Data loaders pass their batches through /dev/shm, where Docker gives 64 MB. What is used counts as memory.
  RUN_OPTIONS+=(--shm-size "$(($(memory_limit "$host" worker) / 2))m")
  if (($(usable_gpus "$host") > 0)); then
    RUN_OPTIONS+=(--gpus all)
  elif [[ $(fact "$host" gpus) == [1-9]* ]]; then
    warn "$name: has GPUs, but its Docker cannot use them; install nvidia-container-toolkit there, and run this again"
  fi
  if [[ $SLOTS ]]; then # else as many as its CPUs, or as the project's resources allow
    RUN_OPTIONS+=(--env "SLOTS=$SLOTS")
  fi
  add_framework_options "$host" "$(broker_endpoint "$host")"
  add_data_directory "$host" worker
  start_container "$host" worker "$WORKER_IMAGE_ID" worker
}

# The options of `docker run`

# begin_options HOST ROLE: those that all roles have.
begin_options() {
  local host=$1 role=$2
  RUN_OPTIONS=(
    --detach
    --name "$INFRASTRUCTURE-$role"
    --label "infrainit.infrastructure=$INFRASTRUCTURE"
    --label "infrainit.role=$role"
    --init                   # reaps what tasks leave behind, and passes signals on
    --restart unless-stopped # comes back after a crash and a reboot, and stays away after `docker stop`
    --log-driver local       # the default one never throws anything away
    --log-opt max-size=10m
    --log-opt max-file=5
    --user "$(fact "$host" uid):$(fact "$host" gid)" # so that the files on the host are the user's own
    --cap-drop ALL
    --security-opt no-new-privileges
    --memory "$(memory_limit "$host" "$role")m"
    --mount "$(mount_option type=bind "source=$(secrets_directory "$host" "$role")" target=/secrets readonly)"
  )
}

# add_framework_options HOST BROKER: what master, Flower and workers need to know; BROKER is its address:port for them.
add_framework_options() {
  local host=$1
  RUN_OPTIONS+=(
    --env "INFRASTRUCTURE=$INFRASTRUCTURE"
    --env "PROJECT=$PROJECT_NAME"
    --env "HOST=${HOST_NAMES[host]}"
    --env "BROKER=$2"
    --env "IMAGE=$WORKER_IMAGE_ID"
    --env HOME=/tmp # the user has no home in the container, nor a name
    --env USER=worker
  )
  if [[ ${TZ:-} ]]; then
    RUN_OPTIONS+=(--env "TZ=$TZ")
  fi
  RUN_OPTIONS+=(--mount "$(mount_option type=bind "source=$(code_directory "$host")" target=/code readonly)")
}

# add_data_directory HOST ROLE
add_data_directory() {
  local host=$1 directory
  directory=$(data_directory "$host" "$2")
  change_host "$host" mkdir -p -- "$directory" # Docker would make it root's
  RUN_OPTIONS+=(--mount "$(mount_option type=bind "source=$directory" target=/data)")
}

# add_worker_network HOST
add_worker_network() {
  if [[ $(broker_address "$1") == *:* ]]; then
    RUN_OPTIONS+=(--network host) # an IPv6 address: Docker's own networks have no IPv6, unless somebody has set it up
  else
    RUN_OPTIONS+=(--network "$INFRASTRUCTURE")
  fi
}

# usable_gpus HOST: how many GPUs a container there can use.
usable_gpus() {
  if [[ $(fact "$1" gpu_runtime) == [1-9]* ]]; then
    fact "$1" gpus
  else
    echo 0
  fi
}

# publish HOST PORT CONTAINER_PORT: for everybody who reaches the host. Docker's rules come before those of ufw.
publish() {
  RUN_OPTIONS+=(--publish "0.0.0.0:$2:$3")
  if [[ $(fact "$1" addresses) == *:* ]]; then
    RUN_OPTIONS+=(--publish "[::]:$2:$3")
  fi
}

# is_reached_from_outside: does anybody but the master host's own containers use the broker?
is_reached_from_outside() {
  local host
  for host in "${WORKER_HOSTS[@]}"; do
    ((host == MASTER_HOST)) || return 0
  done
  [[ $BROKER ]] # workers will join from elsewhere
}

# memory_limit HOST ROLE: MiB. They are limits, not reservations: on a small host their sum may exceed what there is.
memory_limit() {
  local host=$1 total reserve others=0
  total=$(($(fact "$host" memory) / MEBIBYTE / 64 * 64)) # the last digits differ from one boot to the next
  case $2 in
    broker) between 512 "$((total / 4))" 4096 ;;
    master) echo 1024 ;;
    flower) echo 512 ;;
    worker)
      reserve=$(between 512 "$((total / 10))" 4096) # for the host itself
      if ((host == MASTER_HOST)); then
        others=$(($(memory_limit "$host" broker) + 1024 + 512))
      fi
      between 512 "$((total - reserve - others))" "$total"
      ;;
  esac
}

# between LOWEST VALUE HIGHEST
between() {
  if (($2 < $1)); then
    echo "$1"
  elif (($2 > $3)); then
    echo "$3"
  else
    echo "$2"
  fi
}

# mount_option KEY[=VALUE]…: one line of CSV, as --mount reads it; paths may hold commas and quotes.
mount_option() {
  local field line=''
  for field in "$@"; do
    if [[ $field == *[,\"]* ]]; then
      field="\"${field//\"/\"\"}\""
    fi
    line+="${line:+,}$field"
  done
  printf '%s\n' "$line"
}

# broker_endpoint HOST: address:port of the broker for a worker on HOST.
broker_endpoint() {
  local address port=''
  if [[ $1 == "$MASTER_HOST" ]]; then
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

# data_directory HOST ROLE
data_directory() {
  printf '%s/%s/%s\n' "$(root_of "$1")" "$2" "$PROJECT_NAME"
}

# Starting

# start_container HOST ROLE IMAGE ARGUMENT…: with RUN_OPTIONS. One that runs with the same settings is left alone.
start_container() {
  local host=$1 role=$2 image=$3 settings state name=${HOST_NAMES[$1]} container="$INFRASTRUCTURE-$2"
  push_secrets "$host" "$role"
  settings=$({
    printf '%s\0' "${RUN_OPTIONS[@]}" "$image" "${@:4}"
    secrets_digest "$role"
  } | sha256sum | cut -c 1-64)
  state=$(container_state "$host" "$role")
  case $state in
    "running $settings "*)
      step "$name" "$role runs already"
      return 0
      ;;
    "exited $settings "* | "created $settings "*)
      step "$name" "starting $role again"
      change_docker "$host" start "$container" >/dev/null || die "$name: $role could not be started; see above"
      return 0
      ;;
    '') step "$name" "starting $role" ;;
    *)
      step "$name" "replacing $role: it does not run, or its image or settings have changed"
      remove_container "$host" "$role"
      ;;
  esac
  create_network "$host"
  RUN_OPTIONS+=(--label "infrainit.settings=$settings")
  change_docker "$host" run "${RUN_OPTIONS[@]}" "$image" "${@:4}" >/dev/null || # it prints the container's id
    die "$name: $role could not be started; see above"
}

# container_state HOST ROLE: "state settings restarts exit-code"; nothing if there is no such container.
container_state() {
  local host=$1 container
  has_docker "$host" || return 0
  container=$(find_ours "$host" ps --all --no-trunc --filter "label=infrainit.role=$2") || return
  [[ $container ]] || return 0
  docker_on "$host" container inspect --format \
    '{{.State.Status}} {{index .Config.Labels "infrainit.settings"}} {{.RestartCount}} {{.State.ExitCode}}' "$container"
}

# find_ours HOST DOCKER_COMMAND…: ids of what belongs to this infrastructure.
find_ours() {
  docker_on "$1" "${@:2}" --quiet --filter "label=infrainit.infrastructure=$INFRASTRUCTURE"
}

create_network() {
  if ! has_docker "$1" || [[ ! $(find_ours "$1" network ls) ]]; then
    change_docker "$1" network create \
      --driver bridge \
      --label "infrainit.infrastructure=$INFRASTRUCTURE" \
      "$INFRASTRUCTURE" >/dev/null
  fi
}

# create_volume HOST NAME
create_volume() {
  if ! has_docker "$1" || [[ ! $(find_ours "$1" volume ls) ]]; then
    change_docker "$1" volume create --label "infrainit.infrastructure=$INFRASTRUCTURE" "$2" >/dev/null
  fi
}

# find_worker_image: sets WORKER_IMAGE_ID to the image with which the infrastructure was started.
find_worker_image() {
  local state environment
  state=$(container_state "$MASTER_HOST" master)
  if [[ ! $state ]]; then
    die "${HOST_NAMES[MASTER_HOST]}: there is no master of $INFRASTRUCTURE; ./infrainit.sh -f starts it, and brings the files, too"
  fi
  environment=$(
    docker_on "$MASTER_HOST" container inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$INFRASTRUCTURE-master"
  )
  WORKER_IMAGE_ID=$(sed -n 's/^IMAGE=//p' <<<"$environment")
}

# check_project: has the framework, in its image, look at the staged project. It prints what is wrong, and the program ends with 2.
check_project() {
  local code=0 host options=()
  if knows_all_workers; then
    for host in "${WORKER_HOSTS[@]}"; do
      options+=(--host "${HOST_NAMES[host]}" "$(fact "$host" cores)" "$(memory_limit "$host" worker)" "$(usable_gpus "$host")")
    done
  fi
  change_docker 0 run --rm \
    --network none \
    --user "$(id -u):$(id -g)" \
    --cap-drop ALL \
    --security-opt no-new-privileges \
    --mount "$(mount_option type=bind "source=$STAGE" target=/code/current readonly)" \
    --mount "$(mount_option type=bind "source=$STAGE/project" "target=/project/$PROJECT_NAME" readonly)" \
    --workdir /project \
    "$WORKER_IMAGE_ID" plan "./$PROJECT_NAME" "${options[@]}" >&2 || code=$?
  case $code in
    0) ;;
    2) usage_error "the project $PROJECT_PATH cannot be run; what to correct is above" ;;
    *) die "the project $PROJECT_PATH could not be checked in the image $WORKER_IMAGE_ID (exit code $code); see above" ;;
  esac
}

# knows_all_workers: is it known what each of them has, and can no others join?
knows_all_workers() {
  local host
  [[ $MASTER && ! $BROKER ]] || return 1
  for host in "${WORKER_HOSTS[@]}"; do
    [[ $(fact "$host" memory) ]] || return 1
  done
}

# recover_journal HOST: has the framework read what lies in the master's data directory there, under recovered/.
recover_journal() {
  local host=$1 data
  data=$(data_directory "$host" master)
  change_docker "$host" run --rm \
    --network none \
    --user "$(fact "$host" uid):$(fact "$host" gid)" \
    --cap-drop ALL \
    --security-opt no-new-privileges \
    --env "PROJECT=$PROJECT_NAME" \
    --mount "$(mount_option type=bind "source=$(code_directory "$host")" target=/code readonly)" \
    --mount "$(mount_option type=bind "source=$data" target=/data)" \
    "$WORKER_IMAGE_ID" recover /data/recovered >&2 ||
    die "${HOST_NAMES[host]}: the journal could not be rebuilt; see above"
}

# Waiting: the container itself is asked whether it is ready

wait_broker() {
  wait_container "$1" broker "$BROKER_SECONDS" rabbitmq-diagnostics -q check_port_listener 5671
}

wait_master() {
  wait_container "$1" master "$MASTER_SECONDS" framework status
}

wait_flower() {
  wait_container "$1" flower "$FLOWER_SECONDS" python -c 'import socket; socket.create_connection(("127.0.0.1", 5555), 5)'
}

# wait_container HOST ROLE SECONDS COMMAND…: until COMMAND succeeds in the container.
wait_container() {
  local host=$1 role=$2 name=${HOST_NAMES[$1]}
  RESTARTS["$host $role"]=$(restart_count "$host" "$role")
  if ! wait_until "$3" "$role on $name is ready" ask_container "$host" "$role" "${@:4}"; then
    show_last_lines "$host" "$INFRASTRUCTURE-$role"
    die "$name: $role did not become ready; the last lines of its log are above"
  fi
}

# ask_container HOST ROLE COMMAND…: fails with NEVER_READY if the container has ended or restarted.
ask_container() {
  stays_up "$1" "$2" || return "$NEVER_READY"
  docker_on "$1" exec "$INFRASTRUCTURE-$2" "${@:3}"
}

# stays_up HOST ROLE: does it run, and has it not restarted since waiting for it began?
stays_up() {
  local host=$1 role=$2 state status restarts code
  state=$(container_state "$host" "$role") || return
  read -r status _ restarts code <<<"${state:-removed none 0 unknown}"
  if [[ $status != running ]]; then
    echo "${HOST_NAMES[host]}: the container of $role does not run: it is $status, exit code $code" >&2
  elif ((restarts > ${RESTARTS["$host $role"]:-0})); then
    echo "${HOST_NAMES[host]}: the container of $role has ended, and Docker has started it again" >&2
  else
    return 0
  fi
  return 1
}

restart_count() {
  local state
  state=$(container_state "$1" "$2")
  cut -d ' ' -f 3 <<<"${state:-removed none 0}"
}

# wait_workers HOST…: until the master has had an answer from the worker of each of these hosts.
wait_workers() {
  local host restarts
  while read -r host restarts; do
    RESTARTS["$host worker"]=$restarts
  done < <(for_each_host print_worker_restarts "$@")
  if ! wait_until "$WORKERS_SECONDS" "all workers answer" ask_workers "$@"; then
    for_each_host show_silent_worker "$@"
    die "not all workers answer; the last lines of their logs are above"
  fi
}

print_worker_restarts() {
  printf '%s %s\n' "$1" "$(restart_count "$1" worker)"
}

# ask_workers HOST…: fails with NEVER_READY if a worker has ended or restarted.
ask_workers() {
  ask_master_for_workers 5 "$@" && return
  stays_up "$MASTER_HOST" master || return "$NEVER_READY"
  for_each_host worker_stays_up "$@" || return "$NEVER_READY"
  return 1
}

# ask_master_for_workers SECONDS HOST…
ask_master_for_workers() {
  local seconds=$1 host names=()
  for host in "${@:2}"; do
    names+=("${HOST_NAMES[host]}")
  done
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework wait-workers --timeout "$seconds" "${names[@]}"
}

worker_stays_up() {
  stays_up "$1" worker || exit 1 # for_each_host was called where errexit is off
}

show_silent_worker() {
  if ! ask_master_for_workers 2 "$1" >/dev/null 2>&1; then # its answer has been shown already
    show_last_lines "$1" "$INFRASTRUCTURE-worker"
  fi
}

# show_last_lines HOST CONTAINER
show_last_lines() {
  printf '%s: the last lines of %s (all of them: docker logs %s):\n' "${HOST_NAMES[$1]}" "$2" "$2" >&2
  { docker_on "$1" logs --tail "$LAST_LINES" "$2" 2>&1 || true; } | put_host_in_front "${HOST_NAMES[$1]}" >&2 # it may be gone
}

# Removing

# remove_container HOST ROLE
remove_container() {
  change_docker "$1" stop "$INFRASTRUCTURE-$2" >/dev/null # a worker hands its tasks back
  change_docker "$1" rm --force --volumes "$INFRASTRUCTURE-$2" >/dev/null
}

# remove_unwanted HOST: the containers of roles that this host does not have any more.
remove_unwanted() {
  local host=$1 role state
  for role in $(unwanted_roles "$host"); do
    state=$(container_state "$host" "$role")
    if [[ $state ]]; then
      step "${HOST_NAMES[host]}" "removing $role: it is not asked for any more"
      remove_container "$host" "$role"
    fi
  done
}

unwanted_roles() {
  if (($1 != MASTER_HOST)); then
    printf '%s\n' flower master broker
  fi
  if ! is_one_of "$1" "${WORKER_HOSTS[@]}"; then
    echo worker
  fi
}

# remove_infrastructure HOST: all containers, volumes and networks of this infrastructure there. Tries everything, and
# returns how many steps failed.
remove_infrastructure() {
  local host=$1 failures=0
  # A network cannot go before its containers, nor a volume.
  remove_ours "$host" container --all -- --force --volumes || failures=$((failures + 1))
  remove_ours "$host" volume -- || failures=$((failures + 1))
  remove_ours "$host" network -- || failures=$((failures + 1))
  return "$failures"
}

# remove_ours HOST KIND OPTION_OF_LS… -- OPTION_OF_RM…
remove_ours() {
  local host=$1 kind=$2 found list=() ids
  shift 2
  while [[ $1 != -- ]]; do
    list+=("$1")
    shift
  done
  shift
  found=$(find_ours "$host" "$kind" ls "${list[@]}") || return
  [[ $found ]] || return 0
  mapfile -t ids <<<"$found"
  step "${HOST_NAMES[host]}" "removing ${kind}s: ${#ids[@]}"
  change_docker "$host" "$kind" rm "$@" "${ids[@]}" >/dev/null # it prints what it removed
}
