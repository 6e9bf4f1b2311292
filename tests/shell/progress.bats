#!/usr/bin/env bats
# framework/shell/progress.sh

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
}

# on_terminal PROGRAM: runs bash's PROGRAM with the tool on a terminal; sets screen to what it wrote there, with ^[ for escape and
# ^M for a carriage return.
on_terminal() {
  printf 'source %q\n%s\n' "$TOOL/framework/shell/all.sh" "$1" >program
  TERM=${TERMINAL-xterm} script --quiet --return --command 'bash program' /dev/null </dev/null >screen
  screen=$(tr -d '\n' <screen | sed -e 's/\x1b/^[/g' -e 's/\r/^M/g')
}

@test "on a terminal: headings, hosts and errors in colour, unless NO_COLOR or a dumb terminal is asked for" {
  local program='doing part; step far message; warn careful; (die wrong) || true'
  unset NO_COLOR
  on_terminal "$program"
  [[ $screen == *'^[[1mpart^[[0m'*'^[[36mfar:^[[0m message'*'^[[33mwarning:^[[0m careful'*'^[[31merror:^[[0m wrong'* ]]
  NO_COLOR=1 on_terminal "$program"
  [[ $screen == *part*'far: message'*'warning: careful'*'error: wrong'* && $screen != *'m'*part*'^[[0m'* ]]
  TERMINAL=dumb on_terminal "$program"
  assert_equal "$screen" 'part^Mfar: message^Mwarning: careful^Merror: wrong^M'
}

@test "elsewhere: neither colours nor moving lines" {
  shout() {
    doing part
    step far message
    warn careful
    show_under_way 'still there (15 s)'
    die wrong
  }
  capture shout
  assert_equal "$messages" $'part\nfar: message\nwarning: careful\nstill there (15 s)\nerror: wrong'
}

@test "on a terminal: what is under way is drawn each second in one line, which the next message replaces" {
  on_terminal '
    work() { until grep -q "still building it ([1-9]" screen; do sleep 0.05; done; }
    run_long "building it" work
    say done'
  [[ $screen == *'local:'*'building it^M^M^[[K^[[?7llocal: still building it ('[1-9]*' s)^[[?7h^M^[[K'*'^M^[[Kdone^M' ]]
}

@test "on a terminal: wait_until counts the seconds in one line" {
  on_terminal '
    sleep() { SECONDS=$((SECONDS + 3)); }
    late() { ((SECONDS > 5)); }
    wait_until 20 "it is there" late'
  [[ $screen == *'waiting until it is there (0 s)^[[?7h^M^[[K^[[?7lwaiting until it is there (3 s)'* ]]
}

@test "on a terminal: with --verbose, or inside a job, nothing is drawn over" {
  on_terminal '
    HOST_NAMES=(local far)
    VERBOSE=yes
    show_under_way text
    VERBOSE=""
    wait_there() {
      sleep() { SECONDS=$((SECONDS + 30)); }
      wait_until 20 "it is there" false || true
    }
    for_each_host wait_there 1'
  [[ $screen == *text^M* && $screen != *'?7l'* ]]
}

@test "for_each_host: says how much was sent to a host, of how much" {
  sed -i 's/BUSY_SECONDS=15/BUSY_SECONDS=0.05/' "$TOOL/framework/shell/run.sh"
  capture bash -c 'source "$1/framework/shell/all.sh"
    HOST_NAMES=(local far)
    DOING="sending images"
    send() {
      {
        head -c 2097152 /dev/zero
        until grep -q "still sending images: far 2.0 MiB of 4.0 MiB (" "$BATS_TEST_TMPDIR/stderr"; do printf x; sleep 0.1; done
      } | count_bytes "$1" 4194304 | sha256sum
    }
    for_each_host send 1' test "$TOOL"
  assert_equal "$status" 0
}

@test "count_bytes: passes on what it counts, also where nobody shows it" {
  assert_equal "$(printf 'a\nb' | count_bytes 1 3)" $'a\nb'
  PARALLEL_OUTPUT=$PWD
  assert_equal "$(printf 'a\nb' | count_bytes 1 2097152)" $'a\nb'
  assert_equal "$(print_counted 1)" ' 3 bytes of 2.0 MiB'
  assert_equal "$(print_counted 2)" ''
  echo 2 >1.total
  assert_equal "$(print_counted 1)" ' 3 bytes sent'
  printf 'dd: error writing\n' >1.bytes
  assert_equal "$(print_counted 1)" ''
}

@test "print_phases: the whole time, and the parts that took a second or more" {
  at() {
    SECONDS=$1
    begin_phase "$2"
  }
  at 10 'one'
  at 10 'two'
  at 25 'three'
  at 250 ''
  at 260 ''
  assert_equal "$(print_phases)" $'4 min 0 s\n  15 s  two\n 225 s  three'
}
