#!/usr/bin/env bats
# framework/shell/mounts.sh and mount_states.sh: what is mounted on which host, and whether it can be.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2088,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  REMOTE_PATH=celery_tasks
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  FACTS=([0.home]="$HOME" [0.user]=me [1.home]=/far [1.user]=you)
  PLACE="$BATS_TEST_TMPDIR/a, \"place\""
  mkdir -p "$HOME/.ssh" "$PLACE/data/in"
}

# check LINE…: check_mounts on this machine for these lines of the project, then its problems, one a line.
check() {
  NEEDS[mount]=$(printf '%s\n' "$@")
  PROBLEMS=() MOUNT_GROUPS=()
  check_mounts 0
  ((${#PROBLEMS[@]} == 0)) || printf '%s\n' "${PROBLEMS[@]}"
}

# options_of HOST: the words that print_mounts prints, one a line.
options_of() {
  local words
  read_words words print_mounts "$1"
  printf '%s\n' "${words[@]}"
}

@test "print_mounts: the home of each host, one of its own, groups, and quotes for CSV" {
  NEEDS[mount]=$'ro /data ~/my data, all\nrw /mnt/out /srv/"out"\nro /home ~'
  HOST_MOUNTS=(["1 /mnt/out"]='~/there')
  assert_equal "$(options_of 0)" "--mount
type=bind,\"source=$HOME/my data, all\",target=/data,readonly
--mount
type=bind,\"source=/srv/\"\"out\"\"\",target=/mnt/out
--mount
type=bind,source=$HOME,target=/home,readonly"
  MOUNT_GROUPS[1]='70 71'
  assert_equal "$(options_of 1 | tail -n 8 | tr '\n' ' ')" \
    '--mount type=bind,source=/far/there,target=/mnt/out --mount type=bind,source=/far,target=/home,readonly --group-add 70 --group-add 71 '
  NEEDS=() MOUNT_GROUPS=()
  assert_equal "$(options_of 1)" ''
}

@test "check_mounts: what is there is right, and nothing is asked without mounts" {
  touch "$PLACE/data/file"
  ln -s data "$PLACE/link"
  capture check "ro /data $PLACE/data" "rw /a $PLACE/link" "ro /b $PLACE/data/file"
  assert_equal "$status|$output|$messages" '0||'
  NEEDS=()
  stub sh 'exit 9'
  capture check_mounts 0
  assert_equal "$status|$messages" '0|'
}

@test "check_mounts: all that is missing is named, with its host, and nothing is made" {
  capture check "ro /data $PLACE/none" 'rw /out ~/none'
  assert_equal "$status" 0
  assert_equal "$output" "local: mounts: $PLACE/none, for /data, is not there; make it, or copy the data there, or leave this host out of -w
local: mounts: $HOME/none, for /out, is not there; make it, or copy the data there, or leave this host out of -w"
  [[ ! -e $PLACE/none && ! -e $HOME/none ]]
}

@test "check_mounts: what a task could not read or write" {
  stub sh "printf 'unreadable -\nunwritable -\n'" # tests/hosts has real ones: root may read and write everything
  capture check "ro /a $PLACE/data/in" "rw /b $PLACE/data"
  assert_line "local: mounts: $PLACE/data/in, for /a, cannot be read by me, as whom tasks run; change its owner or its mode there"
  assert_part "local: mounts: $PLACE/data, for /b, cannot be written by me, as whom tasks run; "
}

@test "check_mounts: a named pipe is no directory of files" {
  mkfifo "$PLACE/pipe"
  capture check "ro /a $PLACE/pipe"
  assert_line "local: mounts: $PLACE/pipe, for /a, is neither a directory nor a file; name a directory of files"
}

@test "check_mounts: what tasks must not see, however it is named" {
  local source
  mkdir -p "$HOME/celery_tasks/worker" "$TOOL/.infra/secrets" "$HOME/celery_tasks_data"
  ln -s "$HOME/.ssh" "$PLACE/link"
  for source in '~' '~/.ssh' / "$HOME" "$PLACE/../home/.ssh" "$PLACE/link" /proc /proc/self/root /sys/kernel /dev '~/celery_tasks' '~/celery_tasks/worker' "$TOOL/.infra/secrets" "$TOOL"; do
    capture check "ro /a $source"
    assert_equal "$source $status" "$source 0"
    assert_part ', for /a, holds, or is part of, what tasks must not see ('
  done
  capture check 'ro /a ~/celery_tasks_data'
  assert_equal "$output" ''
}

@test "check_mounts: a group that the user has by a list of groups alone is given to the runner" {
  stub id 'case $1 in -u) echo 1000 ;; -g) echo 100 ;; -G) echo 100 70 71 999 0 ;; esac'
  stub getent 'echo docker:x:999:me'
  stub stat 'case $3 in %u) echo 5 ;; %g) echo "${*: -1}" | sed "s/.*group//" ;; esac'
  local number
  for number in 70 71 100 999 0 12; do mkdir "$PLACE/group$number"; done
  groups_of() {
    check "$@"
    echo "groups: ${MOUNT_GROUPS[0]:-}"
  }
  capture groups_of "ro /a $PLACE/group70" "ro /b $PLACE/group100" "ro /c $PLACE/group999" "ro /d $PLACE/group0" "ro /e $PLACE/group12" \
    "ro /f $PLACE/group71" "ro /g $PLACE/group70"
  assert_line 'groups: 70 71'
}

@test "check_mounts: an answer that is none ends the program" {
  local answer
  for answer in '' 'ok' 'ok 5; touch evil' 'fine -' 'ok -\nok -' 'ok -1'; do
    stub sh "printf '%b\n' '$answer'"
    capture check "ro /data $PLACE/data"
    assert_equal "$answer $status" "$answer 1"
    assert_part 'local: the answer cannot be read'
  done
}
