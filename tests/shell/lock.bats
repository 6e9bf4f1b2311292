#!/usr/bin/env bats
# framework/shell/lock.sh: scripts that change the infrastructure run one at a time, and the others are not held up.

# shellcheck disable=SC2016,SC2034,SC2154 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  make_project digits
  stub docker 'exit 1'
  stub ssh 'exit 255'
  sed -e 's/@CHECKOUT@/$(dirname -- "$0")/' -e 's/@INFRASTRUCTURE@/infra-01234567/' -e 's/=@[A-Z]*@$/=/' \
    "$TOOL/infra_clean.sh.tmpl" >"$TOOL/infra_clean.sh"
  chmod +x "$TOOL/infra_clean.sh"
  mkdir "$TOOL/.infra"
  local project="$TOOL/tasks/digits"
  echo infra-01234567 >"$TOOL/.infra/id"
  printf '%s\n' "PROJECT=${project@Q}" REMOTE_PATH=celery_tasks MASTER=local WORKERS=local HOSTS= >"$TOOL/.infra/record"
}

teardown() {
  exec 5<&-
}

# hold_lock: as a script of the same checkout does.
hold_lock() {
  exec 5<"$TOOL"
  flock 5
}

# capture_beside COMMAND…: without the descriptor of the lock.
capture_beside() {
  capture "$@" 5<&-
}

@test "a script that changes something ends if another one holds the lock, and names it" {
  local script before
  hold_lock
  before=$(cd "$TOOL" && find . -type f -exec sha256sum {} + | sort)
  for script in "infrainit.sh -d digits -m local -w local" update_files.sh infra_clean.sh; do
    read -ra script <<<"$script"
    capture_beside "$TOOL/${script[0]}" "${script[@]:1}"
    assert_equal "${script[0]} $status" "${script[0]} 1"
    assert_part "error: another script works on $TOOL: process $$, since "
    assert_part 'lock.bats'
    assert_part '; wait until it has ended, or end it, and run this again'
  done
  assert_equal "$(cd "$TOOL" && find . -type f -exec sha256sum {} + | sort)" "$before"
  assert_equal "$(<"$CALLS")" ''
}

@test "what only reads is not held up, nor is a dry run" {
  hold_lock
  capture_beside "$TOOL/check_celery_status.sh"
  refute_part 'another script'
  capture_beside "$TOOL/get_results.sh"
  refute_part 'another script'
  capture_beside "$TOOL/infrainit.sh" -d digits -m local -w local -n
  refute_part 'another script'
  capture_beside "$TOOL/infra_clean.sh" -n
  refute_part 'another script'
}

@test "the lock ends with the script, even if that is killed" {
  load_tool
  (
    take_lock
    kill -KILL "$BASHPID"
  ) || true
  capture take_lock
  assert_equal "$status" 0
  take_lock
  take_lock # a second time in the same script
  release_lock
  hold_lock
  capture_beside take_lock
  assert_equal "$status" 1
}

@test "where the directory cannot be locked, a warning says so" {
  load_tool
  stub flock 'echo "flock: 10: Bad file descriptor" >&2; exit 65'
  capture take_lock
  assert_equal "$status" 0
  assert_part "warning: $TOOL cannot be locked"
}

@test "two infrainit.sh at the same instant: one id, one of them goes on" {
  local jobs=() job codes=()
  rm -r "$TOOL/.infra" "$TOOL/infra_clean.sh"
  stub docker 'case "$*" in
    version*) until grep -q "another script works on" out.*; do sleep 0.05; done; echo 28.5.2 ;;
    *"info --format {{.ID}}"*) echo ENGINE ;;
    *DockerRootDir*) echo / ;;
    *"{{.Created}}"*) date --utc +%Y-%m-%dT%TZ ;;
    *"image inspect"*) echo "amd64 [layers]" ;;
    *" needs "*) echo optuna=no ;;
    "run --label"*) exit 125 ;;
  esac'
  for job in 1 2; do
    "$TOOL/infrainit.sh" -d digits -m local -w local >"out.$job" 2>&1 &
    jobs+=("$!")
  done
  for job in "${jobs[@]}"; do
    wait "$job" || codes+=("$?")
  done
  assert_equal "${codes[*]}" '1 1'
  assert_equal "$(grep -l 'another script works on' out.* | wc -l)" 1
  assert_equal "$(grep -l 'starting broker, master and Flower' out.* | wc -l)" 1
  assert_equal "$(grep -c "mv: cannot" out.1 out.2 | cut -d : -f 2 | tr -d '\n')" 00
  grep -q "RECORDED_INFRASTRUCTURE='$(<"$TOOL/.infra/id")'" "$TOOL/infra_clean.sh"
}
