#!/usr/bin/env bats
# framework/shell/journal.sh: the journal moves with the master, or is rebuilt from what the workers kept.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  HOSTS=(local far dead) HOST_NAMES=(local far dead) SSH_DESTINATIONS=('' far dead) SSH_PORTS=('' '' '')
  FACTS=([0.home]="$HOME" [0.uid]=1 [0.gid]=2 [1.home]="$HOME/far home" [2.unreachable]='it does not answer')
  REMOTE_PATH='my tasks' PROJECT_NAME='a project' INFRASTRUCTURE=infra-01234567 WORKER_IMAGE_ID=worker:1
  RECORD=([REMOTE_PATH]='my tasks')
  HERE="$HOME/my tasks" FAR="$HOME/far home/my tasks"
  stub ssh 'exec sh -c "${@: -1}"'
  stub docker
}

# in_directory DIRECTORY FILE…: makes files that contain their names.
in_directory() {
  local directory=$1 file
  for file in "${@:2}"; do
    mkdir -p "$(dirname "$directory/$file")"
    echo "$file" >"$directory/$file"
  done
}

content() {
  (cd "$1" && find . -type f | LC_ALL=C sort | tr '\n' ' ')
}

@test "move_journal: copied without the status; the files of both hosts are kept" {
  in_directory "$FAR/master" 'a project/journal.sqlite' 'a project/status.json'
  in_directory "$HERE/master" 'a project/older.sqlite'
  capture move_journal 1 0
  assert_equal "$status" 0
  assert_line 'local: copying the journal from far'
  assert_equal "$(content "$HERE/master")" './a project/journal.sqlite '
  assert_equal "$(content "$HERE/master.old")" './a project/older.sqlite '
  assert_equal "$(content "$FAR/master")" './a project/journal.sqlite ./a project/status.json '
}

@test "move_journal: a transfer that breaks leaves what was there" {
  in_directory "$FAR/master" 'a project/journal.sqlite'
  in_directory "$HERE/master" 'a project/older.sqlite'
  stub tar 'cat >/dev/null; exit 2'
  hash -r # bash remembers the real one
  capture move_journal 1 0
  assert_equal "$status" 2
  assert_equal "$(content "$HERE/master")" './a project/older.sqlite '
}

@test "move_journal: nothing to do on the same host; a host that does not answer is reported" {
  in_directory "$HERE/master" 'a project/journal.sqlite'
  capture move_journal 0 0
  assert_equal "$status $messages" '0 '
  capture move_journal 2 0
  assert_equal "$status" 0
  assert_part "warning: dead: was the master's host and does not answer"
  assert_equal "$(content "$HERE/master")" './a project/journal.sqlite '
}

@test "rebuild_journal: from the results and the spools of all hosts that answer" {
  local task=tasks/00000000000000aa/1
  MASTER_HOST=0
  in_directory "$HERE/worker/a project" "$task/result.json" "$task/stdout" spool/1.json
  in_directory "$FAR/worker/a project" "$task/result.json" "$task/files/result.json" spool/2.json
  stub docker "cp -r '$HERE/master/a project/recovered' '$BATS_TEST_TMPDIR/seen'"
  capture rebuild_journal
  assert_equal "$status" 0
  assert_equal "$(content "$BATS_TEST_TMPDIR/seen")" "./0/spool/1.json ./0/$task/result.json ./1/spool/2.json ./1/$task/result.json "
  assert_part 'warning: dead: does not answer; the results that it keeps are not recovered'
  assert_line 'far: collecting the results that its worker kept'
  [[ ! -e "$HERE/master/a project/recovered" ]]
}
