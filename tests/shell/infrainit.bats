#!/usr/bin/env bats
# infrainit.sh itself: its ends, and the order in which it does things. Docker is a stub; this machine is the only host.

# shellcheck disable=SC2016,SC2034,SC2154 # words are quoted on purpose; names are shared with helpers.bash

load helpers

setup() {
  prepare
  know_facts
  make_project digits
  stub docker 'case "$*" in
    version*) echo 28.5.2 ;;
    *"info --format {{.ID}}"*) echo ENGINE ;;
    *DockerRootDir*) echo / ;;
    *"image ls"*) echo an-image ;;
    *"{{.Created}}"*) date --utc +%Y-%m-%dT%TZ ;;
    *"image inspect"*) echo "amd64 [layers]" ;;
    *" needs "*) echo optuna=no ;;
    *" plan "*) ;;
    "run --label"*) echo "no container today" >&2; exit 125 ;;
  esac'
  stub ssh 'exit 255'
}

# act_as_engine WATCH: Docker keeps its containers as files and does all that it is asked for; `framework watch` is WATCH.
act_as_engine() {
  mkdir containers
  stub docker "cd '$PWD/containers' || exit"'
    id_of() {
      local text=$1 digits="" two
      for (( ; ${#text} > 0; )); do
        printf -v two %02x "\"${text:0:1}"
        digits+=$two text=${text:1}
      done
      printf "%s%0$((64 - ${#digits}))d" "$digits" 0
    }
    case "$*" in
      version*) echo 28.5.2 ;;
      *"info --format {{.ID}}"*) echo ENGINE ;;
      *DockerRootDir*) echo / ;;
      *"{{.Created}}"*) date --utc +%Y-%m-%dT%TZ ;;
      *"image inspect"*) echo "amd64 [layers]" ;;
      *" needs "*) echo optuna=no ;;
      "run --label "*) echo "running ${3#*=} 0 0" >"$(id_of "${6##*-}")" ;;
      "ps --all --no-trunc --filter label=infrainit.role="*) [[ ! -e $(id_of "${5##*=}") ]] || id_of "${5##*=}" ;;
      "container inspect"*infrainit.infrastructure*) name=${*: -1}; echo "${name%-*}" ;;
      "container inspect"*) cat "${@: -1}" ;;
      *" framework watch"*)
        echo >>../watched
        '"$1"' ;;
    esac'
}

# ask_hosts_really: their facts are what facts.sh finds, but for what listens on this machine.
ask_hosts_really() {
  sed 's/^port_holder() {$/&\n  echo free\n  return/' "$BATS_TEST_DIRNAME/../../framework/shell/facts.sh" >"$TOOL/framework/shell/facts.sh"
}

# have_all_up WATCH: as if infrainit.sh had brought everything up, and had recorded that; the next one only looks at it.
have_all_up() {
  local project="$TOOL/tasks/digits" role
  act_as_engine "$1"
  mkdir -m 700 "$TOOL/.infra"
  echo infra-01234567 >"$TOOL/.infra/id"
  printf '%s\n' HOSTS= "PROJECT=${project@Q}" REMOTE_PATH=celery_tasks MASTER=local WORKERS=local >"$TOOL/.infra/record"
  for role in broker master flower runner worker; do
    docker run --label infrainit.settings=x --detach --name "infra-01234567-$role"
  done
  sed -i 's/^    bring_up$/    STARTED=yes/' "$TOOL/infrainit.sh"
}

infrainit() {
  capture "$TOOL/infrainit.sh" "$@"
}

files() {
  (cd "$TOOL" && find . | sort)
}

# assert_order TEXT…: these come one after another in the messages.
assert_order() {
  local text rest=$messages
  for text in "$@"; do
    if [[ $rest != *"$text"* ]]; then
      printf 'not found, or too early: %s\nin:\n%s\n' "$text" "$messages"
      return 1
    fi
    rest=${rest#*"$text"}
  done
}

@test "no arguments, -h and --help: the help" {
  infrainit
  assert_equal "$status" 0
  local help=$output
  assert_part '-w, --workers HOSTS'
  refute_part 'shellcheck'
  infrainit --help
  assert_equal "$output" "$help"
  infrainit -m local -h
  assert_equal "$output" "$help"
}

@test "every option in the help of a script is known to it" {
  local script option options
  sed 's/^CHECKOUT=@.*/CHECKOUT=$(dirname -- "$0")/; s/=@[A-Z]*@$/=x/' "$TOOL/infra_clean.sh.tmpl" >"$TOOL/infra_clean.sh"
  chmod +x "$TOOL/infra_clean.sh"
  for script in infrainit update_files check_celery_status get_results infra_clean; do
    capture "$TOOL/$script.sh" --help
    assert_equal "$script $status" "$script 0"
    mapfile -t options < <(grep -oE '^ +(-.,)? +--[a-z-]+' <<<"$output" | grep -oE -- '--?[a-z][a-z-]*' | grep -vx -e -h -e --help)
    ((${#options[@]} > 1))
    capture "$TOOL/$script.sh" "${options[@]}" --no-such-option
    assert_equal "$status" 2
    assert_part 'error: --no-such-option is no option'
    for option in "${options[@]}"; do
      refute_part "error: $option is no option"
    done
  done
}

@test "wrong options: exit 2, and nothing is touched" {
  local before
  before=$(files)
  infrainit -d digits -m 3 --nonsense
  assert_equal "$status" 2
  infrainit -d digits -m 3 -w 4
  assert_equal "$status" 2
  infrainit -d digits -w local -b 10.0.0.1
  assert_equal "$status" 2
  assert_part 'no broker was started from'
  infrainit -d digits -w local -b 10.0.0.1 --recover
  assert_equal "$status" 2
  assert_part "--recover without -m: only the master's journal can be rebuilt"
  infrainit -d digits -m local --wait
  assert_equal "$status" 2
  infrainit -d digits -w local -b 10.0.0.1 --fresh
  assert_equal "$status" 2
  assert_part '--fresh without -m'
  assert_equal "$(files)" "$before"
  assert_equal "$(<"$CALLS")" ''
}

@test "problems of hosts are all reported, exit 1, nothing is recorded" {
  ask_hosts_really
  stub docker 'echo "permission denied" >&2; exit 1'
  infrainit -d digits -a h1 -m local -w local,1
  assert_equal "$status" 1
  assert_part 'error: local: the user'
  assert_part 'error: h1: ssh says'
  assert_part 'nothing was started'
  [[ ! -e $TOOL/.infra && ! -e $TOOL/infra_clean.sh && -e $TOOL/config.sh ]]
}

@test "Docker is missing: without -y and without a terminal, it says what to do" {
  ask_hosts_really
  stub docker 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
  infrainit -d digits -m local -w local </dev/null
  assert_equal "$status" 1
  assert_part 'give -y to have it started, or run:'
  assert_part 'install_docker_ubuntu.sh'
}

@test "Docker is missing: with -y it is installed here and there, then asked for again" {
  ask_hosts_really
  printf 'echo "installed by: $*"\n: >"%s/$(basename "$0")"\n' "$BATS_TEST_TMPDIR/has" >"$TOOL/install_docker_ubuntu.sh"
  chmod +x "$TOOL/install_docker_ubuntu.sh"
  mkdir "$BATS_TEST_TMPDIR/has"
  # There, the script comes on stdin of a bash and has its name; here, it is a file.
  stub docker "if [[ \$WHERE == there && -e '$BATS_TEST_TMPDIR/has/bash' || ! \$WHERE && -e '$BATS_TEST_TMPDIR/has/install_docker_ubuntu.sh' ]]; then
      case \"\$*\" in
        version*) echo 28.5.2 ;;
        *'info --format {{.ID}}'*) echo \"ENGINE\$WHERE\" ;;
        *DockerRootDir*) echo / ;;
        *'image ls'*) echo an-image ;;
        *'{{.Created}}'*) date --utc +%Y-%m-%dT%TZ ;;
        *'image inspect'*) echo 'amd64 [layers]' ;;
        'ps --all'*) ;;
        *' needs '*) echo optuna=no ;;
        *' plan '*) ;;
        *) echo 'no more' >&2; exit 1 ;;
      esac
    else
      echo 'Cannot connect to the Docker daemon' >&2; exit 1
    fi"
  stub ssh 'case "$*" in
    *"-O exit"*) ;;
    *) WHERE=there exec sh -c "${*: -1}" ;;
  esac'
  infrainit -y -d digits -a h1 -r x -m local -w local,1 -b 127.0.0.1
  assert_order 'local: installing Docker' "installed by: --user $(id -un)" 'checking the project' \
    'h1: installing Docker' "h1: installed by: --user $(id -un)" 'sending images'
}

@test "a new member of the group docker: infrainit.sh starts itself again, once" {
  ask_hosts_really
  stub getent 'echo "docker:x:1:other,$(id -un)"'
  stub sg 'exec sh -c "$3"'
  stub docker 'if [[ ! ${INFRAINIT_IN_GROUP:-} ]]; then echo "permission denied" >&2; exit 1; fi
    case "$*" in version*) echo "not now" >&2; exit 1 ;; esac'
  infrainit -d digits -m local -w local
  assert_equal "$status" 1
  assert_equal "$(grep '^sg' "$CALLS")" "sg 'docker' '-c' $(
    quoted="'${TOOL//"'"/"'\\''"}/infrainit.sh' -d digits -m local -w local"
    printf '%s' "${quoted@Q}"
  )"
  assert_part 'local: Docker does not answer (not now)'
}

@test "a dry run shows all steps in their order, and changes nothing" {
  local before
  before=$(files)
  infrainit -d digits -m local -w local -n
  assert_equal "$status" 0
  assert_order '/config.sh' '/.infra/id' '/.infra/record' '/infra_clean.sh' 'make_secrets' ' needs ' ' plan ' \
    'building the image of the tasks' 'sending images' 'secrets/infra-' 'sending files' '-broker --label' '-master --label' '-flower --label' '-runner --label' \
    '-worker --label' 'dry run: nothing was changed'
  refute_part 'framework again'
  assert_equal "$(files)" "$before"
  assert_equal "$(grep -cE "^docker '(run|rm|build|volume' 'create|network' 'create)" "$CALLS")" 0
}

@test "--recover, --failed: the journal is rebuilt after the files are there; the master is told what to run again before it goes on" {
  infrainit -d digits -m local -w local -n --recover --failed
  assert_equal "$status" 0
  assert_order 'sending files' "rebuilding the journal" 'recover /data/recovered' '-broker --label' '-master --label' '-worker --label' \
    "-master framework again --failed" "-master framework resume"
}

@test "a failure in the middle: infra_clean.sh exists and removes what was started" {
  ask_hosts_really
  infrainit -d digits -m local -w local
  assert_equal "$status" 1
  assert_part 'no container today'
  assert_part "ended while starting broker, master and Flower; to complete it: $(as_typed infrainit.sh '-d digits -m local -w local'); to remove what was started: $(as_typed infra_clean.sh)"
  assert_equal "$(stat -c %a "$TOOL/.infra")" 700
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status" 0
}

@test "an invalid project: exit 2, after the check in the image and before any container is started" {
  stub docker 'case "$*" in
    version*) echo 28.5.2 ;;
    *DockerRootDir*) echo / ;;
    *"image ls"*) echo an-image ;;
    *"{{.Created}}"*) date --utc +%Y-%m-%dT%TZ ;;
    *"image inspect"*) echo "amd64 [layers]" ;;
    *" needs "*) echo optuna=no ;;
    *" plan "*) echo "parameters.yml:1:2: wrong" >&2; exit 2 ;;
  esac'
  infrainit -d digits -m local -w local
  assert_equal "$status" 2
  assert_part 'parameters.yml:1:2: wrong'
  assert_equal "$(grep -c -- "'--detach'" "$CALLS")" 0
}

@test "what the project needs is asked first, and a project in trouble ends with 2 before its images are built" {
  stub docker 'case "$*" in
    version*) echo 28.5.2 ;;
    *DockerRootDir*) echo / ;;
    *"image inspect --format {{.Id}} infrainit-runner-"*) exit 1 ;;
    *"{{.Created}}"*) date --utc +%Y-%m-%dT%TZ ;;
    *"image inspect"*) echo "amd64 [layers]" ;;
    *"context inspect"*) echo default ;;
    *" needs "*) echo optuna=yes ;;
    *" plan "*) exit 2 ;;
  esac'
  echo numpy >"$TOOL/tasks/digits/requirements.txt"
  infrainit -d digits -m local -w local
  assert_equal "$status" 2
  assert_equal "$(grep -c "'build'" "$CALLS")" 0
  assert_equal "$(grep -o "'\(needs\|plan\)'" "$CALLS" | tr '\n' ' ')" "'needs' 'plan' "
  [[ $(grep -o "'infrainit-worker:.* 'needs'" "$CALLS" | cut -d ' ' -f 1) != $(grep -o "'infrainit-worker:.* 'plan'" "$CALLS" | cut -d ' ' -f 1) ]]
}

@test "a variable that is not set here: exit 2, before the image of the tasks is built and anything is sent" {
  sed -i 's/echo optuna=no/printf "optuna=no\\nsecret=SOME_TOKEN 3:11\\n"/' "$STUBS/docker"
  infrainit -d digits -m local -w local
  assert_equal "$status" 2
  assert_part "/tasks/digits/project.yml:3:11: secrets: SOME_TOKEN is not set here; export it, or name a file"
  assert_part 'nothing was started'
  refute_part 'building the image of the tasks'
  SOME_TOKEN=hidden infrainit -d digits -m local -w local
  assert_order 'sending values for tasks: SOME_TOKEN' 'sending files' 'starting broker'
  refute_part hidden
  assert_equal "$(find "$HOME" -name values -exec cat {} +)" $'SOME_TOKEN=hidden'
  [[ $(<"$CALLS") != *hidden* ]]
  capture "$TOOL/infra_clean.sh"
  assert_equal "$status|$(find "$HOME" -name values)" '0|'
}

@test "infrainit.sh works through a link and from another directory" {
  ln -s "$TOOL/infrainit.sh" "$BATS_TEST_TMPDIR/up"
  cd /
  capture "$BATS_TEST_TMPDIR/up" --help
  assert_equal "$status" 0
  assert_part 'usage: infrainit.sh'
}

@test "an older bash gets a clear error" {
  mkdir "$BATS_TEST_TMPDIR/old"
  sed 's/BASH_VERSINFO\[0\]/OLD[0]/; s/BASH_VERSINFO\[1\]/OLD[1]/' "$TOOL/framework/shell/all.sh" >"$BATS_TEST_TMPDIR/old/all.sh"
  capture bash -c 'OLD=(4 3); source "$1"' bash "$BATS_TEST_TMPDIR/old/all.sh"
  assert_equal "$status" 1
  assert_part 'needs bash 4.4 or newer'
}

@test "--wait: a lost connection does not end it; the results are copied when the sweep has ended" {
  local past
  have_all_up '(($(wc -l <../watched) > 1)) || exit 255'
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 0
  assert_order 'running the tasks' 'local: the connection is lost; the tasks keep running' 'copying the results to this machine'
  assert_equal "$(wc -l <watched)" 2
  mapfile -t past < <(sed -n -E "s/.*'watch' '--columns' '0' '--past' '([0-9]+)'\$/\1/p" "$CALLS")
  ((${#past[@]} == 2 && past[1] >= 60)) # what happened while the connection was silent, too
  [[ -d $TOOL/results/digits ]]
}

@test "--wait: results come home while tasks run" {
  local attempt="$HOME/celery_tasks/worker/digits/tasks/00000000000000aa/1"
  # The sweep ends when its first result is here.
  have_all_up 'for _ in {1..300}; do [[ ! -e "$TOOL/results/digits/tasks/00000000000000aa/1" ]] || exit 0; sleep 0.1; done; exit 1'
  export TOOL
  mkdir -p "$attempt" "$HOME/celery_tasks/master/digits"
  echo '{}' >"$attempt/result.json"
  printf '%s\n' task,state,attempts,host 00000000000000aa,done,1,local >"$HOME/celery_tasks/master/digits/results.csv"
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 0
  assert_order 'running the tasks' 'copying the results to this machine' '1 new results of tasks, 3B'
  assert_equal "$(cat "$TOOL/results/digits/tasks/00000000000000aa/1/result.json")" '{}'
}

@test "--wait: a task that failed makes it fail, after the results were copied; what the master says is printable, and may redraw its line" {
  have_all_up 'printf "\r1 done \033]52;c;A\007\r2 done\n" >&2; printf "\033]0;x\007\n"; exit 1'
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 1
  assert_equal "$(wc -l <watched)" 1
  [[ -d $TOOL/results/digits ]]
  assert_part $'\r1 done ?]52;c;A?\r2 done\n'
  assert_part '?]0;x?'
  refute_part $'\033]'
}

@test "--wait: files of tasks that are out of reach are a warning, and the best combinations are shown" {
  have_all_up 'exit 0'
  printf '#!/bin/sh\necho "h1: its results were not copied" >&2\nexit 1\n' >"$TOOL/get_results.sh"
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 0
  assert_order 'h1: its results were not copied' "warning: logs and files of tasks are missing here, see above; to fetch them: $(as_typed get_results.sh)"
  [[ $(tail -n 1 "$CALLS") == *"'framework' 'best' '--failures'"* ]]
}

@test "--wait: does not hold the lock; when the infrastructure is removed, it says so and ends" {
  local seconds=$SECONDS
  have_all_up 'flock --nonblock "$TOOL" true || echo locked; rm -f *; exit 137'
  export TOOL
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 1
  assert_part "error: local: the infrastructure was removed while its tasks were followed; $(as_typed infrainit.sh -f) starts it again"
  refute_part locked
  refute_part 'keep running'
  refute_part 'within 600'
  ((SECONDS - seconds < 60))
}

@test "--wait: the infrastructure is removed while the connection is lost" {
  have_all_up 'exit 255'
  stub sleep
  # The master does not answer at first, and then is gone.
  sed -i 's|^      \*" framework watch"\*)|      *" framework status"*) [[ -e ../watched ]] \|\| exit 0; echo >>../asked; (($(wc -l <../asked) < 3)) \|\| rm -f *; exit 1 ;;\n&|' "$STUBS/docker"
  infrainit -d digits -m local -w local --wait
  assert_equal "$status" 1
  assert_part 'the connection is lost'
  assert_part 'the infrastructure was removed while its tasks were followed'
}

# on_terminal TEXT=REPLY… -- OPTION…: infrainit.sh on a terminal; when it has shown TEXT, REPLY is typed, one after the other.
on_terminal() {
  capture python3 - "$TOOL/infrainit.sh" "$@" <<'PYTHON'
import os, pty, signal, sys

end = sys.argv.index("--")
replies = [tuple(word.encode().split(b"=")) for word in sys.argv[2:end]]
command = [sys.argv[1], *sys.argv[end + 1 :]]
process, terminal = pty.fork()
if process == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # bats' jobs in the background ignore it
    os.execv(command[0], command)
output = b""
while True:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:  # it has ended
        break
    if not chunk:
        break
    output += chunk
    if replies and replies[0][0] in output:
        os.write(terminal, replies.pop(0)[1])
print(output.decode().replace("\r", ""))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
PYTHON
}

# interrupt_and_answer ANSWER: infrainit.sh --wait on a terminal, with Ctrl-C while it watches the tasks.
interrupt_and_answer() {
  on_terminal watching=$'\003' "[y/N]=$1"$'\n' -- -d digits -m local -w local --wait
}

@test "Ctrl-C while the tasks run: the sweep is paused if the user wants it" {
  have_all_up 'echo watching; exec sleep 60'
  interrupt_and_answer y
  assert_equal "$status" 130
  assert_part 'Pause the sweep and stop its tasks? If not, they keep running without this script. [y/N]'
  assert_part 'the sweep is paused: its tasks are stopped, and no more are sent; resume it with:'
  assert_equal "$(tail -n 1 "$CALLS" | cut -d ' ' -f 2,4-)" "'exec' 'framework' 'pause'"
}

@test "Ctrl-C while the tasks run: they keep running if the user does not want to pause" {
  have_all_up 'echo watching; exec sleep 60'
  interrupt_and_answer n
  assert_equal "$status" 130
  assert_part 'the tasks keep running without this script; watch them again:'
  assert_equal "$(grep -c "'pause'" "$CALLS")" 0
}

@test "a recorded host that does not answer stays in the record" {
  local project="$TOOL/tasks/digits"
  act_as_engine 'exit 0'
  mkdir -p "$TOOL/.infra"
  echo infra-01234567 >"$TOOL/.infra/id"
  printf '%s\n' HOSTS=h1 "PROJECT=${project@Q}" REMOTE_PATH=celery_tasks MASTER=local WORKERS=local,1 >"$TOOL/.infra/record"
  infrainit -d digits -m local -w local
  assert_equal "$status" 0
  assert_part "warning: h1: may still run containers that were started earlier; $(as_typed infra_clean.sh) removes them"
  grep -qx "HOSTS='h1'" "$TOOL/.infra/record"
  grep -qx "WORKERS='local'" "$TOOL/.infra/record"
  grep -qx "RECORDED_HOSTS='h1'" "$TOOL/infra_clean.sh"
}

@test "tasks that would begin again are asked about before anything is sent or started" {
  act_as_engine 'exit 0'
  infrainit -d digits -m local -w local
  assert_equal "$status" 0
  assert_order 'to tear down' 'time             '
  sed -i -e 's|^      \*" needs "\*)|      *" --running"*) echo 2 7200 ;;\n& echo requirements=requirements.txt;|' "$STUBS/docker"
  echo numpy >"$TOOL/tasks/digits/requirements.txt"
  : >"$CALLS"
  infrainit -f </dev/null
  assert_equal "$status" 1
  assert_line 'local: 2 tasks run (the longest since 2 h); a new image or new settings of the runner make them begin again'
  assert_part "infrainit.sh' -f -y"
  assert_equal "$(grep -cE "^docker '(run' '--label|stop|rm)" "$CALLS")" 0
  on_terminal $'[y/N]=y\n' -- -f
  assert_equal "$status" 0
  assert_part 'go on, and let these tasks begin again? [y/N]'
  assert_part 'replacing runner'
  assert_part 'worker runs already'
}

@test "--drain: infrainit.sh waits until the tasks have ended, then replaces the runner; Ctrl-C ends the waiting" {
  local drains="'exec' '[^ ]*-master' 'framework' 'drain'"
  act_as_engine 'exit 0'
  infrainit -d digits -m local -w local
  assert_equal "$status" 0
  echo '1 7200' >running
  sed -i -e "s|^      \\*\" needs \"\\*)|      *' drain '*) echo 'local: 0 running, 0 waiting' ;; *' --running'*) cat ../running ;;\n& echo requirements=requirements.txt;|" \
    "$STUBS/docker"
  echo numpy >"$TOOL/tasks/digits/requirements.txt"
  : >"$CALLS"
  on_terminal 'Ctrl-C ends the waiting'=$'\003' -- -f --drain
  assert_equal "$status" 130
  assert_part 'waiting until the tasks on local have ended'
  assert_part 'local: the master may send tasks there again'
  assert_part 'ended while waiting until the tasks on local have ended; nothing was started'
  assert_equal "$(grep -cE "^docker '(run' '--label|stop|rm)" "$CALLS")" 0
  assert_equal "$(grep -E "$drains" "$CALLS" | tail -n 1 | grep -o "'drain' .*")" "'drain' '--end' 'local'"
  stub sleep "echo 0 0 >'$PWD/running'; exec $(type -P sleep) 0.05" # they end when it has looked once
  : >"$CALLS"
  infrainit -f --drain </dev/null
  assert_equal "$status" 0
  assert_order '1 task runs (since 2 h)' 'waiting until the tasks on local have ended' 'nothing runs there any more' \
    'local: replacing runner' 'local: worker runs already' 'local: the master may send tasks there again'
  refute_part 'go on, and let these tasks begin again?'
  assert_equal "$(grep -ci drain "$TOOL/config.sh" || true)" 0
}
