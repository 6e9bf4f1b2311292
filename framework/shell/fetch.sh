# shellcheck shell=bash
# Fetching the files of attempts that have ended. They come into INCOMING, are compared with the checksums that their host has sent,
# and are then renamed into RESULTS: what is there is whole, and is not fetched again.

readonly ATTEMPTS_AT_ONCE=500                 # fetched and renamed together; after an interruption those before them stay
readonly BYTES_AT_ONCE=$((256 * 1024 * 1024)) # the same, where attempts are large
readonly ATTEMPTS_LISTED=2000                 # whose files are listed by one command: it has to fit into one word of ssh's
readonly ATTEMPT_NAME='[0-9a-f]{16}/[1-9][0-9]{0,9}'

RESULTS=''  # the directory of the project's results
INCOMING='' # a directory in RESULTS, for what is not complete yet
LISTS=''    # a directory in INCOMING: what the hosts have, and what of it is to be fetched
EXCLUDED=() # patterns of files that are not fetched
CHOSEN=''   # a file of the ids of the only tasks that are wanted; empty: all are

# Prints `DIGEST  PATH` for each regular file that the words for find choose, `SIZE  PATH` for a large one that is mostly holes, each
# ended by a NUL. $1 is the directory, $2: one record for a file (sent), or both for a large one (here), as file systems differ in
# what holes are.
# shellcheck disable=SC2016 # expands over there
readonly CHECKSUM_SCRIPT='
  cd -- "$1" || exit
  role=$2
  shift 2
  find "$@" -type f ! -size +64M -print0 | xargs --null --no-run-if-empty b2sum --length=256 --zero --
  find "$@" -type f -size +64M -exec sh -c '\''
    role=$1 share=2
    [ "$role" = sent ] || share=4
    shift
    for file do
      size=$(stat --format=%s -- "$file") && blocks=$(stat --format=%b -- "$file") || continue
      holes=no
      [ "$((size / share / 512))" -le "$blocks" ] || holes=yes
      [ "$role$holes" = sentno ] || printf "%s  %s\\0" "$size" "$file"
      [ "$holes" = yes ] || b2sum --length=256 --zero -- "$file"
    done'\'' digest "$role" {} +
  exit 0' # a file that cannot be read is not sent either

# Prints an archive of what the words for find choose in the directory $1. A task may have left files that even their owner cannot read
# or remove, and large ones that are mostly holes. Files that change meanwhile are found by their checksums.
# shellcheck disable=SC2016 # expands over there
readonly ARCHIVE_SCRIPT='
  cd -- "$1" || exit
  shift
  find "$@" -print0 |
    tar --create --file - --mode=u+rwX --sparse --ignore-failed-read --null --no-recursion --files-from -
  code=$?
  [ "$code" -le 1 ] || exit "$code"'

# Prints `BYTES ATTEMPT` for each attempt in the directory $1 of which the words for find choose files, and what else find prints.
# shellcheck disable=SC2016 # expands over there
readonly SIZE_SCRIPT='
  cd -- "$1" || exit
  shift
  find "$@" | awk '\''
    /^x/ { if (!seen[$0]++) print; next }
    { bytes = $2 * 512; sums[$3] += ($1 < bytes ? $1 : bytes) + 0 }
    END { for (attempt in sums) printf "%.0f %s\n", sums[attempt], attempt }'\'''

tasks_directory() {
  printf '%s/tasks\n' "$(data_directory "$1" worker)"
}

# find_words ONLY WHAT: prints words for find that follow its starting points, which are attempts. They leave out what is EXCLUDED, but
# never result.json, and choose what matches the pattern ONLY, or is in a directory that does; all, where it is empty. WHAT is `sizes`
# for the input of SIZE_SCRIPT.
find_words() {
  local number
  print_words -regextype posix-extended
  for number in "${!EXCLUDED[@]}"; do
    print_words '(' -path "*/${EXCLUDED[number]}" ! -regex "$ATTEMPT_NAME(/result\\.json)?" -prune
    [[ $2 != sizes ]] || print_words -printf "x$number %H\\n"
    print_words ')' -o
  done
  if [[ $1 ]]; then
    print_words '(' -path "*/$1" -o -path "*/$1/*" ')'
  fi
  if [[ $2 == sizes ]]; then
    print_words -type f -printf '%s %b %H\n'
  else
    print_words -true
  fi
}

# Asking and choosing

# renew_lists: forgets what the hosts have answered.
renew_lists() {
  LISTS=$INCOMING/lists
  rm -rf -- "$LISTS" && mkdir -p -- "$LISTS/tables" || return # counted apart, since they come at the same time
  printf '%s\n' "${EXCLUDED[@]}" >"$LISTS/patterns"
}

# ask_host HOST WHAT…: has it say what host_results.sh prints of WHAT: prints the facts, and lists the attempts that have ended there, or
# notes that it could not; what it has said goes to LISTS/HOST.said. Accepts only names that tasks and attempts can have.
ask_host() {
  local said="$LISTS/$1.said" answer="$LISTS/$1.answer" code=0 line
  ANSWER_LIMIT='' on_host_stdin "$1" sh -s -- "$REMOTE_PATH" "$PROJECT_NAME" "${@:2}" <"$CHECKOUT/framework/shell/host_results.sh" 2>"$said" |
    take_bytes "$1" "$LISTS" >"$answer" 2>>"$said" || code=$?
  if ((code == 255)); then # that of ssh
    cat -- "$said" >&2
    return "$code"
  fi
  ((code == 0)) || : >"$LISTS/$1.unlisted"
  sed -n -E "s|^($ATTEMPT_NAME)/result\\.json$|\\1|p" "$answer" | LC_ALL=C sort --unique >"$LISTS/$1.finished" || return
  while IFS='' read -r -n 4096 line && [[ $line =~ ^[a-z_]+= ]]; do # they come first
    printf '%s\n' "$line"
  done <"$answer"
}

# list_here: lists the attempts that are here.
list_here() {
  find "$RESULTS/tasks/" -mindepth 2 -maxdepth 2 -type d -printf '%P\n' | LC_ALL=C sort >"$LISTS/here"
}

# choose_attempts IS_SURE HOST…: lists what is to be fetched from each, `0<tab>ATTEMPT<tab>PATTERN`: with an empty PATTERN each attempt
# that is not here, and behind those each of which files that match PATTERN were left out earlier and are wanted now. Of attempts that
# another of our hosts made according to results.csv, none: another copy of the tool, with the same project and hosts, leaves such.
# IS_SURE, not empty: only those that results.csv has.
choose_attempts() (
  table="$RESULTS/results.csv" noted="$RESULTS/.excluded" inputs=()
  [[ -e $table ]] || table=/dev/null
  [[ -e $noted ]] || noted=/dev/null
  for host in "${@:2}"; do
    inputs+=(stage=finished "host=$host" "name=${HOST_NAMES[host]}" "$LISTS/$host.finished")
    : >"$LISTS/$host.wanted" && : >"$LISTS/$host.sized" && : >"$LISTS/$host.excluded" || exit
    echo 0 0 0 >"$LISTS/$host.done" || exit # attempts and bytes that have come, and bytes of those listed
  done
  ulimit -S -v "$MEMORY_LIMIT" || exit
  # A line of the table begins a row if the quotes before it are even in number: text between quotes can have newlines.
  export LISTS
  awk -F '\t' -v sure="$1" -v hosts=" ${HOST_NAMES[*]} " -v choose="${CHOSEN:+yes}" '
    function add_later(pattern) {
      for (pattern in later) printf "%s", later[pattern] >wanted
      split("", later)
      if (wanted) close(wanted)
    }
    stage == "here" { here[$0]; next }
    stage == "patterns" { patterns[$0]; next }
    stage == "noted" { if (!($2 in patterns)) missing[$1] = missing[$1] "\t" $2; next }
    stage == "chosen" { chosen[$0]; next }
    stage == "table" {
      split($0, cells, ",")
      if (quotes % 2 == 0) made_by[cells[1] "/" cells[3]] = cells[4]
      quotes += gsub(/"/, "&")
      next
    }
    FNR == 1 { add_later(); wanted = ENVIRON["LISTS"] "/" host ".wanted" }
    choose && !(substr($0, 1, index($0, "/") - 1) in chosen) { next }
    $0 in made_by ? made_by[$0] != name && index(hosts, " " made_by[$0] " ") : sure { next }
    !($0 in here) { print 0, $0, "" >wanted; next }
    $0 in missing {
      count = split(substr(missing[$0], 2), patterns_of)
      for (i = 1; i <= count; i++) later[patterns_of[i]] = later[patterns_of[i]] "0\t" $0 "\t" patterns_of[i] "\n"
    }
    END { add_later() }' OFS='\t' stage=here "$LISTS/here" stage=patterns "$LISTS/patterns" stage=noted "$noted" \
    stage=chosen "${CHOSEN:-/dev/null}" stage=table "$table" "${inputs[@]}"
)

# size_up HOST: lists what is to be fetched from there, `BYTES<tab>ATTEMPT<tab>PATTERN` each, and what is excluded of it.
size_up() {
  for_groups size_up_group "$1" "$ATTEMPTS_LISTED" "$LISTS/$1.wanted" || give_up "${HOST_NAMES[$1]}: its results could not be listed"
}

# size_up_group HOST ONLY BYTES ATTEMPT…
size_up_group() {
  local host=$1 only=$2 words
  read_words words find_words "$only" sizes || return
  shift 3
  printf '%s\n' "$@" >"$LISTS/$host.asked"
  ANSWER_LIMIT='' on_host "$host" sh -c "$SIZE_SCRIPT" sizes "$(tasks_directory "$host")" "$@" "${words[@]}" |
    take_bytes "$host" "$LISTS" |
    sed -n -E "s#^(0|[1-9][0-9]{0,14}|x[0-9]{1,4}) ($ATTEMPT_NAME)\$#\\1\\t\\2#p" |
    ONLY=$only FILE="$LISTS/$host.excluded" awk -F '\t' -v OFS='\t' '
      stage == "patterns" { patterns["x" (FNR - 1)] = $0; next }
      stage == "asked" { asked[$0]; next }
      !($2 in asked) { next }
      $1 in patterns { print $2, patterns[$1] >>ENVIRON["FILE"]; next }
      $1 !~ /^x/ { print $1, $2, ENVIRON["ONLY"]; delete asked[$2] }' \
      stage=patterns "$LISTS/patterns" stage=asked "$LISTS/$host.asked" stage=sizes - >>"$LISTS/$host.sized"
}

# for_groups FUNCTION HOST MOST FILE: runs FUNCTION HOST PATTERN BYTES ATTEMPT… for the lines of FILE, with up to MOST attempts and
# BYTES_AT_ONCE, but at least one, at a time.
for_groups() {
  local bytes attempt pattern sum=0 group='' attempts=()
  while IFS=$'\t' read -r -u 3 bytes attempt pattern; do
    if ((${#attempts[@]} > 0)) &&
      [[ $pattern != "$group" || ${#attempts[@]} -ge $3 || $((sum + bytes)) -gt $BYTES_AT_ONCE ]]; then
      "$1" "$2" "$group" "$sum" "${attempts[@]}" || return
      attempts=() sum=0
    fi
    group=$pattern attempts+=("$attempt") sum=$((sum + bytes))
  done 3<"$4"
  ((${#attempts[@]} == 0)) || "$1" "$2" "$group" "$sum" "${attempts[@]}"
}

# Copying

# fetch_attempts HOST: copies what size_up has listed. Errexit is off in it.
fetch_attempts() {
  for_groups fetch_group "$1" "$ATTEMPTS_AT_ONCE" "$LISTS/$1.sized"
}

# fetch_group HOST ONLY BYTES ATTEMPT…
fetch_group() {
  local host=$1 only=$2 expected=$3 name=${HOST_NAMES[$1]} received PLACED=0 attempts bytes progress
  shift 3
  receive "$host" "$only" "$@" || give_up "$name: its results could not be copied"
  list_spoiled "$host" >"$LISTS/$host.spoiled" || give_up "$name: its results could not be verified"
  received=$(bytes_in "$INCOMING/$host") || return
  put_into_place "$host" "$only" "$@" || give_up "$name: its results could not be put into $RESULTS"
  read -r attempts bytes progress <"$LISTS/$host.done"
  rm -rf -- "${INCOMING:?}/$host" || return
  printf '%s %s %s\n' "$((attempts + PLACED))" "$((bytes + received))" "$((progress + expected))" >"$LISTS/$host.done"
}

# receive HOST ONLY ATTEMPT…: copies attempts into INCOMING/HOST, which is emptied first, and warns of what is left out of them. The
# checksums of their files come at the same time.
receive() {
  local host=$1 only=$2 directory job words code=0
  shift 2
  directory=$(tasks_directory "$host") || return
  read_words words find_words "$only" all || return
  rm -rf -- "${INCOMING:?}/$host" || return
  ANSWER_LIMIT='' on_host "$host" sh -c "$CHECKSUM_SCRIPT" digests "$directory" sent "$@" "${words[@]}" |
    take_bytes "$host" "$LISTS" >"$LISTS/$host.sent" &
  job=$!
  ANSWER_LIMIT='' on_host "$host" sh -c "$ARCHIVE_SCRIPT" archive "$directory" "$@" "${words[@]}" | unpack "$host" "$INCOMING" "$host" || code=$?
  if ((code != 0)); then
    kill "$job" 2>/dev/null || true # it may have ended
  fi
  wait "$job" || code=$?
  ((code == 0)) || return "$code"
  keep_safe "$INCOMING/$host" | warn_of_left_out "$host"
}

# list_spoiled HOST: prints the attempts in INCOMING/HOST of which a file is not as HOST has it.
list_spoiled() (
  ulimit -S -v "$MEMORY_LIMIT" || exit
  export LC_ALL=C
  sent="$LISTS/$1.sent" here="$LISTS/$1.here"
  sort --zero-terminated --output="$sent" "$sent" || exit
  sh -c "$CHECKSUM_SCRIPT" digests "$INCOMING/$1" here . | sed -z -E 's|^([0-9a-f]+  )\./|\1|' | sort --zero-terminated >"$here" || exit
  {
    comm -z -23 "$sent" "$here"
    comm -z -13 <(names_in "$sent") <(names_in "$here")
  } | sed -z -n -E "s#^([0-9a-f]{1,64}  )?($ATTEMPT_NAME)/.*\$#\\2#p" | tr '\0' '\n' | sort --unique
)

# names_in FILE: prints the paths in what CHECKSUM_SCRIPT has printed.
names_in() {
  sed -z -E 's/^[0-9a-f]{1,64}  //' "$1" | sort --zero-terminated --unique
}

# bytes_in DIRECTORY: prints the bytes of all files in it.
bytes_in() {
  find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# put_into_place HOST ONLY ATTEMPT…: renames each attempt, and counts them in PLACED; with ONLY, adds files to those that are here. What is
# there already stays: another host or another get_results.sh may have been quicker. Reports, and leaves out, those that are no
# directory here or as they came: nothing may go where a link leads; and those that are spoiled.
put_into_place() {
  local host=$1 only=$2 directory="$INCOMING/$1" tasks="$RESULTS/tasks" attempt
  local -A spoiled=() wanted=()
  shift 2
  while IFS='' read -r attempt; do
    spoiled[$attempt]=yes
  done <"$LISTS/$host.spoiled"
  {
    lock_results 4 || return
    for attempt in "$@"; do
      if ! is_directory "$directory/${attempt%/*}" || ! is_directory "$directory/$attempt"; then
        complain "${HOST_NAMES[host]}: attempt $attempt was not sent as a directory"
      elif [[ ${spoiled[$attempt]:-} ]]; then
        complain "${HOST_NAMES[host]}: the files of attempt $attempt are not here as they are there, and were not kept"
      elif [[ -L $tasks/${attempt%/*} || -L $tasks/$attempt ]]; then
        complain "${HOST_NAMES[host]}: attempt $attempt was not copied, since a link is in its place in $tasks; remove it"
      elif [[ $only || ! -e $tasks/$attempt ]]; then
        wanted[$attempt]=yes
      fi
    done
    if ((${#wanted[@]} == 0)); then
      return 0
    elif [[ $only ]]; then
      for attempt in "${!wanted[@]}"; do
        add_files "$directory/$attempt" "$tasks/$attempt" || return
      done
      note_excluded "$host" "$only" "${!wanted[@]}" || return # files that are missing after an interruption come again
    else
      note_excluded "$host" '' "${!wanted[@]}" || return # before they are here, since after an interruption nothing else tells
      move_attempts "$directory" "$tasks" "${!wanted[@]}" || return
    fi
  } 4<"$RESULTS"
  PLACED=${#wanted[@]}
}

# lock_results DESCRIPTOR: the directory of results is for this script alone until it closes DESCRIPTOR, which is open on it. Where nothing
# can be locked, that is up to the user.
lock_results() {
  local code=0
  flock --timeout 600 "$1" 2>/dev/null || code=$?
  ((code != 1)) || warn "$RESULTS is locked since 10 min: another get_results.sh does not end"
  ((code != 1))
}

# move_attempts FROM TO ATTEMPT…: tasks that are new in TO are moved as a whole, so that hundreds cost one process.
move_attempts() (
  shopt -s dotglob nullglob
  from=$1 to=$2
  shift 2
  declare -A wanted=() tasks=()
  for attempt in "$@"; do
    wanted[$attempt]=yes
    tasks[${attempt%/*}]=yes
  done
  cd -- "$from" || exit
  for attempt in */*; do # of a hostile host
    [[ ${wanted[$attempt]:-} || ! ${tasks[${attempt%%/*}]:-} ]] || rm -rf -- "./$attempt" || exit
  done
  for task in "${!tasks[@]}"; do
    if [[ -e $to/$task ]]; then
      mv --target-directory="$to/$task" -- "$task"/* || exit
      unset "tasks[$task]"
    fi
  done
  ((${#tasks[@]} == 0)) || mv --target-directory="$to" -- "${!tasks[@]}"
)

# add_files FROM TO: renames the files and links in FROM that TO has not.
add_files() {
  local path
  while IFS='' read -r -d '' -u 5 path; do
    if [[ ! -e $2/$path && ! -L $2/$path ]]; then
      mkdir -p -- "$(dirname -- "$2/$path")" && mv --no-target-directory -- "$1/$path" "$2/$path" || return
    fi
  done 5< <(find "$1" -mindepth 1 ! -type d -printf '%P\0')
}

# note_excluded HOST ONLY ATTEMPT…: notes in .excluded what files the ATTEMPTs are here without. Those that match ONLY have come; without
# ONLY the ATTEMPTs are new, and what was noted of them is not true any more.
note_excluded() {
  local host=$1 only=$2 noted="$RESULTS/.excluded"
  shift 2
  [[ -e $noted || -s $LISTS/$host.excluded ]] || return 0
  [[ -e $noted ]] || : >"$noted"
  printf '%s\n' "$@" >"$LISTS/$host.asked"
  ONLY=$only awk -F '\t' '
    stage == "asked" { asked[$0]; next }
    stage == "noted" && $1 in asked && (ENVIRON["ONLY"] == "" || $2 == ENVIRON["ONLY"]) { next }
    stage == "new" && !($1 in asked) { next }
    !seen[$0]++' stage=asked "$LISTS/$host.asked" stage=noted "$noted" stage=new "$LISTS/$host.excluded" >"$noted.new" || return
  mv -- "$noted.new" "$noted"
}

# Reporting

# complain MESSAGE: reports a failure; the script goes on and will end with 1.
complain() {
  warn "$*"
  : >"$INCOMING/failed"
}

# give_up MESSAGE: ends the work for one host.
give_up() {
  printf '%s\n' "$*" >&2
  exit 1
}
