#!/usr/bin/env bats
# get_results.sh: everything that has ended comes home once, whole, and from every host that answers.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  make_project 'my project'
  mkdir -p "$TOOL/.infra"
  echo infra-01234567 >"$TOOL/.infra/id"
  local project="$TOOL/tasks/my project"
  printf '%s\n' HOSTS=far,down "REMOTE_PATH='my tasks'" "PROJECT=${project@Q}" MASTER=local WORKERS=local,1 >"$TOOL/.infra/record"
  FAR_HOME="$BATS_TEST_TMPDIR/far"
  stub ssh "[[ \$* != *' -G '* ]] || exec echo 'hostname far'
    [[ \$* != *' down '* ]] || { echo 'ssh: connect to host down port 22: No route to host' >&2; exit 255; }
    export HOME='$FAR_HOME'"'
    exec sh -c "${@: -1}"'
  act_as_docker
  RESULTS="$TOOL/results/my project"
  TABLE="$HOME/my tasks/master/my project/results.csv"
  mkdir -p "$(dirname "$TABLE")" "$FAR_HOME"
  echo old >"$TABLE"
}

# act_as_docker: the master runs, and writes results.csv when it is asked to.
act_as_docker() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    *'framework results') echo new >'$HOME/my tasks/master/my project/results.csv' ;;
    *'framework results --all') echo all >'$HOME/my tasks/master/my project/all_results.csv' ;;
  esac"
}

# make_attempt HOME TASK/ATTEMPT: one that has ended.
make_attempt() {
  local directory="$1/my tasks/worker/my project/tasks/$2"
  mkdir -p "$directory/files/a dir"
  echo "$2" >"$directory/stdout"
  echo "$2" >"$directory/files/a dir/it's"
  echo '{}' >"$directory/result.json"
}

get() {
  capture "$TOOL/get_results.sh" "$@"
}

all_attempts() {
  find "$RESULTS/tasks" -name result.json -printf '%P\n' | LC_ALL=C sort | tr '\n' ' '
}

@test "copies the table and the ended attempts of all hosts" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/2
  make_attempt "$FAR_HOME" 00000000000000bb/10
  mkdir -p "$FAR_HOME/my tasks/worker/my project/tasks/00000000000000cc/1" # still runs
  get
  assert_equal "$status" 0
  assert_equal "$output" "$RESULTS"
  assert_equal "$(cat "$RESULTS/results.csv")" new
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000aa/2/result.json 00000000000000bb/10/result.json '
  assert_equal "$(cat "$RESULTS/tasks/00000000000000bb/10/files/a dir/it's")" 00000000000000bb/10
  assert_line 'local: 1 new results of tasks, 41B'
  assert_line 'far: 2 new results of tasks, 84B'
  assert_equal "$(find "$RESULTS" -mindepth 1 -maxdepth 1 | wc -l)" 2 # results.csv and tasks
}

@test "a second run copies only what is new" {
  make_attempt "$FAR_HOME" 00000000000000aa/1
  get
  make_attempt "$FAR_HOME" 00000000000000bb/1
  echo mine >"$RESULTS/tasks/00000000000000aa/1/stdout"
  get
  assert_equal "$status" 0
  assert_line 'local: 0 new results of tasks, 0B'
  assert_line 'far: 1 new results of tasks, 41B'
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" mine
}

@test "more attempts than are copied at once" {
  local number
  sed -i 's/ATTEMPTS_AT_ONCE=500/ATTEMPTS_AT_ONCE=3/' "$TOOL/get_results.sh"
  for number in {10..17}; do
    make_attempt "$FAR_HOME" "00000000000000$number/1"
  done
  get
  assert_line 'far: 8 new results of tasks, 328B'
  assert_equal "$(all_attempts | wc -w)" 8
  assert_equal "$(grep -c "^ssh .*tar --create" "$CALLS")" 3
}

@test "-o: copies to another directory, from any directory" {
  make_attempt "$HOME" 00000000000000aa/1
  cd "$BATS_TEST_TMPDIR"
  get -o 'else where'
  assert_equal "$output" "$BATS_TEST_TMPDIR/else where/my project"
  [[ -e "$BATS_TEST_TMPDIR/else where/my project/tasks/00000000000000aa/1/result.json" ]]
  [[ ! -e $TOOL/results ]]
}

@test "-a: also copies the table with combinations that are no longer in the sweep" {
  get
  [[ ! -e $RESULTS/all_results.csv ]]
  get --all
  assert_equal "$status" 0
  assert_equal "$(cat "$RESULTS/results.csv" "$RESULTS/all_results.csv")" $'new\nall'
}

@test "a host that does not answer is named, the others are asked" {
  sed -i 's/^WORKERS=.*/WORKERS=local,1-2/' "$TOOL/.infra/record"
  make_attempt "$FAR_HOME" 00000000000000aa/1
  get
  assert_equal "$status" 1
  assert_part 'down: its results were not copied, run this again later; it does not answer'
  assert_equal "$(cat "$RESULTS/results.csv")" new
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
}

@test "a broken transfer leaves nothing incomplete, other hosts are not affected, and the next run completes it" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1
  stub tar 'if [[ $HOME == *far ]]; then echo "tar: broken" >&2; exit 2; fi
    exec /usr/bin/env -u STUB PATH="${PATH#*:}" tar "$@"'
  get
  assert_equal "$status" 1
  assert_line 'far: tar: broken'
  assert_line 'far: its results could not be copied; run this again'
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
  rm "$STUBS/tar"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
}

@test "after infra_clean.sh: copies the table that was written last" {
  stub docker
  make_attempt "$HOME" 00000000000000aa/1
  get
  assert_equal "$status" 0
  assert_equal "$(cat "$RESULTS/results.csv")" old
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
}

@test "the master cannot write the table: reported, and the previous one is copied" {
  stub docker 'case "$*" in
    "ps --all "*) printf "%064d\n" 1 ;;
    *State.Status*) echo "running x 0 0" ;;
    *"framework results") echo "no space left" >&2; exit 1 ;;
  esac'
  get
  assert_equal "$status" 1
  assert_line 'no space left'
  assert_equal "$(cat "$RESULTS/results.csv")" old
}

@test "nothing has run yet" {
  rm "$TABLE"
  stub docker
  get
  assert_equal "$status" 0
  assert_line 'local: there is no results.csv yet'
  assert_line 'far: 0 new results of tasks, 0B'
}

@test "two hosts have an attempt of the same name: that of the host in results.csv is copied" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1
  echo far >"$FAR_HOME/my tasks/worker/my project/tasks/00000000000000aa/1/stdout"
  stub docker
  printf 'task,state,attempts,host\n%s\n%s\n' 00000000000000aa,done,1,far,1 00000000000000bb,done,1,now-called-far >"$TABLE"
  get
  assert_equal "$status" 0
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" far
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
}

@test "two hosts have an attempt of the same name that is not in the table: one is copied" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/1
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
}

@test "two get_results.sh at once: results are put into place one by one, and those that are there stay" {
  local flock waiting="$BATS_TEST_TMPDIR/waiting" job
  make_attempt "$FAR_HOME" 00000000000000aa/1
  mkdir -p "$RESULTS/tasks"
  exec 4<"$RESULTS"
  flock 4
  flock=$(command -v flock)
  stub flock "touch '$waiting'; exec $flock \"\$@\""
  "$TOOL/get_results.sh" >out 2>&1 4<&- &
  job=$!
  until [[ -e $waiting ]]; do
    kill -0 "$job" # it must not end before it has asked for the lock
    sleep 0.01
  done
  [[ ! -e $RESULTS/tasks/00000000000000aa ]]
  mkdir -p "$RESULTS/tasks/00000000000000aa/1"
  echo mine >"$RESULTS/tasks/00000000000000aa/1/stdout"
  exec 4<&-
  wait "$job"
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" mine
}

@test "invalid names of tasks from a host are ignored" {
  make_attempt "$FAR_HOME" 00000000000000aa/1
  stub find "[[ \$HOME != *far ]] || { printf '%s\n' ../../../etc/1/result.json 00000000000000aa/1/result.json; exit; }
    exec /usr/bin/find \"\$@\""
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
  assert_line 'far: 1 new results of tasks, 41B'
}

@test "files that their owner cannot read: the others are copied" {
  local as_user=()
  ((EUID != 0)) || as_user=(setpriv --bounding-set '-dac_override,-dac_read_search') # root reads everything
  make_attempt "$FAR_HOME" 00000000000000aa/1
  chmod 0 "$FAR_HOME/my tasks/worker/my project/tasks/00000000000000aa/1/stdout"
  capture "${as_user[@]}" "$TOOL/get_results.sh"
  assert_equal "$status" 0
  assert_part 'Permission denied'
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
}

@test "usage" {
  get -h
  assert_equal "$status" 0
  assert_part 'usage: get_results.sh'
  get somewhere
  assert_equal "$status" 2
  get -o
  assert_equal "$status" 2
}
