# shellcheck shell=bash
# Starting, watching and removing containers on hosts. Ours are found by label, never by a part of a name.

readonly BROKER_SECONDS=120  # until RabbitMQ listens; a slow disk and a full queue take their time
readonly MASTER_SECONDS=60   # until the master has read the project and publishes its status
readonly FLOWER_SECONDS=60   # until Flower listens
readonly WORKERS_SECONDS=120 # until every worker has answered
readonly LAST_LINES=20       # of a container's log, shown when it fails

# Does the broker listen, as it does when it has started? To start a program of RabbitMQ takes much longer than bash.
readonly BROKER_LISTENS='if command -v bash >/dev/null; then exec bash -c "</dev/tcp/127.0.0.1/5671"; fi; exec rabbitmq-diagnostics -q check_port_listener 5671'

# Prints what container_state checks of the container with the role $2 in the infrastructure $1. The rest are the words of docker.
# shellcheck disable=SC2016 # expands over there
readonly STATE_SCRIPT='
infrastructure=$1 role=$2
shift 2
id=$("$@" ps --all --no-trunc --filter "label=infrainit.role=$role" --quiet --filter "label=infrainit.infrastructure=$infrastructure") || exit
[ ! "$id" ] || "$@" container inspect --format \
  "{{.State.Status}} {{index .Config.Labels \"infrainit.settings\"}} {{.RestartCount}} {{.State.ExitCode}}" $id'

# Makes directories below $1, that of all our files, which is for its user alone whatever the umask is; those after -- are, too. If Docker
# made them, they would be root's.
# shellcheck disable=SC2016 # expands over there
readonly DIRECTORIES_SCRIPT='
mkdir -p -m 0700 -- "$1" || exit
shift
while [ "$1" != -- ]; do
  mkdir -p -- "$1" || exit
  shift
done
shift
[ "$#" = 0 ] || install --directory --mode=0700 -- "$@"'

# What it may answer, and ids of containers and networks.
readonly CONTAINER_STATE='[a-z]+ [0-9a-z]* (0|[1-9][0-9]{0,8}) -?[0-9]{1,10}'
readonly DOCKER_ID='[0-9a-f]{64}'

declare -gA RESTARTS=() # "host role" → how often that container had restarted when waiting for it began

# docker_on HOST ARGUMENT…: runs docker for something that changes nothing.
docker_on() {
  local words=(docker)
  in_words_of_docker "$1"
  on_host "$1" "${words[@]}" "${@:2}"
}

# change_docker HOST ARGUMENT…: runs docker for something that changes the host; shown, and left out of a dry run.
change_docker() {
  local words=(docker)
  in_words_of_docker "$1"
  change_host "$1" "${words[@]}" "${@:2}"
}

# docker_on_stdin HOST ARGUMENT…: the same as docker_on, with the stdin of this call.
docker_on_stdin() {
  local words=(docker)
  in_words_of_docker "$1"
  on_host_stdin "$1" "${words[@]}" "${@:2}"
}

# docker_on_terminal ARGUMENT…: runs docker on this machine, with the terminal of this script.
docker_on_terminal() {
  local words=(docker)
  in_words_of_docker 0
  "${words[@]}" "$@"
}

# in_words_of_docker HOST: names the socket of the user's own engine in the caller's words, where no other answers.
in_words_of_docker() {
  local socket=${FACTS[$1.docker_host]:-}
  [[ ! $socket ]] || words=(env "DOCKER_HOST=$socket" docker)
}

# has_docker HOST: false only in a dry run that would install it first.
has_docker() {
  [[ ! $DRY_RUN || ${FACTS[$1.docker]:-} == ok ]]
}

# Starting

start_broker() {
  create_volume "$1" "$INFRASTRUCTURE-broker"
  start_container "$1" broker
}

start_master() {
  make_directories "$1" "$(data_directory "$1" master)/published" --
  start_container "$1" master
}

start_flower() {
  create_volume "$1" "$INFRASTRUCTURE-flower"
  start_container "$1" flower
}

# start_worker HOST: the runner, in which the tasks run, and the worker, which gives them to it. Each is replaced without the other.
start_worker() {
  local directory
  if [[ ${FACTS[$1.gpus]:-} == [1-9]* && $(usable_gpus "$1") == 0 ]]; then
    warn "${HOST_NAMES[$1]}: has GPUs, but its Docker cannot use them; install nvidia-container-toolkit there, then $(our_command infrainit.sh -f)"
  fi
  directory=$(data_directory "$1" worker)
  make_directories "$1" "$directory"/{tasks,setup} -- "$directory"/{runner,link}
  start_container "$1" runner
  forget_other_values "$1"
  start_container "$1" worker
}

# make_directories HOST DIRECTORY… -- PRIVATE_DIRECTORY…
make_directories() {
  change_host "$1" sh -c "$DIRECTORIES_SCRIPT" directories "$(root_of "$1")" "${@:2}"
}

# start_container HOST ROLE: with the words that ROLE_options prints. A running container with the same settings is left untouched.
start_container() {
  local host=$1 role=$2 options settings state name=${HOST_NAMES[$1]} container="$INFRASTRUCTURE-$2"
  read_words options "${role}_options" "$host"
  if has_secrets "$role"; then
    push_secrets "$host" "$role"
  fi
  settings=$(settings_digest "$host" "$role" "${options[@]}")
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
  create_network "$host" "$role"
  # docker prints the container's id
  change_docker "$host" run --label "infrainit.settings=$settings" "${options[@]}" >/dev/null ||
    die "$name: $role could not be started; see above"
}

# settings_digest HOST ROLE OPTION…: prints a digest of all that a container is started with.
settings_digest() {
  {
    print_words "${@:3}"
    if has_secrets "$2"; then
      secrets_digest "$1" "$2"
    fi
  } | digest
}

# set_broker_users NAME…: gives the running broker one user for each of these worker hosts, and those of master and Flower. All others
# are removed, and their connections closed.
set_broker_users() {
  local name users=(master flower) removed words=(docker)
  for name in "$@"; do
    users+=("$(worker_user "$name")") || return
  done
  if [[ $DRY_RUN ]]; then
    show_on "${HOST_NAMES[MASTER_HOST]}" docker exec --interactive "$INFRASTRUCTURE-broker" sh /secrets/set_users "${users[@]}"
    return 0
  fi
  in_words_of_docker "$MASTER_HOST"
  removed=$(
    change_host_stdin "$MASTER_HOST" "${words[@]}" exec --interactive "$INFRASTRUCTURE-broker" sh /secrets/set_users "${users[@]}" \
      <"$(secrets_path)/hashes/users.json"
  ) || die "${HOST_NAMES[MASTER_HOST]}: the broker does not take its users; see above. If an earlier version of this tool has started it, start the master again with -m"
  [[ ! $removed ]] || put_host_in_front "${HOST_NAMES[MASTER_HOST]}" <<<"$removed" | printable >&2
}

# container_state HOST ROLE: prints "state settings restarts exit-code"; nothing if there is no such container.
container_state() {
  local host=$1 state words=(docker)
  has_docker "$host" || return 0
  in_words_of_docker "$host"
  state=$(on_host "$host" sh -c "$STATE_SCRIPT" state "$INFRASTRUCTURE" "$2" "${words[@]}") || return
  [[ $state ]] || return 0
  [[ $state != *$'\n'* ]] || unreadable "$host" "more than one container of $2" || return
  [[ $state =~ ^$CONTAINER_STATE$ ]] || unreadable "$host" "$state" || return
  printf '%s\n' "$state"
}

# find_ours HOST DOCKER_COMMAND…: prints the ids of what belongs to this infrastructure; of volumes, the names.
find_ours() {
  local found id pattern=$DOCKER_ID
  [[ $2 != volume ]] || pattern="$INFRASTRUCTURE-[a-z]+"
  found=$(docker_on "$1" "${@:2}" --quiet --filter "label=infrainit.infrastructure=$INFRASTRUCTURE") || return
  [[ $found ]] || return 0
  while read -r id; do
    [[ $id =~ ^$pattern$ ]] || unreadable "$1" "$id is no id of Docker's" || return
  done <<<"$found"
  printf '%s\n' "$found"
}

# require_ours HOST KIND NAME…: fails unless Docker says of each of them that it belongs to this infrastructure. It comes before
# anything is removed, whatever a list has said.
require_ours() {
  local host=$1 kind=$2 name labels=.Labels answer expected=''
  shift 2
  [[ $kind != container ]] || labels=.Config.Labels
  answer=$(docker_on "$host" "$kind" inspect --format "{{index $labels \"infrainit.infrastructure\"}}" "$@") || return
  for name in "$@"; do
    expected+=${expected:+$'\n'}$INFRASTRUCTURE
  done
  if [[ $answer != "$expected" ]]; then
    printf '%s: left alone, because not all of it has the label of %s: %s %s\n' \
      "${HOST_NAMES[host]}" "$INFRASTRUCTURE" "$kind" "$*" >&2
    return 1
  fi
}

# create_network HOST ROLE: the tasks have one of their own.
create_network() {
  local name=$INFRASTRUCTURE
  [[ $2 != runner ]] || name+=-tasks
  if ! has_docker "$1" || [[ ! $(find_ours "$1" network ls --no-trunc --filter "name=^$name\$") ]]; then
    change_docker "$1" network create \
      --driver bridge \
      --label "infrainit.infrastructure=$INFRASTRUCTURE" \
      "$name" >/dev/null
  fi
}

# create_volume HOST NAME
create_volume() {
  local found=''
  if has_docker "$1"; then
    found=$(find_ours "$1" volume ls)
  fi
  if [[ $'\n'$found$'\n' != *$'\n'"$2"$'\n'* ]]; then
    change_docker "$1" volume create --label "infrainit.infrastructure=$INFRASTRUCTURE" "$2" >/dev/null
  fi
}

# worker_image_in_use: prints the name of the worker image with which the infrastructure was started. It is run on this machine, so
# only a name that images.sh makes, or made in earlier versions, will do.
worker_image_in_use() {
  local state environment image
  state=$(container_state "$MASTER_HOST" master)
  if [[ ! $state ]]; then
    die "${HOST_NAMES[MASTER_HOST]}: there is no master of $INFRASTRUCTURE; $(our_command infrainit.sh -f) starts it and pushes the files"
  fi
  environment=$(
    docker_on "$MASTER_HOST" container inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$INFRASTRUCTURE-master"
  )
  image=$(sed -n 's/^IMAGE=//p' <<<"$environment")
  [[ $image =~ ^infrainit-worker(-[a-z0-9-]+)?:[0-9a-f]{12}$ ]] || unreadable "$MASTER_HOST" "the image ${image:-(none)}" || return
  printf '%s\n' "$image"
}

# runner_image_in_use: prints the name of the image that tasks run in, as the version of the files on the master host has it.
runner_image_in_use() {
  local name=${HOST_NAMES[MASTER_HOST]} file version image
  file=$(code_directory "$MASTER_HOST")/current/VERSION
  version=$(on_host "$MASTER_HOST" cat -- "$file") ||
    die "$name: there is no version of the project's files; $(our_command infrainit.sh -f) pushes them"
  image=$(sed -n 's/^image=//p' <<<"$version")
  [[ $image ]] || die "$name: an earlier version of this tool has pushed the files; $(our_command infrainit.sh -f) brings all of it up to date"
  [[ $image =~ ^infrainit-runner(-[a-z0-9-]+)?:[0-9a-f]{12}$ ]] || unreadable "$MASTER_HOST" "the image $image" || return
  printf '%s\n' "$image"
}

# docker_options_in_use HOST: prints the digest of the project's options with which its runner was started; `none` without a runner.
docker_options_in_use() {
  local container options
  container=$(find_ours "$1" ps --all --no-trunc --filter label=infrainit.role=runner) || return
  if [[ ! $container ]]; then
    echo none
    return
  fi
  options=$(
    docker_on "$1" container inspect --format '{{index .Config.Labels "infrainit.docker_options"}}' "$INFRASTRUCTURE-runner"
  ) || return
  [[ $options =~ ^([0-9a-f]{12})?$ ]] || unreadable "$1" "$options" || return
  printf '%s\n' "$options"
}

# Tasks that a replaced container would end

# ask_about_tasks HOST…: ends the program if starting or removing workers on these hosts would end tasks, unless the user agrees. With
# --drain it waits for them instead.
ask_about_tasks() {
  local tasks command how=,
  tasks=$(for_each_host print_tasks_to_end "$@")
  [[ ! $tasks ]] || say "$tasks"
  if [[ $DRAIN && ! $DRY_RUN ]]; then
    drain_hosts "$@"
    ((${#DRAINED[@]} == 0)) || return 0
  elif [[ $DRAIN && $tasks ]]; then
    say "(would wait until these tasks have ended)"
  fi
  [[ $tasks && ! $ASSUME_YES && ! $DRY_RUN ]] || return 0
  command=$(our_command infrainit.sh "${ARGUMENTS[@]}")
  [[ $DRAIN ]] || how=", have that waited for: $command --drain,"
  confirm "go on, and let these tasks begin again?" ||
    die "tasks run, and nothing was changed; wait until they have ended$how or let them begin again: $command -y"
}

# print_tasks_to_end HOST: prints a line if starting the worker there, or removing it, would end tasks.
print_tasks_to_end() {
  local why tasks
  why=$(print_end_of_runner "$1")
  [[ $why ]] || return 0
  tasks=$(print_running_tasks "$1")
  [[ ! $tasks ]] || printf '%s: %s; %s\n' "${HOST_NAMES[$1]}" "$tasks" "$why"
}

# print_end_of_runner HOST: prints what becomes of the tasks there, if starting the worker there, or removing it, ends its runner.
print_end_of_runner() {
  local host=$1 options settings='' state why='a new image or new settings of the runner make them begin again'
  if [[ ${FACTS[$host.docker]:-} != ok ]]; then
    return 0 # it is to be installed
  fi
  if is_one_of "$host" "${WORKER_HOSTS[@]}"; then
    read_words options runner_options "$host"
    settings=$(settings_digest "$host" runner "${options[@]}")
  else
    why='this host is to run no worker any more, so they end there and begin again elsewhere'
  fi
  state=$(container_state "$host" runner)
  if [[ ! $state ]]; then
    state=$(container_state "$host" worker) # earlier versions of this tool ran the tasks in it
  fi
  [[ $state == "running "* && (! $settings || $state != "running $settings "*) ]] || return 0
  printf '%s\n' "$why"
}

# print_running_tasks HOST: prints how many tasks run in its runner, and since when; nothing if none does.
print_running_tasks() {
  local host=$1 data=$OUR_PLACE answer count seconds
  if [[ $(runner_targets "$host") == *"/data/runner"* ]]; then
    data=/data # it was started by an earlier version of this tool
  fi
  # Whatever it says is read below; what is no answer counts as an unknown number.
  answer=$(docker_on "$host" exec "$INFRASTRUCTURE-runner" python3 -I -S "$RUNNER_PROGRAM" --log "$data/runner/log" --running 2>&1) || true # no number
  count=${answer%% *} seconds=${answer#* }
  if [[ $answer != "$count $seconds" ]] || ! is_number "$count" || ! is_number "$seconds"; then
    answer=$(tail -n 1 <<<"$answer")
    echo "an unknown number of tasks run (its runner says: ${answer:0:100})"
  elif ((count == 1)); then
    echo "1 task runs (since $(duration "$seconds"))"
  elif ((count > 1)); then
    echo "$count tasks run (the longest since $(duration "$seconds"))"
  fi
}

# runner_targets HOST: prints what is mounted in its runner; nothing if it has none, as with earlier versions of this tool.
runner_targets() {
  docker_on "$1" container inspect --format '{{range .Mounts}}{{println .Destination}}{{end}}' "$INFRASTRUCTURE-runner" 2>/dev/null || true # there is none
}

# Waiting: a command in the container tells whether it is ready

wait_broker() {
  wait_container "$1" broker "$BROKER_SECONDS" sh -c "$BROKER_LISTENS"
}

wait_master() {
  wait_container "$1" master "$MASTER_SECONDS" framework status
}

wait_flower() {
  wait_container "$1" flower "$FLOWER_SECONDS" python -c 'import socket; socket.create_connection(("127.0.0.1", 5555), 5)'
}

# wait_container HOST ROLE SECONDS COMMAND…: waits until COMMAND succeeds in the container.
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

# stays_up HOST ROLE: does it run, without a restart since waiting for it began? If not, shows why.
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
  local state restarts
  state=$(container_state "$1" "$2")
  read -r _ _ restarts _ <<<"${state:-removed none 0}"
  printf '%s\n' "$restarts"
}

# wait_workers HOST…: waits until the master has had an answer from the worker of each of these hosts. A worker answers when it has
# its runner.
wait_workers() {
  local host role restarts
  while read -r host role restarts; do
    RESTARTS["$host $role"]=$restarts
  done < <(for_each_host print_worker_restarts "$@")
  until wait_until "$WORKERS_SECONDS" "all workers answer" ask_workers "${WORKER_HOSTS[@]}"; do
    for_each_host show_silent_worker "${WORKER_HOSTS[@]}"
    leave_out_silent || die "not all workers answer; the reason, or the last lines of their logs, are above"
  done
}

# leave_out_silent: leaves out the hosts whose workers have ended; if there are none, those whose workers do not answer. Fails if
# --tolerate does not allow it.
leave_out_silent() {
  local host silent=() ended=()
  for host in "${WORKER_HOSTS[@]}"; do
    if ! (worker_stays_up "$host") >/dev/null 2>&1; then
      ended+=("$host")
    elif ! ask_master_for_workers 2 "$host" >/dev/null 2>&1; then
      silent+=("$host")
    fi
  done
  ((${#ended[@]} > 0)) || ended=("${silent[@]}")
  ((${#ended[@]} > 0)) && may_leave_out "${ended[@]}" || return 1
  for host in "${ended[@]}"; do
    leave_out "$host" "its worker does not answer; see docker logs $INFRASTRUCTURE-worker and $INFRASTRUCTURE-runner there"
  done
}

print_worker_restarts() {
  local role
  for role in runner worker; do
    printf '%s %s %s\n' "$1" "$role" "$(restart_count "$1" "$role")"
  done
}

# ask_workers HOST…: fails with NEVER_READY if a worker or a runner has ended or restarted.
ask_workers() {
  ask_master_for_workers 5 "$@" && return
  stays_up "$MASTER_HOST" master || return "$NEVER_READY"
  for_each_host worker_stays_up "$@" || return "$NEVER_READY"
  for_each_host worker_connects "$@" || return "$NEVER_READY"
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
  stays_up "$1" runner && stays_up "$1" worker || exit 1 # for_each_host was called where errexit is off
}

worker_connects() {
  worker_reaches_broker "$1" || exit 1 # as above
}

show_silent_worker() {
  worker_reaches_broker "$1" 2>/dev/null || return 0       # its log would say the same in many lines
  if ! ask_master_for_workers 2 "$1" >/dev/null 2>&1; then # its answer has been shown already
    show_last_lines "$1" "$INFRASTRUCTURE-runner"
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
  require_ours "$1" container "$INFRASTRUCTURE-$2" || return
  change_docker "$1" stop "$INFRASTRUCTURE-$2" >/dev/null # a runner ends its tasks, and a worker hands them back
  change_docker "$1" rm --force --volumes "$INFRASTRUCTURE-$2" >/dev/null
}

# remove_unwanted HOST: removes containers and secrets of roles that this host does not have any more.
remove_unwanted() {
  local host=$1 role roles there
  mapfile -t roles < <(unwanted_roles "$host")
  ((${#roles[@]} > 0)) || return 0
  there=$(docker_on "$host" ps --all --filter "label=infrainit.infrastructure=$INFRASTRUCTURE" --format '{{.Label "infrainit.role"}}')
  for role in "${roles[@]}"; do
    if [[ $'\n'$there$'\n' == *$'\n'"$role"$'\n'* ]]; then
      step "${HOST_NAMES[host]}" "removing $role: it is not asked for any more"
      remove_container "$host" "$role"
    fi
  done
  remove_secrets "$host" "${roles[@]}"
}

unwanted_roles() {
  if ! is_one_of "$1" "${WORKER_HOSTS[@]}"; then
    printf '%s\n' runner worker # in this order: the worker delivers the last results, to a master that is still there
  fi
  if (($1 != MASTER_HOST)); then
    printf '%s\n' flower master broker
  fi
  if ! is_tunnelled "$1"; then
    printf '%s\n' tunnel # after the worker
  fi
}

# remove_infrastructure HOST: removes all containers, volumes, networks and trials of this infrastructure there. Tries every step, and
# returns how many failed.
remove_infrastructure() {
  local host=$1 failures=0
  # Networks and volumes can only be removed after their containers.
  remove_ours "$host" container --all --no-trunc -- --force --volumes || failures=$((failures + 1))
  remove_ours "$host" volume -- || failures=$((failures + 1))
  remove_ours "$host" network --no-trunc -- || failures=$((failures + 1))
  remove_trial_images "$host" || failures=$((failures + 1))
  return "$failures"
}

# remove_trial_images HOST: removes what an interrupted try_port.sh has left.
remove_trial_images() {
  local found name
  found=$(docker_on "$1" image ls --format '{{.Tag}}' infrainit-empty) || return
  for name in "$INFRASTRUCTURE-listen" "$INFRASTRUCTURE-connect"; do
    [[ $'\n'$found$'\n' != *$'\n'$name$'\n'* ]] || change_docker "$1" image rm "infrainit-empty:$name" >/dev/null || return
  done
}

# remove_ours HOST KIND OPTION_OF_LS… -- OPTION_OF_RM…: removes what `docker KIND ls` finds.
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
  require_ours "$host" "$kind" "${ids[@]}" || return
  step "${HOST_NAMES[host]}" "removing ${kind}s: ${#ids[@]}"
  change_docker "$host" "$kind" rm "$@" "${ids[@]}" >/dev/null # it prints what it removed
}
