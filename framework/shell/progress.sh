# shellcheck shell=bash
# What is under way, and how long each part of the work took. On a terminal, what is under way stands in one line that is drawn again
# and again until the next message takes its place; elsewhere it is said now and then, in lines of their own.

REDRAWS=yes       # empty: where several processes write, only one may draw this line; and commands are not to be drawn over
PHASES=()         # "SECONDS WHAT" of each part of the work that `doing` has announced and that is over
PHASE=''          # the part under way, as PHASES has it
PHASE_BEGAN=0     # SECONDS when it began
SHOWN_BYTES=65536 # read at once where bytes are counted

# begin_phase WHAT: ends the part of the work that is under way, and begins the next one; without WHAT only ends it.
begin_phase() {
  if [[ $PHASE ]]; then
    PHASES+=("$((SECONDS - PHASE_BEGAN)) $PHASE")
  fi
  PHASE=$1 PHASE_BEGAN=$SECONDS
}

# print_phases: prints the whole time, then that of each part which took a second or more.
print_phases() {
  local phase total=0
  for phase in "${PHASES[@]}"; do
    total=$((total + ${phase%% *}))
  done
  printf '%s\n' "$( ((total < 120)) || echo "$((total / 60)) min ")$((total < 120 ? total : total % 60)) s"
  for phase in "${PHASES[@]}"; do
    [[ $phase == 0\ * ]] || printf '%4s s  %s\n' "${phase%% *}" "${phase#* }"
  done
}

# is_redrawn: can a line be drawn again where messages go?
is_redrawn() {
  [[ $REDRAWS && ! $VERBOSE && ! $DRY_RUN && -t $MESSAGES_TO && ${TERM:-dumb} != dumb ]]
}

# show_under_way TEXT
show_under_way() {
  if is_redrawn; then
    printf '\r\033[K\033[?7l%s\033[?7h' "$(make_printable "$1")" >&"$MESSAGES_TO" # without line breaks of the terminal's own
  else
    say "$1"
  fi
}

# begin_line DESCRIPTOR: where that is a terminal, takes away what show_under_way has drawn there.
begin_line() {
  if [[ -t $1 && ${TERM:-dumb} != dumb ]]; then
    printf '\r\033[K' >&"$1"
  fi
}

# pause_of_reminders: prints the seconds between two texts of what is under way.
pause_of_reminders() {
  if is_redrawn; then echo 1; else echo "$BUSY_SECONDS"; fi
}

# count_bytes HOST TOTAL: copies stdin to stdout, and notes how much it was so far, of about TOTAL (0: unknown), for the line about this
# host.
count_bytes() {
  if [[ $PARALLEL_OUTPUT ]]; then
    printf '%s\n' "$2" >"$PARALLEL_OUTPUT/$1.total"
    LC_ALL=C dd bs="$SHOWN_BYTES" status=progress 2>"$PARALLEL_OUTPUT/$1.bytes"
  else
    cat
  fi
}

# print_counted HOST: prints what count_bytes has noted, with a space in front; nothing if it has noted nothing.
print_counted() {
  local bytes total
  [[ -e $PARALLEL_OUTPUT/$1.bytes ]] || return 0
  bytes=$(tr '\r' '\n' <"$PARALLEL_OUTPUT/$1.bytes" | tail -n 1)
  bytes=${bytes%% *}
  is_number "$bytes" || return 0
  total=$(<"$PARALLEL_OUTPUT/$1.total")
  if ((total < bytes)); then
    printf ' %s sent\n' "$(size_text "$bytes")"
  else
    printf ' %s of %s\n' "$(size_text "$bytes")" "$(size_text "$total")"
  fi
}
