# shellcheck shell=bash
# The code for the hosts: framework and project, as one directory named by its content. It is sent under another name and then
# renamed, so that no reader ever sees half of it. Files that a host has in its current version are not sent again: the new version
# has links to them.

readonly ARCHIVE_OPTIONS=( # the same files give the same bytes, whoever owns them and whenever they were written
  --sort=name
  --mtime=@0
  --owner=0
  --group=0
  --numeric-owner
  --format=gnu
  --hard-dereference
)
# Unpacks stdin in the directory $1, with the permissions of the archive, whatever the umask is over there.
# shellcheck disable=SC2016 # expands over there
readonly EXTRACT_SCRIPT='tar --extract --file - --directory "$1" --preserve-permissions --no-same-owner'
readonly CHANGES_SHOWN=20 # files named for each host; the others are counted
readonly VERSIONS_KEPT=3  # versions that stay on a host, with the current one; and those that are in use

# shellcheck disable=SC2016 # expands over there
readonly DIGEST_SCRIPT='
directory=$1
shift
[ -d "$directory" ] || exit 0
digest=$(tar --create --file - --directory "$directory" "$@" . | sha256sum)
echo "${digest%% *}"'

# Makes the directory $2 for a new version in the directory $1, which is below $4, with FILES, which is stdin; removes what interrupted
# pushes of the infrastructure $3 have left.
# shellcheck disable=SC2016 # expands over there
readonly NEW_VERSION_SCRIPT='
rm -rf -- "$1"/.c*."$3" && mkdir -p -m 0700 -- "$4" && mkdir -p -- "$2" && cat >"$2/FILES" && chmod 0444 -- "$2/FILES" || exit'

# Reads FILES of a new version from stdin. Prints the numbers of those that the current version lacks; with a directory
# $2, it reads them there, and links there the files that the current version has. Those that are not as they were sent do not count: they can be written to, or have a time.
# shellcheck disable=SC2016 # expands over there
readonly COMPARE_SCRIPT='
cd -- "$1/current" 2>/dev/null && [ -f FILES ] || cd / || exit
lacking=$({
  if [ "$2" ]; then cat -- "$2/FILES"; else cat; fi
  echo " had"
  [ "$PWD" = / ] || {
    cat FILES
    echo " as sent"
    find framework project -type f ! -perm /222 -printf "%T@ %m %s %p\n"
  }
} | LC_ALL=C NEW="$2" awk '\''
  /^ / { part = $0; next }
  part == "" { number[$0] = total = NR; next }
  part == " had" { if ($0 in number) same[substr($0, 66)] = number[$0]; next }
  $1 + 0 == 0 {
    file = $0
    sub(/^[^ ]* /, "", file)
    if (file in same) {
      has[same[file]] = 1
      if (ENVIRON["NEW"] != "") { sub(/^[^ ]* [^ ]* /, "", file); print file >(ENVIRON["NEW"] "/kept") }
    }
  }
  END { for (n = 1; n <= total; n++) if (!(n in has)) print n }'\'') || exit
if [ "$2" ] && [ -s "$2/kept" ]; then
  tr "\n" "\0" <"$2/kept" | xargs --null cp --link --parents --no-dereference --target-directory="$2" -- || {
    rm -rf -- "$2/framework" "$2/project" # a disk without such links
    lacking=$(awk "{ print NR }" "$2/FILES")
  }
fi
printf "%s\n" "$lacking"'

# Checks the new version in the directory $1: names, sizes and modes of its files, and the content of those that have been sent.
# shellcheck disable=SC2016 # expands over there
readonly VERIFY_SCRIPT='
cd -- "$1" || exit
find framework project -type f -printf "%m %s %p\n" | LC_ALL=C sort >found
cut -c 66- FILES | LC_ALL=C sort | cmp - found || exit
{
  find framework project -type f -links 1 -printf "%p\n"
  echo
  cat FILES
} | LC_ALL=C awk '\''
  $0 == "" { listed = 1; next }
  !listed { sent[$0]; next }
  { file = $0; sub(/^[^ ]* [^ ]* [^ ]* /, "", file); if (file in sent) print $1 "  " file }'\'' >sent
[ ! -s sent ] || sha256sum --check --quiet --strict sent || exit
rm -f -- kept found sent'

# Unpacks stdin in $1, checks it, and gives it its final name $2: such a version is complete, even after a power failure. Exit code 9: it is
# not what was sent.
# shellcheck disable=SC2016 # expands over there
readonly RECEIVE_SCRIPT=$EXTRACT_SCRIPT' && {
('$VERIFY_SCRIPT') || exit 9
} && sync --file-system "$1" && mv --no-target-directory -- "$1" "$2"'

# Removes versions in the directory $1, but the newest $2, the current one, and those that a process or an attempt has locked; prints
# how many. Those without FILES are of an earlier form of the tool, whose processes lock none.
# shellcheck disable=SC2016 # expands over there
readonly REMOVE_SCRIPT='
cd -- "$1" && rm -rf -- .gone.* && command -v flock >/dev/null || exit
current=$(readlink current)
removed=0
for version in $(find . -mindepth 2 -maxdepth 2 -name FILES -path "./c????????????/*" -printf "%C@ %h\n" | sort -n -r | cut -d / -f 2 | tail -n "+$(($2 + 1))"); do
  case $version in
    "$current" | c*[!0-9a-f]*) ;;
    *)
      if flock --exclusive --nonblock "$version/VERSION" mv -- "$version" ".gone.$version"; then
        rm -rf -- ".gone.$version" && removed=$((removed + 1))
      fi
      ;;
  esac
done
echo "$removed"'

# digest_on HOST DIRECTORY: prints 64 hexadecimal digits for names, modes and content; nothing if there is no such directory.
digest_on() {
  on_host "$1" sh -c "$DIGEST_SCRIPT" digest "$2" "${ARCHIVE_OPTIONS[@]}"
}

# send_entries HOST SOURCE TAR_OPTION… -- SCRIPT ARGUMENT…: runs SCRIPT for sh on the host. Its stdin is an archive of entries of the
# directory SOURCE here, which the options of tar name.
send_entries() {
  local host=$1 source=$2 options=()
  shift 2
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  if [[ $DRY_RUN ]]; then
    change_host "$host" sh -c "$@"
  else
    tar --create --file - --directory "$source" "${ARCHIVE_OPTIONS[@]}" "${options[@]}" | change_host_stdin "$host" sh -c "$@"
  fi
}

# ask_about_size HOST…: asks before more than SEND_LIMIT MiB are sent to one of the hosts.
ask_about_size() {
  local host bytes most=0 where='' limit=$((10#$SEND_LIMIT * 1024 * 1024))
  (($(staged_bytes) > limit)) && [[ ! $DRY_RUN ]] || return 0
  for_each_host measure_missing "$@"
  for host in "$@"; do
    bytes=$(<"$STAGE/bytes.$host")
    if ((bytes > most)); then
      most=$bytes where=${HOST_NAMES[host]}
    fi
  done
  if ((most > limit)) && [[ ! $ASSUME_YES ]]; then
    confirm "Send $(size_text "$most") to each host that lacks it, as $where?" ||
      usage_error "$(size_text "$most") would be sent to $where, which is more than SEND_LIMIT ($SEND_LIMIT MiB): -y sends it; a line in .infrainitignore leaves files out"
  fi
}

# measure_missing HOST: writes how many bytes of the staged files the host's current version lacks.
measure_missing() {
  local numbers
  numbers=$(on_host_stdin "$1" sh -c "$COMPARE_SCRIPT" compare "$(code_directory "$1")" '' <"$STAGE/FILES")
  missing_files "$1" "$numbers" >"$STAGE/missing.$1"
  awk '{ bytes += $3 } END { printf "%.0f\n", bytes }' "$STAGE/missing.$1" >"$STAGE/bytes.$1"
}

# staged_bytes: prints the size of all staged files.
staged_bytes() {
  awk '{ bytes += $3 } END { printf "%.0f\n", bytes }' "$STAGE/FILES"
}

# missing_files HOST NUMBERS: prints the lines of STAGE/FILES with these NUMBERS, one a line, which came from HOST.
missing_files() {
  [[ $2 =~ ^([1-9][0-9]{0,8}($'\n'|$))*$ ]] || unreadable "$1" "$2"
  awk 'NR == FNR { wanted[$1]; next } FNR in wanted' - "$STAGE/FILES" <<<"$2"
}

# send_code HOST: copies the staged version to the host, without the files that it has; it is not used yet.
send_code() {
  local host=$1 name=${HOST_NAMES[$1]} directory new numbers code=0
  directory=$(code_directory "$host")
  if on_host "$host" test -d "$directory/$CODE_VERSION"; then
    return 0
  fi
  new="$directory/.$CODE_VERSION.$INFRASTRUCTURE" # another checkout may push the same version at this moment
  numbers=$(
    change_host_stdin "$host" sh -c "$NEW_VERSION_SCRIPT$COMPARE_SCRIPT" compare \
      "$directory" "$new" "$INFRASTRUCTURE" "$(root_of "$host")" <"$STAGE/FILES"
  )
  missing_files "$host" "$numbers" >"$STAGE/missing.$host"
  step "$name" "sending version $CODE_VERSION of framework and project$(describe_missing "$host")"
  list_to_send "$host" >"$STAGE/names.$host"
  send_entries "$host" "$STAGE" --no-recursion --null --files-from="$STAGE/names.$host" -- \
    "$RECEIVE_SCRIPT" receive "$new" "$directory/$CODE_VERSION" || code=$?
  ((code != 9)) || die "$name: the files did not arrive as they were sent; run this again"
  return "$code"
}

# describe_missing HOST: prints how much is sent.
describe_missing() {
  local bytes
  [[ ! $DRY_RUN ]] || return 0
  bytes=$(awk '{ bytes += $3 } END { printf "%.0f\n", bytes }' "$STAGE/missing.$1")
  printf ': %s of %s, %s\n' "$(wc -l <"$STAGE/missing.$1")" "$(count_of "$(wc -l <"$STAGE/FILES")" file)" "$(size_text "$bytes")"
}

# list_to_send HOST: prints the paths, each before a NUL, of the files that the host lacks, all directories and links, and VERSION.
list_to_send() {
  printf '%s\0' VERSION
  (cd -- "$STAGE" && find framework project ! -type f -print0 | LC_ALL=C sort --zero-terminated)
  cut -d ' ' -f 4- "$STAGE/missing.$1" | tr '\n' '\0'
}

# switch_code HOST: makes the version that was sent the current one. Running tasks keep theirs.
switch_code() {
  local host=$1 directory before
  directory=$(code_directory "$host")
  before=$(current_version "$host")
  if [[ $before == "$CODE_VERSION" ]]; then
    step "${HOST_NAMES[host]}" "has version $CODE_VERSION already"
    return 0
  fi
  # shellcheck disable=SC2016 # expands over there
  change_host "$host" sh -c 'ln --symbolic --force --no-dereference -- "$1" "$2" && mv --no-target-directory -- "$2" "$3"' switch \
    "$CODE_VERSION" "$directory/.current.$INFRASTRUCTURE" "$directory/current"
  if [[ ! $DRY_RUN ]]; then
    say_what_changed "$host" "$directory" "$before"
  fi
}

# current_version HOST: prints the version of the code that the host uses now; nothing if there is none of ours.
current_version() {
  local version
  # shellcheck disable=SC2016 # expands over there
  version=$(on_host "$1" sh -c '[ ! -h "$1" ] || readlink -- "$1"' current "$(code_directory "$1")/current")
  if [[ $version =~ ^c?[0-9a-f]{12}$ ]]; then # earlier versions of the tool put no c in front
    printf '%s\n' "$version"
  fi
}

# push_code HOST
push_code() {
  send_code "$1"
  send_commit "$1"
  switch_code "$1"
  remove_old_versions "$1"
}

# remove_old_versions HOST: removes versions that nothing uses any more.
remove_old_versions() {
  local removed
  removed=$(change_host "$1" sh -c "$REMOVE_SCRIPT" remove "$(code_directory "$1")" "$VERSIONS_KEPT")
  [[ $removed && $removed != 0 ]] || return 0
  is_number "$removed" || unreadable "$1" "$removed"
  step "${HOST_NAMES[$1]}" "removed $(count_of "$removed" 'earlier version'), which nothing uses"
}

# say_what_changed HOST DIRECTORY BEFORE: in one message, so that those of several hosts do not mix.
say_what_changed() {
  local name=${HOST_NAMES[$1]}
  if [[ ! $3 ]]; then
    step "$name" "version $CODE_VERSION is there, the first one"
    return 0
  fi
  say "$({
    echo "version $CODE_VERSION instead of $3"
    list_changes "$@" | awk -v most="$CHANGES_SHOWN" '
      NR <= most { print "  " $0 }
      END { if (NR > most) print "  and " NR - most " more" }'
  } | put_host_in_front "$name")"
}

# list_changes HOST DIRECTORY BEFORE: prints a line for each file that was added, changed or removed since the version BEFORE.
list_changes() {
  local host=$1 directory=$2 before=$3 code=0 differences
  # shellcheck disable=SC2016 # expands over there
  differences=$(
    on_host "$host" sh -c 'cd -- "$1" && LC_ALL=C exec diff --recursive --brief --no-dereference "$2" "$3"' \
      changes "$directory" "$before" "$CODE_VERSION"
  ) || code=$?
  if ((code > 1)); then # 1: there are differences
    warn "${HOST_NAMES[host]}: the changes since version $before could not be determined"
    return 0
  fi
  # VERSION and FILES always differ, and git/ is no part of a version.
  sed -n -e "/^Files $before\/[A-Z]* and /d" -e "/^[FO][a-z]* \(in \)\{0,1\}c\{0,1\}[0-9a-f]*\/git[:\/]/d" \
    -e "s|^Only in $CODE_VERSION/\(.*\): |added \1/|p" \
    -e "s|^Only in $before/\(.*\): |removed \1/|p" \
    -e "s|^.* and \(file \)\{0,1\}$CODE_VERSION/\(.*\) differ\$|changed \2|p" \
    -e "s|^File .* while file $CODE_VERSION/\(.*\) is a .*|changed \1|p" <<<"$differences"
}
