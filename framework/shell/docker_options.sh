# shellcheck shell=bash
# The arguments of `docker run`, as they follow from settings, roles and facts. The functions are pure: each prints the options, the
# image and its arguments, every word ended by a NUL; read_words reads them into an array.

readonly MEBIBYTE=1048576
readonly CHECK_MEMORY=1024 # MiB for the check of a project: as much as the master has, which reads it the same way
readonly CHECK_SECONDS=300 # for that check
readonly RUNNER_PROGRAM=/code/current/framework/runner/__main__.py
# Our files in the containers of a worker host: at a place where no project would mount something of its own.
readonly OUR_PLACE=/infrainit

# read_words ARRAY COMMAND…: stores the NUL-ended words that COMMAND prints in ARRAY. Fails if COMMAND fails. Its exit code comes as the
# last word, since bash 5.2 now and then fails to `wait` for a process that has ended.
read_words() {
  local -n array_of_words=$1
  local last
  mapfile -d '' -t array_of_words < <(
    set +e
    (
      set -e
      "${@:2}"
    )
    printf '%s\0' "$?"
  )
  last=$((${#array_of_words[@]} - 1))
  ((last >= 0)) || return 1
  set -- "${array_of_words[last]}"
  array_of_words=("${array_of_words[@]:0:last}")
  return "$1"
}

print_words() {
  printf '%s\0' "$@"
}

# broker_options HOST
broker_options() {
  service_with_secrets_options "$1" broker
  print_words --network "$INFRASTRUCTURE"
  print_words --network-alias broker
  print_words --hostname broker  # part of its data directory's name: another one would mean an empty directory
  print_words --stop-timeout 120 # to write its queues
  print_words --pids-limit 2048
  # The start script sets these as well; here they also reach `docker exec`, whatever image is used.
  print_words --env HOME=/var/lib/rabbitmq
  print_words --env RABBITMQ_NODENAME=rabbit@localhost
  print_words --env ERL_EPMD_ADDRESS=127.0.0.1
  print_mount type=volume "source=$INFRASTRUCTURE-broker" target=/var/lib/rabbitmq
  if is_reached_from_outside; then
    print_published_port "$1" "$BROKER_PORT" 5671
  else
    print_words --publish "127.0.0.1:$BROKER_PORT:5671"
  fi
  print_words --entrypoint /bin/sh "$BROKER_IMAGE_ID" /secrets/start
}

# master_options HOST
master_options() {
  local directory
  service_with_secrets_options "$1" master
  print_words --network "$INFRASTRUCTURE"
  print_words --hostname master
  print_words --stop-timeout 30 # to write what it has received
  print_words --pids-limit 1024
  print_words --env STATUS=/dev/shm/status.json # in memory, so that it is written even when the disk is full
  print_words --env SQLITE_TMPDIR=/data         # to sort large tables; /tmp is small
  framework_options "$1" broker:5671
  directory=$(data_directory "$1" master)
  print_mount type=bind "source=$directory" target=/data
  print_words "$WORKER_IMAGE_ID" master
}

# flower_options HOST
flower_options() {
  local definitions directory
  definitions=$(cat -- "$CHECKOUT"/docker/broker/{definitions,users}.json | sha256sum)
  service_with_secrets_options "$1" flower
  print_words --label "infrainit.definitions=${definitions:0:12}" # it takes up no new code while it runs, but these names must be its own
  print_words --network "$INFRASTRUCTURE"
  print_words --hostname flower
  print_words --stop-timeout 10
  print_words --pids-limit 1024
  framework_options "$1" broker:5671
  directory=$(data_directory "$1" master)
  print_mount type=bind "source=$directory/published" target=/published readonly
  print_mount type=volume "source=$INFRASTRUCTURE-flower" target=/var/tmp # a fresh volume takes over the mode: any user may write there
  print_page_port "$1" "$FLOWER_PORT" 5555
  if [[ $METRICS_PORT ]]; then
    print_words --env METRICS=yes
    print_page_port "$1" "$METRICS_PORT" 5556
  fi
  print_words "$WORKER_IMAGE_ID" flower
}

# print_page_port HOST PORT PORT_IN_CONTAINER
print_page_port() {
  if (($1 == 0)); then
    print_words --publish "127.0.0.1:$2:$3" # the browser runs on this machine
  else
    print_published_port "$@"
  fi
}

# runner_options HOST: the container that tasks run in. It gets no secret of the infrastructure, and neither the broker's network nor its address.
runner_options() {
  local name=${HOST_NAMES[$1]} memory code directory values
  memory=$(memory_limit "$1" runner)
  code=$(code_directory "$1")
  values=$(values_directory "$1")
  directory=$(data_directory "$1" worker)
  service_options "$1" runner # without --init: the runner is process 1 itself, to which tasks can send no signal
  print_words --network "$INFRASTRUCTURE-tasks"
  print_words --hostname "${name:0:63}" # the kernel refuses longer ones
  print_words --stop-timeout 60         # its tasks get 10 s to end
  print_words --pids-limit 32768        # threads count, and every task may start one for each core
  # Data loaders pass batches through /dev/shm, for which Docker's default is 64 MB. Pages in use count as memory.
  print_words --shm-size "$((memory / 2))m"
  gpu_options "$1" runner
  # What an image of the user's may say otherwise.
  print_words --workdir /
  print_words --stop-signal SIGTERM
  print_words --no-healthcheck
  print_words --env "IMAGE=$RUNNER_IMAGE_ID"
  print_words --env "INFRAINIT_MOUNTS=${NEEDS[mount]:-}" # the worker compares it with what the files need
  user_options
  project_options
  print_mount type=bind "source=$code" target=/code readonly
  print_mount type=bind "source=$directory/tasks" "target=$OUR_PLACE/tasks"
  print_mount type=bind "source=$directory/setup" "target=$OUR_PLACE/setup"
  print_mount type=bind "source=$directory/runner" "target=$OUR_PLACE/runner"
  print_mount type=bind "source=$directory/link" "target=$OUR_PLACE/link" readonly # so that no task replaces the worker's socket
  print_mount type=bind "source=$values" "target=$VALUES_IN_RUNNER" readonly
  print_mounts "$1"
  print_words --entrypoint python3 "$RUNNER_IMAGE_ID" -I -S "$RUNNER_PROGRAM"
  print_words --link "$OUR_PLACE/link/socket" --log "$OUR_PLACE/runner/log" --tasks "$OUR_PLACE/tasks" --code /code \
    --values "$VALUES_IN_RUNNER/values"
}

# worker_options HOST: it depends in nothing on the runner's image, so that a new requirements.txt leaves it running.
worker_options() {
  local name=${HOST_NAMES[$1]} address endpoint memory directory slots
  address=$(broker_address "$1")
  endpoint=$(broker_endpoint "$1")
  memory=$(memory_limit "$1" runner)
  service_with_secrets_options "$1" worker
  if [[ $address == *:* ]]; then
    print_words --network host # an IPv6 address: Docker's own networks have IPv6 only if somebody has set it up
  else
    print_words --network "$INFRASTRUCTURE"
  fi
  print_words --hostname "${name:0:63}"
  print_words --stop-timeout 30 # to deliver what it has
  print_words --pids-limit 1024
  gpu_options "$1" worker
  slots=$(host_setting "$1" slots)
  slots=${slots:-$SLOTS}
  if [[ $slots ]]; then # otherwise as many as its CPUs, or as the project's resources allow
    print_words --env "SLOTS=$slots"
  fi
  print_words --env "TASK_MEMORY=$memory" # MiB, for all tasks together
  framework_options "$1" "$endpoint"
  directory=$(data_directory "$1" worker)
  print_words --env "DATA=$OUR_PLACE" # the same paths as in the runner
  print_mount type=bind "source=$directory" "target=$OUR_PLACE"
  print_words "$WORKER_IMAGE_ID" worker
}

# tunnel_options HOST: takes the broker's place in the network of a worker host.
tunnel_options() {
  local secrets
  secrets=$(secrets_directory "$1" tunnel)
  service_with_secrets_options "$1" tunnel
  print_words --network "$INFRASTRUCTURE"
  print_words --network-alias broker
  print_words --hostname tunnel
  print_words --stop-timeout 5
  print_words --pids-limit 256
  print_words --env HOME=/tmp
  print_mount type=bind "source=$secrets/passwd" target=/etc/passwd readonly
  print_words "$TUNNEL_IMAGE_ID" "$TUNNEL_READY"
}

# trial_options IMAGE PROGRAM ARGUMENT…: for a container on this machine that tries whether the image has the program.
trial_options() {
  one_off_options 0 "$EUID:${GROUPS[0]}"
  limit_options
  print_words --workdir / --entrypoint "$2" "$1" "${@:3}"
}

# needs_options: for a container on this machine that says what the staged project needs.
needs_options() {
  stage_options
  print_check needs
  project_arguments
}

# files_options: for a container on this machine that lists the entries that belong to the project.
files_options() {
  local below
  below=$(path_in_repository)
  check_options
  print_mount type=bind "source=$CHECKOUT/framework" target=/code/current/framework readonly
  print_mount type=bind "source=$STAGE/above" target=/project readonly
  print_mount type=bind "source=$PROJECT_PATH" "target=/project/$below" readonly
  print_words --workdir /project
  print_check files
  project_arguments "./$below"
}

# root_options TOP FILE: for a container on this machine that finds the project of the sweep file TOP/FILE, in TOP or below it.
root_options() {
  local top=/project/${1##*/}
  check_options
  print_mount type=bind "source=$CHECKOUT/framework" target=/code/current/framework readonly
  print_mount type=bind "source=$1" "target=$top" readonly
  print_words --workdir "$top" # where the search ends
  print_check root
  print_words "./$2"
  run_cap_argument
}

# plan_options: for a container on this machine that checks the staged project, and whether it fits the workers if all are known.
plan_options() {
  local host
  stage_options
  print_check plan
  project_arguments
  if knows_all_workers; then
    for host in "${WORKER_HOSTS[@]}"; do
      print_words --host "${HOST_NAMES[host]}" "${FACTS[$host.cores]:-}" "$(memory_limit "$host" runner)" "$(usable_gpus "$host")"
    done
  fi
}

# recover_options HOST: for a container on the master host that rebuilds the journal from the files in recovered/.
recover_options() {
  local code data
  code=$(code_directory "$1")
  data=$(data_directory "$1" master)
  one_off_options "$1" "${FACTS[$1.uid]:-}:${FACTS[$1.gid]:-}"
  print_words --env "PROJECT=$PROJECT_NAME"
  print_mount type=bind "source=$code" target=/code readonly
  print_mount type=bind "source=$data" target=/data
  print_words "$WORKER_IMAGE_ID" recover /data/recovered
}

# one_off_options HOST USER:GROUP: the options of all containers that run once.
one_off_options() {
  print_words --rm
  print_words --network none
  user_of_files_options "$1" "$2"
  print_words --cap-drop ALL
  print_words --security-opt no-new-privileges
}

# results_options IMAGE DIRECTORY WORD…: for `framework WORD…` in a container on this machine, with the results in DIRECTORY as /results.
results_options() {
  check_options
  print_mount type=bind "source=$CHECKOUT/framework" target=/code/current/framework readonly
  print_mount type=bind "source=$2" target=/results
  print_words "$1" "${@:3}"
}

# live_options IMAGE DIRECTORY: for a container on this machine that shows the documents which come into DIRECTORY in this terminal.
live_options() {
  local host name
  check_options
  print_words --interactive --tty
  for name in TERM COLORTERM NO_COLOR; do
    [[ ! ${!name:-} ]] || print_words --env "$name=${!name}"
  done
  print_mount type=bind "source=$CHECKOUT/framework" target=/code/current/framework readonly
  print_mount type=bind "source=$2" target=/live readonly
  print_words "$1" status --follow --from /live/document.json
  for host in "${WORKER_HOSTS[@]}"; do
    print_words "--host=${HOST_NAMES[host]}"
  done
}

# check_options: of containers on this machine that read a project, or results.
check_options() {
  one_off_options 0 "$EUID:${GROUPS[0]}"
  print_words --read-only
  print_words --memory "${CHECK_MEMORY}m"
  print_words --pids-limit 128
}

# stage_options: of those that read the staged project.
stage_options() {
  check_options
  print_mount type=bind "source=$STAGE" target=/code/current readonly
  print_mount type=bind "source=$STAGE/beside" target=/project readonly
  print_mount type=bind "source=$STAGE/project" "target=/project/${PROJECT_PATH##*/}" readonly
  print_words --workdir /project
}

# print_check COMMAND: the image of those, and the framework's COMMAND with a deadline. It is inside, so that it holds whatever becomes
# of this script.
print_check() {
  print_words --entrypoint timeout "$WORKER_IMAGE_ID"
  print_words --kill-after 5 "$CHECK_SECONDS" /usr/local/bin/framework "$1"
}

# project_arguments [DIRECTORY]: what the framework's commands take for the project; DIRECTORY is where it is in the container.
project_arguments() {
  local directory=${1:-./${PROJECT_PATH##*/}} path
  if [[ $SWEEP_FILE ]]; then
    path=$(sweep_path)
    print_words "$directory/$path" --root "$directory" --name "$PROJECT_NAME"
  else
    print_words "$directory"
  fi
  run_cap_argument
}

run_cap_argument() {
  if [[ $RUN_CAP ]]; then
    print_words --run-cap "$RUN_CAP"
  fi
}

# limit_options: of containers that do little.
limit_options() {
  print_words --memory 512m
  print_words --pids-limit 128
}

# service_options HOST ROLE: the options of all containers that stay.
service_options() {
  local memory
  memory=$(memory_limit "$1" "$2")
  print_words --detach
  print_words --name "$INFRASTRUCTURE-$2"
  print_words --label "infrainit.infrastructure=$INFRASTRUCTURE"
  print_words --label "infrainit.role=$2"
  print_words --restart unless-stopped # comes back after a crash and a reboot, but not after `docker stop`
  print_words --log-driver local       # the default one never deletes anything
  print_words --log-opt max-size=10m
  print_words --log-opt max-file=5
  user_of_files_options "$1" "${FACTS[$1.uid]:-}:${FACTS[$1.gid]:-}"
  print_words --cap-drop ALL
  print_words --security-opt no-new-privileges
  print_words --memory "${memory}m"
}

# user_of_files_options HOST USER:GROUP: as whom a container runs, so that the files on the host are those of USER.
user_of_files_options() {
  case ${FACTS[$1.docker_kind]:-} in
    rootless) print_words --user 0:0 ;;              # in its containers, root is the user of the engine, and has no more rights than that user
    userns) print_words --userns host --user "$2" ;; # otherwise its users are others outside
    *) print_words --user "$2" ;;
  esac
}

# service_with_secrets_options HOST ROLE: of those that stay and run programs of ours only.
service_with_secrets_options() {
  local secrets
  secrets=$(secrets_directory "$1" "$2")
  service_options "$1" "$2"
  print_words --init # passes signals on, and reaps processes that are left behind
  print_words --read-only
  print_words --tmpfs /tmp:size=64m # in memory: settings of the broker, home of the others
  print_mount type=bind "source=$secrets" target=/secrets readonly
}

# framework_options HOST BROKER: for master, Flower and workers; BROKER is its address:port for them.
framework_options() {
  local code
  code=$(code_directory "$1")
  print_words --env "INFRASTRUCTURE=$INFRASTRUCTURE"
  print_words --env "PROJECT=$PROJECT_NAME"
  print_words --env "HOST=${HOST_NAMES[$1]}"
  print_words --env "BROKER=$2"
  print_words --env "IMAGE=$WORKER_IMAGE_ID"
  user_options
  print_mount type=bind "source=$code" target=/code readonly
}

# user_options: the user has neither a home nor a name in the container.
user_options() {
  print_words --env HOME=/tmp
  print_words --env USER=worker
  if [[ ${TZ:-} ]]; then
    print_words --env "TZ=$TZ"
  fi
}

# project_options: the options that the project gives for the container of its tasks, which come after ours. Their label tells whether
# they have changed.
project_options() {
  local options
  [[ ${NEEDS[docker_option]:-} ]] || return 0
  mapfile -t options <<<"${NEEDS[docker_option]}"
  print_words "${options[@]}"
  print_words --label "infrainit.docker_options=$(digest_of_options)"
}

# digest_of_options: prints 12 hexadecimal digits for them; nothing if there are none.
digest_of_options() {
  local digest
  [[ ${NEEDS[docker_option]:-} ]] || return 0
  digest=$(sha256sum <<<"${NEEDS[docker_option]}")
  printf '%s\n' "${digest:0:12}"
}

# print_published_port HOST PORT CONTAINER_PORT: for everybody who reaches the host. Docker's rules come before those of ufw.
print_published_port() {
  print_words --publish "0.0.0.0:$2:$3"
  if [[ ${FACTS[$1.addresses]:-} == *:* ]]; then
    print_words --publish "[::]:$2:$3"
  fi
}

# print_mount KEY[=VALUE]…: --mount and its value, one line of CSV, because paths may contain commas and quotes.
print_mount() {
  local field line=''
  for field in "$@"; do
    if [[ $field == *[,\"]* ]]; then
      field="\"${field//\"/\"\"}\""
    fi
    line+="${line:+,}$field"
  done
  print_words --mount "$line"
}

# gpu_options HOST ROLE: the runner computes with the GPUs, the worker only looks at them.
gpu_options() {
  local role=$2 kind groups group
  if (($(usable_gpus "$1") == 0)); then return; fi
  kind=${FACTS[$1.gpu_kind]:-}
  case $kind-$role in
    amd-runner)
      print_words --device /dev/kfd
      print_words --device /dev/dri
      read -ra groups <<<"${FACTS[$1.gpu_groups]:-}"
      for group in "${groups[@]}"; do
        print_words --group-add "$group"
      done
      ;;
    amd-worker) print_words --device /dev/dri ;; # without it, the kernel does not say what GPUs there are; it may not be opened
    *-runner) print_words --gpus "$(gpu_request "$1")" ;;
    *-worker) print_words --gpus "$(gpu_request "$1"),capabilities=utility" ;; # nvidia-smi, and nothing to compute with
  esac
}

# usable_gpus HOST: prints how many GPUs a container there can use, and may according to the hosts file. For AMD's, Docker needs
# nothing else.
usable_gpus() {
  local gpus chosen commas
  gpus=${FACTS[$1.gpus]:-} chosen=$(host_setting "$1" gpus)
  if [[ ${FACTS[$1.gpu_kind]:-} != amd && ${FACTS[$1.gpu_runtime]:-} != [1-9]* ]]; then
    gpus=0
  elif [[ $chosen == \[* ]]; then
    commas=${chosen//[^,]/}
    gpus=$(between 0 "$((${#commas} + 1))" "$gpus")
  elif [[ $chosen ]]; then
    gpus=$(between 0 "$((10#$chosen))" "$gpus")
  fi
  printf '%s\n' "$gpus"
}

# gpu_request HOST: prints which GPUs a container gets, as the value of --gpus has it.
gpu_request() {
  local chosen
  chosen=$(host_setting "$1" gpus)
  case $chosen in
    '') echo all ;;
    \[*)
      chosen=${chosen#[}
      printf '"device=%s"\n' "${chosen%]}"
      ;;
    *) printf 'count=%s\n' "$(usable_gpus "$1")" ;;
  esac
}

# memory_limit HOST ROLE: prints MiB. They are limits, not reservations: on a small host their sum may exceed its memory.
memory_limit() {
  local host=$1 total reserve others=0
  total=$((${FACTS[$host.memory]:-} / MEBIBYTE / 64 * 64)) # the last digits differ from one boot to the next
  case $2 in
    broker) between 512 "$((total / 4))" 4096 ;;
    master) echo 1024 ;;
    flower | worker) echo 512 ;;
    tunnel) echo 128 ;;
    runner)
      reserve=$(between 512 "$((total / 10))" 4096) # for the host itself
      if ((host == MASTER_HOST)); then
        others=$(($(memory_limit "$host" broker) + 1024 + 512))
      fi
      between 512 "$((total - reserve - others - 512))" "$total" # 512: the worker
      ;;
  esac
}

# between LOWEST VALUE HIGHEST: prints VALUE, or the limit that it exceeds.
between() {
  if (($2 < $1)); then
    echo "$1"
  elif (($2 > $3)); then
    echo "$3"
  else
    echo "$2"
  fi
}
