# shellcheck shell=bash
# The master's journal when it moves to another host, or when its disk is lost.

# move_journal OLD NEW: copies the master's data directories from the recorded master host OLD to the host NEW. The files on OLD
# stay, and those of an earlier master on NEW are kept beside the new ones.
move_journal() {
  local old=$1 new=$2 from to
  from="$(fact "$old" home)/${RECORD[REMOTE_PATH]}/master"
  to="$(root_of "$new")/master"
  if [[ $old == "$new" && $from == "$to" ]]; then
    return 0
  elif ! is_reachable "$old"; then
    warn "${HOST_NAMES[old]}: was the master's host and does not answer; the results in its journal are not copied"
    return 0
  elif ! on_host "$old" test -d "$from"; then
    return 0
  fi
  step "${HOST_NAMES[new]}" "copying the journal from ${HOST_NAMES[old]}"
  change_host "$new" rm -rf -- "$to.new" "$to.old"
  change_host "$new" mkdir -p -- "$to.new"
  # Without the status: it would look like that of the new master before that runs.
  on_host "$old" tar --create --file - --directory "$from" --exclude=status.json . |
    change_host_stdin "$new" tar --extract --file - --directory "$to.new" --no-same-owner
  if on_host "$new" test -d "$to"; then
    change_host "$new" mv --no-target-directory -- "$to" "$to.old"
  fi
  change_host "$new" mv --no-target-directory -- "$to.new" "$to"
}

# rebuild_journal: copies what the workers of all reachable hosts kept, whether they are to run again or not, to the master
# host, and has the journal rebuilt from it.
rebuild_journal() {
  local host kept
  kept="$(data_directory "$MASTER_HOST" master)/recovered"
  change_host "$MASTER_HOST" rm -rf -- "$kept"
  for host in "${!HOSTS[@]}"; do
    if ! is_reachable "$host"; then
      warn "${HOST_NAMES[host]}: does not answer; the results that it keeps are not recovered"
    elif on_host "$host" test -d "$(data_directory "$host" worker)"; then
      step "${HOST_NAMES[host]}" "collecting the results that its worker kept"
      change_host "$MASTER_HOST" mkdir -p -- "$kept/$host"
      pack_results "$host" | change_host_stdin "$MASTER_HOST" tar --extract --file - --directory "$kept/$host" --no-same-owner
    fi
  done
  recover_journal "$MASTER_HOST"
  change_host "$MASTER_HOST" rm -rf -- "$kept"
}

# pack_results HOST: prints an archive of the results of its tasks, without the files of the tasks, and of results not sent yet.
pack_results() {
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '
    cd -- "$1" && find . -mindepth 2 -maxdepth 4 \( -path "./tasks/*/*/result.json" -o -path "./spool/*.json" \) -print0 |
      tar --create --file - --null --files-from - --ignore-failed-read' pack "$(data_directory "$1" worker)"
}
