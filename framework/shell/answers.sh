# shellcheck shell=bash
# Answers of the framework about a project, kept in .infra/answers: a container that would say the same again is not started. An answer
# holds for one digest of all that it depends on, and only the last one of its kind is kept.
#
# .infra/answers/<kind>/<digest>/{stdout,stderr}

# answer_of KIND KEY COMMAND…: prints what COMMAND has printed when it last succeeded with the same KEY, its messages too; runs it if
# there is no such answer, or no KEY. Fails as COMMAND does.
answer_of() {
  local kinds=$STATE/answers digest new code=0
  digest=$(sha256sum <<<"$2")
  digest=$kinds/$1/${digest:0:64}
  if [[ $2 && -d $digest ]]; then
    cat -- "$digest/stderr" >&2
    cat -- "$digest/stdout"
    return
  fi
  if [[ $DRY_RUN || ! $2 ]]; then
    "${@:3}"
    return
  fi
  (umask 077 && mkdir -p -- "$kinds") && new=$(mktemp -d "$kinds/.new.XXXXXXXX") &&
    install --mode=600 /dev/null "$new/stdout" && install --mode=600 /dev/null "$new/stderr" || return
  "${@:3}" >"$new/stdout" 2>"$new/stderr" || code=$?
  cat -- "$new/stderr" >&2
  cat -- "$new/stdout"
  if ((code == 0)); then
    rm -rf -- "${kinds:?}/$1" && mkdir --mode=700 -- "$kinds/$1" && mv --no-target-directory -- "$new" "$digest"
  else
    rm -rf -- "$new"
    return "$code"
  fi
}

# key_of_stage OPTION…: prints what an answer about the staged project depends on: the words of its container, framework and project,
# and the names beside it.
key_of_stage() {
  print_words "${@//"$STAGE"/STAGE}" | tr '\0' '\n' &&
    cat -- "$STAGE/VERSION" &&
    find "$STAGE/beside" -mindepth 1 -maxdepth 1 -printf '%f\n' | LC_ALL=C sort
}

# key_of_files OPTION…: prints what the list of the project's files depends on: the words of its container, the framework, the names and
# kinds of all entries, and the files with rules. What is in .git does not count.
key_of_files() {
  print_words "${@//"$STAGE"/STAGE}" | tr '\0' '\n' &&
    (cd -- "$STAGE" && print_inputs framework above | digest) &&
    find "$PROJECT_PATH/" -name .git -prune -printf '%y %P\n' -o -printf '%m %y %Y %P %l\n' | LC_ALL=C sort &&
    find "$PROJECT_PATH/" -name .git -prune -o -type f \
      "(" -name .gitignore -o -name .infrainitignore -o -name project.yml -o -name 'sweep.y*ml' ")" -print0 |
    LC_ALL=C sort --zero-terminated | xargs --null --no-run-if-empty sha256sum &&
    { [[ ! $SWEEP_FILE ]] || sha256sum <"$SWEEP_FILE"; }
}
