# shellcheck shell=bash
# The commit of the project's checkout, for tasks that ask git: beside the project, a version of the code has a git repository that
# holds this commit alone, without its files. It is no part of what names the version: a commit alone makes no new one.

# Makes the repository in the directory $1 of stdin, an archive. Tasks may read the one that is there, so HEAD is replaced last.
# shellcheck disable=SC2016 # expands over there
readonly COMMIT_SCRIPT='mkdir -p -- "$1" && '$EXTRACT_SCRIPT' && mv -- "$1/HEAD.new" "$1/HEAD"'

# stage_commit: makes the repository in STAGE/git. Without git here, or without a commit, there is none.
stage_commit() {
  local commit repository=$STAGE/git
  command -v git >/dev/null || return 0
  commit=$(git -C "$PROJECT_PATH" rev-parse --quiet --verify HEAD 2>/dev/null) || return 0 # no repository, as for most
  [[ $commit =~ ^[0-9a-f]{40}$ ]] || return 0                                              # SHA-256 needs more than this repository has
  mkdir -p -- "$repository/objects" "$repository/refs"
  printf '%s\n' "$commit" | tee -- "$repository/shallow" >"$repository/HEAD" # git looks for no parents
  if ! git -C "$PROJECT_PATH" cat-file commit HEAD |
    git --git-dir="$repository" hash-object -t commit -w --stdin >/dev/null; then
    rm -rf -- "$repository"
    warn "tasks cannot ask git for the commit $commit: it could not be read; see above"
  fi
}

# send_commit HOST: gives the version that was sent the commit.
send_commit() {
  local host=$1 directory had
  [[ -d $STAGE/git ]] || return 0
  directory=$(code_directory "$host")/$CODE_VERSION/git
  # shellcheck disable=SC2016 # expands over there
  had=$(on_host "$host" sh -c '[ ! -f "$1/HEAD" ] || cat -- "$1/HEAD"' head "$directory")
  [[ $had != "$(<"$STAGE/git/HEAD")" ]] || return 0
  send_entries "$host" "$STAGE/git" --transform 's|^HEAD$|HEAD.new|' shallow objects refs HEAD -- "$COMMIT_SCRIPT" commit "$directory"
}
