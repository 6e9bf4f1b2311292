#!/usr/bin/env bash
# Shows which workers answer, which are missing, and the progress of the sweep.
#
# usage: check_celery_status.sh [-f] [-h]
#
#   -f, --follow   show it again every 2 seconds, until interrupted
#   -h, --help     this text
#
# The exit code is 0 only if every expected worker answers.
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly PAUSE=2 # seconds between two updates with -f

main() {
  parse_options -f,--follow -- "$@"
  trap close_connections EXIT
  use_record
  probe_hosts "$MASTER_HOST"
  is_reachable "$MASTER_HOST" || die "${HOST_NAMES[MASTER_HOST]} (the master host): $(fact "$MASTER_HOST" unreachable)"
  if [[ ${OPTIONS[FOLLOW]:-} ]]; then
    follow_status
  else
    show_status
  fi
}

# follow_status: collects the whole output before it is shown, so that the terminal does not flicker.
follow_status() {
  local page
  while true; do
    page=$(show_status 2>&1) || true # the page contains the errors
    if [[ -t 1 ]]; then
      printf '\033[H\033[J' # cursor home, clear to the end
    fi
    printf '%s\n' "$page"
    sleep "$PAUSE"
  done
}

# show_status: fails if the master cannot be asked, or a worker is missing.
show_status() {
  local answers status code=0
  require_master || return
  answers=$(ask_master celery status 2>&1) || code=$? # it fails if no worker answers
  printf '%s\n' "$answers"
  show_workers "$answers" || code=1
  if ! status=$(ask_master status 2>&1); then
    code=1
  fi
  printf '%s\n' "$status"
  return "$code"
}

ask_master() {
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework "$@" | printable
}

# require_master: fails if its container does not run, and shows why.
require_master() {
  local state name=${HOST_NAMES[MASTER_HOST]}
  if ! state=$(container_state "$MASTER_HOST" master); then
    echo "$name: its Docker does not answer; see above" >&2
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

# show_workers ANSWERS: shows the expected workers, and which of them are missing in the ANSWERS of `celery status`.
show_workers() {
  local host expected=() missing=()
  for host in "${WORKER_HOSTS[@]}"; do
    expected+=("${HOST_NAMES[host]}")
    if [[ $1 != *"worker@${HOST_NAMES[host]}: OK"* ]]; then
      missing+=("${HOST_NAMES[host]}")
    fi
  done
  printf 'workers expected: %s (%s)\n' "${#expected[@]}" "${expected[*]}"
  printf 'workers missing:  %s%s\n' "${#missing[@]}" "${missing[*]:+ (${missing[*]}); see docker logs $INFRASTRUCTURE-worker and $INFRASTRUCTURE-runner there}"
  show_tunnels
  ((${#missing[@]} == 0))
}

# show_tunnels: the hosts whose workers reach the broker through ssh.
show_tunnels() {
  local host names=()
  for host in $(tunnelled_hosts); do
    names+=("${HOST_NAMES[host]}")
  done
  if ((${#names[@]} > 0)); then
    printf 'through ssh:      %s (%s); see docker logs %s there\n' "${#names[@]}" "${names[*]}" "$INFRASTRUCTURE-tunnel"
  fi
}

main "$@"
