# shellcheck shell=bash
# Whether all runs as the last run of infrainit.sh left it: then nothing more is asked, built or sent. A run that has completed notes
# digests of all that was wanted, and of what each host held then; an edited file, or a container that has ended since, makes another
# one. Whatever differs or is not known takes the long way. A note holds for a day: certificates and base images change by time alone.

# shellcheck disable=SC2153 # of state.sh
readonly NOTE=$STATE/unchanged # NAME=value in each line
readonly NOTED=(WANTED HELD VERSION WORKERS NEEDS_IMAGE BROKER_IMAGE_ID WORKER_IMAGE_ID RUNNER_IMAGE_ID TUNNEL_IMAGE_ID)
readonly NOTE_MINUTES=1440
# What a host says of itself that decides on its containers.
readonly FACTS_THAT_COUNT=(home user uid gid arch cores memory gpu_kind gpus gpu_runtime gpu_groups docker docker_kind docker_host engine
  engine_id root_writable tmp_writable root_user client_address broker state)

declare -gA NOTE_OF_LAST_RUN=() # NAME → value; empty: there is none that could hold
UNCHANGED=''                    # not empty: all is as the note says
NEEDS_IMAGE=''                  # the image in which the framework was asked what the project needs
TOOL_DIGEST=''                  # of the tool's files as this run began, and of what else goes into images
INPUTS_DIGEST=''                # of the user's values and images, before they were used
COMPARED=''                     # descriptor on which the digest of what is wanted comes, then the mounts

# expect_unchanged: begins to find out what is wanted, while the hosts are asked.
expect_unchanged() {
  # shellcheck disable=SC2034 # hosts.sh reads it
  ASK_STATE=yes
  # shellcheck disable=SC2034 # print_wanted prints it
  TOOL_DIGEST=$(digest_of_tool)
  read_note
  if ((${#NOTE_OF_LAST_RUN[@]} > 0)); then
    exec {COMPARED}< <(print_wanted_now 2>/dev/null)
  fi
}

# read_note: sets NOTE_OF_LAST_RUN, unless more is asked for than what runs.
read_note() {
  local name value
  NOTE_OF_LAST_RUN=()
  [[ $MASTER && ! $DRY_RUN && ! $RECOVER && ! $REFRESH ]] || return 0
  [[ $(find "$NOTE" -mmin "-$NOTE_MINUTES" 2>/dev/null) ]] || return 0
  while IFS='=' read -r name value; do
    ! is_one_of "$name" "${NOTED[@]}" || NOTE_OF_LAST_RUN[$name]=$value
  done <"$NOTE"
}

# compare_with_note: sets UNCHANGED, and WORKER_HOSTS to the hosts with workers, if all is as the note says; if not, says what differs.
compare_with_note() {
  local wanted='' differs hosts
  [[ $COMPARED ]] || return 0
  IFS='' read -r wanted <&"$COMPARED" || true # nothing, if it could not be found out
  NEEDS=([mount]=$(cat <&"$COMPARED"))
  exec {COMPARED}<&-
  if [[ ! $wanted || $wanted != "${NOTE_OF_LAST_RUN[WANTED]:-}" ]]; then
    say "what is wanted has changed since the last run"
    return 0
  fi
  ((${#LEFT_OUT[@]} + ${#INSTALL_HOSTS[@]} == 0)) || return 0
  read -ra hosts <<<"${NOTE_OF_LAST_RUN[WORKERS]:-}"
  check_mounts "${hosts[@]}"
  if ((${#PROBLEMS[@]} > 0)); then # they are reported on the long way
    # shellcheck disable=SC2034 # tolerance.sh reads it
    PROBLEMS=() PROBLEM_HOSTS=()
    return 0
  fi
  differs=$(print_differences "${hosts[@]}")
  if [[ $differs ]]; then
    say "$differs"
    return 0
  fi
  # shellcheck disable=SC2034 # infrainit.sh reads it
  WORKER_HOSTS=("${hosts[@]}") UNCHANGED=yes
}

# print_differences WORKER_HOST…: what is not as the note says, and whether the master says of all workers that they answer.
print_differences() {
  local host version state alive noted held
  read -ra noted <<<"${NOTE_OF_LAST_RUN[HELD]:-}"
  read -ra held <<<"$(digests_of_held "$MASTER_HOST" "$@")"
  for host in $(in_order 0 "$MASTER_HOST" "$@"); do
    if [[ ${held[0]:-} != "${noted[0]:-none}" ]]; then
      printf '%s: not as the last run left it\n' "${HOST_NAMES[host]}"
    fi
    held=("${held[@]:1}") noted=("${noted[@]:1}")
  done
  read -r version state alive <<<"$(fact "$MASTER_HOST" master)"
  if [[ $state != runs || $version != "${NOTE_OF_LAST_RUN[VERSION]:-}" ]]; then
    printf '%s: the master %s\n' "${HOST_NAMES[MASTER_HOST]}" \
      "$([[ $state == paused ]] && echo 'has paused the sweep' || echo 'has not said lately that it works on these files')"
  fi
  for host in "$@"; do
    [[ $alive, == *",${HOST_NAMES[host]},"* ]] || printf '%s: the master has not heard of its worker lately\n' "${HOST_NAMES[host]}"
  done
}

# forget_note: comes before anything is changed.
forget_note() {
  # shellcheck disable=SC2034 # they are found out again
  MOUNT_GROUPS=() NEEDS=()
  run rm -f -- "$NOTE"
}

# write_note: comes when all runs as it should. Where something is left that nobody wants, or is missing, there is none.
write_note() {
  local hosts text='' name
  mapfile -t hosts < <(hosts_in_use)
  [[ $MASTER && ! $DRY_RUN && ${#LEFT_OUT[@]} == 0 && ${RECORD[HOSTS]} == "$(list_hosts "${hosts[@]}")" ]] || return 0
  for_each_host ask_state "${hosts[@]}"
  for name in "${hosts[@]}"; do
    FACTS[$name.state]=$(<"$SSH_CONNECTIONS/$name.state")
  done
  local -A note=(
    [WANTED]=$(print_wanted | sha256sum)
    [HELD]=$(digests_of_held "$MASTER_HOST" "${WORKER_HOSTS[@]}")
    [VERSION]=$CODE_VERSION
    [WORKERS]=${WORKER_HOSTS[*]}
  )
  for name in "${NOTED[@]}"; do
    text+=$name=${note[$name]-${!name}}$'\n'
  done
  replace_file "$NOTE" 600 "$text"
}

# ask_state HOST: writes the file that write_note reads.
ask_state() {
  local answer
  answer=$(ask_facts "$1" | sed -n 's/^state=//p')
  is_fact state "$answer" || unreadable "$1" "$answer"
  printf '%s\n' "$answer" >"$SSH_CONNECTIONS/$1.state"
}

# digests_of_held MASTER_HOST WORKER_HOST…: prints, in a line, the digests of the facts that count, of this machine and each of the hosts.
digests_of_held() {
  local host key ip digests=()
  for host in $(in_order 0 "$@"); do
    ip=''
    [[ ${FACTS[$host.addresses]:-} != *:* ]] || ip=IPv6
    digests+=("$({
      printf '%s\n' "host $host" "${MOUNT_GROUPS[$host]:-}" "$ip"
      for key in "${FACTS_THAT_COUNT[@]}"; do
        [[ $key == state ]] && ! is_one_of "$host" "$@" || printf '%s\n' "$key=${FACTS[$host.$key]:-}"
      done
    } | digest)")
  done
  printf '%s\n' "${digests[*]}"
}

# digest_of_tool: of this copy's files, and of the authorities that images get from this machine.
digest_of_tool() {
  local directory
  directory=$(mktemp -d)
  stage_certificates "$directory/certificates"
  stage_pip_certificates "$directory/certificates"
  {
    (cd -- "$CHECKOUT" && print_inputs --exclude=__pycache__ infrainit.sh framework docker)
    (cd -- "$directory/certificates" && print_inputs .)
  } | sha256sum
  rm -rf -- "$directory"
}

# print_wanted_now: prints the digest of what is wanted now, then the project's mounts. It runs in a process of its own; where it fails, the
# long way reports why.
print_wanted_now() {
  local name
  [[ ! $LOCK ]] || exec {LOCK}<&- # it is not to outlive this script
  STAGE=''                        # its own
  trap remove_stage EXIT
  WORKER_IMAGE_ID=${NOTE_OF_LAST_RUN[NEEDS_IMAGE]}
  find_root
  stage_code
  read_needs
  collect_user_values
  collect_notify_values
  look_at_inputs
  for name in "${NOTED[@]}"; do
    [[ $name != *_IMAGE* ]] || printf -v "$name" %s "${NOTE_OF_LAST_RUN[$name]}"
  done
  name_version
  print_wanted | sha256sum
  print_mount_list
}

# look_at_inputs: sets INPUTS_DIGEST. It comes before they are used: what changes from then on makes another digest in the next run.
look_at_inputs() {
  local name
  # shellcheck disable=SC2034 # print_wanted prints it
  INPUTS_DIGEST=$({
    print_user_values | sha256sum
    for name in "${!USER_FILES[@]}"; do
      printf '%s %s\n' "$name" "$(sha256sum <"${USER_FILES[$name]}")"
    done
    print_ids_of_images infrainit-base:trixie infrainit-base:forky "$BROKER_IMAGE" "$WORKER_IMAGE" "$PROJECT_IMAGE"
  } | sha256sum)
}

# print_ids_of_images IMAGE…: of those here; an empty name is none.
print_ids_of_images() {
  local name images=()
  for name in "$@"; do
    [[ ! $name ]] || images+=("$name")
  done
  docker_on 0 image inspect --format '{{.Id}}' "${images[@]}" 2>/dev/null || true # not each project needs all
}

# print_wanted: prints all that decides on what runs, but for what the hosts say. The project is staged, and its version has its name.
print_wanted() {
  local name
  for name in "${SETTINGS[@]}" HOSTS_OPTION MASTER_HOST HOST_NAMES SSH_DESTINATIONS SSH_PORTS HOST_SETTINGS HOST_MOUNTS \
    PROJECT_SOURCE PROJECT_PATH INFRASTRUCTURE TOOL_DIGEST INPUTS_DIGEST; do
    declare -p "$name"
  done
  printf '%s\n' "time zone ${TZ:-}" "broker $(broker_name)"
  cat -- "$STAGE/VERSION"
  [[ ! -d $STAGE/git ]] || cat -- "$STAGE/git/HEAD"
  print_ids_of_images "$BROKER_IMAGE_ID" "$WORKER_IMAGE_ID" "$RUNNER_IMAGE_ID" "$TUNNEL_IMAGE_ID"
  (cd -- "$STATE" && print_inputs secrets)
  sha256sum <"$STATE/record"
  sha256sum <"$CHECKOUT/infra_clean.sh"
}
