#!/usr/bin/env bash
# Shows which workers answer, which are missing, and how far the set has come.
#
# usage: check_celery_status.sh [-f] [-h]
#
#   -f, --follow   again every 2 seconds, until interrupted
#   -h, --help     this text
#
# The exit code is 0 only if every expected worker answers.
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly PAUSE=2 # seconds between two looks with -f

FOLLOW='' # -f, not empty

main() {
  parse_arguments "$@"
  trap close_connections EXIT
  use_record
  probe_hosts "$MASTER_HOST"
  is_reachable "$MASTER_HOST" || die "${HOST_NAMES[MASTER_HOST]} (the master host): $(fact "$MASTER_HOST" unreachable)"
  if [[ $FOLLOW ]]; then
    follow_status
  else
    show_status
  fi
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      -f | --follow) FOLLOW=yes ;;
      -h | --help)
        show_help
        exit 0
        ;;
      *) usage_error "$1 is no option; see $0 --help" ;;
    esac
    shift
  done
}

# follow_status: each picture is put together first, so that the terminal does not flicker.
follow_status() {
  local picture
  while true; do
    picture=$(show_status 2>&1) || true # what is wrong is in the picture
    if [[ -t 1 ]]; then
      printf '\033[H\033[J' # cursor home, clear to the end
    fi
    printf '%s\n' "$picture"
    sleep "$PAUSE"
  done
}

# show_status: fails if the master cannot be asked, or a worker is missing.
show_status() {
  local answers status code=0
  check_master || return
  answers=$(ask_master celery status 2>&1) || code=$? # it fails if no worker answers at all
  printf '%s\n' "$answers"
  show_workers "$answers" || code=1
  if ! status=$(ask_master status 2>&1); then
    code=1
  fi
  printf '%s\n' "$status"
  return "$code"
}

ask_master() {
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework "$@"
}

# check_master: does its container run?
check_master() {
  local state name=${HOST_NAMES[MASTER_HOST]}
  if ! state=$(container_state "$MASTER_HOST" master); then
    echo "$name: its Docker cannot be asked; see above" >&2
    return 1
  fi
  case $state in
    running\ *) return 0 ;;
    '') echo "$name: there is no master of $INFRASTRUCTURE; start it with ./infrainit.sh -f" >&2 ;;
    *)
      echo "$name: the master does not run, its container is ${state%% *}; start it again with ./infrainit.sh -f" >&2
      show_last_lines "$MASTER_HOST" "$INFRASTRUCTURE-master"
      ;;
  esac
  return 1
}

# show_workers ANSWERS: the expected workers, and those of them that are not among the ANSWERS of `celery status`.
show_workers() {
  local host expected=() missing=()
  for host in "${WORKER_HOSTS[@]}"; do
    expected+=("${HOST_NAMES[host]}")
    if [[ $1 != *"worker@${HOST_NAMES[host]}: OK"* ]]; then
      missing+=("${HOST_NAMES[host]}")
    fi
  done
  printf 'workers expected: %s (%s)\n' "${#expected[@]}" "${expected[*]}"
  printf 'workers missing:  %s%s\n' "${#missing[@]}" "${missing[*]:+ (${missing[*]}); see docker logs $INFRASTRUCTURE-worker there}"
  ((${#missing[@]} == 0))
}

main "$@"
