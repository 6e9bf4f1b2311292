#!/usr/bin/env bash
# Copies the results from all hosts to this machine: results.csv, and the logs and files of all tasks that have ended.
#
# usage: get_results.sh [-o DIRECTORY] [-a] [--exclude PATTERN]… [--only WHICH]… [--no-files] [--follow] [--report] [-h]
#
#   -o, --output DIRECTORY   where to put them, in a directory named like the project (default: results/ in this copy of the tool)
#   -a, --all                also all_results.csv, which includes combinations that are no longer in the sweep
#       --exclude PATTERN    without these files: a glob for the end of their paths, as in '*.ckpt' or files/cache. A directory goes
#                            with all that is in it; * matches / too. Can be repeated
#       --only WHICH         files of these tasks only: best:5, the best by the metric; failed; numbers or ids, as in 17,3f2a. Can be
#                            repeated
#       --no-files           the tables only
#       --follow             go on as tasks end, until the sweep has ended or is paused; Ctrl-C ends it
#       --report             then write report.html: tables and plots of the results, in one file
#   -h, --help               this text
#
# Copies only what is not here yet, so it can be run repeatedly, while tasks run and after infra_clean.sh; also what an earlier
# --exclude or --only has left out. Files are compared with the checksums of their host, and those of a task appear in results/ once all
# are here: after Ctrl-C, or a broken connection, run it again. Whether they fit on the disk is checked first.
# Of an attempt, only files, directories, and links that stay inside it are copied; what is left out is named. From one host, no more
# than RESULTS_LIMIT in config.sh is taken.
#
#   results/<project>/results.csv                   a row for each combination of the set
#   results/<project>/sweep.json                    the same for programs, and all attempts
#   results/<project>/tasks/<task>/<attempt>/       parameters.json, stdout, stderr, result.json, files/
#
# exit codes: 0 all is here, 1 something could not be copied, 2 the options are wrong, 3 all is here but what is on hosts that do not
# answer; they and their tasks are named
#
# examples:
#   ./get_results.sh --report         to results/, with a page of plots
#   ./get_results.sh -o ~/sweeps      to another directory
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly ROUND_SECONDS=5 # between two rounds of --follow, at least; more where a round takes long
readonly LOST_SECONDS=30 # after so many a host that did not answer is asked again
readonly LINES_KEPT=20   # of what is said before the last round, beside infrainit.sh
readonly NAMES_SHOWN=3   # of attempts that are out of reach

ARGUMENTS=("$@") # for commands in messages

OUTPUT=''     # -o, absolute
USED_HOSTS=() # numbers of the hosts of the infrastructure
WORKERS_UP=() # those of workers that answer
FOLLOW=''     # --follow
IS_SURE=''    # not empty: only what results.csv has is fetched; the rest comes in the last round
UNFETCHED=''  # digest of what had ended and was not here after the last round
STDERR=''     # descriptor of the stderr that this script was started with, if it has another one now
LOST_AT=0     # when hosts that did not answer were last asked
FETCHED=(0 0) # attempts and bytes, in all rounds

main() {
  parse_options -o,--output= -a,--all --exclude=+ --only=+ --no-files --follow --report -- "$@"
  OUTPUT=$(absolute_path "${OPTIONS[OUTPUT]:-$CHECKOUT/results}" "$PWD")
  FOLLOW=${OPTIONS[FOLLOW]:-}
  check_choice
  trap finish EXIT
  trap 'interrupt 129' HUP
  trap 'interrupt 130' INT
  trap 'interrupt 143' TERM
  MESSAGES_FILTER=first_messages
  use_record
  take_from_config RESULTS_LIMIT
  check_number RESULTS_LIMIT 1 100000000
  stop_on_problems 2
  make_directories
  mapfile -t USED_HOSTS < <(hosts_in_use)
  [[ ! ${OPTIONS[NO_FILES]:-} ]] || USED_HOSTS=("$MASTER_HOST")
  probe_hosts "${USED_HOSTS[@]}"
  if [[ $FOLLOW ]]; then
    follow
  else
    fetch_round
  fi
  name_lost_hosts
  if [[ ${OPTIONS[REPORT]:-} ]]; then
    write_report
  fi
  report
}

# check_choice: takes the options that choose files.
check_choice() {
  local number pattern
  [[ ! -v OPTIONS[EXCLUDE] ]] || mapfile -t EXCLUDED <<<"${OPTIONS[EXCLUDE]}"
  for number in "${!EXCLUDED[@]}"; do
    pattern=${EXCLUDED[number]%/}
    EXCLUDED[number]=$pattern
    if [[ ! $pattern || $pattern == /* || $pattern == *[[:cntrl:]]* ]]; then
      problem "--exclude: no path ends like $(quote "$pattern"); write a name, as in '*.ckpt', or the last parts, as in files/cache"
    fi
  done
  if [[ $FOLLOW && ${OPTIONS[ONLY]:-} ]]; then
    problem "--follow and --only: which tasks these are changes as tasks end; give only one of them"
  fi
  if [[ ${OPTIONS[NO_FILES]:-} && $FOLLOW${OPTIONS[ONLY]:-}${OPTIONS[EXCLUDE]:-} ]]; then
    problem "--no-files fetches no files; leave out --follow, --only and --exclude"
  fi
  stop_on_problems 2
}

# make_directories: also removes what a script that was killed has left.
make_directories() {
  local directory lock
  RESULTS="$OUTPUT/$PROJECT_NAME"
  mkdir -p -- "$RESULTS/tasks"
  for directory in "$RESULTS"/.incoming.*; do
    if is_directory "$directory"; then
      exec {lock}<"$directory"
      ! flock --nonblock "$lock" 2>/dev/null || remove_incoming "$directory"
      exec {lock}<&-
    fi
  done
  INCOMING=$(mktemp -d "$RESULTS/.incoming.XXXXXXXX")
  exec {lock}<"$INCOMING"
  flock --nonblock "$lock" 2>/dev/null || true # where nothing can be locked, nothing is taken for left behind
}

remove_incoming() {
  chmod --recursive u+rwX -- "$1" || true # a host decides on the modes of directories
  rm -rf -- "$1"
}

# Rounds

# follow: fetches what has ended, again and again, until the sweep has ended. Beside infrainit.sh, which knows that and says so on stdin,
# it has nothing to say before the last round.
follow() {
  local start code pause stdin=''
  # A host that dies must not hold up the others for long.
  SSH_OPTIONS=(-o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o ConnectTimeout=3 "${SSH_OPTIONS[@]}")
  if [[ ${FOLLOW_STDIN:-} ]]; then
    exec {stdin}<&0 </dev/null
    exec {STDERR}>&2 2>"$INCOMING/said"
  fi
  IS_SURE=yes
  while true; do
    start=$SECONDS
    fetch_round
    [[ $IS_SURE ]] || break
    pause=$((ROUND_SECONDS + SECONDS - start))
    if [[ $stdin ]]; then
      code=0
      read -r -t "$pause" -u "$stdin" || code=$?
      ((code > 128)) || IS_SURE='' # a line, or the other end is closed
    else
      sleep "$pause" &
      # shellcheck disable=SC2031 # it is the process that was started here
      wait "$!" # unlike sleep itself, a signal interrupts it
      ! has_ended || IS_SURE=''
    fi
    [[ $IS_SURE ]] || speak_again
    ask_lost_hosts
  done
}

# speak_again: shows, too, what would have been shown meanwhile.
speak_again() {
  [[ $STDERR ]] || return 0
  exec 2>&"$STDERR"
  STDERR=''
  tail -n "$LINES_KEPT" -- "$INCOMING/said" >&2
}

# has_ended: has the sweep ended, or is it paused, or is the infrastructure gone? The status of an older version of the code is none.
has_ended() {
  local status version state
  if status=$(ask_status); then
    version=${status##*$'\n'}
    [[ $status == *'"paused": "'[!\"]* || ($status == *'"finished": true'* && $status == *"\"version\": \"$version\""*) ]]
  else
    state=$(container_state "$MASTER_HOST" master 2>/dev/null) && [[ ! $state ]]
  fi
}

# ask_status: prints the master's status, and the version of the code that was pushed last.
ask_status() {
  # shellcheck disable=SC2016 # expands over there
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" sh -c 'cat -- "$STATUS" && echo && readlink "${CODE:-/code}/current"' 2>/dev/null |
    take_bytes "$MASTER_HOST" "$LISTS" | tr -d '\0'
}

# ask_lost_hosts: asks the hosts that did not answer once more, now and then, and before the last round.
ask_lost_hosts() {
  local host lost=()
  for host in "${USED_HOSTS[@]}"; do
    is_reachable "$host" || lost+=("$host")
  done
  ((${#lost[@]} > 0)) && [[ ! $IS_SURE || $((SECONDS - LOST_AT)) -ge $LOST_SECONDS ]] || return 0
  probe_hosts "${lost[@]}"
  LOST_AT=$SECONDS
}

# fetch_round: fetches what has ended and is not here.
fetch_round() {
  local host attempts bytes REMINDER=say_who_is_busy
  if [[ -t 2 || $FOLLOW ]]; then
    REMINDER=:
  fi
  rm -f -- "$INCOMING/failed"
  renew_lists
  WORKERS_UP=()
  for host in "${WORKER_HOSTS[@]}"; do
    if is_reachable "$host" && [[ ! ${OPTIONS[NO_FILES]:-} ]]; then
      WORKERS_UP+=("$host")
    fi
  done
  ask_hosts
  if [[ $IS_SURE ]]; then
    [[ $(list_unfetched) != "$UNFETCHED" ]] || return 0
    run_for_hosts copy_tables "$MASTER_HOST"
  fi
  choose_tasks
  run_for_workers size_up
  read -r attempts bytes < <(total_wanted "${WORKERS_UP[@]}")
  check_space "$attempts" "$bytes"
  if ((attempts > 0)); then
    start_progress "$attempts" "$bytes" "${WORKERS_UP[@]}"
    run_for_workers fetch_attempts
    stop_progress
  fi
  say_fetched
  UNFETCHED=$(list_unfetched)
}

# say_fetched: names the hosts and what has come from them; with --follow, on a terminal, if something has.
say_fetched() {
  local host attempts bytes
  for host in "${WORKERS_UP[@]}"; do
    read -r attempts bytes _ <"$LISTS/$host.done"
    FETCHED=($((FETCHED[0] + attempts)) $((FETCHED[1] + bytes)))
    if [[ ! $FOLLOW ]] || { [[ -t 2 ]] && ((attempts > 0)); }; then
      step "${HOST_NAMES[host]}" "$attempts new results of tasks, $(numfmt --to=iec-i --suffix=B "$bytes")"
    fi
  done
}

# ask_hosts: has the hosts list what has ended, and the master write the tables.
ask_hosts() {
  local hosts=("${WORKERS_UP[@]}")
  if [[ ! $IS_SURE ]] && is_reachable "$MASTER_HOST" && ! is_one_of "$MASTER_HOST" "${hosts[@]}"; then
    hosts+=("$MASTER_HOST")
  fi
  run_for_hosts list_results "${hosts[@]}"
  drop_failed
}

list_results() {
  local tables=''
  if [[ $1 == "$MASTER_HOST" && ! $IS_SURE ]]; then
    copy_tables "$1" & # writing them takes as long as all the rest
    # shellcheck disable=SC2031 # it is the process that was started here
    tables=$!
  fi
  if is_one_of "$1" "${WORKERS_UP[@]}"; then
    list_finished_attempts "$1" || give_up "${HOST_NAMES[$1]}: its finished tasks could not be listed"
  fi
  [[ ! $tables ]] || wait "$tables"
}

# run_for_workers FUNCTION
run_for_workers() {
  ((${#WORKERS_UP[@]} > 0)) || return 0
  run_for_hosts "$1" "${WORKERS_UP[@]}"
  drop_failed
}

# drop_failed: goes on without the hosts where the last function of run_for_hosts failed. With --follow, they are asked again.
drop_failed() {
  local host workers=()
  for host in "${WORKERS_UP[@]}"; do
    [[ -v FAILURES[host] ]] || workers+=("$host")
  done
  for host in "${!FAILURES[@]}"; do
    if [[ $IS_SURE ]]; then
      FACTS[$host.unreachable]="it does not answer any more"
      LOST_AT=$SECONDS
    else
      : >"$INCOMING/failed"
    fi
  done
  WORKERS_UP=("${workers[@]}")
}

# list_unfetched: prints a digest of what has ended and is not here.
list_unfetched() {
  local host
  for host in "${WORKERS_UP[@]}"; do
    cat -- "$LISTS/$host.finished"
  done | LC_ALL=C sort --unique >"$LISTS/finished"
  find "$RESULTS/tasks/" -mindepth 2 -maxdepth 2 -type d -printf '%P
' | LC_ALL=C sort |
    LC_ALL=C comm -23 "$LISTS/finished" - | sha256sum
}

# Tables and tasks

# copy_tables HOST: of the master's host.
copy_tables() {
  copy_table "$1" results.csv
  copy_file "$1" sweep.json
  if [[ ${OPTIONS[ALL]:-} ]]; then
    copy_table "$1" all_results.csv --all
  fi
}

# copy_table HOST NAME OPTION…: copies the table after `framework results OPTION…` has written it; if the master's container is gone,
# the table that was written last.
copy_table() {
  local host=$1 name=$2 said=$LISTS/tables/said
  if docker_on "$host" exec "$INFRASTRUCTURE-master" framework results "${@:3}" >"$said" 2>&1; then
    printable <"$said" >&2
  elif [[ $(container_state "$host" master || true) == running\ * ]]; then
    printable <"$said" >&2
    complain "${HOST_NAMES[host]}: the master could not write $name; the previous one was copied"
  fi
  copy_file "$host" "$name"
}

# copy_file HOST NAME: copies a file of the master's.
copy_file() {
  local host=$1 name=$2 file code=0
  file="$(data_directory "$host" master)/$name"
  # shellcheck disable=SC2016 # expands over there
  on_host "$host" sh -c '[ -f "$1" ] || exit 9; exec cat -- "$1"' copy "$file" | take_bytes "$host" "$LISTS/tables" >"$INCOMING/$name" || code=$?
  if ((code == 0)); then
    mv --no-target-directory -- "$INCOMING/$name" "$RESULTS/$name"
  elif ((code == 9)); then
    step "${HOST_NAMES[host]}" "there is no $name yet"
  else
    complain "${HOST_NAMES[host]}: $file could not be read; see above"
  fi
}

# choose_tasks: with --only, has the master, or else a container on this machine, say which tasks these are.
choose_tasks() {
  local which image options
  [[ -v OPTIONS[ONLY] ]] || return 0
  mapfile -t which < <(tr , '
' <<<"${OPTIONS[ONLY]}")
  CHOSEN=$LISTS/chosen
  if is_reachable "$MASTER_HOST" && [[ $(container_state "$MASTER_HOST" master || true) == running\ * ]]; then
    docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework select -- "${which[@]}"
  else
    image=$(image_for --only) || exit
    read_words options results_options "$image" "$RESULTS" select --results /results -- "${which[@]}" || exit
    change_docker 0 run "${options[@]}"
  fi | take_bytes "$MASTER_HOST" "$LISTS" | sed -n -E '/^[0-9a-f]{16}$/p' >"$CHOSEN" || die "--only: see above"
}

# image_for OPTION: prints the image in which results are read on this machine, for OPTION.
image_for() {
  local image
  image=$(newest_worker_image) || die "$1: see above"
  [[ $image ]] || die "$1: this machine has no image infrainit-worker; $(our_command infrainit.sh -f) builds it"
  printf '%s\n' "$image"
}

# write_report: makes report.html of what is here, in a container of this machine.
write_report() {
  local image options
  image=$(image_for --report)
  read_words options results_options "$image" "$RESULTS" report /results
  change_docker 0 run "${options[@]}" >/dev/null || complain "the report could not be written; see above"
}

# Reporting

# name_lost_hosts: names the hosts that do not answer, and the attempts in results.csv whose files are there only.
name_lost_hosts() {
  local host attempts shown more
  for host in "${USED_HOSTS[@]}"; do
    ! is_reachable "$host" || continue
    mapfile -t attempts < <(list_lost_attempts "$host")
    if ((${#attempts[@]} == 0)) && is_reachable "$MASTER_HOST"; then
      warn "${HOST_NAMES[host]}: the files of its tasks in results.csv are here, but it could not be asked for others; $(fact "$host" unreachable)"
      continue
    fi
    : >"$INCOMING/lost"
    shown=''
    if ((${#attempts[@]} > 0)); then
      more=$((${#attempts[@]} - NAMES_SHOWN))
      shown="; the files of these are there only: $(join_by_comma "${attempts[@]:0:NAMES_SHOWN}")"
      ((more <= 0)) || shown+=" and $more more"
    fi
    warn "${HOST_NAMES[host]}: its results were not copied; $(fact "$host" unreachable)$shown"
  done
}

# list_lost_attempts HOST: prints the attempts that HOST made according to results.csv and that are not here.
list_lost_attempts() {
  local attempt
  [[ -e $RESULTS/results.csv && ! ${OPTIONS[NO_FILES]:-} ]] || return 0
  awk -F , -v host="${HOST_NAMES[$1]}" '
    quotes % 2 == 0 && $4 == host { print $1 "/" $3 }
    { quotes += gsub(/"/, "&") }' "$RESULTS/results.csv" |
    sed -n -E "\\#^$ATTEMPT_NAME\$#p" |
    while IFS='' read -r attempt; do
      [[ -e $RESULTS/tasks/$attempt ]] || printf '%s
' "$attempt"
    done
}

report() {
  if [[ $FOLLOW ]]; then
    say "${FETCHED[0]} new results of tasks, $(numfmt --to=iec-i --suffix=B "${FETCHED[1]}")"
  fi
  printf '%s
' "$RESULTS"
  if [[ ${OPTIONS[REPORT]:-} && ! -e $INCOMING/failed ]]; then
    printf '%s
' "$RESULTS/report.html"
  fi
  if [[ -e $INCOMING/failed ]]; then
    die "not everything could be copied; what is missing is named above; to fetch it: $(command_again)"
  elif [[ -e $INCOMING/lost ]]; then
    say "when all hosts answer again, what is missing comes with: $(command_again)"
    exit 3
  fi
}

# command_again: prints what fetches the rest; beside infrainit.sh that is for the time after it.
command_again() {
  if [[ ${FOLLOW_STDIN:-} ]]; then
    our_command get_results.sh
  else
    our_command get_results.sh "${ARGUMENTS[@]}"
  fi
}

# interrupt CODE
interrupt() {
  trap '' HUP INT TERM
  [[ $STDERR || ! $INCOMING ]] || say "ended; tasks whose files have come are in $(quote "$RESULTS"); the rest comes with: $(command_again)"
  exit "$1"
}

finish() {
  local code=$?
  ((code > 128)) || speak_again
  stop_progress
  stop_parallel_jobs
  close_connections
  if [[ $INCOMING ]]; then
    remove_incoming "$INCOMING"
  fi
}

main "$@"
