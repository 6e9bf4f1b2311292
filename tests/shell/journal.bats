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

# answer_with_archive: whatever far is asked to pack, it sends what lies in $LIE, with all modes set.
answer_with_archive() {
  tar --create --file "$BATS_TEST_TMPDIR/lie.tar" --mode=a+rwxst --directory "$LIE" .
  stub ssh "words=\${*: -1}
    if [[ \$words == *--create* ]]; then
      [[ \$words =~ ([0-9a-f]{32}) ]] && echo \"\${BASH_REMATCH[1]}\" && exec cat '$BATS_TEST_TMPDIR/lie.tar'
    fi
    exec sh -c \"\$words\""
}

@test "hostile host: of a journal that moves, only regular files of known names are kept" {
  LIE="$BATS_TEST_TMPDIR/lie"
  in_directory "$FAR/master" 'a project/journal.sqlite'
  in_directory "$LIE" 'a project/journal.sqlite' 'a project/requests/1.json' 'a project/evil' 'a project/.bashrc' 'a project/x/journal.sqlite'
  ln -s /etc "$LIE/a project/etc"
  ln -s /etc/passwd "$LIE/a project/results.csv"
  mkfifo "$LIE/a project/quarantine.jsonl"
  ((EUID != 0)) || mknod "$LIE/a project/stopped" c 1 3
  answer_with_archive
  umask 022
  capture move_journal 1 0
  assert_equal "$status" 0
  assert_equal "$(content "$HERE/master")" './a project/journal.sqlite ./a project/requests/1.json '
  assert_equal "$(find "$HERE/master" ! -type f ! -type d)" ''
  assert_equal "$(find "$HERE/master" -perm /7022)" ''
}

@test "hostile host: an archive that breaks off leaves nothing but files of known names" {
  mkdir -p lie kept
  mkfifo lie/a
  head --bytes=5000 /dev/zero >lie/b
  tar --create --file lie.tar --directory lie a b
  truncate --size=3000 lie.tar # in b
  HOST_NAMES=(local)
  capture unpack_named 0 "$PWD/kept" './known' <lie.tar
  assert_equal "$status" 2
  assert_equal "$(find kept ! -type d)" ''
}

@test "hostile host: what tar says of an archive reaches no terminal as it is" {
  python3 -c '
import tarfile
with tarfile.open("lie.tar", "w", format=tarfile.PAX_FORMAT) as archive:
    entry = tarfile.TarInfo("a")
    entry.pax_headers = {"size": "\033[31mred\033]0;title"}
    archive.addfile(entry)'
  capture unpack 0 "$PWD" new <lie.tar
  assert_equal "$status" 2
  assert_part 'invalid size=red?]0;title'
}

@test "hostile host: sizes of attempts with zeros in front are no answer" {
  MESSAGES_FILTER=cat LISTS=$PWD
  RESULTS=$PWD
  : >patterns
  on_host() {
    printf '%s\n' '08 0123456789abcdef/1' '10 0123456789abcdef/2'
  }
  size_up_group 1 '' 0 0123456789abcdef/1 0123456789abcdef/2
  assert_equal "$(<1.sized)" $'10\t0123456789abcdef/2\t'
}

@test "hostile host: a journal without an end stops at RESULTS_LIMIT, and the one that was here stays" {
  LIE="$BATS_TEST_TMPDIR/lie" RESULTS_LIMIT=1
  in_directory "$FAR/master" 'a project/journal.sqlite'
  in_directory "$HERE/master" 'a project/older.sqlite'
  mkdir -p "$LIE/a project"
  head --bytes=2M /dev/urandom >"$LIE/a project/journal.sqlite"
  answer_with_archive
  capture move_journal 1 0
  [[ $status != 0 ]]
  assert_part 'far: it sends more than 1 MiB'
  assert_equal "$(content "$HERE/master")" './a project/older.sqlite '
}

@test "hostile host: of what workers kept, only regular files of known names reach the recovery" {
  local task=tasks/00000000000000aa/1
  LIE="$BATS_TEST_TMPDIR/lie" MASTER_HOST=0
  in_directory "$FAR/worker/a project" "$task/result.json"
  in_directory "$LIE" "$task/result.json" "$task/../../../evil" spool/1.json spool/x
  mkdir -p "$LIE/tasks/00000000000000bb/1"
  mkfifo "$LIE/tasks/00000000000000bb/1/result.json"
  ln -s /etc/passwd "$LIE/spool/2.json"
  answer_with_archive
  stub docker "cp -r '$HERE/master/a project/recovered' '$BATS_TEST_TMPDIR/seen'"
  capture rebuild_journal
  assert_equal "$status" 0
  assert_equal "$(content "$BATS_TEST_TMPDIR/seen")" "./1/spool/1.json ./1/$task/result.json "
  assert_equal "$(find "$BATS_TEST_TMPDIR/seen" ! -type f ! -type d)" ''
}

@test "rebuild_journal: FIFOs that tasks left in place of results do not hang it" {
  local task=tasks/00000000000000aa/1
  MASTER_HOST=0
  in_directory "$FAR/worker/a project" spool/1.json "$task/stdout"
  mkfifo "$FAR/worker/a project/$task/result.json" "$FAR/worker/a project/spool/2.json"
  stub docker "cp -r '$HERE/master/a project/recovered' '$BATS_TEST_TMPDIR/seen'"
  capture rebuild_journal
  assert_equal "$status" 0
  assert_equal "$(find "$BATS_TEST_TMPDIR/seen" ! -type d -printf '%P\n')" 1/spool/1.json
}

@test "move_journal: to another directory of the same host" {
  in_directory "$HOME/old tasks/master" 'a project/journal.sqlite'
  RECORD=([REMOTE_PATH]='old tasks')
  capture move_journal 0 0
  assert_equal "$status" 0
  assert_equal "$(content "$HERE/master")" './a project/journal.sqlite '
}
