# shellcheck shell=bash
# The master's journal when it moves to another host, or when its disk is lost.

# What is taken of a master's data directories, as regular expression: not the status, which would look like that of the new master
# before that runs.
readonly JOURNAL_FILES='\./[^/]+/(journal\.sqlite(-wal|-shm|-journal)?|(all_)?results\.csv|stopped|quarantine\.jsonl|requests/[^/]+\.json)'
# The same of a worker's: the results of its tasks, without the files of the tasks, and results not sent yet.
readonly RESULT_FILES='\./(tasks/[0-9a-f]{16}/[0-9]+/result\.json|spool/[^/]+\.json)'

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
  copy_files "$old" "$from" "$new" "$to.new" "$JOURNAL_FILES"
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
      copy_files "$host" "$(data_directory "$host" worker)" "$MASTER_HOST" "$kept/$host" "$RESULT_FILES"
    fi
  done
  recover_journal "$MASTER_HOST"
  change_host "$MASTER_HOST" rm -rf -- "$kept"
}

# copy_files HOST DIRECTORY OTHER_HOST OTHER_DIRECTORY PATHS: copies the regular files in DIRECTORY whose paths are like the expression
# PATHS. HOST says what they are: so they are chosen again where they arrive.
copy_files() {
  local counted code=0
  counted=$(mktemp -d)
  pack_files "$1" "$2" "$5" | take_bytes "$1" "$counted" | unpack_named "$3" "$4" "$5" || code=$?
  rm -r -- "$counted"
  return "$code"
}

# pack_files HOST DIRECTORY PATHS: prints an archive.
pack_files() {
  # shellcheck disable=SC2016 # expands over there
  ANSWER_LIMIT='' on_host "$1" sh -c '
    cd -- "$1" && find . -maxdepth 4 -type f -regextype posix-extended -regex "$2" -print0 |
      tar --create --file - --sparse --null --no-recursion --files-from - --ignore-failed-read' pack "$2" "$3"
}
