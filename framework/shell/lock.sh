# shellcheck shell=bash
# One script at a time changes the infrastructure of this checkout. The scripts that only read do not ask for the lock.

readonly LOCK_SECONDS=3 # what an interrupted script has started takes as long to end

LOCK='' # descriptor of this checkout's directory, while this script holds the lock on it

# take_lock: ends the program if another script holds the lock, and names that script. A dry run needs none. The kernel gives the lock
# back when this script and what it has started have ended, however they end.
take_lock() {
  local code=0
  [[ ! $DRY_RUN && ! $LOCK ]] || return 0
  command -v flock >/dev/null || die "flock is missing on this machine; install it: apt-get install util-linux"
  exec {LOCK}<"$CHECKOUT"
  flock --timeout "$LOCK_SECONDS" "$LOCK" 2>/dev/null || code=$?
  if ((code == 1)); then
    die "another script works on $CHECKOUT: $(lock_holder); wait until it has ended, or end it, and run this again"
  elif ((code != 0)); then
    warn "$CHECKOUT cannot be locked (a network file system?); start no other script here before this one has ended"
  fi
}

# lock_holder: prints process, start and command of the script that holds the lock; what it has started may hold it, too.
lock_holder() {
  local file holders=() oldest=''
  for file in /proc/[0-9]*/fd/*; do
    if [[ $file -ef $CHECKOUT ]] && grep -qs FLOCK "${file/\/fd\///fdinfo/}"; then
      file=${file#/proc/}
      holders+=("${file%%/*}")
    fi
  done
  if ((${#holders[@]} > 0)); then
    oldest=$(ps -o pid=,lstart=,args= --sort=start_time -p "$(join_by_comma "${holders[@]}")" | head -n 1) || true # it has ended
  fi
  if [[ $oldest =~ ^\ *([0-9]+)\ +([A-Z][a-z]+\ +[A-Z][a-z]+\ +[0-9]+\ +[0-9:]+\ +[0-9]+)\ (.*)$ ]]; then
    make_printable "process ${BASH_REMATCH[1]}, since ${BASH_REMATCH[2]}: ${BASH_REMATCH[3]}"
  else
    printf 'process %s\n' "${holders[0]:-of another user}"
  fi
}

# release_lock: also before a script starts itself again, which takes it anew.
release_lock() {
  if [[ $LOCK ]]; then
    exec {LOCK}<&-
    LOCK=''
  fi
}
