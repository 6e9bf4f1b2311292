#!/usr/bin/env bash
# Copies the results from all hosts to this machine: results.csv, and the logs and files of all tasks that have ended.
#
# usage: get_results.sh [-o DIRECTORY] [-a] [--report] [-h]
#
#   -o, --output DIRECTORY   where to put them, in a directory named like the project (default: results/ in this copy of the tool)
#   -a, --all                also all_results.csv, which includes combinations that are no longer in the sweep
#       --report             then write report.html: tables and plots of the results, in one file
#   -h, --help               this text
#
# Copies only what is not here yet, so it can be run repeatedly, while tasks run and after infra_clean.sh.
# A host that does not answer is named, the others are still asked, and the exit code is 1.
# Of an attempt, only files, directories, and links that stay inside it are copied; what is left out is named. From one host, no more
# than RESULTS_LIMIT in config.sh is taken.
#
#   results/<project>/results.csv                   a row for each combination of the set
#   results/<project>/sweep.json                    the same for programs, and all attempts
#   results/<project>/tasks/<task>/<attempt>/       parameters.json, stdout, stderr, result.json, files/
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly ATTEMPTS_AT_ONCE=500 # copied and renamed together; after an interruption the finished ones need not be copied again

OUTPUT=''     # -o, absolute
RESULTS=''    # the project's directory in it
INCOMING=''   # a directory in RESULTS, for what is not complete yet
USED_HOSTS=() # numbers of the hosts of the infrastructure
FAILED=''     # not empty: something could not be copied

main() {
  parse_options -o,--output= -a,--all --report -- "$@"
  OUTPUT=$(absolute_path "${OPTIONS[OUTPUT]:-$CHECKOUT/results}" "$PWD")
  trap finish EXIT
  MESSAGES_FILTER=first_messages
  use_record
  take_from_config RESULTS_LIMIT
  check_number RESULTS_LIMIT 1 100000000
  stop_on_problems 2
  make_directories
  probe_all_hosts
  copy_table results.csv
  copy_file sweep.json
  if [[ ${OPTIONS[ALL]:-} ]]; then
    copy_table all_results.csv --all
  fi
  copy_attempts
  if [[ ${OPTIONS[REPORT]:-} ]]; then
    write_report
  fi
  report
}

make_directories() {
  RESULTS="$OUTPUT/$PROJECT_NAME"
  mkdir -p -- "$RESULTS/tasks"
  INCOMING=$(mktemp -d "$RESULTS/.incoming.XXXXXXXX")
}

# probe_all_hosts: names the hosts that do not answer; they are left out.
probe_all_hosts() {
  local host
  mapfile -t USED_HOSTS < <(hosts_in_use)
  probe_hosts "${USED_HOSTS[@]}"
  for host in "${USED_HOSTS[@]}"; do
    if ! is_reachable "$host"; then
      complain "${HOST_NAMES[host]}: its results were not copied, run this again later; $(fact "$host" unreachable)"
    fi
  done
}

# copy_table NAME OPTION…: copies the table after `framework results OPTION…` has written it; if the master's container is gone,
# the table that was written last.
copy_table() {
  local host=$MASTER_HOST name=$1
  is_reachable "$host" || return 0
  if [[ $(container_state "$host" master || true) == running\ * ]]; then
    docker_on "$host" exec "$INFRASTRUCTURE-master" framework results "${@:2}" | printable >&2 ||
      complain "${HOST_NAMES[host]}: the master could not write $name; the previous one was copied"
  fi
  copy_file "$name"
}

# copy_file NAME: copies a file of the master's.
copy_file() {
  local host=$MASTER_HOST name=$1 file
  is_reachable "$host" || return 0
  file="$(data_directory "$host" master)/$name"
  if ! on_host "$host" test -f "$file"; then
    step "${HOST_NAMES[host]}" "there is no $name yet"
  elif on_host "$host" cat -- "$file" | take_bytes "$host" "$INCOMING" >"$INCOMING/$name"; then
    mv --no-target-directory -- "$INCOMING/$name" "$RESULTS/$name"
  else
    complain "${HOST_NAMES[host]}: $file could not be read; see above"
  fi
}

copy_attempts() {
  local host reachable=()
  for host in "${WORKER_HOSTS[@]}"; do
    if is_reachable "$host"; then
      reachable+=("$host")
    fi
  done
  if ! for_each_host copy_results_of_tasks "${reachable[@]}"; then
    FAILED=yes
  fi
}

# copy_results_of_tasks HOST: copies the attempts that have ended there and are not here. Errexit is off in it.
copy_results_of_tasks() {
  local host=$1 name=${HOST_NAMES[$1]} wanted="$INCOMING/$1.wanted" attempts count bytes=0
  list_missing_attempts "$host" >"$wanted" || give_up "$name: its finished tasks could not be listed"
  count=$(wc -l <"$wanted")
  while mapfile -t -n "$ATTEMPTS_AT_ONCE" -u 3 attempts && ((${#attempts[@]} > 0)); do
    fetch_attempts "$host" "${attempts[@]}" || give_up "$name: its results could not be copied; run this again"
    bytes=$((bytes + $(count_bytes "$INCOMING/$host")))
    put_into_place "$host" "${attempts[@]}" || give_up "$name: its results could not be put into $RESULTS"
  done 3<"$wanted"
  step "$name" "$count new results of tasks, $(numfmt --to=iec-i --suffix=B "$bytes")"
}

# list_missing_attempts HOST: prints task/attempt for each that has ended there and is not here.
list_missing_attempts() {
  local finished="$INCOMING/$1.finished" here="$INCOMING/$1.here"
  list_finished_attempts "$1" >"$finished" || return
  find "$RESULTS/tasks/" -mindepth 2 -maxdepth 2 -type d -printf '%P\n' | LC_ALL=C sort >"$here" || return
  LC_ALL=C comm -23 "$finished" "$here" | leave_out_namesakes "$1"
}

# leave_out_namesakes HOST: copies stdin without the attempts that another of our hosts made according to results.csv. Another copy
# of the tool, with the same project and hosts, leaves such attempts.
leave_out_namesakes() (
  table="$RESULTS/results.csv"
  [[ -e $table ]] || table=/dev/null
  ulimit -S -v "$MEMORY_LIMIT" || exit
  # A line begins a row if the quotes before it are even in number: text between quotes can have newlines.
  awk -F , -v host="${HOST_NAMES[$1]}" -v hosts=" ${HOST_NAMES[*]} " '
    FILENAME == ARGV[1] {
      if (quotes % 2 == 0) made_by[$1 "/" $3] = $4
      quotes += gsub(/"/, "&")
      next
    }
    !($0 in made_by) || made_by[$0] == host || !index(hosts, " " made_by[$0] " ")' "$table" -
)

# list_finished_attempts HOST: prints the attempts that have a result.json. Accepts from a host only names that tasks and attempts
# can have.
list_finished_attempts() {
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '[ ! -d "$1" ] || exec find "$1" -mindepth 3 -maxdepth 3 -type f -name result.json -printf "%P\n"' \
    list "$(tasks_directory "$1")" |
    take_bytes "$1" "$INCOMING" |
    sed -n -E 's|^([0-9a-f]{16}/[1-9][0-9]{0,9})/result\.json$|\1|p' |
    LC_ALL=C sort --unique
}

tasks_directory() {
  printf '%s/tasks\n' "$(data_directory "$1" worker)"
}

# fetch_attempts HOST ATTEMPT…: copies attempts into INCOMING/HOST, which is emptied first, and warns of what is left out of them.
fetch_attempts() {
  local host=$1
  shift
  rm -rf -- "${INCOMING:?}/$host" || return
  # A task may have left files that even their owner cannot read or remove, and large ones that are mostly holes.
  printf '%s\n' "$@" |
    on_host_stdin "$host" tar --create --file - --directory "$(tasks_directory "$host")" \
      --mode=u+rwX --sparse --ignore-failed-read --files-from - |
    unpack "$host" "$INCOMING" "$host" || return
  keep_safe "$INCOMING/$host" | warn_of_left_out "$host"
}

# count_bytes DIRECTORY: prints the bytes of all files in it.
count_bytes() {
  find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# put_into_place HOST ATTEMPT…: renames each attempt. One that is there already stays: another host or another get_results.sh may
# have been quicker. Fails, after the others, if one is no directory here or as it came: nothing may go where a link leads.
put_into_place() {
  local directory="$INCOMING/$1" tasks="$RESULTS/tasks" attempt code=0 wanted=()
  {
    flock 4 || return
    for attempt in "${@:2}"; do
      if ! is_directory "$directory/${attempt%/*}" || ! is_directory "$directory/$attempt"; then
        warn "${HOST_NAMES[$1]}: attempt $attempt was not sent as a directory"
        code=1
      elif [[ -L $tasks/${attempt%/*} || -L $tasks/$attempt ]]; then
        warn "${HOST_NAMES[$1]}: attempt $attempt was not copied, since a link is in its place in $tasks; remove it"
        code=1
      elif [[ ! -e $tasks/$attempt ]]; then
        wanted+=("$attempt")
      fi
    done
    ((${#wanted[@]} > 0)) || return "$code"
    (cd -- "$tasks" && mkdir -p -- "${wanted[@]%/*}") || return
    for attempt in "${wanted[@]}"; do
      mv --no-target-directory -- "$directory/$attempt" "$tasks/$attempt" || return
    done
  } 4<"$RESULTS"
  return "$code"
}

# write_report: makes report.html of what is here, in a container of this machine.
write_report() {
  local image options
  image=$(newest_worker_image) || die "--report: see above"
  [[ $image ]] || die "--report: this machine has no image infrainit-worker; ./infrainit.sh -f builds it"
  read_words options report_options "$image" "$RESULTS"
  change_docker 0 run "${options[@]}" >/dev/null || complain "the report could not be written; see above"
}

# complain MESSAGE: reports a failure; the script goes on and will end with 1.
complain() {
  warn "$*"
  FAILED=yes
}

# give_up MESSAGE: ends the work for one host.
give_up() {
  printf '%s\n' "$*" >&2
  exit 1
}

report() {
  printf '%s\n' "$RESULTS"
  if [[ ${OPTIONS[REPORT]:-} && ! $FAILED ]]; then
    printf '%s\n' "$RESULTS/report.html"
  fi
  if [[ $FAILED ]]; then
    die "not everything could be copied; what is missing is named above"
  fi
}

finish() {
  stop_parallel_jobs
  close_connections
  if [[ $INCOMING ]]; then
    chmod --recursive u+rwX -- "$INCOMING" # a host decides on the modes of directories
    rm -rf -- "$INCOMING"
  fi
}

main "$@"
