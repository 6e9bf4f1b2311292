# shellcheck shell=bash
# Taking what hosts send: tables, archives. A host, and the tasks on it, decide what that is. It is taken as far as RESULTS_LIMIT goes,
# and of an archive only regular files, directories, and links that stay inside.

readonly BYTES_PER_ENTRY=4096 # what a file or directory takes on a disk beside its content; they count, too
readonly MEMORY_LIMIT=2097152 # KiB for a program that reads what a host sends: a name in an archive can have any length
readonly MESSAGES_LIMIT=65536 # bytes of messages that one command on a host can send
readonly LEFT_OUT_SHOWN=3     # names of what is left out

# Unpacks stdin in the directory $1, and keeps only regular files whose whole path (./…) is like $2, also where tar fails on the way.
# tar itself lets no name lead out of the directory.
# shellcheck disable=SC2016 # expands over there
readonly UNPACK_NAMED_SCRIPT='
  ulimit -v "$3" && cd -- "$1" || exit
  tar --extract --file - --no-same-owner --no-same-permissions
  code=$?
  chmod -R u+rwX . &&
    find . ! -type d ! \( -type f -links 1 -regextype posix-extended -regex "$2" \) -exec rm -f -- {} + || exit
  exit "$code"'

# bytes_left HOST DIRECTORY: prints how much may still come from HOST. DIRECTORY is private to the script, and keeps the number.
bytes_left() {
  local left=$((10#$RESULTS_LIMIT * 1024 * 1024))
  [[ ! -e $2/$1.left ]] || read -r left <"$2/$1.left" || return
  printf '%s\n' "$left"
}

# count_bytes_taken HOST DIRECTORY BYTES: so many less may come from HOST. Says so and fails where nothing is left.
count_bytes_taken() {
  local left
  left=$(bytes_left "$1" "$2") || return
  left=$((left > $3 ? left - $3 : 0))
  printf '%s\n' "$left" >"$2/$1.left" || return
  ((left == 0)) || return 0
  warn "${HOST_NAMES[$1]}: it sends more than $RESULTS_LIMIT MiB, the rest was not taken; if so much is right, set RESULTS_LIMIT in config.sh to more"
  return 1
}

# take_bytes HOST DIRECTORY: copies stdin, which comes from HOST, to stdout; stops and fails where the limit ends.
take_bytes() {
  local left messages
  left=$(bytes_left "$1" "$2") || return
  if ! { messages=$(LC_ALL=C dd bs=64K iflag=fullblock,count_bytes count="$left" 2>&1 >&8 8>&-); } 8>&1; then
    printf '%s' "${messages:+$messages$'\n'}" >&2 # none if nobody reads on
    return 1
  fi
  [[ $messages =~ (^|$'\n')([0-9]+)\ bytes?\  ]] || return
  count_bytes_taken "$1" "$2" "${BASH_REMATCH[2]}"
}

# first_messages: a MESSAGES_FILTER that copies the first messages, and reads the others.
first_messages() {
  with_input take_first_messages
}

take_first_messages() {
  { head --bytes="$MESSAGES_LIMIT" && cat >/dev/null; } | printable
}

# unpack HOST DIRECTORY NEW: unpacks stdin, an archive that comes from HOST, in NEW, a directory that is made in DIRECTORY. What is in
# it is not safe yet: see keep_safe.
unpack() {
  local host=$1 directory=$2 new=$2/$3 most entries code=0
  most=$(bytes_left "$host" "$directory") || return
  most=$((most / BYTES_PER_ENTRY))
  mkdir -- "$new" || return
  entries=$(
    take_bytes "$host" "$directory" |
      unpack_listing "$new" 2>"$new.messages" |
      awk -v most="$most" 'NR > most { exit } END { print NR }'
  ) || code=$?
  if (($(bytes_left "$host" "$directory") > 0)); then
    first_messages <"$new.messages" >&2 || return
    count_bytes_taken "$host" "$directory" "$((entries * BYTES_PER_ENTRY))" || return
  fi
  return "$code"
}

# unpack_listing DIRECTORY: unpacks stdin, and prints a line for each entry. Owners and modes are what this user would make.
unpack_listing() {
  ulimit -S -v "$MEMORY_LIMIT" || return
  tar --extract --file - --directory "$1" --no-same-owner --no-same-permissions --verbose --quoting-style=escape
}

# keep_safe DIRECTORY: of the trees NAME/NAME in DIRECTORY, removes what is neither a regular file, nor a directory, nor a link that
# stays in its tree; prints the paths of what it has removed, each ended by a NUL.
keep_safe() {
  local root link goal
  root=$(cd -- "$1" && pwd -P) || return
  chmod --recursive u+rwX,a-s,-t -- "$root" || return
  find "$root" -mindepth 3 ! -type f ! -type d ! -type l -printf '%P\0' -delete || return
  find "$root" -mindepth 3 -type l -printf '%P\0' >"$root.links" || return
  (cd -- "$root" && xargs --null --no-run-if-empty realpath --canonicalize-missing --zero --) <"$root.links" >"$root.goals" || return
  while IFS='' read -r -d '' -u 6 link; do
    IFS='' read -r -d '' -u 7 goal || return
    if [[ $goal/ != "$root/${link%"${link#*/*/}"}"* ]]; then
      printf '%s\0' "$link"
    fi
  done 6<"$root.links" 7<"$root.goals" >"$root.outside"
  (cd -- "$root" && xargs --null --no-run-if-empty rm --force --) <"$root.outside" || return
  cat -- "$root.outside"
}

# warn_of_left_out HOST: names what stdin, as keep_safe prints it, holds.
warn_of_left_out() {
  local names more
  mapfile -d '' names
  ((${#names[@]} > 0)) || return 0
  more=$((${#names[@]} - LEFT_OUT_SHOWN))
  names=("${names[@]:0:LEFT_OUT_SHOWN}")
  names=("${names[@]//[[:cntrl:]]/?}")
  ((more <= 0)) || names+=("and $more more")
  warn "${HOST_NAMES[$1]}: only files, directories and links within an attempt are copied; left out: $(printf '%s, ' "${names[@]}" | sed 's/, $//')"
}

# is_directory PATH: is it one itself, and no link to one?
is_directory() {
  [[ -d $1 && ! -L $1 ]]
}

# unpack_named HOST DIRECTORY PATHS: unpacks stdin on HOST, and keeps regular files whose paths are like the expression PATHS.
unpack_named() {
  change_host_stdin "$1" sh -c "$UNPACK_NAMED_SCRIPT" unpack "$2" "$3" "$MEMORY_LIMIT"
}
