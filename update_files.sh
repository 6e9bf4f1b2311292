#!/usr/bin/env bash
# Pushes changed files of the framework and the project to the hosts of this infrastructure.
#
# usage: update_files.sh [-a HOSTS] [-y] [-n] [--verbose] [-h]
#
#   -a, --hosts HOSTS   only to these hosts of the infrastructure, as they were given to infrainit.sh, separated by commas; local is
#                       this machine. The other hosts keep the version that they have
#   -y, --yes           without asking: send more than SEND_LIMIT MiB (in config.sh; default: 200) to a host
#   -n, --dry-run       show every command, change nothing
#       --verbose       show every command
#   -h, --help          this text
#
# The project is checked first. Then the new version is sent to every host, but for files that the host has already, and what it takes
# from your environment (secrets: and environment: in project.yml). When all of them have it, tasks that start from then on use it;
# running tasks keep theirs. The master adds new combinations by itself. What .gitignore or .infrainitignore names is not sent, nor are
# virtual environments. Versions that nothing uses any more are removed, but the last 3.
# New packages (requirements.txt, pyproject.toml; image:, build: and packages: in project.yml) need new images, and docker_options: new
# containers: ./infrainit.sh -f
#
# exit codes: 0 success, 1 something failed, 2 the options or the project are wrong
#
# examples:
#   ./update_files.sh             to all hosts
#   ./update_files.sh -a hostB    only to this one
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

ONLY_HOSTS=''     # -a, as typed
TARGET_HOSTS=()   # numbers of the hosts that get the files
VALUE_HOSTS=()    # of these, those that run tasks
VERSION_BEFORE='' # of the code on the master host

main() {
  parse_options -a,--hosts= -y,--yes -n,--dry-run --verbose -- "$@"
  ONLY_HOSTS=${OPTIONS[HOSTS]:-} ASSUME_YES=${OPTIONS[YES]:-}
  take_from_config SEND_LIMIT
  check_number SEND_LIMIT 0 100000000
  stop_on_problems 2
  trap finish EXIT
  take_lock
  use_record
  choose_hosts
  connect_to_hosts
  WORKER_IMAGE_ID=$(worker_image_in_use)
  RUNNER_IMAGE_ID=$(runner_image_in_use)
  stage_code
  read_needs
  collect_user_values
  validate_project_in_image
  compare_runner_image
  compare_docker_options
  name_version
  ask_about_size "${TARGET_HOSTS[@]}"
  for_each_host check_values_place "${VALUE_HOSTS[@]}"
  for_each_host send_code "${TARGET_HOSTS[@]}"
  for_each_host update_user_values "${VALUE_HOSTS[@]}"
  VERSION_BEFORE=$(current_version "$MASTER_HOST")
  for_each_host switch_code "${TARGET_HOSTS[@]}"
  for_each_host remove_old_versions "${TARGET_HOSTS[@]}"
  report
  report_changes
}

# choose_hosts: sets TARGET_HOSTS to all hosts of the infrastructure, or to those of -a.
choose_hosts() {
  local name names host
  mapfile -t TARGET_HOSTS < <(hosts_in_use)
  if [[ $ONLY_HOSTS ]]; then
    split_list "$ONLY_HOSTS" names
    TARGET_HOSTS=() EXPANDED=()
    for name in "${names[@]}"; do
      expand_ranges "$name" || continue
    done
    for name in "${EXPANDED[@]}"; do
      if host=$(find_host_in_use "$name"); then
        TARGET_HOSTS+=("$host")
      else
        problem "-a: $name is no host of this infrastructure; its hosts are: $(names_in_use)"
      fi
    done
    stop_on_problems 2
  fi
  for host in "${TARGET_HOSTS[@]}"; do
    ! is_one_of "$host" "${WORKER_HOSTS[@]}" || VALUE_HOSTS+=("$host")
  done
}

# find_host_in_use NAME: prints its number; NAME is a host as given to infrainit.sh, or its name in messages.
find_host_in_use() {
  local host
  for host in $(hosts_in_use); do
    if [[ $1 == "${HOSTS[host]}" || $1 == "${HOST_NAMES[host]}" ]]; then
      printf '%s\n' "$host"
      return 0
    fi
  done
  return 1
}

names_in_use() {
  local host names=()
  for host in $(hosts_in_use); do
    names+=("${HOSTS[host]}")
  done
  printf '%s\n' "${names[*]}"
}

# connect_to_hosts: ends the program before anything is changed if one of the hosts does not answer.
connect_to_hosts() {
  local host hosts
  mapfile -t hosts < <(printf '%s\n' 0 "$MASTER_HOST" "${TARGET_HOSTS[@]}" | sort --numeric-sort --unique) # 0: its Docker checks the project
  probe_hosts "${hosts[@]}"
  for host in "${hosts[@]}"; do
    is_reachable "$host" || problem "${HOST_NAMES[host]}: $(fact "$host" unreachable)"
  done
  if ((${#PROBLEMS[@]} > 0)); then
    say "no host was changed; $(without_silent_hosts)"
  fi
  stop_on_problems 1
}

# without_silent_hosts: prints what updates the hosts that answer, which the master's has to.
without_silent_hosts() {
  local host names=()
  for host in "${TARGET_HOSTS[@]}"; do
    ! is_reachable "$host" || names+=("${HOSTS[host]}")
  done
  if is_reachable "$MASTER_HOST" && ((${#names[@]} > 0)); then
    echo "to leave them out: $(our_command update_files.sh -a "$(join_by_comma "${names[@]}")")"
  else
    echo "-a can leave out any host except the master's"
  fi
}

# compare_runner_image: warns if ./infrainit.sh -f would make another image for the tasks than the one that runs.
compare_runner_image() {
  local image
  [[ ! $DRY_RUN ]] || return 0
  if ! image=$(NAMES_ONLY=yes make_runner_image); then
    warn "$RUNNER_IMAGE_ID runs, and what it was made of is not on this machine; if packages or the image have changed: $(our_command infrainit.sh -f)"
  elif [[ $image != "$RUNNER_IMAGE_ID" ]]; then
    warn "the project's packages, or its image, are not those of the image that runs: $(our_command infrainit.sh -f) builds and sends it"
  fi
}

# compare_docker_options: warns if ./infrainit.sh -f would start a runner with other docker_options: than it has.
compare_docker_options() {
  local host now used names=()
  [[ ! $DRY_RUN ]] || return 0
  now=$(digest_of_options)
  for host in "${TARGET_HOSTS[@]}"; do
    is_one_of "$host" "${WORKER_HOSTS[@]}" || continue
    used=$(docker_options_in_use "$host")
    if [[ $used != "$now" && $used != none ]]; then
      names+=("${HOST_NAMES[host]}")
    fi
  done
  if ((${#names[@]} > 0)); then
    warn "docker_options: of the project are not those of the tasks on ${names[*]}: $(our_command infrainit.sh -f) replaces the containers"
  fi
}

report() {
  local which="all ${#TARGET_HOSTS[@]} hosts"
  [[ ! $ONLY_HOSTS ]] || which=$ONLY_HOSTS
  if [[ ! $DRY_RUN ]]; then
    printf 'version %s is used by all tasks that start from now on (%s)\n' "$CODE_VERSION" "$which"
  fi
}

# report_changes: the master's answer to what it runs now: combinations that are new, or outdated.
report_changes() {
  [[ ! $DRY_RUN && $VERSION_BEFORE ]] && is_one_of "$MASTER_HOST" "${TARGET_HOSTS[@]}" || return 0
  [[ $(container_state "$MASTER_HOST" master) == running\ * ]] || return 0
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework changes "$VERSION_BEFORE" | printable ||
    warn "the master does not say what is new; see $(our_command check_celery_status.sh)"
}

finish() {
  stop_parallel_jobs
  close_connections
  remove_stage
}

main "$@"
