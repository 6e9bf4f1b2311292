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
  find "$@" -type f ! -size +64M -print0 | xargs --null --no-run-if-empty sha256sum --zero --
  find "$@" -type f -size +64M -exec sh -c '\''
    role=$1 share=2
    [ "$role" = sent ] || share=4
    shift
    for file do
      size=$(stat --format=%s -- "$file") && blocks=$(stat --format=%b -- "$file") || continue
      holes=no
      [ "$((size / share / 512))" -le "$blocks" ] || holes=yes
      [ "$role$holes" = sentno ] || printf "%s  %s\\0" "$size" "$file"
      [ "$holes" = yes ] || sha256sum --zero -- "$file"
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

# Choosing

# renew_lists: forgets what the hosts have answered.
renew_lists() {
  LISTS=$INCOMING/lists
  rm -rf -- "$LISTS" && mkdir -p -- "$LISTS/tables" || return # counted apart, since they come at the same time
  printf '%s\n' "${EXCLUDED[@]}" >"$LISTS/patterns"
}

# list_finished_attempts HOST: lists the attempts that have a result.json. Accepts from a host only names that tasks and attempts can have.
list_finished_attempts() {
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '[ ! -d "$1" ] || exec find "$1" -mindepth 3 -maxdepth 3 -type f -name result.json -printf "%P\n"' \
    list "$(tasks_directory "$1")" |
    take_bytes "$1" "$LISTS" |
    sed -n -E "s|^($ATTEMPT_NAME)/result\\.json$|\\1|p" |
    LC_ALL=C sort --unique >"$LISTS/$1.finished"
}

# choose_attempts HOST IS_SURE: prints `ATTEMPT<tab>PATTERN` for what is to be fetched: with an empty PATTERN each attempt that is not
# here, and else each of which files that match PATTERN were left out earlier and are wanted now. IS_SURE, not empty: only those that
# results.csv has.
choose_attempts() {
  find "$RESULTS/tasks/" -mindepth 2 -maxdepth 2 -type d -printf '%P\n' | LC_ALL=C sort >"$LISTS/$1.here" || return
  {
    LC_ALL=C comm -23 "$LISTS/$1.finished" "$LISTS/$1.here" | sed 's/$/\t/'
    list_incomplete "$LISTS/$1.finished"
  } | leave_out_namesakes "$1" "$2" | leave_out_unchosen
}

# list_incomplete FINISHED: prints the same for the attempts in the file FINISHED that are here without files.
list_incomplete() {
  [[ -e $RESULTS/.excluded ]] || return 0
  awk -F '\t' '
    stage == "patterns" { patterns[$0]; next }
    stage == "finished" { finished[$0]; next }
    $1 in finished && !($2 in patterns)' \
    stage=patterns "$LISTS/patterns" stage=finished "$1" stage=excluded "$RESULTS/.excluded" | LC_ALL=C sort -t $'\t' -k 2
}

# leave_out_namesakes HOST IS_SURE: copies stdin without the attempts that another of our hosts made according to results.csv. Another
# copy of the tool, with the same project and hosts, leaves such attempts.
leave_out_namesakes() (
  table="$RESULTS/results.csv"
  [[ -e $table ]] || table=/dev/null
  ulimit -S -v "$MEMORY_LIMIT" || exit
  # A line begins a row if the quotes before it are even in number: text between quotes can have newlines.
  awk -F , -v host="${HOST_NAMES[$1]}" -v hosts=" ${HOST_NAMES[*]} " -v sure="$2" '
    FILENAME == ARGV[1] {
      if (quotes % 2 == 0) made_by[$1 "/" $3] = $4
      quotes += gsub(/"/, "&")
      next
    }
    { attempt = $0; sub(/\t.*/, "", attempt) }
    !(attempt in made_by) { if (!sure) print; next }
    made_by[attempt] == host || !index(hosts, " " made_by[attempt] " ")' "$table" -
)

leave_out_unchosen() {
  if [[ $CHOSEN ]]; then
    awk -F / 'FILENAME == ARGV[1] { chosen[$1]; next } $1 in chosen' "$CHOSEN" -
  else
    cat
  fi
}

# size_up HOST: lists what is to be fetched from there, `BYTES<tab>ATTEMPT<tab>PATTERN` each, and what is excluded of it.
size_up() {
  choose_attempts "$1" "$IS_SURE" | sed 's/^/0\t/' >"$LISTS/$1.wanted" || give_up "${HOST_NAMES[$1]}: its results could not be chosen"
  : >"$LISTS/$1.sized"
  : >"$LISTS/$1.excluded"
  echo 0 0 0 >"$LISTS/$1.done" # attempts and bytes that have come, and bytes of those listed
  for_groups size_up_group "$1" "$ATTEMPTS_LISTED" "$LISTS/$1.wanted" || give_up "${HOST_NAMES[$1]}: its results could not be listed"
}

# size_up_group HOST ONLY BYTES ATTEMPT…
size_up_group() {
  local host=$1 only=$2 words
  read_words words find_words "$only" sizes || return
  shift 3
  printf '%s\n' "$@" >"$LISTS/$host.asked"
  on_host "$host" sh -c "$SIZE_SCRIPT" sizes "$(tasks_directory "$host")" "$@" "${words[@]}" |
    take_bytes "$host" "$LISTS" |
    sed -n -E "s#^([0-9]{1,15}|x[0-9]{1,4}) ($ATTEMPT_NAME)\$#\\1\\t\\2#p" |
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
  on_host "$host" sh -c "$CHECKSUM_SCRIPT" digests "$directory" sent "$@" "${words[@]}" |
    take_bytes "$host" "$LISTS" >"$LISTS/$host.sent" &
  job=$!
  on_host "$host" sh -c "$ARCHIVE_SCRIPT" archive "$directory" "$@" "${words[@]}" | unpack "$host" "$INCOMING" "$host" || code=$?
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
  local host=$1 only=$2 directory="$INCOMING/$1" tasks="$RESULTS/tasks" attempt wanted=()
  local -A spoiled=()
  shift 2
  while IFS='' read -r attempt; do
    spoiled[$attempt]=yes
  done <"$LISTS/$host.spoiled"
  {
    flock 4 || return
    for attempt in "$@"; do
      if ! is_directory "$directory/${attempt%/*}" || ! is_directory "$directory/$attempt"; then
        complain "${HOST_NAMES[host]}: attempt $attempt was not sent as a directory"
      elif [[ ${spoiled[$attempt]:-} ]]; then
        complain "${HOST_NAMES[host]}: the files of attempt $attempt are not here as they are there, and were not kept"
      elif [[ -L $tasks/${attempt%/*} || -L $tasks/$attempt ]]; then
        complain "${HOST_NAMES[host]}: attempt $attempt was not copied, since a link is in its place in $tasks; remove it"
      elif [[ $only || ! -e $tasks/$attempt ]]; then
        wanted+=("$attempt")
      fi
    done
    ((${#wanted[@]} > 0)) || return 0
    (cd -- "$tasks" && mkdir -p -- "${wanted[@]%/*}") || return
    for attempt in "${wanted[@]}"; do
      if [[ $only ]]; then
        add_files "$directory/$attempt" "$tasks/$attempt" || return
      else
        mv --no-target-directory -- "$directory/$attempt" "$tasks/$attempt" || return
      fi
    done
    note_excluded "$host" "$only" "${wanted[@]}" || return
  } 4<"$RESULTS"
  PLACED=${#wanted[@]}
}

# add_files FROM TO: renames the files and links in FROM that TO has not.
add_files() {
  local path
  while IFS='' read -r -d '' -u 5 path; do
    if [[ ! -e $2/$path && ! -L $2/$path ]]; then
      mkdir -p -- "$(dirname -- "$2/$path")" && mv --no-target-directory -- "$1/$path" "$2/$path" || return
    fi
  done 5< <(find "$1" -mindepth 1 ! -type d -printf '%P\0')
}

# note_excluded HOST ONLY ATTEMPT…: notes in .excluded what files the ATTEMPTs are here without. Those that match ONLY have come.
note_excluded() {
  local host=$1 only=$2 noted="$RESULTS/.excluded"
  shift 2
  [[ $only || -s $LISTS/$host.excluded ]] || return 0
  [[ -e $noted ]] || : >"$noted"
  printf '%s\n' "$@" >"$LISTS/$host.asked"
  ONLY=$only awk -F '\t' '
    stage == "asked" { asked[$0]; next }
    stage == "noted" && $1 in asked && $2 == ENVIRON["ONLY"] { next }
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
