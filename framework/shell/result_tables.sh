# shellcheck shell=bash
# Tables of results: had written by the master and copied; and what is read from them, as the tasks of --only, and the report.

TABLES=() # names of the tables that are wanted

# has_tables: are the tables here as the master would write them now? Repeats what it has said of them.
has_tables() {
  local name kept="$RESULTS/.tables" digest lines=()
  digest=$(fact "$MASTER_HOST" tables)
  [[ ! -f $kept ]] || mapfile -t lines <"$kept"
  [[ $digest && ${lines[0]:-} == "$digest ${TABLES[*]}" ]] || return 1
  for name in "${TABLES[@]}"; do
    [[ -f $RESULTS/$name && ! $RESULTS/$name -nt $kept ]] || return 1
  done
  ((${#lines[@]} == 1)) || printf '%s\n' "${lines[@]:1}" | printable >&2
}

# copy_tables HOST: has the master on HOST write them, and copies them; notes in .tables what they were made of, their names, and what it
# has said. If the master's container is gone, the tables that were written last are copied.
copy_tables() {
  local host=$1 name said=$LISTS/tables/said
  rm -f -- "$RESULTS/.tables"
  if docker_on "$host" exec "$INFRASTRUCTURE-master" framework results >"$said" 2>&1 &&
    { [[ ! ${OPTIONS[ALL]:-} ]] || docker_on "$host" exec "$INFRASTRUCTURE-master" framework results --all >"$said" 2>&1; }; then
    printable <"$said" >&2
  elif [[ $(container_state "$host" master) == running\ * ]]; then
    printable <"$said" >&2
    complain "${HOST_NAMES[host]}: the master could not write its tables; the previous ones were copied"
    said=''
  else
    said=''
  fi
  for name in "${TABLES[@]}"; do
    copy_file "$host" "$name" || said=''
  done
  if [[ $said && $(fact "$host" tables) ]]; then
    { printf '%s %s\n' "$(fact "$host" tables)" "${TABLES[*]}" && cat -- "$said"; } >"$INCOMING/tables"
    mv --no-target-directory -- "$INCOMING/tables" "$RESULTS/.tables"
  fi
}

# copy_file HOST NAME: copies a file of the master's; fails if there is none.
copy_file() {
  local host=$1 name=$2 file code=0
  file="$(data_directory "$host" master)/$name"
  # shellcheck disable=SC2016 # expands over there
  ANSWER_LIMIT='' on_host "$host" sh -c '[ -f "$1" ] || exit 9; exec cat -- "$1"' copy "$file" | take_bytes "$host" "$LISTS/tables" >"$INCOMING/$name" || code=$?
  if ((code == 0)); then
    mv --no-target-directory -- "$INCOMING/$name" "$RESULTS/$name"
  elif ((code == 9)); then
    step "${HOST_NAMES[host]}" "there is no $name yet"
    return 1
  else
    complain "${HOST_NAMES[host]}: $file could not be read; see above"
    return 1
  fi
}

# choose_tasks: with --only, has the master, or else a container on this machine, say which tasks these are.
choose_tasks() {
  local which image options
  [[ -v OPTIONS[ONLY] ]] || return 0
  mapfile -t which < <(tr , '\n' <<<"${OPTIONS[ONLY]}")
  CHOSEN=$LISTS/chosen
  if is_reachable "$MASTER_HOST" && [[ $(container_state "$MASTER_HOST" master) == running\ * ]]; then
    docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework select -- "${which[@]}"
  else
    image=$(image_for --only) || exit
    read_words options results_options "$image" "$RESULTS" select --results /results -- "${which[@]}" || exit
    change_docker 0 run "${options[@]}"
  fi | take_bytes "$MASTER_HOST" "$LISTS" | sed -n -E '/^[0-9a-f]{16}$/p' >"$CHOSEN" || die "--only: see above"
}

# image_for OPTION: prints the image in which results are read on this machine, for OPTION.
image_for() {
  local image
  image=$(newest_worker_image) || die "$1: see above"
  [[ $image ]] || die "$1: this machine has no image infrainit-worker; $(our_command infrainit.sh -f) builds it"
  printf '%s\n' "$image"
}

# write_report: makes report.html of what is here, in a container of this machine.
write_report() {
  local image options
  image=$(image_for --report)
  read_words options results_options "$image" "$RESULTS" report /results
  change_docker 0 run "${options[@]}" >/dev/null || complain "the report could not be written; see above"
}
