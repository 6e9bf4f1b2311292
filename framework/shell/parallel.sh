# shellcheck shell=bash
# Running a function for several hosts side by side.

readonly HOSTS_AT_ONCE=8 # sshd drops connections at random from ten unauthenticated ones on (MaxStartups)
PARALLEL_JOBS=()         # process ids of for_each_host, for stop_parallel_jobs
PARALLEL_OUTPUT=''       # directory of their output
REMINDER=say_who_is_busy # what is called now and then meanwhile, with the hosts and the seconds since the start
FAILURES=()              # host → the last line of what the last function of run_for_hosts said there, for the hosts where it failed

# for_each_host FUNCTION HOST…: runs FUNCTION HOST for all hosts in parallel, each in a subshell.
# Their output is held back and shown host by host; `step` and `say` are shown at once. Fails if FUNCTION failed for a host, after
# naming that host. Call it as a statement of its own: behind `if` or `||` FUNCTION would run without errexit.
for_each_host() {
  run_for_hosts "$@"
  ((${#FAILURES[@]} == 0))
}

# run_for_hosts FUNCTION HOST…: the same, but does not fail; FAILURES names the hosts.
run_for_hosts() {
  local function=$1 host reminder process job running=0 last
  shift
  FAILURES=()
  PARALLEL_OUTPUT=$(mktemp -d)
  exec {MESSAGES_TO}>&2
  exec {reminder}> >(remind "$(pause_of_reminders)" "$REMINDER" "$@")
  process=$!
  for host in "$@"; do
    if ((running == HOSTS_AT_ONCE)); then
      wait -n || true # run_for_host writes the exit code into a file
      running=$((running - 1))
    fi
    run_for_host "$function" "$host" {reminder}>&- & # a connection that stays open must not keep the reminder running
    PARALLEL_JOBS+=("$!")
    running=$((running + 1))
  done
  for job in "${PARALLEL_JOBS[@]}"; do
    wait "$job" || true # as above
  done
  exec {reminder}>&- {MESSAGES_TO}>&-
  wait "$process" || true # whatever became of it
  PARALLEL_JOBS=()
  MESSAGES_TO=2
  for host in "$@"; do
    [[ ! -s $PARALLEL_OUTPUT/$host.stdout ]] || cat -- "$PARALLEL_OUTPUT/$host.stdout"
    if [[ -s $PARALLEL_OUTPUT/$host.stderr ]]; then
      put_host_in_front "${HOST_NAMES[host]}" <"$PARALLEL_OUTPUT/$host.stderr" >&2
    fi
    if [[ $(<"$PARALLEL_OUTPUT/$host.code") != 0 ]]; then
      printf '%s: %s failed\n' "${HOST_NAMES[host]}" "${function//_/ }" >&2
      last=$(tail -n 1 -- "$PARALLEL_OUTPUT/$host.stderr" | printable)
      FAILURES[host]=${last:0:300}
    fi
  done
  stop_parallel_jobs
}

# run_for_host FUNCTION HOST: writes stdout, stderr and, however FUNCTION ends, the exit code into files.
run_for_host() {
  # shellcheck disable=SC2034 # progress.sh reads it
  local output="$PARALLEL_OUTPUT/$2" REDRAWS=''
  # shellcheck disable=SC2064 # its name is to be expanded now
  trap "echo \$? >$(quote "$output.code")" EXIT
  "$1" "$2" >"$output.stdout" 2>"$output.stderr"
}

# say_who_is_busy HOST… SECONDS: with what was sent to each, if that is counted.
say_who_is_busy() {
  local host names=''
  for host in "${@:1:$#-1}"; do
    if [[ -e $PARALLEL_OUTPUT/$host.stderr && ! -e $PARALLEL_OUTPUT/$host.code ]]; then
      names+="${names:+, }${HOST_NAMES[host]}$(print_counted "$host")"
    fi
  done
  show_under_way "still ${DOING:-busy}: $names (${*: -1} s)"
}

# stop_parallel_jobs: ends them, also when a script is interrupted: jobs in the background do not receive Ctrl-C.
stop_parallel_jobs() {
  local job
  [[ $PARALLEL_OUTPUT ]] || return 0
  for job in "${PARALLEL_JOBS[@]}"; do
    kill "$job" 2>/dev/null || true # most have ended by themselves
  done
  rm -r -- "$PARALLEL_OUTPUT"
  PARALLEL_JOBS=()
  PARALLEL_OUTPUT=''
}
