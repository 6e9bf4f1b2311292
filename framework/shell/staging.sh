# shellcheck shell=bash
# What is pushed: a copy of framework and project on this machine, and a list of its files with their content.

STAGE=''        # temporary copy of what is pushed: framework/, project/, FILES and VERSION, git/ (git_commit.sh); and what only this script needs
CODE_VERSION='' # the name of the content of STAGE, when name_version has completed it: c and 12 hexadecimal digits, so that no program reads it as a number

readonly NEIGHBOURS=10000 # of a project, whose names its check knows
readonly COPY_OPTIONS=(
  "--mode=u+rw,go-w" # permissions for the group depend on the umask of a checkout, and would give the same files another version
)

# stage_code: copies framework and project to STAGE. The copy is checked and then pushed, so that an edit in
# between makes no difference. The caller's exit trap calls remove_stage.
stage_code() {
  local sweep='' framework project
  remove_stage
  STAGE=$(mktemp -d)
  copy_tree "$CHECKOUT/framework" "$STAGE/framework" "${COPY_OPTIONS[@]}" --no-anchored --exclude=__pycache__ --exclude='*.pyc' \
    --anchored --exclude=./shell .
  list_project
  copy_tree "$PROJECT_PATH" "$STAGE/project" "${COPY_OPTIONS[@]}" --no-recursion . --null --files-from="$STAGE/names"
  find "$STAGE/framework" "$STAGE/project" -type f -exec chmod a-w '{}' + # versions share files on a host, which nobody may change
  list_staged_files
  framework=$(digest_staged framework)
  project=$(digest_staged project)
  printf 'framework=%s\nproject=%s\n' "${framework:0:12}" "${project:0:12}" >"$STAGE/VERSION"
  stage_neighbours
  stage_commit
  if [[ $SWEEP_FILE ]]; then
    sweep=$(sweep_path)
    [[ -f $STAGE/project/$sweep ]] ||
      usage_error "-d: $SWEEP_FILE is left out of what goes to hosts, or a link out of its project; see the files of a project in docs/projects.md"
    printf 'sweep=%s\n' "$sweep" >>"$STAGE/VERSION"
  fi
  if [[ $RUN_CAP ]]; then
    printf 'run_cap=%s\n' "$RUN_CAP" >>"$STAGE/VERSION"
  fi
  [[ $DRY_RUN ]] || say "the project: $(describe_project)"
}

remove_stage() {
  [[ $STAGE ]] || return 0
  rm -rf -- "$STAGE"
  STAGE=''
}

# copy_tree SOURCE TARGET TAR_OPTION…: copies entries of a directory, which the options of tar name.
copy_tree() {
  mkdir -- "$2"
  tar --create --file - --directory "$1" "${@:3}" |
    tar --extract --file - --directory "$2" "${EXTRACT_OPTIONS[@]}" ||
    die "the files in $1 could not be copied; see above"
}

# list_project: writes the paths of the entries that belong to the project into the file names in STAGE, each ended by a NUL. Only the
# framework knows the rule. A dry run, for which there may be no image yet, takes the files that say what runs.
list_project() {
  local options key names name code=0
  stage_above
  read_words options files_options
  key=$(key_of_files "${options[@]}") || key='' # the framework reports what cannot be read
  answer_of files "$key" change_docker 0 run "${options[@]}" >"$STAGE/names" || code=$?
  stop_on_invalid_project "$code"
  if [[ $DRY_RUN ]]; then
    say "(which files belong to the project is asked in the image of the workers)"
    list_settings >"$STAGE/names"
    return 0
  fi
  mapfile -d '' -t names <"$STAGE/names"
  for name in "${names[@]}"; do
    [[ $name == ./?* && $name/ != */../* && $name != *[[:cntrl:]]* ]] || unreadable 0 "$name"
  done
}

# list_settings: prints the paths of the files that say what runs, each ended by a NUL.
list_settings() {
  local name names=(project.yml parameters.yml)
  [[ ! $SWEEP_FILE ]] || names=("$(sweep_path)")
  for name in "${names[@]}"; do
    [[ ! -f $PROJECT_PATH/$name ]] || printf './%s\0' "$name"
  done
}

# stage_above: stages what counts of the directories above the project: the .gitignore files of its git repository, in STAGE/above.
stage_above() {
  local directory here there=$STAGE/above below
  below=$(path_in_repository)
  mkdir -p -- "$there/$below" # the project's own place
  directory=$(cd -- "$PROJECT_PATH" && pwd -P)
  here=${directory%"/$below"}
  [[ -e $here/.git && ! -e $directory/.git ]] || return 0
  touch -- "$there/.git"
  while true; do
    if [[ -f $here/.gitignore && ! -L $here/.gitignore ]]; then
      cp -- "$here/.gitignore" "$there"
    fi
    [[ $below == */* ]] || break
    here+=/${below%%/*} there+=/${below%%/*} below=${below#*/}
  done
}

# path_in_repository: prints the path of the project from the top of the git repository above it; its name if there is none, or if it is
# a repository itself.
path_in_repository() {
  local directory above
  directory=$(cd -- "$PROJECT_PATH" && pwd -P)
  above=$directory
  while [[ $above && ! -e $above/.git ]]; do
    above=${above%/*}
  done
  if [[ ! $above || $above == "$directory" ]]; then
    above=${directory%/*}
  fi
  printf '%s\n' "${directory#"$above"/}"
}

# list_staged_files: writes STAGE/FILES, with SHA-256, mode, bytes and path of each file of framework and project.
list_staged_files() {
  (
    cd -- "$STAGE" || exit
    find framework project -type f -fprintf stats '%m %s %p\n' -exec sha256sum --zero -- '{}' + >sums
    tr '\0' '\n' <sums | cut -c 1-64 | paste -d ' ' - stats | LC_ALL=C sort --key=4 >FILES
    chmod a-w FILES
    rm -- sums stats
  )
}

# digest_staged PART: prints 64 hexadecimal digits for names, modes and content of framework or project in STAGE.
digest_staged() {
  {
    grep -E "^[0-9a-f]{64} [0-7]+ [0-9]+ $1/" "$STAGE/FILES" || true # none
    find "$STAGE/$1" ! -type f -printf '%y %m %P %l\0' | LC_ALL=C sort --zero-terminated
  } | digest
}

# describe_project: prints how many files it has, and how large they are.
describe_project() {
  local files bytes largest name
  read -r files bytes largest name < <(LC_ALL=C awk '
    { path = $0; sub(/^[0-9a-f]+ [0-7]+ [0-9]+ /, "", path) }
    path ~ /^project\// {
      files++
      bytes += $3
      if (files == 1 || $3 > most) { most = $3; name = substr(path, 9) }
    }
    END { printf "%d %.0f %.0f %s\n", files, bytes, most, name }' "$STAGE/FILES")
  printf '%s, %s; largest %s %s\n' "$(count_of "$files" file)" "$(size_text "$bytes")" "$name" "$(size_text "$largest")"
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
  chmod a-w "$STAGE/VERSION"
  CODE_VERSION=$(sha256sum <"$STAGE/VERSION")
  CODE_VERSION=c${CODE_VERSION:0:12}
}
