#!/usr/bin/env bats
# framework/shell/answers.sh: what the framework has said of a project before.

# shellcheck disable=SC2034,SC2154 # names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  make_project digits
  load_tool
  read_all -d digits -m local -w local
  WORKER_IMAGE_ID=the-worker
}

# ask KEY [TEXT [CODE]]: what the framework says is TEXT; how often it was asked is in CALLS.
ask() {
  stub framework "printf '%s\n' '${2:-}'; echo note >&2; exit ${3:-0}"
  capture answer_of needs "$1" framework needs
}

@test "an answer is asked for once as long as its key is the same; its messages come each time" {
  ask one first
  assert_equal "$status|$output|$messages" '0|first|note'
  ask one second
  assert_equal "$status|$output|$messages" '0|first|note'
  ask two second
  assert_equal "$status|$output" '0|second'
  ask one third # the last one alone is kept
  assert_equal "$output|$(grep -c framework "$CALLS")" 'third|3'
  assert_equal "$(find "$TOOL/.infra/answers" -perm /077)" ''
}

@test "no answer is kept of what fails, of a dry run, and of what has no key" {
  ask one wrong 2
  assert_equal "$status|$output|$messages" '2|wrong|note'
  ask '' first
  DRY_RUN=yes ask one first
  assert_equal "$(find "$TOOL/.infra/answers" -mindepth 1)" ''
  ask one right
  assert_equal "$output" right
}

# key: the digest of what the list of the project's files depends on.
key() {
  stage_code 2>/dev/null
  key_of_files a-word | sha256sum
}

@test "the list of files is asked for again if there are other entries, or other rules, and not for another content" {
  local project="$TOOL/tasks/digits" before after change
  stub docker
  mkdir -p "$TOOL/framework/cli" "$project/.git"
  before=$(key)
  echo 'command: python other.py' >"$project/parameters.yml"
  touch "$project/.git/index"
  assert_equal "$(key)" "$before"
  for change in 'touch new' 'mkdir data' 'rm new' 'ln -s data new' 'ln -sfn . new' 'echo x >.gitignore' 'echo y >.infrainitignore' \
    'echo "ignore: [x]" >project.yml' 'echo z >data/.gitignore' 'chmod 700 data' 'touch ../../framework/cli/files.py'; do
    (cd "$project" && eval "$change")
    after=$(key)
    [[ $after != "$before" ]] || { echo "the same key after: $change" && false; }
    before=$after
  done
}

@test "what is staged, and what is beside it, are part of a key" {
  local before
  stub docker
  stage_code 2>/dev/null
  before=$(key_of_stage "source=$STAGE/project" x)
  stage_code 2>/dev/null # in another directory
  assert_equal "$(key_of_stage "source=$STAGE/project" x)" "$before"
  [[ $(key_of_stage "source=$STAGE/project" y) != "$before" ]]
  mkdir "$TOOL/tasks/beside"
  stage_code 2>/dev/null
  [[ $(key_of_stage "source=$STAGE/project" x) != "$before" ]]
  rmdir "$TOOL/tasks/beside"
  echo 'n: [3]' >"$TOOL/tasks/digits/parameters.yml"
  stage_code 2>/dev/null
  [[ $(key_of_stage "source=$STAGE/project" x) != "$before" ]]
}

teardown() {
  remove_stage
  close_connections
}
