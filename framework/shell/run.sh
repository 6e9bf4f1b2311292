# shellcheck shell=bash
# Running commands: shown before they change something, on several hosts side by side, or again until they succeed.

VERBOSE=''               # not empty: show every command that changes something
DRY_RUN=''               # not empty: show these commands and do not run them
readonly HOSTS_AT_ONCE=8 # sshd drops connections at random from ten unauthenticated ones on (MaxStartups)
readonly BUSY_SECONDS=15 # between two signs of life
readonly NEVER_READY=3   # what a command given to wait_until returns when waiting longer is of no use
PARALLEL_JOBS=()         # process ids of for_each_host, for stop_parallel_jobs
PARALLEL_OUTPUT=''       # folder of what they print

# quote WORD…: the words as one line of POSIX shell, the same in every locale and shell that knows single quotes.
quote() {
  local word line=''
  for word in "$@"; do
    # The first word is never one with '=': that would be an assignment.
    if [[ ! $word =~ ^[A-Za-z0-9_@%+:,./-]+${line:+[A-Za-z0-9_@%+=:,./-]*}$ ]]; then
      word="'${word//\'/"'\\''"}'"
    fi
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# show_on HOST_NAME COMMAND…: shows the command as it can be pasted into a shell on that host.
show_on() {
  if [[ $VERBOSE || $DRY_RUN ]]; then
    printf '%s$ %s\n' "$1" "$(quote "${@:2}")" >&2
  fi
}

show() {
  show_on local "$@"
}

# run COMMAND…: for all that changes something on this machine.
run() {
  show "$@"
  [[ $DRY_RUN ]] || "$@"
}

# for_each_host FUNCTION HOST…: runs FUNCTION HOST for all hosts in parallel, each in a subshell.
# What they print is held back and comes host by host; `step` and `say` speak at once. Fails if one failed, having named it.
# Call it as a statement of its own: behind `if` or `||` FUNCTION would run without errexit.
for_each_host() {
  local function=$1 host reminder job running=0 failed=0
  shift
  PARALLEL_OUTPUT=$(mktemp -d)
  exec {MESSAGES_TO}>&2
  say_who_is_busy "$@" &
  reminder=$!
  PARALLEL_JOBS=("$reminder")
  for host in "$@"; do
    if ((running == HOSTS_AT_ONCE)); then
      wait -n || true # its exit code is in its file
      running=$((running - 1))
    fi
    run_for_host "$function" "$host" &
    PARALLEL_JOBS+=("$!")
    running=$((running + 1))
  done
  for job in "${PARALLEL_JOBS[@]:1}"; do # not for the reminder, which never ends
    wait "$job" || true                  # its exit code is in its file
  done
  PARALLEL_JOBS=("$reminder")
  exec {MESSAGES_TO}>&-
  MESSAGES_TO=2
  for host in "$@"; do
    cat -- "$PARALLEL_OUTPUT/$host.stdout"
    put_host_in_front "${HOST_NAMES[host]}" <"$PARALLEL_OUTPUT/$host.stderr" >&2
    if [[ $(<"$PARALLEL_OUTPUT/$host.code") != 0 ]]; then
      printf '%s: %s failed\n' "${HOST_NAMES[host]}" "${function//_/ }" >&2
      failed=1
    fi
  done
  stop_parallel_jobs
  return "$failed"
}

# run_for_host FUNCTION HOST: leaves stdout, stderr and, however it ends, the exit code in files.
run_for_host() {
  local output="$PARALLEL_OUTPUT/$2"
  # shellcheck disable=SC2064 # its name is to be expanded now
  trap "echo \$? >$(quote "$output.code")" EXIT
  "$1" "$2" >"$output.stdout" 2>"$output.stderr"
}

# say_who_is_busy HOST…: again and again, until it is killed or this program is gone.
say_who_is_busy() {
  local host names never start=$SECONDS
  exec {never}<> <(:) # nothing ever comes from there; unlike `sleep`, reading it leaves no process behind
  while kill -0 "$$"; do
    read -r -t "$BUSY_SECONDS" -u "$never" || true
    names=()
    for host in "$@"; do
      if [[ -e $PARALLEL_OUTPUT/$host.stderr && ! -e $PARALLEL_OUTPUT/$host.code ]]; then
        names+=("${HOST_NAMES[host]}")
      fi
    done
    say "still busy: ${names[*]} ($((SECONDS - start)) s)"
  done
}

# put_host_in_front HOST_NAME: copies lines, so that each says which host it is about.
put_host_in_front() {
  local line
  while IFS='' read -r line || [[ $line ]]; do
    case $line in
      "$1: "* | "$1\$ "*) printf '%s\n' "$line" ;;
      *) printf '%s: %s\n' "$1" "$line" ;;
    esac
  done
}

# stop_parallel_jobs: also for the trap of a script that is interrupted; jobs in the background do not see Ctrl-C.
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

# wait_until SECONDS DESCRIPTION COMMAND…: runs COMMAND each second until it succeeds. Fails after SECONDS, or at once when
# COMMAND returns NEVER_READY, showing what COMMAND said last.
wait_until() {
  local limit=$1 description=$2 start=$SECONDS message code next_message=10
  shift 2
  if [[ $DRY_RUN ]]; then
    say "(would wait up to $limit s until $description)"
    return 0
  fi
  while true; do
    code=0
    message=$("$@" 2>&1) || code=$?
    if ((code == 0)); then
      return 0
    fi
    if ((code == NEVER_READY || SECONDS - start >= limit)); then
      printf 'not within %s s: %s\n%s\n' "$((SECONDS - start))" "$description" "$message" >&2
      return 1
    fi
    if ((SECONDS - start >= next_message)); then
      say "waiting until $description ($((SECONDS - start)) s)"
      next_message=$((next_message + 10))
    fi
    sleep 1
  done
}
