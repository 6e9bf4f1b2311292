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

readonly NAMES_SHOWN=3 # of attempts that are out of reach

ARGUMENTS=("$@") # for commands in messages

OUTPUT=''     # -o, absolute
USED_HOSTS=() # numbers of the hosts of the infrastructure

main() {
  parse_options -o,--output= -a,--all --exclude=+ --only=+ --no-files --follow --report -- "$@"
  OUTPUT=$(absolute_path "${OPTIONS[OUTPUT]:-$CHECKOUT/results}" "$PWD")
  FOLLOW=${OPTIONS[FOLLOW]:-}
  check_choice
  trap finish EXIT
  call_on_signals interrupt
  MESSAGES_FILTER=first_messages
  use_record
  take_from_config RESULTS_LIMIT
  check_number RESULTS_LIMIT 1 100000000
  stop_on_problems 2
  make_directories
  choose_hosts
  TABLES=(results.csv sweep.json ${OPTIONS[ALL]:+all_results.csv})
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

# choose_hosts: those that have something; and this machine, where its Docker is needed.
choose_hosts() {
  mapfile -t USED_HOSTS < <({
    if [[ ${OPTIONS[NO_FILES]:-} ]]; then echo "$MASTER_HOST"; else hosts_in_use; fi
    [[ ! ${OPTIONS[REPORT]:-}${OPTIONS[ONLY]:-} ]] || echo 0
  } | sort --numeric-sort --unique)
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

# make_directories: also removes what a script that was killed has left: those that run have a lock on theirs.
make_directories() {
  local directory lock all
  RESULTS="$OUTPUT/$PROJECT_NAME"
  mkdir -p -- "$RESULTS/tasks"
  exec {all}<"$RESULTS"
  lock_results "$all" || exit # one that has just made its directory has no lock on it yet
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
  exec {all}<&-
}

remove_incoming() {
  rm -rf -- "$1" 2>/dev/null || {           # a host decides on the modes of directories
    chmod --recursive u+rwX -- "$1" || true # those that can be removed are
    rm -rf -- "$1"
  }
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
      [[ -e $RESULTS/tasks/$attempt ]] || printf '%s\n' "$attempt"
    done
}

report() {
  if [[ $FOLLOW ]]; then
    say "${FETCHED[0]} new results of tasks, $(numfmt --to=iec-i --suffix=B "${FETCHED[1]}")"
  fi
  printf '%s\n' "$RESULTS"
  if [[ ${OPTIONS[REPORT]:-} && ! -e $INCOMING/failed ]]; then
    printf '%s\n' "$RESULTS/report.html"
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
