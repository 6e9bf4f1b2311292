# shellcheck shell=bash
# Running commands on this machine: a command that changes something is shown first, and left out of a dry run.

VERBOSE='' # not empty: show every command
SHOWN_TO=2 # file descriptor for the commands that --verbose shows; parse_options points it past all captured output
DRY_RUN='' # not empty: show these commands and do not run them
# shellcheck disable=SC2034 # progress.sh and drain.sh read it
readonly BUSY_SECONDS=15    # between two messages that something is still running
readonly LOG_LINES_SHOWN=30 # of a long step that failed
readonly NEVER_READY=3      # a command given to wait_until returns this when waiting longer cannot help

# show_on HOST_NAME COMMAND…: shows the command as it can be pasted into a shell on that host.
show_on() {
  local command
  if [[ $VERBOSE || $DRY_RUN ]]; then
    set_quoted command "${@:2}"
    printf '%s$ %s\n' "$1" "$command" >&"$SHOWN_TO"
  fi
}

# show_question_on HOST_NAME COMMAND…: the same for a command that changes nothing.
show_question_on() {
  [[ ! $VERBOSE ]] || show_on "$@"
}

# run COMMAND…: runs a command that changes something on this machine.
run() {
  show_on local "$@"
  [[ $DRY_RUN ]] || "$@"
}

# run_as_root COMMAND…: the same as root, with sudo if this user is not root.
run_as_root() {
  local sudo=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "this needs root, and there is no sudo: $(quote "$@")"
    sudo=(sudo "--preserve-env=http_proxy,https_proxy,no_proxy")
  fi
  run "${sudo[@]}" "$@"
}

# run_long MESSAGE COMMAND…: runs COMMAND in a subshell, reports now and then that it still runs, and shows its output only if
# it fails.
run_long() {
  local message=$1 log code=0 reminder process
  shift
  step local "$message"
  if [[ $VERBOSE || $DRY_RUN ]]; then
    "$@" >&2
    return
  fi
  log=$(mktemp)
  exec {reminder}> >(remind "$(pause_of_reminders)" say_still_running "$message")
  process=$!
  (
    exec {reminder}>&- # a process that COMMAND leaves behind must not keep the reminder running
    "$@"
  ) >"$log" 2>&1 || code=$?
  exec {reminder}>&-
  wait "$process" || true # whatever became of it
  if ((code != 0)); then
    tail -n "$LOG_LINES_SHOWN" -- "$log" | printable >&2
  fi
  rm -- "$log"
  return "$code"
}

# say_still_running MESSAGE SECONDS
say_still_running() {
  show_under_way "local: still $1 ($2 s)"
}

# remind PAUSE FUNCTION ARGUMENT…: every PAUSE seconds calls FUNCTION with the ARGUMENTs and the seconds since the start. Ends when
# the other end of its stdin is closed, which also happens when that process dies.
remind() {
  local start=$SECONDS code
  while true; do
    code=0
    read -r -t "$1" || code=$?
    if ((code <= 128)); then # not a time-out
      begin_line "$MESSAGES_TO"
      return 0
    fi
    "${@:2}" "$((SECONDS - start))"
  done
}

# replace_file FILE MODE TEXT: writes a new file and renames it, so that no reader ever sees half of it.
replace_file() {
  if [[ -e $1 && $(<"$1")$'\n' == "$3" ]]; then
    return 0
  fi
  run install --mode="$2" -- /dev/stdin "$1.new" < <(printf '%s' "$3")
  run mv -- "$1.new" "$1"
}

# call_on_signals FUNCTION: on HUP, INT and TERM calls FUNCTION, which has to end the script, with the exit code for it. If a signal comes
# when bash 5.2 is about to read a command substitution, it reads the trap as the inside of one: the bracket ends it then. At all other
# times nobody comes to that line.
call_on_signals() {
  trap "$1 129"$'\n)' HUP
  trap "$1 130"$'\n)' INT
  trap "$1 143"$'\n)' TERM
}

# wait_until SECONDS DESCRIPTION COMMAND…: runs COMMAND each second, at first more often, until it succeeds. Fails after SECONDS, or at
# once when COMMAND returns NEVER_READY, and then shows the last output of COMMAND.
wait_until() {
  local limit=$1 description=$2 start=$SECONDS message code next_message=10 VERBOSE=$VERBOSE tries=0
  shift 2
  if [[ $DRY_RUN ]]; then
    say "(would wait up to $limit s until $description)"
    return 0
  fi
  while true; do
    code=0
    message=$("$@" 2>&1) || code=$?
    VERBOSE='' # the same commands again
    if ((code == 0)); then
      return 0
    fi
    if ((code == NEVER_READY || SECONDS - start >= limit)); then
      begin_line 2
      printf 'not within %s s: %s\n%s\n' "$((SECONDS - start))" "$description" "$(make_printable "$message")" >&2
      return 1
    fi
    if is_redrawn || ((SECONDS - start >= next_message)); then
      show_under_way "waiting until $description ($((SECONDS - start)) s)"
      next_message=$((SECONDS - start + 10))
    fi
    if ((tries++ < 8)); then sleep 0.25; else sleep 1; fi
  done
}
