# shellcheck shell=bash
# shellcheck disable=SC2016 # what stands in single quotes expands over there
# Files for the hosts: framework and project as one directory named by its content, and the secrets of each role.
# Everything arrives beside its place and is renamed, so that nobody ever sees half of it.

STAGE=''        # temporary copy of what is pushed: framework/, project/ and VERSION
CODE_VERSION='' # the name of what STAGE holds: 12 hexadecimal digits
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
  --preserve-permissions # not those that a umask over there leaves
  --no-same-owner
)
readonly CHANGES_SHOWN=20 # files named for each host; the rest is counted

readonly DIGEST_SCRIPT='
directory=$1
shift
[ -d "$directory" ] || exit 0
tar --create --file - --directory "$directory" "$@" . | sha256sum | cut -c 1-64'

# code_directory HOST: where the versions of this project are.
code_directory() {
  printf '%s/code/%s\n' "$(root_of "$1")" "$PROJECT_NAME"
}

# secrets_directory HOST ROLE
secrets_directory() {
  printf '%s/secrets/%s/%s\n' "$(root_of "$1")" "$INFRASTRUCTURE" "$2"
}

# digest_on HOST DIRECTORY: 64 hexadecimal digits for names, modes and content; nothing where there is no such directory.
digest_on() {
  on_host "$1" sh -c "$DIGEST_SCRIPT" digest "$2" "${ARCHIVE_OPTIONS[@]}"
}

# secrets_digest ROLE: of the secrets here.
secrets_digest() {
  digest_on 0 "$(secrets_path)/$1"
}

# stage_code: copies framework and project to STAGE and sets CODE_VERSION. What is checked there is what is pushed, even
# while somebody edits. The caller's exit trap calls remove_stage.
stage_code() {
  local framework project
  remove_stage
  STAGE=$(mktemp -d)
  copy_tree "$CHECKOUT/framework" "$STAGE/framework" --exclude=./shell
  copy_tree "$PROJECT_PATH" "$STAGE/project" --exclude=./results
  framework=$(digest_on 0 "$STAGE/framework")
  project=$(digest_on 0 "$STAGE/project")
  printf 'framework=%s\nproject=%s\n' "${framework:0:12}" "${project:0:12}" >"$STAGE/VERSION"
  CODE_VERSION=$(sha256sum <"$STAGE/VERSION")
  CODE_VERSION=${CODE_VERSION:0:12}
}

remove_stage() {
  [[ $STAGE ]] || return 0
  rm -rf -- "$STAGE"
  STAGE=''
}

# copy_tree SOURCE TARGET TAR_OPTION…: without what Python and git leave in it. Write permission for a group is left out: it
# depends on the umask of a checkout, and would give the same files another version.
copy_tree() {
  local source=$1 target=$2
  mkdir -- "$target"
  tar --create --file - --directory "$source" --mode=u+rw,go-w --anchored "${@:3}" \
    --no-anchored --exclude=__pycache__ --exclude='*.pyc' --exclude=.git . |
    tar --extract --file - --directory "$target" "${EXTRACT_OPTIONS[@]}" ||
    die "the files in $source could not be copied; see above"
}

# send_directory HOST SOURCE TARGET MEMBER…: the members of the directory SOURCE here, into the directory TARGET there.
send_directory() {
  local host=$1 source=$2
  local extract=(tar --extract --file - --directory "$3" "${EXTRACT_OPTIONS[@]}")
  if [[ $DRY_RUN ]]; then
    change_host "$host" "${extract[@]}"
  else
    tar --create --file - --directory "$source" "${ARCHIVE_OPTIONS[@]}" -- "${@:4}" | change_host_stdin "$host" "${extract[@]}"
  fi
}

# send_code HOST: brings the staged version there, without using it yet.
send_code() {
  local host=$1 directory new
  directory=$(code_directory "$host")
  if on_host "$host" test -d "$directory/$CODE_VERSION"; then
    return 0
  fi
  step "${HOST_NAMES[host]}" "sending version $CODE_VERSION of framework and project"
  new="$directory/.$CODE_VERSION.$INFRASTRUCTURE" # not shared with another checkout that pushes at this moment
  change_host "$host" rm -rf -- "$new"
  change_host "$host" mkdir -p -- "$new"
  send_directory "$host" "$STAGE" "$new" VERSION framework project
  change_host "$host" find "$new" -type f -exec chmod a-w '{}' +
  change_host "$host" sync --file-system "$new" # a version that has its name stays whole, even if the power fails now
  change_host "$host" mv --no-target-directory -- "$new" "$directory/$CODE_VERSION"
}

# switch_code HOST: makes the version sent before the current one. Tasks already running keep theirs.
switch_code() {
  local host=$1 directory link before=''
  directory=$(code_directory "$host")
  before=$(on_host "$host" sh -c '[ ! -h "$1" ] || readlink -- "$1"' current "$directory/current")
  if [[ ! $before =~ ^[0-9a-f]{12}$ ]]; then
    before='' # not one of ours
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

# list_changes HOST DIRECTORY BEFORE: a line for each file added, changed or removed since the version BEFORE.
list_changes() {
  local host=$1 directory=$2 before=$3 code=0 differences
  differences=$(
    on_host "$host" sh -c 'cd -- "$1" && LC_ALL=C exec diff --recursive --brief --no-dereference "$2" "$3"' \
      changes "$directory" "$before" "$CODE_VERSION"
  ) || code=$?
  if ((code > 1)); then # 1: there are differences
    warn "${HOST_NAMES[host]}: what changed since version $before could not be found out"
    return 0
  fi
  # VERSION itself always differs.
  sed -n -e "/^Files $before\/VERSION and /d" \
    -e "s|^Only in $CODE_VERSION/\(.*\): |added \1/|p" \
    -e "s|^Only in $before/\(.*\): |removed \1/|p" \
    -e "s|^.* and \(file \)\{0,1\}$CODE_VERSION/\(.*\) differ\$|changed \2|p" \
    -e "s|^File .* while file $CODE_VERSION/\(.*\) is a .*|changed \1|p" <<<"$differences"
}

# push_secrets HOST ROLE: replaces the role's secrets there if they differ from those here. Containers that run keep what they
# have until they are replaced; the label infrainit.settings takes care of that.
push_secrets() {
  local host=$1 role=$2 here there source target
  source="$(secrets_path)/$role"
  target=$(secrets_directory "$host" "$role")
  here=$(secrets_digest "$role")
  if [[ ! $here && ! $DRY_RUN ]]; then
    die "$source is missing: run infrainit.sh on the machine that started the infrastructure"
  fi
  there=$(digest_on "$host" "$target")
  if [[ $here && $here == "$there" ]]; then
    return 0
  fi
  change_host "$host" rm -rf -- "$target.new" "$target.old"
  change_host "$host" mkdir -p -- "$(root_of "$host")"
  change_host "$host" install --directory --mode=0700 -- \
    "$(root_of "$host")/secrets" "$(dirname -- "$target")" "$target.new"
  send_directory "$host" "$source" "$target.new" .
  if [[ $there ]]; then
    change_host "$host" mv --no-target-directory -- "$target" "$target.old"
  fi
  change_host "$host" mv --no-target-directory -- "$target.new" "$target"
  change_host "$host" rm -rf -- "$target.old"
}
