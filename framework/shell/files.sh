# shellcheck shell=bash
# The code for the hosts: framework and project, as one directory named by its content. It is sent under another name and then
# renamed, so that no reader ever sees half of it.

STAGE=''        # temporary copy of what is pushed: framework/, project/ and VERSION
CODE_VERSION='' # the name of the content of STAGE, when name_version has completed it: c and 12 hexadecimal digits, so that no program reads it as a number
readonly ARCHIVE_OPTIONS=( # the same files give the same bytes, whoever owns them and whenever they were written
  --sort=name
  --mtime=@0
  --owner=0
  --group=0
  --numeric-owner
  --format=gnu
  --hard-dereference
)
readonly EXTRACT_OPTIONS=(
  --preserve-permissions # those of the archive, whatever the umask is over there
  --no-same-owner
)
readonly NEIGHBOURS=10000 # of a project, whose names its check knows
readonly CHANGES_SHOWN=20 # files named for each host; the others are counted

# shellcheck disable=SC2016 # expands over there
readonly DIGEST_SCRIPT='
directory=$1
shift
[ -d "$directory" ] || exit 0
tar --create --file - --directory "$directory" "$@" . | sha256sum | cut -c 1-64'

# digest_on HOST DIRECTORY: prints 64 hexadecimal digits for names, modes and content; nothing if there is no such directory.
digest_on() {
  on_host "$1" sh -c "$DIGEST_SCRIPT" digest "$2" "${ARCHIVE_OPTIONS[@]}"
}

# stage_code: copies framework and project to STAGE. The copy is checked and then pushed, so that an edit in
# between makes no difference. The caller's exit trap calls remove_stage.
stage_code() {
  local framework project exclusions sweep=''
  remove_stage
  STAGE=$(mktemp -d)
  copy_tree "$CHECKOUT/framework" "$STAGE/framework" --no-anchored --exclude=__pycache__ --exclude='*.pyc' \
    --anchored --exclude=./shell
  read_words exclusions exclusion_options
  copy_tree "$PROJECT_PATH" "$STAGE/project" "${exclusions[@]}"
  framework=$(digest_on 0 "$STAGE/framework")
  project=$(digest_on 0 "$STAGE/project")
  printf 'framework=%s\nproject=%s\n' "${framework:0:12}" "${project:0:12}" >"$STAGE/VERSION"
  stage_neighbours
  if [[ $SWEEP_FILE ]]; then
    sweep=$(sweep_path)
    [[ -f $STAGE/project/$sweep ]] ||
      usage_error "-d: $SWEEP_FILE is left out of what goes to hosts, or a link out of its project; see $EXCLUDED_FILES"
    printf 'sweep=%s\n' "$sweep" >>"$STAGE/VERSION"
  fi
  if [[ $RUN_CAP ]]; then
    printf 'run_cap=%s\n' "$RUN_CAP" >>"$STAGE/VERSION"
  fi
}

# stage_neighbours: stages empty files with the names of what is beside the project. Its check names paths like ../data that lead there,
# where no task finds anything; it need not see more of it.
stage_neighbours() {
  local directory names
  directory=$(dirname -- "$PROJECT_PATH")
  mkdir -p -- "$STAGE/beside/${PROJECT_PATH##*/}" # the project's own place
  mapfile -d '' -t names < <(find "$directory" -mindepth 1 -maxdepth 1 -printf '%f\0' | head --zero-terminated --lines="$NEIGHBOURS")
  (cd -- "$STAGE/beside" && touch -- . "${names[@]/#/./}")
}

# name_version: notes in STAGE the image in which its tasks run, and sets CODE_VERSION. The master knows by it which results come from
# another image.
name_version() {
  printf 'image=%s\n' "$RUNNER_IMAGE_ID" >>"$STAGE/VERSION"
  CODE_VERSION=$(sha256sum <"$STAGE/VERSION")
  CODE_VERSION=c${CODE_VERSION:0:12}
}

remove_stage() {
  [[ $STAGE ]] || return 0
  rm -rf -- "$STAGE"
  STAGE=''
}

# copy_tree SOURCE TARGET TAR_OPTION…: copies a directory. Write permission for the group is dropped: it depends on the umask of a
# checkout, and would give the same files another version.
copy_tree() {
  local source=$1 target=$2
  mkdir -- "$target"
  tar --create --file - --directory "$source" --mode=u+rw,go-w "${@:3}" . |
    tar --extract --file - --directory "$target" "${EXTRACT_OPTIONS[@]}" ||
    die "the files in $source could not be copied; see above"
}

# send_directory HOST SOURCE TARGET MEMBER…: copies members of the directory SOURCE here into the directory TARGET on the host.
send_directory() {
  local host=$1 source=$2
  local extract=(tar --extract --file - --directory "$3" "${EXTRACT_OPTIONS[@]}")
  if [[ $DRY_RUN ]]; then
    change_host "$host" "${extract[@]}"
  else
    tar --create --file - --directory "$source" "${ARCHIVE_OPTIONS[@]}" -- "${@:4}" | change_host_stdin "$host" "${extract[@]}"
  fi
}

# make_root HOST: makes the directory of all our files there, for its user alone, whatever the umask is over there. One that is there
# keeps its mode.
make_root() {
  change_host "$1" mkdir -p -m 0700 -- "$(root_of "$1")"
}

# send_code HOST: copies the staged version to the host; it is not used yet.
send_code() {
  local host=$1 name=${HOST_NAMES[$1]} directory new environments
  directory=$(code_directory "$host")
  if on_host "$host" test -d "$directory/$CODE_VERSION"; then
    return 0
  fi
  step "$name" "sending version $CODE_VERSION of framework and project"
  environments=$(environments_of_project)
  if [[ $environments ]]; then
    step "$name" "left out: the virtual environment $environments; list packages in requirements.txt"
  fi
  new="$directory/.$CODE_VERSION.$INFRASTRUCTURE" # another checkout may push the same version at this moment
  change_host "$host" rm -rf -- "$new"
  make_root "$host"
  change_host "$host" mkdir -p -- "$new"
  send_directory "$host" "$STAGE" "$new" VERSION framework project
  change_host "$host" find "$new" -type f -exec chmod a-w '{}' +
  change_host "$host" sync --file-system "$new" # a version under its final name is complete, even after a power failure
  change_host "$host" mv --no-target-directory -- "$new" "$directory/$CODE_VERSION"
}

# switch_code HOST: makes the version that was sent the current one. Running tasks keep theirs.
switch_code() {
  local host=$1 directory link before=''
  directory=$(code_directory "$host")
  # shellcheck disable=SC2016 # expands over there
  before=$(on_host "$host" sh -c '[ ! -h "$1" ] || readlink -- "$1"' current "$directory/current")
  if [[ ! $before =~ ^c?[0-9a-f]{12}$ ]]; then # earlier versions of the tool put no c in front
    before=''                                  # not one of ours
  elif [[ $before == "$CODE_VERSION" ]]; then
    step "${HOST_NAMES[host]}" "has version $CODE_VERSION already"
    return 0
  fi
  link="$directory/.current.$INFRASTRUCTURE"
  change_host "$host" ln --symbolic --force --no-dereference -- "$CODE_VERSION" "$link"
  change_host "$host" mv --no-target-directory -- "$link" "$directory/current"
  if [[ ! $DRY_RUN ]]; then
    say_what_changed "$host" "$directory" "$before"
  fi
}

# push_code HOST
push_code() {
  send_code "$1"
  switch_code "$1"
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
  # VERSION itself always differs.
  sed -n -e "/^Files $before\/VERSION and /d" \
    -e "s|^Only in $CODE_VERSION/\(.*\): |added \1/|p" \
    -e "s|^Only in $before/\(.*\): |removed \1/|p" \
    -e "s|^.* and \(file \)\{0,1\}$CODE_VERSION/\(.*\) differ\$|changed \2|p" \
    -e "s|^File .* while file $CODE_VERSION/\(.*\) is a .*|changed \1|p" <<<"$differences"
}
