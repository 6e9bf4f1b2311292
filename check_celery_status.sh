#!/usr/bin/env bash
# Shows which workers answer, which are missing, and the progress of the sweep; or what is known of single tasks.
#
# usage: check_celery_status.sh [-f] [--json] [-h]
#        check_celery_status.sh explain TASK…
#        check_celery_status.sh logs TASK [-f]
#
#   explain TASK…   where a task is, why it waits, every attempt, and the command to repeat it by hand
#   logs TASK       stdout and stderr of its latest attempt, from the host that has them
#   -f, --follow    a live view of the tasks until interrupted, or a line for each change if this is no terminal; with logs:
#                   go on with them
#       --json      for programs: one document, or with -f a line for each change
#   -h, --help      this text
#
# TASK is the number of a combination in the sweep, from 1, or the beginning of an id in results.csv.
#
# exit codes: 0 success, and without a task that every expected worker answers; 1 something failed, 2 the options are wrong
#
# examples:
#   ./check_celery_status.sh               workers and tasks now
#   ./check_celery_status.sh -f            as they change
#   ./check_celery_status.sh explain 17    why it has failed, or waits
#   ./check_celery_status.sh logs 17 -f    what it prints
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly PAUSE=2      # seconds until the master is asked again after an error, and between two documents of the live view
readonly LOG_LINES=50 # of each log, where -f begins

QUESTION=() # explain or logs; empty: the state of all
TASKS=()
LIVE=''      # directory of the live view: document.json and messages
LIVE_FEED='' # the process that writes them

# Prints the logs in the directory $1; with the number of lines $2, their ends, and goes on until stdin ends.
# shellcheck disable=SC2016 # expands over there
readonly LOGS_SCRIPT='
  cd -- "$1" || exit
  if [ -z "$2" ]; then
    exec tail -n +1 -- stdout stderr
  fi
  tail -n "$2" -f -- stdout stderr &
  cat >/dev/null
  kill "$!"'

main() {
  take_question "$@"
  parse_options -f,--follow --json -- "${@:$((1 + ${#QUESTION[@]} + ${#TASKS[@]}))}"
  check_question
  trap finish EXIT
  use_record
  probe_hosts "$MASTER_HOST"
  is_reachable "$MASTER_HOST" || die "${HOST_NAMES[MASTER_HOST]} (the master host): $(fact "$MASTER_HOST" unreachable)"
  case ${QUESTION[*]} in
    explain) explain_tasks ;;
    logs) show_logs ;;
    *)
      if [[ ${OPTIONS[FOLLOW]:-} ]]; then
        follow_status
      elif [[ ${OPTIONS[JSON]:-} ]]; then
        require_master && ask_master status --json
      else
        show_status
      fi
      ;;
  esac
}

# take_question ARGUMENT…: sets QUESTION and TASKS to the words before the first option.
take_question() {
  [[ ${1:-} == @(explain|logs) ]] || return 0
  QUESTION=("$1")
  shift
  while (($# > 0)) && [[ $1 != -* ]]; do
    TASKS+=("$1")
    shift
  done
}

check_question() {
  [[ ! ${OPTIONS[JSON]:-} || ! ${QUESTION[*]} ]] || problem "--json goes with the state of all, not with ${QUESTION[*]}"
  case ${QUESTION[*]}:${#TASKS[@]} in
    explain:0 | logs:0)
      problem "${QUESTION[*]}: name a task, by its number from 1 or the beginning of its id: $(our_command check_celery_status.sh "${QUESTION[*]}" 1)"
      ;;
    explain:*) [[ ! ${OPTIONS[FOLLOW]:-} ]] || problem "-f goes with logs, or alone" ;;
    logs:1 | :*) ;;
    *) problem "logs: name one task" ;;
  esac
  stop_on_problems 2
}

explain_tasks() {
  require_master || exit
  ask_master explain -- "${TASKS[@]}" || exit
}

# show_logs: stdout and stderr of the task's latest attempt, from its host.
show_logs() {
  local answer host directory
  require_master || exit
  answer=$(ask_master where -- "${TASKS[0]}") || exit
  [[ $answer =~ ^([0-9a-f]{16})\ ([1-9][0-9]{0,9})\ ([A-Za-z0-9.-]+)$ ]] || unreadable "$MASTER_HOST" "$answer"
  host=$(host_with_name "${BASH_REMATCH[3]}") ||
    die "attempt ${BASH_REMATCH[2]} of task ${BASH_REMATCH[1]} was on ${BASH_REMATCH[3]}, which is no host of this infrastructure any more"
  probe_hosts "$host"
  is_reachable "$host" || die "${HOST_NAMES[host]}, which has the logs: $(fact "$host" unreachable)"
  directory=$(data_directory "$host" worker)/tasks/${BASH_REMATCH[1]}/${BASH_REMATCH[2]}
  say "attempt ${BASH_REMATCH[2]} on ${HOST_NAMES[host]}: $directory"
  if [[ ${OPTIONS[FOLLOW]:-} ]]; then
    tail --follow /dev/null | ANSWER_LIMIT='' on_host_stdin "$host" sh -c "$LOGS_SCRIPT" logs "$directory" "$LOG_LINES" | printable
  else
    ANSWER_LIMIT='' on_host "$host" sh -c "$LOGS_SCRIPT" logs "$directory" '' | printable
  fi
}

# host_with_name NAME: prints the number of a host; fails if there is none.
host_with_name() {
  local host
  for host in "${!HOST_NAMES[@]}"; do
    if [[ ${HOST_NAMES[host]} == "$1" ]]; then
      printf '%s\n' "$host"
      return 0
    fi
  done
  return 1
}

# follow_status: shows the tasks until interrupted. They do not depend on it, nor does it end when the master does not answer.
follow_status() {
  local image='' code=0
  if [[ -t 0 && -t 1 && ! ${OPTIONS[JSON]:-} ]]; then
    image=$(newest_worker_image) || true # it has said why
    [[ $image ]] || warn "this machine has no image infrainit-worker, which has the live view; $(our_command infrainit.sh -f) builds it"
  fi
  if [[ $image ]]; then
    show_live "$image" || code=$?
    ((code != 0 && code != 130)) || return 0 # 130: Ctrl-C
    warn "the live view has ended (exit code $code)"
  fi
  follow_in_lines ${OPTIONS[JSON]:+--json}
}

# show_live IMAGE: the live view, in a container of this machine, of what the master says. So what a host says reaches the terminal
# as text alone.
show_live() {
  local options
  LIVE=$(mktemp -d) || return
  set -m # a process group of its own: all of it is ended with the view
  feed_live </dev/null &
  # shellcheck disable=SC2031 # the $! of this shell is meant
  LIVE_FEED=$!
  set +m
  read_words options live_options "$1" "$LIVE"
  docker_on_terminal run "${options[@]}"
}

# feed_live: writes what the master says to document.json, whatever goes wrong meanwhile.
feed_live() {
  local line
  while true; do
    follow_in_lines_once --json --every "$PAUSE" 2>"$LIVE/messages" | while IFS='' read -r line; do
      write_document "$line"
    done || true # what it has said is shown below
    line=$(tail -n 1 -- "$LIVE/messages" | printable)
    write_document "{\"error\": \"${line//[\"\\]/}\"}"
    sleep "$PAUSE"
  done
}

# write_document TEXT
write_document() {
  printf '%s\n' "$1" >"$LIVE/new"
  mv -- "$LIVE/new" "$LIVE/document.json"
}

# follow_in_lines OPTION…: prints what the master says until interrupted.
follow_in_lines() {
  while true; do
    follow_in_lines_once "$@" || true # it has said why
    sleep "$PAUSE"
  done
}

# follow_in_lines_once OPTION…: the same, until the master or the connection to it ends. The program there ends with its input.
follow_in_lines_once() {
  require_master || return
  tail --follow /dev/null | ANSWER_LIMIT='' docker_on_stdin "$MASTER_HOST" exec --interactive "$INFRASTRUCTURE-master" framework status --follow "$@" | printable
}

# finish: ends what was started, and removes what was written.
finish() {
  if [[ $LIVE_FEED ]]; then
    kill -- "-$LIVE_FEED" 2>/dev/null || true # it has ended
  fi
  [[ ! $LIVE ]] || rm -rf -- "$LIVE"
  close_connections
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
    '') echo "$name: there is no master of $INFRASTRUCTURE; start it with $(our_command infrainit.sh -f)" >&2 ;;
    *)
      echo "$name: the master does not run, its container is ${state%% *}; start it again with $(our_command infrainit.sh -f)" >&2
      show_last_lines "$MASTER_HOST" "$INFRASTRUCTURE-master"
      ;;
  esac
  return 1
}

# show_workers ANSWERS: shows the expected workers, and which of them are missing in the ANSWERS of `celery status`.
show_workers() {
  local host names=() missing=() first=''
  for host in "${WORKER_HOSTS[@]}"; do
    names+=("${HOST_NAMES[host]}")
    if [[ $1 != *"worker@${HOST_NAMES[host]}: OK"* ]]; then
      missing+=("${HOST_NAMES[host]}")
      first=${first:-$host}
    fi
  done
  printf 'workers expected: %s (%s)\n' "${#names[@]}" "${names[*]}"
  printf 'workers missing:  %s%s\n' "${#missing[@]}" "${missing[*]:+ (${missing[*]}); see docker logs $INFRASTRUCTURE-worker and $INFRASTRUCTURE-runner there, as in:}"
  [[ ! $first ]] || command_on "$first" docker logs --tail 20 "$INFRASTRUCTURE-worker"
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
