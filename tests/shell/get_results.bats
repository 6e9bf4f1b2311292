#!/usr/bin/env bats
# get_results.sh: everything that has ended comes home once, whole, and from every host that answers.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  know_facts
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
  AS_USER=()
  ((EUID != 0)) || AS_USER=(setpriv --bounding-set '-dac_override,-dac_read_search') # root reads everything
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

@test "copies the tables and the ended attempts of all hosts; a second run copies only what is new" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/2
  make_attempt "$FAR_HOME" 00000000000000bb/10
  mkdir -p "$FAR_HOME/my tasks/worker/my project/tasks/00000000000000cc/1" # still runs
  echo '{"version": 1}' >"$(dirname "$TABLE")/sweep.json"
  get
  assert_equal "$status" 0
  assert_equal "$output" "$RESULTS"
  assert_equal "$(cat "$RESULTS/results.csv")" new
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000aa/2/result.json 00000000000000bb/10/result.json '
  assert_equal "$(cat "$RESULTS/tasks/00000000000000bb/10/files/a dir/it's")" 00000000000000bb/10
  assert_line 'local: 1 new results of tasks, 41B'
  assert_line 'far: 2 new results of tasks, 84B'
  assert_equal "$(cat "$RESULTS/sweep.json")" '{"version": 1}'
  assert_equal "$(find "$RESULTS" -mindepth 1 -maxdepth 1 | wc -l)" 3 # these and tasks
  make_attempt "$FAR_HOME" 00000000000000dd/1
  echo mine >"$RESULTS/tasks/00000000000000aa/1/stdout"
  get
  assert_equal "$status" 0
  assert_line 'local: 0 new results of tasks, 0B'
  assert_line 'far: 1 new results of tasks, 41B'
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" mine
  assert_equal "$(all_attempts | wc -w)" 4
}

@test "the tables are written and copied again only if the journal or the code has changed, or if they are not as they came" {
  local master change
  master=$(dirname "$TABLE")
  echo '{}' >"$master/sweep.json"
  echo x >"$master/journal.sqlite"
  mkdir -p "$HOME/my tasks/code/my project"
  stub docker "[[ \$* != *'framework results'* ]] || { echo new >'$TABLE'; echo all >'$master/all_results.csv'; echo '3 are outdated' >&2; }"
  get
  assert_equal "$status" 0
  assert_line 'local: 3 are outdated'
  : >"$CALLS"
  get
  assert_equal "$status" 0
  assert_line '3 are outdated'
  assert_equal "$(grep docker "$CALLS")" ''
  for change in 'echo y >>"$master/journal.sqlite"' 'ln -s c2 "$HOME/my tasks/code/my project/current"' 'rm "$RESULTS/sweep.json"' \
    'echo mine >"$RESULTS/results.csv"; touch --date="1 minute" "$RESULTS/results.csv"'; do
    eval "$change"
    : >"$CALLS"
    get
    assert_equal "$status" 0
    grep -q "'framework' 'results'" "$CALLS"
    assert_equal "$(cat "$RESULTS/results.csv" "$RESULTS/sweep.json")" $'new\n{}'
  done
  get --all
  assert_equal "$(cat "$RESULTS/all_results.csv")" all
  echo y2 >>"$master/journal.sqlite"
  get
  : >"$CALLS"
  get --all # that of all combinations is older than the others
  grep -q "'framework' 'results' '--all'" "$CALLS"
  stub docker 'case "$*" in
    "ps --all "*) printf "%064d\n" 1 ;;
    *State.Status*) echo "running x 0 0" ;;
    *"framework results") exit 1 ;;
  esac'
  echo z >>"$master/journal.sqlite"
  get
  assert_equal "$status" 1
  get
  assert_equal "$status" 1 # it is tried again
}

@test "a host with an engine of the user's own says where that is, if no other answers" {
  export XDG_RUNTIME_DIR="$BATS_TEST_TMPDIR"
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$XDG_RUNTIME_DIR/docker.sock"
  stub docker 'exit 1'
  capture sh "$TOOL/framework/shell/host_results.sh" 'my tasks' 'my project' docker
  assert_equal "$output" "home=$HOME"$'\n'"docker_host=unix://$XDG_RUNTIME_DIR/docker.sock"
  stub docker
  capture sh "$TOOL/framework/shell/host_results.sh" 'my tasks' 'my project' docker
  assert_equal "$output" "home=$HOME"
}

# act_as_reporter IMAGES [COMMAND]: the master runs, and this machine has these images; COMMAND is what writes the report.
act_as_reporter() {
  local page="$RESULTS/report.html"
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    'image ls '*) printf '%b' '$1' ;;
    'run '*) echo /results/report.html; ${2:-touch ${page@Q}} ;;
  esac"
}

@test "--report: the newest worker image writes it, without network, of what is here" {
  act_as_reporter 'infrainit-worker:0123456789ab\ninfrainit-worker:ba9876543210\n'
  get --report
  assert_equal "$status" 0
  assert_equal "$output" "$RESULTS"$'\n'"$RESULTS/report.html"
  run grep -F "docker 'run'" "$CALLS"
  assert_equal "$output" "docker 'run' '--rm' '--network' 'none' '--user' '$(id -u):$(id -g)' '--cap-drop' 'ALL' \
'--security-opt' 'no-new-privileges' '--read-only' '--memory' '1024m' '--pids-limit' '128' \
'--mount' 'type=bind,source=${TOOL//\'/\'\\\'\'}/framework,target=/code/current/framework,readonly' \
'--mount' 'type=bind,source=${RESULTS//\'/\'\\\'\'},target=/results' 'infrainit-worker:0123456789ab' 'report' '/results'"
}

@test "--report: an image that is missing, and a container that fails" {
  act_as_reporter ''
  get --no-files --report
  assert_equal "$status" 1
  assert_part "this machine has no image infrainit-worker; $(as_typed infrainit.sh -f) builds it"
  act_as_reporter 'infrainit-worker:0123456789ab\n' 'echo "sweep.json: cannot be read" >&2; exit 2'
  get --no-files --report
  assert_equal "$status" 1
  assert_part 'sweep.json: cannot be read'
  assert_part 'the report could not be written; see above'
  act_as_reporter 'infrainit-worker:latest --privileged\n'
  get --no-files --report
  assert_equal "$status" 1
  assert_part 'cannot be read'
}

@test "more attempts than are copied at once" {
  local number
  sed -i 's/ATTEMPTS_AT_ONCE=500/ATTEMPTS_AT_ONCE=3/' "$TOOL/framework/shell/fetch.sh"
  for number in {10..17}; do
    make_attempt "$FAR_HOME" "00000000000000$number/1"
  done
  get
  assert_line 'far: 8 new results of tasks, 328B'
  assert_equal "$(all_attempts | wc -w)" 8
  assert_equal "$(grep -c "^ssh .*tar --create" "$CALLS")" 3
}

@test "-o: copies to another directory, from any directory; -a: also the table with combinations that are no longer in the sweep" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/1 # of one name, and in no table: one is copied
  cd "$BATS_TEST_TMPDIR"
  get -o 'else where' -a
  assert_equal "$status" 0
  assert_equal "$output" "$BATS_TEST_TMPDIR/else where/my project"
  [[ -e "$BATS_TEST_TMPDIR/else where/my project/tasks/00000000000000aa/1/result.json" ]]
  [[ ! -e $TOOL/results ]]
  assert_equal "$(cat "else where/my project/results.csv" "else where/my project/all_results.csv")" $'new\nall'
}

@test "a host that does not answer is named, the others are asked" {
  sed -i 's/^WORKERS=.*/WORKERS=local,1-2/' "$TOOL/.infra/record"
  make_attempt "$FAR_HOME" 00000000000000aa/1
  stub docker
  printf '%s\n' task,state,attempts,host 00000000000000aa,done,1,far 000000000000000{1..5},done,1,down ../..,done,1,down >"$TABLE"
  get
  assert_equal "$status" 3
  assert_part 'down: its results were not copied; it does not answer'
  assert_part '; the files of these are there only: 0000000000000001/1,0000000000000002/1,0000000000000003/1 and 2 more'
  assert_part "when all hosts answer again, what is missing comes with: $(as_typed get_results.sh)"
  mkdir -p "$RESULTS/tasks/"000000000000000{1..5}/1
  get
  assert_equal "$status" 0
  assert_part 'warning: down: the files of its tasks in results.csv are here, but it could not be asked for others; it does not answer'
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
  assert_line 'far: its results could not be copied'
  assert_part "what is missing is named above; to fetch it: $(as_typed get_results.sh)"
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
  rm "$STUBS/tar"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
}

@test "the master cannot write the table: reported, and the previous one is copied" {
  stub docker 'case "$*" in
    "ps --all "*) printf "%064d\n" 1 ;;
    *State.Status*) echo "running x 0 0" ;;
    *"framework results") echo "no space left" >&2; exit 1 ;;
  esac'
  get
  assert_equal "$status" 1
  assert_line 'local: no space left'
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

@test "after infra_clean.sh: the table that was written last is copied, and of two attempts of a name that of the host in it" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1
  echo far >"$FAR_HOME/my tasks/worker/my project/tasks/00000000000000aa/1/stdout"
  stub docker
  printf 'task,state,attempts,host\n%s\n%s\n' 00000000000000aa,done,1,far,1 00000000000000bb,done,1,now-called-far >"$TABLE"
  get
  assert_equal "$status" 0
  assert_equal "$(cat "$RESULTS/results.csv")" "$(cat "$TABLE")"
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" far
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
}

@test "two get_results.sh at once: results are put into place one by one, and those that are there stay" {
  local flock waiting="$BATS_TEST_TMPDIR/waiting" job
  make_attempt "$FAR_HOME" 00000000000000aa/1
  mkfifo go
  flock=$(command -v flock)
  stub flock "[[ \${*: -1} != 4 ]] || { touch '$waiting'; read -r <'$PWD/go'; }; exec $flock \"\$@\""
  "$TOOL/get_results.sh" >out 2>&1 &
  job=$!
  until [[ -e $waiting ]]; do
    kill -0 "$job" # it must not end before it has asked for the lock
    sleep 0.01
  done
  exec 4<"$RESULTS"
  "$flock" 4
  echo >go
  mkdir "$RESULTS/tasks/00000000000000aa" "$RESULTS/tasks/00000000000000aa/1" # they are not there
  echo mine >"$RESULTS/tasks/00000000000000aa/1/stdout"
  exec 4<&-
  wait "$job"
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" mine
}

@test "hostile host: invalid names of tasks are ignored, and messages without an end are cut" {
  make_attempt "$FAR_HOME" 00000000000000aa/1
  stub find "[[ \$HOME != *far ]] || yes 'all is well' | head --bytes=5M >&2
    [[ \$HOME != *far || \$* != *'-name result.json'* ]] || { printf '%s\n' ../../../etc/1/result.json 00000000000000aa/1/result.json; exit; }
    exec /usr/bin/find \"\$@\""
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json '
  assert_line 'far: 1 new results of tasks, 41B'
  assert_part 'far: all is well'
  ((${#messages} < 400000)) # of four commands
}

# Which files, and which tasks.

# far_attempt_with_models TASK: one with two checkpoints, and a directory of more.
far_attempt_with_models() {
  local files
  make_attempt "$FAR_HOME" "$1/1"
  files="$FAR_HOME/my tasks/worker/my project/tasks/$1/1/files"
  mkdir "$files/saved"
  echo a >"$files/a.ckpt"
  echo b >"$files/a dir/b.ckpt"
  echo c >"$files/saved/c.ckpt"
  echo d >"$files/saved/d"
  ln -s d "$files/saved/link"
}

# files_of TASK: what is here of its first attempt.
files_of() {
  (cd "$RESULTS/tasks/$1/1" && find . ! -type d | LC_ALL=C sort | tr '\n' ' ')
}

@test "--exclude: what matches stays there, until it is wanted, and nothing comes twice" {
  far_attempt_with_models 00000000000000aa
  get --exclude '*.ckpt' --exclude 'files/saved/'
  assert_equal "$status" 0
  assert_line 'far: 1 new results of tasks, 41B'
  assert_equal "$(files_of 00000000000000aa)" "./files/a dir/it's ./result.json ./stdout "
  get --exclude '*.ckpt' --exclude files/saved
  assert_line 'far: 0 new results of tasks, 0B'

  echo mine >"$RESULTS/tasks/00000000000000aa/1/stdout"
  get --exclude '*.ckpt'
  assert_equal "$status" 0
  assert_equal "$(files_of 00000000000000aa)" "./files/a dir/it's ./files/saved/d ./files/saved/link ./result.json ./stdout "
  get
  assert_equal "$(files_of 00000000000000aa)" \
    "./files/a dir/b.ckpt ./files/a dir/it's ./files/a.ckpt ./files/saved/c.ckpt ./files/saved/d ./files/saved/link ./result.json ./stdout "
  assert_equal "$(cat "$RESULTS/tasks/00000000000000aa/1/stdout")" mine
  get
  assert_line 'far: 0 new results of tasks, 0B'
}

@test "--exclude: result.json always comes; patterns that match nothing are refused" {
  far_attempt_with_models 00000000000000aa
  get --exclude '*'
  assert_equal "$status" 0
  assert_equal "$(files_of 00000000000000aa)" './result.json '
  get --exclude /files --exclude / --exclude $'a\tb'
  assert_equal "$status" 2
  assert_part "error: --exclude: no path ends like /files; write a name, as in '*.ckpt', or the last parts, as in files/cache"
  assert_equal "$(grep -c 'no path ends like' <<<"$messages")" 3
}

@test "--only: the tasks that the master names; without one, a container of this machine" {
  make_attempt "$FAR_HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1
  make_attempt "$HOME" 00000000000000bb/2
  stub docker 'case "$*" in
    "image ls "*) echo infrainit-worker:0123456789ab ;;
    *" framework select "* | *" select --results "*) printf "%s\n" 00000000000000bb ../../etc ;;
  esac'
  get --only best:5,failed --only 3
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000bb/1/result.json 00000000000000bb/2/result.json '
  grep -qF "'infrainit-worker:0123456789ab' 'select' '--results' '/results' '--' 'best:5' 'failed' '3'" "$CALLS"

  rm -r "$RESULTS/tasks"
  stub docker 'case "$*" in
    "ps --all "*) printf "%064d\n" 1 ;;
    *State.Status*) echo "running x 0 0" ;;
    *" framework select "*) echo "no such task" >&2; exit 2 ;;
  esac'
  get --only 17
  assert_equal "$status" 1
  assert_part 'no such task'
  assert_part 'error: --only: see above'
  assert_equal "$(all_attempts)" ''
}

@test "--no-files: the tables, and no question to other hosts" {
  make_attempt "$HOME" 00000000000000aa/1
  sed -i 's/^WORKERS=.*/WORKERS=local,1-2/' "$TOOL/.infra/record"
  get --no-files
  assert_equal "$status" 0
  assert_equal "$(cat "$RESULTS/results.csv")" new
  assert_equal "$(all_attempts)" ''
  assert_equal "$(grep -c '^ssh .* far' "$CALLS")" 0
  get --no-files --exclude x
  assert_equal "$status" 2
  get --follow --only best:1
  assert_equal "$status" 2
}

# Whole or not at all.

@test "files that are not as their host has them are named and not kept, and come with the next run" {
  far_attempt 00000000000000aa/1
  far_attempt 00000000000000bb/1
  # The disk of this machine, say, spoils one; of another a file is missing, and one of a third is more than was sent.
  far_attempt 00000000000000cc/1
  far_attempt 00000000000000dd/1
  stub tar '/usr/bin/env -u STUB PATH="${PATH#*:}" tar "$@" || exit
    [[ $* == *--extract* ]] || exit 0
    while [[ $1 != --directory ]]; do shift; done
    cd "$2"
    ! cd 00000000000000aa/1 2>/dev/null || { echo other >stdout; cd ../..; }
    ! cd 00000000000000bb/1 2>/dev/null || { rm stdout; cd ../..; }
    ! cd 00000000000000cc/1 2>/dev/null || echo more >more'
  get
  assert_equal "$status" 1
  local attempt
  for attempt in aa bb cc; do
    assert_part "far: the files of attempt 00000000000000$attempt/1 are not here as they are there, and were not kept"
  done
  assert_part 'far: 1 new results of tasks'
  assert_equal "$(all_attempts)" '00000000000000dd/1/result.json '
  rm "$STUBS/tar"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts | wc -w)" 4
}

@test "what an attempt is here without is known, too, if the last step is interrupted" {
  far_attempt_with_models 00000000000000aa
  stub mv '/usr/bin/env -u STUB PATH="${PATH#*:}" mv "$@" || exit
    [[ $* != *"--target-directory="*/tasks* ]]'
  get --exclude '*.ckpt'
  assert_equal "$status" 1
  assert_line "far: its results could not be put into $RESULTS"
  rm "$STUBS/mv"
  get
  assert_equal "$status" 0
  assert_equal "$(find "$RESULTS/tasks" -name '*.ckpt' | wc -l)" 3
}

@test "names of files with newlines, quotes and bytes that are no text are verified, too; one without an end ends tar, not this machine" {
  local attempt
  attempt=$(far_attempt 00000000000000aa/1)
  echo x >"$attempt/files/-rf a"$'\n'"00000000000000bb\\x'\""$'\xff'
  echo y >"$attempt/files/$(printf '0%.0s' {1..64})  00000000000000bb"
  stub tar '[[ $* != *--extract* ]] || ulimit -v >limit
    exec /usr/bin/env -u STUB PATH="${PATH#*:}" tar "$@"'
  get
  assert_equal "$status" 0
  assert_equal "$(find "$RESULTS/tasks" -type f | wc -l)" 6 # one has a newline in its name
  assert_equal "$(cat limit)" 2097152
}

@test "no room: nothing is fetched, and it is said what to do" {
  local attempt
  attempt=$(far_attempt 00000000000000aa/1)
  head --bytes=2M /dev/urandom >"$attempt/files/large"
  stub df 'printf "%s\n" "Filesystem 1-blocks Used Available Capacity Mounted" "/dev/x 1 1 18000000 1 /"'
  get
  assert_equal "$status" 1
  assert_part 'error: the files of 1 attempt take 2.0 MiB, but '
  assert_part ' has 17 MiB of free space; make room, name a directory on another disk (-o), or fetch less (--exclude, --only, --no-files)'
  assert_equal "$(all_attempts)" ''
  get --exclude large
  assert_equal "$status" 0
}

@test "an interruption leaves what is whole; what a killed run has left is removed by the next" {
  local job attempts
  sed -i 's/ATTEMPTS_AT_ONCE=500/ATTEMPTS_AT_ONCE=1/' "$TOOL/framework/shell/fetch.sh"
  far_attempt 00000000000000aa/1
  far_attempt 00000000000000bb/1
  mkdir -p "$RESULTS/.incoming.killed/1/00000000000000cc"
  chmod 0 "$RESULTS/.incoming.killed/1/00000000000000cc"
  mkfifo never
  # The second archive comes to a halt.
  stub tar "if [[ \$HOME == *far && \$* == *--create* ]]; then
      echo >>'$PWD/archives'; if ((\$(wc -l <'$PWD/archives') == 2)); then exec cat '$PWD/never'; fi; fi
    exec $(command -v tar) \"\$@\""
  python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])' \
    "$TOOL/get_results.sh" >out 2>&1 3>&- &
  job=$!
  until [[ -e archives ]] && (($(wc -l <archives) == 2)); do
    kill -0 "$job"
    sleep 0.05
  done
  kill -INT "$job"
  status=0
  wait "$job" || status=$?
  (: >never) 3>&- & # lets the stub end
  assert_equal "$status" 130
  grep -qF 'ended; tasks whose files have come are in ' out
  attempts=$(all_attempts)
  assert_equal "$(wc -w <<<"$attempts")" 1
  rm "$STUBS/tar"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
  assert_equal "$(find "$RESULTS" -mindepth 1 -maxdepth 1 | wc -l)" 2 # results.csv and tasks
}

# --follow

# act_as_running_master: it writes results.csv as the file `table` is, and has the status that the file `status` is.
act_as_running_master() {
  stub docker "case \"\$*\" in
    'ps --all '*) printf '%064d\\n' 1 ;;
    *State.Status*) echo 'running x 0 0' ;;
    *'cat -- '*) cat '$PWD/status' && printf '\\nc2' ;;
    *'framework results') cp '$PWD/table' '$TABLE' ;;
  esac"
  sed -i 's/pause=.*/pause=0.1/; s/LOST_SECONDS=30/LOST_SECONDS=1/' "$TOOL/framework/shell/fetch_rounds.sh"
  set_status '"finished": true, "paused": "", "version": "c1"' # of what ran before
}

# set_status JSON
set_status() {
  echo "{$1}" >status.new
  mv status.new status
}

# follow_until_here ATTEMPT: starts --follow, if it does not run, and waits for an attempt.
follow_until_here() {
  if [[ ! ${FOLLOWER:-} ]]; then
    "$TOOL/get_results.sh" --follow >out 2>&1 3>&- &
    FOLLOWER=$!
  fi
  until [[ -e $RESULTS/tasks/$1 ]]; do
    kill -0 "$FOLLOWER" || {
      cat out
      return 1
    }
    sleep 0.05
  done
}

@test "--follow: fetches what results.csv has as tasks end, and the rest when the sweep has ended" {
  act_as_running_master
  printf '%s\n' task,state,attempts,host 00000000000000aa,done,1,far >table
  make_attempt "$FAR_HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1 # not in the table: that of another copy, perhaps
  follow_until_here 00000000000000aa/1
  [[ ! -e $RESULTS/tasks/00000000000000bb ]]
  printf '%s\n' 00000000000000cc,done,1,local >>table
  make_attempt "$HOME" 00000000000000cc/1
  follow_until_here 00000000000000cc/1
  [[ ! -e $RESULTS/tasks/00000000000000bb ]]
  set_status '"finished": true, "paused": "", "version": "c2"'
  wait "$FOLLOWER"
  assert_equal "$(all_attempts | wc -w)" 3
  grep -qxF '3 new results of tasks, 123B' out
}

@test "--follow: a host that is lost is named at the end, with its tasks; the others' are here" {
  act_as_running_master
  printf '%s\n' task,state,attempts,host 00000000000000aa,done,1,far 00000000000000bb,done,1,far 00000000000000cc,done,1,local >table
  make_attempt "$FAR_HOME" 00000000000000aa/1
  mv "$STUBS/ssh" ssh
  stub ssh "[[ ! -e '$PWD/off' ]] || { echo 'ssh: connect to host far port 22: No route to host' >&2; exit 255; }; exec '$PWD/ssh' \"\$@\""
  follow_until_here 00000000000000aa/1
  touch off
  make_attempt "$HOME" 00000000000000cc/1
  follow_until_here 00000000000000cc/1
  set_status '"finished": false, "paused": "by hand", "version": "c2"'
  status=0
  wait "$FOLLOWER" || status=$?
  assert_equal "$status" 3
  grep -qF 'warning: far: its results were not copied; it does not answer' out
  grep -qF '; the files of these are there only: 00000000000000bb/1' out
  grep -qF "comes with: $(as_typed get_results.sh --follow)" out
}

# Hostile hosts: what they answer, or what a task on them has left.

# far_attempt ATTEMPT: one that has ended on far; prints its directory.
far_attempt() {
  make_attempt "$FAR_HOME" "$1"
  printf '%s\n' "$FAR_HOME/my tasks/worker/my project/tasks/$1"
}

# answer_with_archive FILE: whatever results far is asked for, it sends this archive.
answer_with_archive() {
  stub tar "if [[ \$HOME == *far && \$* == *--create* ]]; then cat >/dev/null; exec cat '$1'; fi
    exec /usr/bin/env -u STUB PATH=\"\${PATH#*:}\" tar \"\$@\""
}

@test "hostile host: a link in place of a task's or an attempt's directory moves nothing" {
  local mine="$BATS_TEST_TMPDIR/mine" lie="$BATS_TEST_TMPDIR/lie"
  far_attempt 00000000000000aa/1
  far_attempt 00000000000000bb/1
  mkdir -p "$mine/1" "$lie/00000000000000bb"
  echo mine >"$mine/1/file"
  ln -s "$mine" "$lie/00000000000000aa"
  ln -s "$mine/1" "$lie/00000000000000bb/1"
  tar --create --file "$BATS_TEST_TMPDIR/lie.tar" --directory "$lie" .
  answer_with_archive "$BATS_TEST_TMPDIR/lie.tar"
  get
  assert_equal "$status" 1
  assert_line 'far: warning: far: attempt 00000000000000aa/1 was not sent as a directory'
  assert_line 'far: warning: far: attempt 00000000000000bb/1 was not sent as a directory'
  assert_equal "$(cat "$mine/1/file")" mine
  assert_equal "$(find "$RESULTS/tasks" -mindepth 1)" ''
}

@test "hostile host: attempts that were not asked for are not kept, beside those that were" {
  far_attempt 00000000000000aa/1
  far_attempt 00000000000000bb/1
  mkdir -p "$RESULTS/tasks/00000000000000bb/2" # here already
  stub tar '/usr/bin/env -u STUB PATH="${PATH#*:}" tar "$@" || exit
    [[ $* == *--extract* ]] || exit 0
    while [[ $1 != --directory ]]; do shift; done
    cd "$2"
    mkdir -p 00000000000000{aa,bb,cc}/9 00000000000000aa/.hidden
    touch 00000000000000{aa,bb,cc}/9/result.json'
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
  assert_equal "$(find "$RESULTS/tasks" -mindepth 1 -maxdepth 2 | wc -l)" 5
}

@test "hostile host: links in results/ that an earlier run made are not followed; names of what is left out forge no line" {
  local mine="$BATS_TEST_TMPDIR/mine"
  far_attempt 00000000000000aa/1
  far_attempt 00000000000000bb/1
  ln -s /etc "$(far_attempt 00000000000000cc/1)/x"$'\nfar: all is well\e]52;c;x\a'
  mkdir -p "$mine" "$RESULTS/tasks/00000000000000bb"
  ln -s "$mine" "$RESULTS/tasks/00000000000000aa"
  ln -s "$mine/nothing" "$RESULTS/tasks/00000000000000bb/1"
  get
  assert_equal "$status" 1
  assert_part "attempt 00000000000000aa/1 was not copied, since a link is in its place in $RESULTS/tasks; remove it"
  assert_part 'attempt 00000000000000bb/1 was not copied, since a link'
  assert_equal "$(find "$mine" -mindepth 1)" ''
  [[ -e $RESULTS/tasks/00000000000000cc/1/result.json ]]
  assert_part '00000000000000cc/1/x?far: all is well?]52;c;x?'
}

@test "hostile host: of an attempt, only files, directories and links that stay inside it are kept" {
  local attempt kept="$RESULTS/tasks/00000000000000aa/1"
  attempt=$(far_attempt 00000000000000aa/1)
  mkdir "$attempt/files/deep"
  ln -s ../deep "$attempt/files/a dir/inside"
  ln -s . "$attempt/here"
  ln -s nowhere "$attempt/files/dangling"
  ln -s loop "$attempt/loop"
  ln "$attempt/stdout" "$attempt/files/same"
  ln -s here/../../../../results.csv "$attempt/files/over a link"
  ln -s ../../../../.. "$attempt/files/a dir/up"
  ln -s /etc "$attempt/files/absolute"
  ln -s ../../00000000000000aa "$attempt/$'another\n task'"
  mkfifo "$attempt/stderr"
  get
  assert_equal "$status" 0
  assert_part 'far: warning: far: only files, directories and links within an attempt are copied; left out: 00000000000000aa/1/'
  assert_part ', and 2 more'
  assert_equal "$(cd "$kept" && find . -type l | LC_ALL=C sort | tr '\n' ' ')" './files/a dir/inside ./files/dangling ./here ./loop '
  assert_equal "$(find "$kept" ! -type f ! -type d ! -type l)" ''
  assert_equal "$(cat "$kept/files/same")" 00000000000000aa/1
}

@test "hostile host: no setuid, no modes beyond the umask, no owner, no device" {
  local lie="$BATS_TEST_TMPDIR/lie/00000000000000aa/1" kept="$RESULTS/tasks/00000000000000aa/1" owner=() attempt
  attempt=$(far_attempt 00000000000000aa/1)
  mkdir "$attempt/closed"
  echo x >"$attempt/closed/x"
  mkdir -p "$(dirname "$lie")"
  cp -r "$attempt" "$lie"
  chmod 6777 "$lie/result.json"
  if ((EUID == 0)); then
    mknod "$lie/disk" b 7 0
    mknod "$lie/null" c 1 3
    owner=(--owner=12345 --group=12345)
  fi
  (cd "$BATS_TEST_TMPDIR/lie" && find . -print0 |
    tar --create --file "$BATS_TEST_TMPDIR/lie.tar" "${owner[@]}" --mode=a+rwxst,o+t --null --no-recursion --files-from -)
  answer_with_archive "$BATS_TEST_TMPDIR/lie.tar"
  umask 022
  get
  assert_equal "$status" 0
  assert_equal "$(find "$kept" ! -type f ! -type d)" ''
  assert_equal "$(find "$kept" -perm /7022)" ''
  assert_equal "$(find "$kept" ! -user "$EUID")" ''
  if ((EUID == 0)); then
    assert_part 'left out: 00000000000000aa/1/'
  fi
}

@test "hostile host: directories that nobody may enter do not stay behind" {
  local lie="$BATS_TEST_TMPDIR/lie"
  far_attempt 00000000000000aa/1
  mkdir -p "$lie/00000000000000aa/1/closed" "$lie/other/closed"
  echo '{}' >"$lie/00000000000000aa/1/result.json"
  tar --create --file "$BATS_TEST_TMPDIR/lie.tar" --mode=a-rwx --directory "$lie" .
  answer_with_archive "$BATS_TEST_TMPDIR/lie.tar"
  capture "${AS_USER[@]}" "$TOOL/get_results.sh"
  assert_equal "$status" 1
  assert_equal "$(find "$RESULTS/tasks" -mindepth 1)" ''
  assert_equal "$(find "$RESULTS" -mindepth 1 -maxdepth 1 | wc -l)" 2 # results.csv and tasks
}

@test "hostile host: names that lead out, and hard links to what is outside" {
  local lie="$BATS_TEST_TMPDIR/lie/in/there" mine="$BATS_TEST_TMPDIR/mine"
  far_attempt 00000000000000aa/1
  echo secret >"$mine"
  mkdir -p "$lie/00000000000000aa/1"
  echo '{}' >"$lie/00000000000000aa/1/result.json"
  echo x >"$BATS_TEST_TMPDIR/lie/evil"
  # A hard link to a file that the archive names with its absolute path.
  ln "$mine" "$lie/00000000000000aa/1/hard"
  tar --create --file "$BATS_TEST_TMPDIR/lie.tar" --absolute-names --directory "$lie" ../../evil "$mine" 00000000000000aa
  answer_with_archive "$BATS_TEST_TMPDIR/lie.tar"
  get
  assert_equal "$status" 1
  assert_part "Member name contains '..'"
  assert_equal "$(find "$TOOL/results" -name evil)" ''
  assert_equal "$(stat --format=%h "$mine")" 2 # here and in $lie
  assert_equal "$(find "$RESULTS/tasks" -mindepth 1)" ''
}

@test "hostile host: a FIFO in place of result.json does not stop the others" {
  local attempt
  attempt=$(far_attempt 00000000000000aa/1)
  far_attempt 00000000000000bb/1
  rm "$attempt/result.json"
  mkfifo "$attempt/result.json"
  rm "$TABLE"
  mkfifo "$TABLE"
  stub docker
  capture timeout 20 "$TOOL/get_results.sh"
  assert_equal "$status" 0
  assert_line 'local: there is no results.csv yet'
  assert_equal "$(all_attempts)" '00000000000000bb/1/result.json '
}

@test "a file that is mostly holes arrives with them" {
  local attempt kept="$RESULTS/tasks/00000000000000aa/1/files/model"
  attempt=$(far_attempt 00000000000000aa/1)
  echo RESULTS_LIMIT=2 >"$TOOL/config.sh"
  truncate --size=1G "$attempt/files/model"
  get
  assert_equal "$status" 0
  assert_equal "$(stat --format=%s "$kept")" 1073741824
  (($(du --block-size=1K "$kept" | cut -f 1) < 100))
}

@test "RESULTS_LIMIT: a host that sends more is named, what came before stays, other hosts are not affected" {
  local attempt
  sed -i 's/ATTEMPTS_AT_ONCE=500/ATTEMPTS_AT_ONCE=1/' "$TOOL/framework/shell/fetch.sh"
  echo RESULTS_LIMIT=1 >"$TOOL/config.sh"
  make_attempt "$HOME" 00000000000000cc/1
  far_attempt 00000000000000aa/1
  attempt=$(far_attempt 00000000000000bb/1)
  head --bytes=2M /dev/urandom >"$attempt/files/large"
  get
  assert_equal "$status" 1
  assert_line 'far: warning: far: it sends more than 1 MiB, the rest was not taken; if so much is right, set RESULTS_LIMIT in config.sh to more'
  refute_part 'Unexpected EOF'
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000cc/1/result.json '
  assert_equal "$(find "$RESULTS" -mindepth 1 -maxdepth 1 | wc -l)" 2 # results.csv and tasks
  echo RESULTS_LIMIT=3 >"$TOOL/config.sh"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts | wc -w)" 3
}

@test "RESULTS_LIMIT: holds for all that a host sends, in sum, and if it never ends" {
  local number attempt
  echo RESULTS_LIMIT=1 >"$TOOL/config.sh"
  sed -i 's/ATTEMPTS_AT_ONCE=500/ATTEMPTS_AT_ONCE=1/' "$TOOL/framework/shell/fetch.sh"
  for number in {1..4}; do
    attempt=$(far_attempt "00000000000000aa/$number")
    head --bytes=400K /dev/urandom >"$attempt/files/large"
  done
  get
  assert_equal "$status" 1
  assert_equal "$(all_attempts | wc -w)" 2
  # Without an end: the archive, the list of attempts, the table.
  truncate --size=1T "$BATS_TEST_TMPDIR/huge"
  stub tar "if [[ \$HOME == *far && \$* == *--create* ]]; then set -- --create --file - --directory '$BATS_TEST_TMPDIR' huge; fi
    exec /usr/bin/env -u STUB PATH=\"\${PATH#*:}\" tar \"\$@\""
  capture timeout 60 "$TOOL/get_results.sh"
  assert_equal "$status" 1
  assert_part 'far: it sends more than 1 MiB'
  rm "$STUBS/tar"
  stub find '[[ $HOME != *far ]] || exec yes 00000000000000aa/1/result.json
    exec /usr/bin/find "$@"'
  capture timeout 60 "$TOOL/get_results.sh"
  assert_equal "$status" 1
  assert_part 'far: it sends more than 1 MiB'
  rm "$STUBS/find"
  stub cat '[[ $* != *results.csv ]] || exec yes
    exec /usr/bin/env PATH="${PATH#*:}" cat "$@"'
  capture timeout 60 "$TOOL/get_results.sh"
  assert_equal "$status" 1
  assert_part 'local: it sends more than 1 MiB'
  rm "$STUBS/cat"
  assert_equal "$(cat "$RESULTS/results.csv")" new
}

@test "RESULTS_LIMIT: many empty files count, too" {
  local attempt
  echo RESULTS_LIMIT=1 >"$TOOL/config.sh"
  attempt=$(far_attempt 00000000000000aa/1)
  (cd "$attempt/files" && touch {1..300})
  get
  assert_equal "$status" 1
  assert_part 'far: it sends more than 1 MiB'
  assert_equal "$(all_attempts)" ''
}

@test "RESULTS_LIMIT: must be a number" {
  echo RESULTS_LIMIT=much >"$TOOL/config.sh"
  get
  assert_equal "$status" 2
  assert_part 'RESULTS_LIMIT in config.sh must be a whole number from 1 to 100000000, not much'
}

@test "hostile host: text in results.csv forges no row" {
  make_attempt "$HOME" 00000000000000aa/1
  make_attempt "$FAR_HOME" 00000000000000bb/1
  stub docker
  printf '%s\n' task,state,attempts,host,started,seconds,exit_code,code,reason \
    '00000000000000bb,failed,1,far,1,1,1,v,"a ""quote""' 00000000000000aa,done,1,far,x '00000000000000bb,done,1,local,x"' \
    00000000000000aa,done,1,local,1,1,0,v, '00000000000000cc,failed,1,far,1,1,1,v,"' 00000000000000aa,done,1,far,x '"' >"$TABLE"
  get
  assert_equal "$status" 0
  assert_equal "$(all_attempts)" '00000000000000aa/1/result.json 00000000000000bb/1/result.json '
}

@test "files that their owner cannot read: the others are copied" {
  make_attempt "$FAR_HOME" 00000000000000aa/1
  chmod 0 "$FAR_HOME/my tasks/worker/my project/tasks/00000000000000aa/1/stdout"
  capture "${AS_USER[@]}" "$TOOL/get_results.sh"
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
