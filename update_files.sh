#!/usr/bin/env bash
# Brings changed files of the framework and the project to the hosts of this infrastructure.
#
# usage: update_files.sh [-a HOSTS] [-n] [--verbose] [-h]
#
#   -a, --hosts HOSTS   only to these hosts of the infrastructure, as they were given to infrainit.sh, separated by commas; local is
#                       this machine. The other hosts stay with the version they have
#   -n, --dry-run       show every command, change nothing
#       --verbose       show every command that changes something
#   -h, --help          this text
#
# The project is checked first. Then every host gets the new version, and only when all of them have it, it is used: by tasks
# that start afterwards. Tasks already running keep theirs. The master takes up new combinations by itself.
# New packages (requirements.txt, image: in project.yml) need new images: ./infrainit.sh -f
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

ONLY_HOSTS=''   # -a, as typed
TARGET_HOSTS=() # numbers of the hosts that get the files

main() {
  parse_arguments "$@"
  trap finish EXIT
  use_record
  choose_hosts
  check_connections
  find_worker_image
  stage_code
  check_project
  for_each_host send_code "${TARGET_HOSTS[@]}"
  for_each_host switch_code "${TARGET_HOSTS[@]}"
  report
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      -a | --hosts)
        [[ ${2:-} ]] || usage_error "$1 needs a value"
        ONLY_HOSTS=$2
        shift
        ;;
      -n | --dry-run) DRY_RUN=yes ;;
      --verbose) VERBOSE=yes ;;
      -h | --help)
        show_help
        exit 0
        ;;
      *) usage_error "$1 is no option; see $0 --help" ;;
    esac
    shift
  done
}

# choose_hosts: all hosts of the infrastructure, or those of -a.
choose_hosts() {
  local name names host
  mapfile -t TARGET_HOSTS < <(hosts_in_use)
  if [[ $ONLY_HOSTS ]]; then
    mapfile -d , -t names < <(printf '%s,' "$ONLY_HOSTS")
    TARGET_HOSTS=()
    for name in "${names[@]}"; do
      if host=$(find_host_in_use "$name"); then
        TARGET_HOSTS+=("$host")
      else
        problem "-a: $name is no host of this infrastructure; its hosts are: $(names_in_use)"
      fi
    done
    stop_on_problems 2
  fi
}

# find_host_in_use NAME: its number; NAME is a host as given to infrainit.sh, or as our messages call it.
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

# check_connections: nothing is changed anywhere if one of the hosts does not answer.
check_connections() {
  local host hosts
  mapfile -t hosts < <(printf '%s\n' "$MASTER_HOST" "${TARGET_HOSTS[@]}" | sort --numeric-sort --unique)
  probe_hosts "${hosts[@]}"
  for host in "${hosts[@]}"; do
    is_reachable "$host" || problem "${HOST_NAMES[host]}: $(fact "$host" unreachable)"
  done
  if ((${#PROBLEMS[@]} > 0)); then
    say "no host was changed; hosts can be left out with -a, except for that of the master"
  fi
  stop_on_problems 1
}

report() {
  local which="all ${#TARGET_HOSTS[@]} hosts"
  [[ ! $ONLY_HOSTS ]] || which=$ONLY_HOSTS
  if [[ ! $DRY_RUN ]]; then
    printf 'version %s is used by all tasks that start from now on (%s)\n' "$CODE_VERSION" "$which"
  fi
}

finish() {
  stop_parallel_jobs
  close_connections
  remove_stage
}

main "$@"
