# shellcheck shell=bash
# Worker hosts that are not fine and do not stop the others, as far as --tolerate allows: they are left out, and named with the reason.

readonly CODE_LEFT_OUT=3    # exit code when all went well except that hosts were left out
LEFT_OUT=()                 # numbers of the hosts that are left out
declare -gA LEFT_OUT_WHY=() # number → reason

# may_leave_out HOST…: does --tolerate allow to leave these hosts out, besides those that are? The master host and this machine, which
# builds the images, are needed. So is one worker. An old master host that answers has to give up the master.
may_leave_out() {
  local host
  [[ $TOLERATE ]] || return 1
  for host in "$@"; do
    [[ $host != 0 && $host != "$MASTER_HOST" ]] || return 1
    [[ $host != "$PRESENT_MASTER_HOST" ]] || ! is_reachable "$host" || return 1
  done
  [[ $TOLERATE == all ]] || ((${#LEFT_OUT[@]} + $# <= TOLERATE)) || return 1
  ((${#WORKER_HOSTS[@]} > $#))
}

# leave_out HOST REASON: what runs there is left as it is.
leave_out() {
  local host hosts=()
  for host in "${WORKER_HOSTS[@]}"; do
    [[ $host == "$1" ]] || hosts+=("$host")
  done
  WORKER_HOSTS=("${hosts[@]}")
  LEFT_OUT+=("$1")
  LEFT_OUT_WHY[$1]=$2
  warn "${HOST_NAMES[$1]}: left out: $2"
}

# leave_out_unfit: leaves out the hosts that have problems, if all of them may be; their problems are then none.
leave_out_unfit() {
  local index host hosts problems=()
  ((${#PROBLEM_HOSTS[@]} > 0)) || return 0
  mapfile -t hosts < <(in_order "${PROBLEM_HOSTS[@]}")
  if ! may_leave_out "${hosts[@]}"; then
    [[ ! $TOLERATE ]] ||
      problem "--tolerate $TOLERATE is not enough: this machine, the master host and a worker host must be fine in any case"
    return 0
  fi
  for index in "${!PROBLEMS[@]}"; do
    host=${PROBLEM_HOSTS[index]:-}
    if [[ ! $host ]]; then
      problems+=("${PROBLEMS[index]}")
    elif ! is_one_of "$host" "${LEFT_OUT[@]}"; then
      leave_out "$host" "${PROBLEMS[index]#"${HOST_NAMES[host]}: "}"
    fi
  done
  PROBLEMS=("${problems[@]}")
  PROBLEM_HOSTS=()
}

# try_each_host FUNCTION HOST…: as for_each_host, but hosts for which FUNCTION fails are left out, as far as they may be.
try_each_host() {
  local host
  run_for_hosts "$@"
  ((${#FAILURES[@]} > 0)) || return 0
  may_leave_out "${!FAILURES[@]}" || return 1
  for host in "${!FAILURES[@]}"; do
    leave_out "$host" "${1//_/ } failed: ${FAILURES[$host]}"
  done
}

# say_left_out: names the hosts that were left out, and why.
say_left_out() {
  local host
  for host in "${LEFT_OUT[@]}"; do
    say "$(printf '%-16s left out: %s' "${HOST_NAMES[host]}" "${LEFT_OUT_WHY[$host]}")"
  done
  ((${#LEFT_OUT[@]} == 0)) || say "when they are fine again  $(our_command infrainit.sh -f)"
}

# code_with_left_out CODE: prints CODE, or in place of 0 what says that hosts were left out.
code_with_left_out() {
  if (($1 == 0 && ${#LEFT_OUT[@]} > 0)); then
    printf '%s\n' "$CODE_LEFT_OUT"
  else
    printf '%s\n' "$1"
  fi
}
