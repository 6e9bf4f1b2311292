#!/usr/bin/env bats
# framework/shell/drain.sh: --drain, from the request to the master to the end of the tasks. infrainit.bats has what comes around it.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  PROJECT_NAME=p
  HOSTS=(local far other) HOST_NAMES=(local far other) SSH_DESTINATIONS=('' far other) SSH_PORTS=('' '' '')
  MASTER_HOST=0 PRESENT_MASTER_HOST=0 WORKER_HOSTS=(0)
  RUNNER_IMAGE_ID=runner:1
  TZ=''
  DRAIN=yes
  FACTS=()
  for host in 0 1 2; do
    good_host "$host"
  done
  stub ssh 'echo "far: no route" >&2; exit 255'
  # 5 s are over in a moment.
  stub sleep "exec $(type -P sleep) 0.05"
  mkdir answers
  answer docker ''
  answer drain 'local: 0 running, 0 waiting'
  answer running '0 0'
  stub docker "cd '$PWD/answers' || exit"'
    # next FILE: its next line, the last one for ever; a line "fails" fails.
    next() {
      local line
      read -r line <"$1"
      if (($(wc -l <"$1") > 1)); then sed -i 1d "$1"; fi
      if [[ $line == fails ]]; then echo "nobody answers" >&2; exit 1; fi
      printf "%b\n" "$line"
    }
    case "$*" in
      "ps --all"*) printf "%064d\n" 1 ;;
      "container inspect"*Mounts*) ;;
      "container inspect"*) echo "running x 0 0" ;;
      *" framework drain --end "*) echo "local: 0 running, 0 waiting" ;;
      *" framework drain "*) next drain ;;
      *" --running"*) next running ;;
    esac'
}

# answer NAME LINE…: what is said one after the other.
answer() {
  printf '%s\n' "${@:2}" >"answers/$1"
}

# drains: what the master was asked for, without repetitions of the same.
drains() {
  sed -n "s/^docker 'exec' 'infra-01234567-master' 'framework' 'drain' //p" "$CALLS" | uniq
}

wait_and_end() {
  ask_about_tasks "$@"
  echo "drained: ${DRAINED[*]}"
  end_drain
}

@test "ask_about_tasks --drain: waits until neither the runner nor the master has anything, and does not ask" {
  answer running '2 7200' '2 7200' '1 60' '0 0'
  answer drain 'local: 2 running, 1 waiting' 'local: 2 running, 0 waiting' 'local: 1 running, 0 waiting' 'local: 1 running, 0 waiting' \
    'local: 0 running, 0 waiting'
  capture wait_and_end 0
  assert_equal "$status" 0
  assert_line 'local: 2 tasks run (the longest since 2 h); a new image or new settings of the runner make them begin again'
  assert_line 'waiting until the tasks on local have ended'
  assert_part 'Ctrl-C ends the waiting'
  assert_line 'nothing runs there any more'
  assert_line 'drained: 0'
  assert_line 'local: the master may send tasks there again'
  assert_equal "$(drains)" "'local'"$'\n'"'--end' 'local'"
  (($(grep -c "'drain' 'local'" "$CALLS") >= 5))
}

@test "ask_about_tasks --drain: says now and then what still runs, and what cannot be known" {
  sed -i 's/DRAIN_SHOWN_SECONDS=60/DRAIN_SHOWN_SECONDS=0/' "$TOOL/framework/shell/drain.sh"
  cat >script <<'BASH'
source "$1/framework/shell/all.sh"
INFRASTRUCTURE=infra-01234567 HOST_NAMES=(local) PRESENT_MASTER_HOST=0 DRAINED=(0)
print_end_of_runner() { echo why; }
wait_for_drained_hosts
BASH
  answer running '2 7200' '1 60' 'what?' '0 0'
  answer drain 'local: 2 running, 0 waiting' 'local: 1 running, 3 waiting' fails 'nonsense' 'local: 0 running, 0 waiting'
  capture bash script "$TOOL"
  assert_equal "$status" 0
  assert_line 'local: 2 tasks run (the longest since 2 h)'
  assert_line 'sent by the master to local: 2 running, 0 waiting'
  assert_line 'local: 1 task runs (since 60 s)'
  assert_line 'sent by the master to local: 1 running, 3 waiting'
  assert_line 'local: an unknown number of tasks run (its runner says: what?)'
  assert_line 'local: the master cannot be asked (nobody answers)'
  assert_line 'local: the master cannot be asked (nonsense)'
  [[ $messages =~ 'waiting since '[0-9]+' s, Ctrl-C ends it:' ]]
}

@test "ask_about_tasks --drain: a host that does not answer is waited for" {
  DRAINED=(0 1)
  answer drain 'local: 0 running, 0 waiting\nfar: 0 running, 0 waiting (the master has not heard of it)'
  capture print_what_is_left
  assert_equal "$output" 'far: it cannot be asked (far: no route)'
}

@test "ask_about_tasks --drain: only hosts whose runners end are drained, also without tasks" {
  print_end_of_runner() { [[ $1 == 1 ]] || echo why; }
  answer drain 'local: 0 running, 0 waiting\nother: 0 running, 0 waiting (the master has not heard of it)'
  stub ssh 'exec sh -c "${@: -1}"'
  capture wait_and_end 0 1 2
  assert_equal "$status" 0
  assert_line 'drained: 0 2'
  assert_equal "$(drains | head -n 1)" "'local' 'other'"
  : >"$CALLS"
  print_end_of_runner() { :; }
  capture wait_and_end 0 1 2
  assert_equal "$status|$output|$messages|$(drains)" '0|drained: ||'
}

@test "ask_about_tasks --drain: without a master that takes it the question comes, which -y answers" {
  local said
  answer running '2 7200'
  for said in fails none; do
    answer drain fails
    [[ $said == fails ]] || PRESENT_MASTER_HOST=''
    ARGUMENTS=(-f --drain)
    capture ask_about_tasks 0
    assert_equal "$status" 1
    assert_part 'warning: --drain: the master cannot be asked to send these hosts nothing more: '
    assert_part 'error: tasks run, and nothing was changed; wait until they have ended, or let them begin again: '
    assert_part "infrainit.sh' -f --drain -y"
    ASSUME_YES=yes capture wait_and_end 0
    assert_equal "$status|$output" '0|drained: '
    refute_part 'may send tasks there again'
  done
  assert_part 'nothing more: no master was started from here'
}

@test "ask_about_tasks --drain: a dry run says it, and asks for nothing" {
  answer running '2 7200'
  DRY_RUN=yes capture ask_about_tasks 0
  assert_equal "$status" 0
  assert_line '(would wait until these tasks have ended)'
  assert_equal "$(drains)" ''
}

@test "a drain is repeated until end_drain, or until the script has died" {
  local keeper
  sed -i 's/BUSY_SECONDS=15 /BUSY_SECONDS=0.1 /' "$TOOL/framework/shell/run.sh"
  cat >script <<'BASH'
source "$1/framework/shell/all.sh"
INFRASTRUCTURE=infra-01234567 HOST_NAMES=(local) PRESENT_MASTER_HOST=0 DRAINED=(0)
keep_hosts_drained
echo "$DRAIN_KEEPER" >keeper
if [[ $2 == die ]]; then
  timeout 20 tail -f /dev/null >/dev/null 2>&1 3>&- & # it holds the pipe, like a connection that stays open
  echo "$!" >holder
  until (($(grep -c drain "$3") >= 3)); do command -p sleep 0.05; done
  kill -KILL "$$"
fi
until (($(grep -c drain "$3") >= 3)); do command -p sleep 0.05; done
end_drain
BASH
  capture bash script "$TOOL" end "$CALLS"
  assert_equal "$status" 0
  assert_line 'local: the master may send tasks there again'
  assert_equal "$(drains)" "'local'"$'\n'"'--end' 'local'"
  is_gone "$(<keeper)"
  : >"$CALLS"
  capture bash script "$TOOL" die "$CALLS"
  assert_equal "$status" 137
  keeper=$(<keeper)
  wait_until 10 "the process that repeats the drain has ended" is_gone "$keeper"
  kill "$(<holder)" || true
}

is_gone() {
  ! kill -0 "$1" 2>/dev/null
}

@test "stop_sending: hosts that are to lose their workers get nothing more; a master that cannot be asked is no failure" {
  stop_sending 1 2
  assert_equal "$(drains)" "'far' 'other'"
  answer drain fails
  capture stop_sending 1
  assert_equal "$status|$messages" '0|'
  : >"$CALLS"
  stop_sending
  DRY_RUN=yes stop_sending 1
  PRESENT_MASTER_HOST='' stop_sending 1
  assert_equal "$(drains)" ''
}
