# shellcheck shell=bash
# --drain: before tasks would be ended, the master sends their hosts nothing more, and the tasks run to their end. The master keeps a drain
# for a minute only, so that nothing is left of it if this script dies; until it ends it is repeated every BUSY_SECONDS.

readonly DRAIN_SHOWN_SECONDS=60 # between two messages of how many tasks still run
readonly LONGEST_DRAIN_PAUSE=15 # seconds between two looks at what still runs
# What `framework drain` says of a host, and of one that has nothing.
readonly DRAIN_LINE='[^ ]+: [0-9]+ running, [0-9]+ waiting( \(the master has not heard of it\))?'
readonly DRAINED_LINE='[^ ]+: 0 running, 0 waiting.*'

DRAINED=()      # numbers of the hosts that are drained
DRAIN_KEEPER='' # process that repeats the drain
DRAIN_PIPE=''   # descriptor of its stdin

# drain_hosts HOST…: waits until nothing runs on those of the hosts whose runners are to be replaced or removed. They stay drained until
# end_drain. If the master does not take it, DRAINED is empty afterwards.
drain_hosts() {
  local found answer
  found=$(for_each_host print_host_to_drain "$@")
  [[ $found ]] || return 0
  mapfile -t DRAINED <<<"$found"
  if [[ ! $PRESENT_MASTER_HOST ]]; then
    answer='no master was started from here'
  elif answer=$(ask_master_to_drain 2>&1); then
    keep_hosts_drained
    wait_for_drained_hosts
    return 0
  fi
  DRAINED=()
  answer=$(tail -n 1 <<<"$answer")
  warn "--drain: the master cannot be asked to send these hosts nothing more: ${answer:0:300}"
}

# print_host_to_drain HOST: prints its number if its runner is to be replaced or removed.
print_host_to_drain() {
  local why
  why=$(print_end_of_runner "$1")
  [[ ! $why ]] || printf '%s\n' "$1"
}

# ask_master_to_drain [--end]: has the hosts drained for a minute; prints what each has been sent that has not ended.
ask_master_to_drain() {
  local host names=()
  for host in "${DRAINED[@]}"; do
    names+=("${HOST_NAMES[host]}")
  done
  docker_on "$PRESENT_MASTER_HOST" exec "$INFRASTRUCTURE-master" framework drain "$@" "${names[@]}"
}

# stop_sending HOST…: has the master that runs send these hosts nothing more for a minute, as they are about to lose their workers: what is
# in a queue then would be given to others only when its lease has ended. A master that does not take it is no failure.
stop_sending() {
  local DRAINED=("$@")
  [[ $PRESENT_MASTER_HOST && $# -gt 0 && ! $DRY_RUN ]] && is_reachable "$PRESENT_MASTER_HOST" || return 0
  ask_master_to_drain >/dev/null 2>&1 || true # the leases end all the same
}

# wait_for_drained_hosts: as long as it takes.
wait_for_drained_hosts() {
  local pause=1 start=$SECONDS shown=$SECONDS left
  doing "waiting until the tasks on $(names_of_drained) have ended"
  say "they get no more tasks, and other hosts go on; there is no limit of time; Ctrl-C ends the waiting"
  while true; do
    left=$(print_what_is_left)
    [[ $left ]] || break
    if ((SECONDS - shown >= DRAIN_SHOWN_SECONDS)); then
      shown=$SECONDS
      say "waiting since $(duration "$((SECONDS - start))"), Ctrl-C ends it:"
      say "$left"
    fi
    sleep "$pause"
    pause=$((2 * pause < LONGEST_DRAIN_PAUSE ? 2 * pause : LONGEST_DRAIN_PAUSE))
  done
  say "nothing runs there any more"
}

names_of_drained() {
  local host names=()
  for host in "${DRAINED[@]}"; do
    names+=("${HOST_NAMES[host]}")
  done
  join_by_comma "${names[@]}"
}

# print_what_is_left: prints a line for each thing that has not ended, or that cannot be known. The master comes first: what it has sent
# may not have reached the runner yet.
print_what_is_left() {
  local answer lines host
  answer=$(ask_master_to_drain 2>&1) || true                                       # its lines are counted
  lines=$(grep --extended-regexp --line-regexp "$DRAIN_LINE" <<<"$answer") || true # there may be none
  if [[ ! $lines ]] || (($(wc -l <<<"$lines") < ${#DRAINED[@]})); then
    answer=$(tail -n 1 <<<"$answer")
    printf '%s: the master cannot be asked (%s)\n' "${HOST_NAMES[PRESENT_MASTER_HOST]}" "${answer:0:300}"
  fi
  sed --regexp-extended -e "/^$DRAINED_LINE\$/d" -e '/^$/d' -e 's/^/sent by the master to /' <<<"$lines"
  run_for_hosts print_tasks_of_drained "${DRAINED[@]}" 2>/dev/null # FAILURES has the reasons
  for host in "${!FAILURES[@]}"; do
    printf '%s: it cannot be asked (%s)\n' "${HOST_NAMES[host]}" "${FAILURES[host]}"
  done
}

print_tasks_of_drained() {
  local why tasks
  why=$(print_end_of_runner "$1")
  [[ $why ]] || return 0 # its runner has ended
  tasks=$(print_running_tasks "$1")
  [[ ! $tasks ]] || printf '%s: %s\n' "${HOST_NAMES[$1]}" "$tasks"
}

# keep_hosts_drained: until end_drain, or until this script has ended, however it does.
keep_hosts_drained() {
  exec {DRAIN_PIPE}> >(repeat_drain >/dev/null 2>&1)
  DRAIN_KEEPER=$!
}

repeat_drain() {
  trap 'exit 0' TERM              # once the request that is under way has ended
  [[ ! $LOCK ]] || exec {LOCK}<&- # it is not to outlive this script
  remind "$BUSY_SECONDS" repeat_drain_once
}

repeat_drain_once() {
  kill -0 "$$" || exit 0      # a connection that stays open may hold the pipe
  ask_master_to_drain || true # a drain lasts longer than the time to the next try
}

# end_drain: has the master send tasks to the drained hosts again.
end_drain() {
  [[ $DRAIN_KEEPER ]] || return 0
  kill "$DRAIN_KEEPER" 2>/dev/null || true # it has ended
  wait "$DRAIN_KEEPER" 2>/dev/null || true # it was killed
  exec {DRAIN_PIPE}>&-
  DRAIN_KEEPER=''
  if (ask_master_to_drain --end) >/dev/null 2>&1; then
    say "$(names_of_drained): the master may send tasks there again"
  else # it was moved, or does not answer
    say "$(names_of_drained): the master may send tasks there again in a minute"
  fi
}
