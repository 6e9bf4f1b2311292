#!/usr/bin/env bats
# framework/shell/run.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

@test "run: shows nothing by default, the command when verbose" {
  stub change
  capture run change 'a b'
  assert_equal "$messages" ''
  VERBOSE=yes
  capture run change 'a b'
  assert_equal "$messages" "local\$ change 'a b'"
  assert_equal "$(<"$CALLS")" $'change \'a b\'\nchange \'a b\''
}

@test "run: a dry run shows and does nothing" {
  stub change
  DRY_RUN=yes
  capture run change x
  assert_equal "$messages" 'local$ change x'
  assert_equal "$(<"$CALLS")" ''
}

@test "run: hands out the exit code" {
  stub change 'exit 7'
  capture run change
  assert_equal "$status" 7
}

@test "wait_until: polls until it succeeds" {
  sleep() { echo slept >>"$CALLS"; }
  succeed_at_last() { [[ $(wc -l <"$CALLS") == 2 ]]; }
  wait_until 10 'it is there' succeed_at_last
}

@test "wait_until: fails at the deadline with the last message" {
  sleep() { SECONDS=$((SECONDS + 1)); }
  never() { echo "not there" && return 1; }
  capture wait_until 25 'it is there' never
  assert_equal "$status" 1
  assert_part 'waiting until it is there (20 s)'
  assert_part 'not within 25 s: it is there'
  assert_line 'not there'
}

@test "wait_until: fails at once when waiting longer cannot help" {
  sleep() { die "must not wait"; }
  hopeless() { echo "container has ended" && return "$NEVER_READY"; }
  capture wait_until 100 'it is there' hopeless
  assert_equal "$status" 1
  assert_line 'container has ended'
}

@test "run_long: quiet, except when it fails or takes long" {
  capture run_long 'working' echo noise
  assert_equal "$status $messages" '0 local: working'
  fail_with_noise() { echo noise && return 4; }
  capture run_long 'working' fail_with_noise
  assert_equal "$status" 4
  assert_equal "$messages" $'local: working\nnoise'
  sed -i 's/BUSY_SECONDS=15/BUSY_SECONDS=0.05/' "$TOOL/framework/shell/run.sh"
  capture bash -c 'source "$1/framework/shell/all.sh"
    work() { until grep -q "local: still working" "$BATS_TEST_TMPDIR/stderr"; do sleep 0.01; done; }
    run_long working work' test "$TOOL"
  assert_equal "$status" 0
  assert_part 'local: still working ('
}

@test "run_long: a process that COMMAND leaves behind does not hold the reminder" {
  local left own
  leave_process() {
    sleep 60 >/dev/null 2>&1 &
    echo "$!" >left
  }
  run_long 'working' leave_process
  left=$(<left)
  own=$(pipes_of "$BASHPID")
  assert_equal "$(comm -13 <(echo "$own") <(pipes_of "$left"))" ''
  assert_equal "$(tr '\0' ' ' <"/proc/$left/cmdline")" 'sleep 60 ' # nobody has waited for its end
  kill "$left"
}

@test "run_long: shows why COMMAND ended the program" {
  stop() { die 'no sudo'; }
  capture run_long 'working' stop
  assert_equal "$status" 1
  assert_line 'error: no sudo'
}

@test "run_as_root: with sudo only where it is needed" {
  local as_user=()
  ((EUID != 0)) || as_user=(setpriv --reuid 1 --clear-groups)
  stub sudo 'echo "sudo $*"'
  chmod -R go+rX "$BATS_TEST_TMPDIR" "$(dirname "$BATS_TEST_TMPDIR")" "$BATS_RUN_TMPDIR"
  chmod go+w "$CALLS"
  capture "${as_user[@]}" bash -c 'source "$1/framework/shell/all.sh"; run_as_root echo x' test "$TOOL"
  assert_equal "$output" 'sudo --preserve-env=http_proxy,https_proxy,no_proxy echo x'
  if ((EUID == 0)); then
    capture run_as_root echo x
    assert_equal "$output" x
  fi
}

@test "replace_file: writes the text with its mode; a dry run and an equal text write nothing" {
  replace_file file 640 $'a\nb\n'
  assert_equal "$(<file) $(stat -c %a file)" $'a\nb 640'
  stub mv
  hash -r
  replace_file file 640 $'a\nb\n'
  assert_equal "$(<"$CALLS")" ''
  DRY_RUN=yes
  capture replace_file file 640 $'other\n'
  assert_equal "$(<file)" $'a\nb'
  assert_line 'local$ mv -- file.new file'
}

@test "call_on_signals: the exit code is that of the signal, also when bash is about to read a command substitution" {
  interrupt() {
    echo "interrupted $1"
    exit "$1"
  }
  be_ended() {
    call_on_signals interrupt
    eval "$1"
    echo 'not reached'
  }
  local signal
  for signal in {HUP,TERM}{,,,,,,,,,}; do # without the bracket about every second time goes wrong
    capture be_ended "process=\$BASHPID; : \"\$(kill -$signal \$process)\$(:)\""
    assert_equal "$status|$output|$messages" "$((128 + $(kill -l "$signal")))|interrupted $((128 + $(kill -l "$signal")))|"
    capture be_ended "kill -$signal \$BASHPID"
    assert_equal "$status|$messages" "$((128 + $(kill -l "$signal")))|"
  done
}
