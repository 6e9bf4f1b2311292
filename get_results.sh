#!/usr/bin/env bash
# Brings the results home: results.csv, and the logs and files of all tasks that have ended, from all hosts.
#
# usage: get_results.sh [-o DIRECTORY] [-a] [-h]
#
#   -o, --output DIRECTORY   where to put them, in a directory named like the project (default: results/ in this copy of the tool)
#   -a, --all                also all_results.csv: with combinations that are not in the set any more
#   -h, --help               this text
#
# Only what is not here yet is brought, so it can be run again and again, while tasks run and after infra_clean.sh.
# A host that does not answer is named, the others are asked all the same, and the exit code is 1.
#
#   results/<project>/results.csv                   a row for each combination of the set
#   results/<project>/tasks/<task>/<attempt>/       stdout, stderr, result.json, files/
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

readonly ATTEMPTS_AT_ONCE=500 # brought and put into place together; what is in place need not be brought again

OUTPUT="$CHECKOUT/results" # -o
ALL=''                     # -a, not empty
RESULTS=''                 # the project's directory there
INCOMING=''                # in RESULTS, for what is not whole yet
USED_HOSTS=()              # numbers of the hosts of the infrastructure
FAILED=''                  # not empty: something could not be brought

main() {
  parse_arguments "$@"
  trap finish EXIT
  use_record
  make_directories
  probe_all_hosts
  bring_table results.csv
  if [[ $ALL ]]; then
    bring_table all_results.csv --all
  fi
  bring_attempts
  report
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      -o | --output)
        [[ ${2:-} ]] || usage_error "$1 needs a value"
        OUTPUT=$(absolute_path "$2" "$PWD")
        shift
        ;;
      -a | --all) ALL=yes ;;
      -h | --help)
        show_help
        exit 0
        ;;
      *) usage_error "$1 is no option; see $0 --help" ;;
    esac
    shift
  done
}

make_directories() {
  RESULTS="$OUTPUT/$PROJECT_NAME"
  mkdir -p -- "$RESULTS/tasks"
  INCOMING=$(mktemp -d "$RESULTS/.incoming.XXXXXXXX")
}

# probe_all_hosts: those that do not answer are named and left out.
probe_all_hosts() {
  local host
  mapfile -t USED_HOSTS < <(hosts_in_use)
  probe_hosts "${USED_HOSTS[@]}"
  for host in "${USED_HOSTS[@]}"; do
    if ! is_reachable "$host"; then
      complain "${HOST_NAMES[host]}: results not brought, run this again later; $(fact "$host" unreachable)"
    fi
  done
}

# bring_table NAME OPTION…: the table as `framework results OPTION…` writes it now, or, if the master's container is gone, as it
# was written last.
bring_table() {
  local host=$MASTER_HOST name=$1 table
  is_reachable "$host" || return 0
  if [[ $(container_state "$host" master || true) == running\ * ]]; then
    docker_on "$host" exec "$INFRASTRUCTURE-master" framework results "${@:2}" >&2 ||
      complain "${HOST_NAMES[host]}: the master could not write $name; the one written before is brought"
  fi
  table="$(data_directory "$host" master)/$name"
  if ! on_host "$host" test -e "$table"; then
    step "${HOST_NAMES[host]}" "there is no $name yet"
  elif on_host "$host" cat -- "$table" >"$INCOMING/$name"; then
    mv -- "$INCOMING/$name" "$RESULTS/$name"
  else
    complain "${HOST_NAMES[host]}: $table could not be read; see above"
  fi
}

bring_attempts() {
  local host reachable=()
  for host in "${WORKER_HOSTS[@]}"; do
    if is_reachable "$host"; then
      reachable+=("$host")
    fi
  done
  if ! for_each_host bring_results_of_tasks "${reachable[@]}"; then
    FAILED=yes
  fi
}

# bring_results_of_tasks HOST: the attempts that have ended there and are not here. Errexit is off in it.
bring_results_of_tasks() {
  local host=$1 name=${HOST_NAMES[$1]} wanted="$INCOMING/$1.wanted" attempts count bytes=0
  list_missing_attempts "$host" >"$wanted" || give_up "$name: its finished tasks could not be listed"
  count=$(wc -l <"$wanted")
  while mapfile -t -n "$ATTEMPTS_AT_ONCE" -u 3 attempts && ((${#attempts[@]} > 0)); do
    unpack_attempts "$host" "$INCOMING/$host" "${attempts[@]}" || give_up "$name: its results could not be copied; run this again"
    bytes=$((bytes + $(count_bytes "$INCOMING/$host")))
    put_into_place "$INCOMING/$host" "${attempts[@]}" || give_up "$name: its results could not be put into $RESULTS"
  done 3<"$wanted"
  step "$name" "$count new results of tasks, $(numfmt --to=iec-i --suffix=B "$bytes")"
}

# list_missing_attempts HOST: task/attempt for each that has ended there and is not here.
list_missing_attempts() {
  local finished="$INCOMING/$1.finished" here="$INCOMING/$1.here"
  list_finished_attempts "$1" >"$finished" || return
  find "$RESULTS/tasks" -mindepth 2 -maxdepth 2 -printf '%P\n' | LC_ALL=C sort >"$here" || return
  LC_ALL=C comm -23 "$finished" "$here" | leave_out_namesakes "$1"
}

# leave_out_namesakes HOST: without attempts that, by results.csv, another of our hosts has made. Another copy of the tool, with
# the same project and hosts, leaves such.
leave_out_namesakes() {
  local table="$RESULTS/results.csv"
  [[ -e $table ]] || table=/dev/null
  awk -F , -v host="${HOST_NAMES[$1]}" -v hosts=" ${HOST_NAMES[*]} " '
    FILENAME == ARGV[1] { made_by[$1 "/" $3] = $4; next }
    !($0 in made_by) || made_by[$0] == host || !index(hosts, " " made_by[$0] " ")' "$table" -
}

# list_finished_attempts HOST: an attempt has ended when it has its result.json. Only names that tasks and attempts have are
# taken over from a host.
list_finished_attempts() {
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '[ ! -d "$1" ] || exec find "$1" -mindepth 3 -maxdepth 3 -name result.json -printf "%P\n"' \
    list "$(tasks_directory "$1")" |
    sed -n -E 's|^([0-9a-f]{16}/[0-9]+)/result\.json$|\1|p' |
    LC_ALL=C sort
}

tasks_directory() {
  printf '%s/tasks\n' "$(data_directory "$1" worker)"
}

# unpack_attempts HOST DIRECTORY ATTEMPT…: into DIRECTORY here, emptied before.
unpack_attempts() {
  local host=$1 directory=$2
  shift 2
  rm -rf -- "$directory" && mkdir -- "$directory" || return
  # A task may have left files that even their owner cannot read or remove.
  printf '%s\n' "$@" |
    on_host_stdin "$host" tar --create --file - --directory "$(tasks_directory "$host")" \
      --mode=u+rwX --ignore-failed-read --files-from - |
    tar --extract --file - --directory "$directory" --no-same-owner
}

# count_bytes DIRECTORY: of all files in it.
count_bytes() {
  find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# put_into_place DIRECTORY ATTEMPT…: each by a rename. What is there already stays: another host, or another get_results.sh, may
# have been quicker.
put_into_place() {
  local directory=$1 attempt
  shift
  {
    flock 4 || return
    (cd -- "$RESULTS/tasks" && mkdir -p -- "${@%/*}") || return
    for attempt in "$@"; do
      if [[ ! -e $RESULTS/tasks/$attempt ]]; then
        mv --no-target-directory -- "$directory/$attempt" "$RESULTS/tasks/$attempt" || return
      fi
    done
  } 4<"$RESULTS"
}

# complain MESSAGE: something is wrong, and the rest goes on.
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
  if [[ $FAILED ]]; then
    die "not everything could be brought; what is missing is named above"
  fi
}

finish() {
  stop_parallel_jobs
  close_connections
  if [[ $INCOMING ]]; then
    rm -rf -- "$INCOMING"
  fi
}

main "$@"
