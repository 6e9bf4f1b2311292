# shellcheck shell=bash
# The commit of the project's checkout, for tasks that ask git: beside the project, a version of the code has a git repository that
# holds this commit alone, without its files. It is no part of what names the version: a commit alone makes no new one.

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

# send_commit HOST: gives the version that was sent the commit. Tasks may read the one that it has, so HEAD is replaced last.
send_commit() {
  local host=$1 directory had
  [[ -d $STAGE/git ]] || return 0
  directory=$(code_directory "$host")/$CODE_VERSION/git
  # shellcheck disable=SC2016 # expands over there
  had=$(on_host "$host" sh -c '[ ! -f "$1/HEAD" ] || cat -- "$1/HEAD"' head "$directory")
  [[ $had != "$(<"$STAGE/git/HEAD")" ]] || return 0
  change_host "$host" mkdir -p -- "$directory"
  send_directory "$host" "$STAGE/git" "$directory" shallow objects refs
  # shellcheck disable=SC2016 # expands over there
  change_host_stdin "$host" sh -c 'cat >"$1/HEAD.new" && mv -- "$1/HEAD.new" "$1/HEAD"' head "$directory" <"$STAGE/git/HEAD"
}
