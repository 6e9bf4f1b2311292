# shellcheck shell=bash
# Rounds of get_results.sh: each asks all hosts what has ended, and fetches what is not here. With --follow there are many.

readonly ROUND_SECONDS=5 # between two rounds of --follow, at least; more where a round takes long
readonly LOST_SECONDS=30 # after so many a host that did not answer is asked again
readonly LINES_KEPT=20   # of what is said before the last round, beside infrainit.sh

WORKERS_UP=() # numbers of the worker hosts that answer
FOLLOW=''     # --follow
IS_SURE=''    # not empty: only what results.csv has is fetched; the rest comes in the last round
UNFETCHED=()  # digests of what had ended and was not here in the last two rounds
STDERR=''     # descriptor of the stderr that this script was started with, if it has another one now
LOST_AT=0     # when hosts that did not answer were last asked, or lost
FETCHED=(0 0) # attempts and bytes, in all rounds

# follow: fetches what has ended, again and again, until the sweep has ended. Beside infrainit.sh, which knows that and says so on stdin,
# it has nothing to say before the last round.
follow() {
  local start code pause stdin=''
  prepare_ssh
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

# fetch_round: fetches what has ended and is not here.
fetch_round() {
  local attempts bytes REMINDER=say_who_is_busy
  # shellcheck disable=SC2034 # parallel.sh reads it
  [[ ! -t 2 && ! $FOLLOW ]] || REMINDER=:
  rm -f -- "$INCOMING/failed"
  renew_lists
  ask_hosts
  list_here
  if [[ $IS_SURE ]] && ! has_news; then
    return 0
  fi
  if is_reachable "$MASTER_HOST" && ! has_tables; then
    run_for_hosts copy_tables "$MASTER_HOST"
    drop_failed
  fi
  choose_tasks
  choose_attempts "$IS_SURE" "${WORKERS_UP[@]}" || die "what is to be fetched could not be chosen; see above"
  run_for_wanted size_up
  read -r attempts bytes < <(total_wanted "${WORKERS_UP[@]}")
  if ((attempts > 0)); then
    check_space "$attempts" "$bytes"
    start_progress "$attempts" "$bytes" "${WORKERS_UP[@]}"
    run_for_wanted fetch_attempts
    stop_progress
  fi
  say_fetched
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

# ask_hosts: asks what has ended, all hosts at once; those that did not answer only now and then, and in the last round.
ask_hosts() {
  local host asked=()
  for host in "${USED_HOSTS[@]}"; do
    if is_reachable "$host" || [[ ! $IS_SURE || $((SECONDS - LOST_AT)) -ge $LOST_SECONDS ]]; then
      asked+=("$host")
    fi
  done
  WORKERS_UP=()
  ((${#asked[@]} > 0)) || return 0
  collect_facts ask_for_results home "${asked[@]}"
  for host in "${asked[@]}"; do
    if ! is_reachable "$host"; then
      LOST_AT=$SECONDS
      continue
    fi
    [[ ! -s $LISTS/$host.said ]] || put_host_in_front "${HOST_NAMES[host]}" <"$LISTS/$host.said" >&2
    if [[ -e $LISTS/$host.unlisted ]]; then
      warn "${HOST_NAMES[host]}: its finished tasks could not be listed"
      lose_host "$host"
    elif is_wanted_worker "$host"; then
      WORKERS_UP+=("$host")
    fi
  done
}

is_wanted_worker() {
  [[ ! ${OPTIONS[NO_FILES]:-} ]] && is_one_of "$1" "${WORKER_HOSTS[@]}"
}

ask_for_results() {
  local what=()
  ! is_one_of "$1" 0 "$MASTER_HOST" || what+=(docker)
  [[ $1 != "$MASTER_HOST" ]] || what+=(tables)
  ! is_wanted_worker "$1" || what+=(attempts)
  ask_host "$1" "${what[@]}"
}

# run_for_wanted FUNCTION: for the hosts that have something to fetch.
run_for_wanted() {
  local host hosts=()
  for host in "${WORKERS_UP[@]}"; do
    [[ ! -s $LISTS/$host.wanted ]] || hosts+=("$host")
  done
  ((${#hosts[@]} > 0)) || return 0
  run_for_hosts "$1" "${hosts[@]}"
  drop_failed
}

# drop_failed: goes on without the hosts where the last function of run_for_hosts failed.
drop_failed() {
  local host workers=()
  for host in "${WORKERS_UP[@]}"; do
    [[ -v FAILURES[host] ]] || workers+=("$host")
  done
  for host in "${!FAILURES[@]}"; do
    lose_host "$host"
  done
  WORKERS_UP=("${workers[@]}")
}

# lose_host HOST: with --follow, it is asked again.
lose_host() {
  if [[ $IS_SURE ]]; then
    # shellcheck disable=SC2034 # hosts.sh reads it
    FACTS[$1.unreachable]="it does not answer any more"
    LOST_AT=$SECONDS
  else
    : >"$INCOMING/failed"
  fi
}

# has_news: has anything ended that is not here? What two rounds have left does not count: the master knows nothing of it.
has_news() {
  local host unfetched
  unfetched=$(for host in "${WORKERS_UP[@]}"; do
    cat -- "$LISTS/$host.finished"
  done | LC_ALL=C sort --unique | LC_ALL=C comm -23 - "$LISTS/here" | sha256sum)
  [[ $unfetched != "$(sha256sum </dev/null)" && "$unfetched $unfetched" != "${UNFETCHED[*]}" ]] || return 1
  UNFETCHED=("${UNFETCHED[@]: -1}" "$unfetched")
}
