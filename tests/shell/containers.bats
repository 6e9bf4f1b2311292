#!/usr/bin/env bats
# framework/shell/containers.sh: which containers are started, replaced, watched and removed. docker_options.bats has their options.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  PROJECT_NAME='my, "project"'
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  MASTER_HOST=0 WORKER_HOSTS=(0)
  BROKER_IMAGE_ID=broker:1 WORKER_IMAGE_ID=worker:1 RUNNER_IMAGE_ID=runner:1
  TZ=''
  FACTS=([0.home]="$HOME" [0.uid]=1000 [0.gid]=100 [0.cores]=8 [0.memory]=$((16 * 1024 * MEBIBYTE)) [0.gpus]=0 [0.docker]=ok)
  FACTS+=([1.home]="$HOME/far" [1.uid]=1 [1.gid]=2 [1.cores]=4 [1.memory]=$((4 * 1024 * MEBIBYTE)) [1.gpus]=0 [1.docker]=ok)
  FACTS+=([1.client_address]=10.0.0.9)
  ROOT="$HOME/celery_tasks"
  make_secrets_of_roles
  stub ssh 'exec sh -c "${@: -1}"'
  prepare_ssh
  stub sleep
  has_container ''
}

teardown() {
  close_connections
}

make_secrets_of_roles() {
  local role
  for role in broker master flower worker@local worker@far; do
    mkdir -p "$TOOL/.infra/secrets"
    mkdir -m 700 "$TOOL/.infra/secrets/$role"
    echo "secret-of-$role" >"$TOOL/.infra/secrets/$role/password"
  done
}

# has_container STATE…: Docker has one container; what it says about it, one answer after another, the last one for ever.
has_container() {
  printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/states"
  stub docker "states='$BATS_TEST_TMPDIR/states'"'
    case "$1 $2" in
      "ps --all") [[ ! $(head -n 1 "$states") ]] || printf "%064d\n" 1 ;;
      "container inspect")
        [[ $* != *infrainit.infrastructure* ]] || exec echo infra-01234567
        head -n 1 "$states"
        (($(wc -l <"$states") == 1)) || sed -i 1d "$states" ;;
      "exec "*) cat "$states.exec" 2>&1; exit 1 ;;
      logs\ *) echo "last words" ;;
    esac'
}

# changes: the calls of docker that change something, without the label with the digest.
changes() {
  sed -n "/^docker '\(run\|start\|stop\|rm\|network' 'create\|volume' 'create\)'/{s/ '--label' 'infrainit.settings=[0-9a-f]*'//;p}" "$CALLS"
}

settings_label() {
  sed -n "s/.*'infrainit.settings=\([0-9a-f]*\)'.*/\1/p" "$CALLS" | tail -n 1
}

@test "start_broker: its volume, the network, and then the container with its options" {
  local options
  read_words options broker_options 0
  start_broker 0
  assert_equal "$(changes)" "docker 'volume' 'create' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567-broker'
docker 'network' 'create' '--driver' 'bridge' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567'
docker 'run' ${options[*]@Q}"
}

@test "start_flower: its volume, beside that of the broker; one that is there is kept" {
  stub docker 'case "$*" in
    "volume ls"*) printf "infra-01234567-%s\n" broker $(cat "$BATS_TEST_TMPDIR/there") ;;
  esac'
  export BATS_TEST_TMPDIR
  : >there
  start_flower 0
  assert_equal "$(changes | head -n 1)" "docker 'volume' 'create' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567-flower'"
  : >"$CALLS"
  echo flower >there
  start_flower 0
  assert_equal "$(changes | grep -c volume\'\ \'create)" 0
}

@test "start_worker: the runner on a network of its own, then the worker; link and log are the user's alone" {
  local data="$HOME/far/celery_tasks/worker/$PROJECT_NAME" runner worker
  read_words runner runner_options 1
  read_words worker worker_options 1
  umask 000
  start_worker 1
  assert_equal "$(changes)" "docker 'network' 'create' '--driver' 'bridge' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567-tasks'
docker 'run' ${runner[*]@Q}
docker 'network' 'create' '--driver' 'bridge' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567'
docker 'run' ${worker[*]@Q}"
  [[ -d $data/tasks ]]
  assert_equal "$(stat -c %a "$data/runner" "$data/link" | tr '\n' ' ')" '700 700 '
}

@test "a network is made unless there is one of that name" {
  stub docker '[[ "$*" != *"network ls"*"--filter name=^infra-01234567\$"* ]] || printf "%064d\n" 1'
  start_worker 0
  assert_equal "$(changes | grep "^docker 'network'" | grep -o "'[^']*'$")" "'infra-01234567-tasks'"
}

@test "start_worker: new packages replace the runner alone, new secrets the worker alone" {
  local role settings
  start_worker 0
  # Each container has the settings with which it was started.
  stub docker "settings='$BATS_TEST_TMPDIR/settings'"'
    case "$*" in
      "ps --all"*"role=runner"*) printf "%064d\n" 1 ;;
      "ps --all"*) printf "%064d\n" 2 ;;
      "container inspect"*infrainit.infrastructure*) echo infra-01234567 ;;
      "container inspect"*1) echo "running $(cat "$settings.runner") 0 0" ;;
      "container inspect"*2) echo "running $(cat "$settings.worker") 0 0" ;;
    esac'
  for role in runner worker; do
    sed -n "s/.*'infrainit.settings=\([0-9a-f]*\)'.*'infra-01234567-$role'.*/\1/p" "$CALLS" >"$BATS_TEST_TMPDIR/settings.$role"
  done
  : >"$CALLS"
  capture start_worker 0
  assert_line 'local: runner runs already'
  assert_line 'local: worker runs already'
  assert_equal "$(changes)" ''
  RUNNER_IMAGE_ID=runner:2
  capture start_worker 0
  assert_part 'local: replacing runner'
  assert_line 'local: worker runs already'
  assert_equal "$(changes | grep -o "'stop' .*")" "'stop' 'infra-01234567-runner'"
  : >"$CALLS"
  RUNNER_IMAGE_ID=runner:1
  echo other >"$TOOL/.infra/secrets/worker@local/password"
  capture start_worker 0
  assert_line 'local: runner runs already'
  assert_equal "$(changes | grep -o "'stop' .*")" "'stop' 'infra-01234567-worker'"
}

# has_tasks ANSWER [STATE]: the runner is STATE, and the worker says ANSWER of its tasks.
has_tasks() {
  printf '%b' "$1" >"$BATS_TEST_TMPDIR/tasks"
  stub docker "case \"\$*\" in
    'ps --all'*) printf '%064d\\n' 1 ;;
    'container inspect'*) echo '${2:-running x 0 0}' ;;
    'exec infra-01234567-runner python3 -I -S /code/current/framework/runner/__main__.py --log /infrainit/runner/log --running') cat '$BATS_TEST_TMPDIR/tasks' ;;
  esac"
}

@test "ask_about_tasks: without a terminal and without -y, tasks that would begin again end the program" {
  has_tasks '3 68400\n'
  WORKER_HOSTS=(0)
  ARGUMENTS=(-f -w 'local')
  capture ask_about_tasks 0 1
  assert_equal "$status" 1
  assert_line 'local: 3 tasks run (the longest since 19 h); a new image or new settings of the runner make them begin again'
  assert_line 'far: 3 tasks run (the longest since 19 h); this host is to run no worker any more, so they end there and begin again elsewhere'
  assert_part 'error: tasks run, and nothing was changed; wait until they have ended, have that waited for: '
  assert_part "infrainit.sh' -f -w local --drain, or let them begin again: "
  assert_part "infrainit.sh' -f -w local -y"
  has_tasks '1 59\n'
  capture ask_about_tasks 0
  assert_part 'local: 1 task runs (since 59 s); '
  assert_equal "$(changes)" ''
}

@test "ask_about_tasks: a runner of an earlier version has its log elsewhere" {
  stub docker 'case "$*" in
    "ps --all"*) printf "%064d\n" 1 ;;
    *.Mounts*) printf "/code\n/data/runner\n" ;;
    "container inspect"*) echo "running x 0 0" ;;
    *"--log /data/runner/log --running") echo "3 68400" ;;
  esac'
  capture ask_about_tasks 0
  assert_part 'local: 3 tasks run (the longest since 19 h)'
}

@test "ask_about_tasks: -y agrees; a dry run says it" {
  has_tasks '3 68400\n'
  ASSUME_YES=yes capture ask_about_tasks 0
  assert_equal "$status" 0
  assert_part '3 tasks run'
  DRY_RUN=yes capture ask_about_tasks 0
  assert_equal "$status" 0
  assert_part '3 tasks run'
}

@test "ask_about_tasks: nothing to ask where nothing runs, or the runner stays, or is to be made" {
  local options settings
  has_tasks '0 0\n'
  capture ask_about_tasks 0
  assert_equal "$status|$messages" '0|'
  has_tasks '3 60\n' 'exited x 0 1'
  capture ask_about_tasks 0
  assert_equal "$status|$messages" '0|'
  read_words options runner_options 0
  settings=$(settings_digest 0 runner "${options[@]}")
  has_tasks '3 60\n' "running $settings 0 0"
  capture ask_about_tasks 0
  assert_equal "$status|$messages" '0|'
  has_container ''
  capture ask_about_tasks 0
  assert_equal "$status|$messages" '0|'
  FACTS[0.docker]=missing
  stub docker 'exit 127'
  capture ask_about_tasks 0
  assert_equal "$status|$messages" '0|'
}

@test "ask_about_tasks: an answer that is none means that tasks may run, and is not computed with" {
  local evil='BASH_VERSINFO[$(touch evil;echo 0)] 1' answer
  for answer in "$evil" '' '3' '03 4' '3 4 5' '3 x' 'usage: framework\nno such command'; do
    has_tasks "$answer"
    capture ask_about_tasks 0
    assert_equal "$answer $status" "$answer 1"
    assert_part 'local: an unknown number of tasks run (its runner says: '
  done
  assert_part '(its runner says: no such command)'
  [[ ! -e evil ]]
}

@test "ask_about_tasks: a worker of an earlier version, which runs the tasks itself, is asked about" {
  stub docker 'case "$*" in
    "ps --all"*"role=worker"*) printf "%064d\n" 1 ;;
    "container inspect"*) echo "running x 0 0" ;;
    exec*) echo "invalid choice: running" >&2; exit 2 ;;
  esac'
  capture ask_about_tasks 0
  assert_equal "$status" 1
  assert_part 'local: an unknown number of tasks run (its runner says: invalid choice: running)'
}

@test "start_master, start_flower, start_worker: the container with its options; data directories are the user's own" {
  local role host options
  for role in master flower worker; do
    host=0
    [[ $role != worker ]] || host=1
    read_words options "${role}_options" "$host"
    "start_$role" "$host"
    assert_equal "$(changes | tail -n 1)" "docker 'run' ${options[*]@Q}"
  done
  [[ -d $ROOT/master/$PROJECT_NAME/published && ! -e $ROOT/flower && -d $HOME/far/celery_tasks/worker/$PROJECT_NAME ]]
}

@test "start_worker: GPUs that Docker cannot use are reported" {
  FACTS[0.gpus]=2 FACTS[0.gpu_runtime]=0
  capture start_worker 0
  assert_part 'warning: local: has GPUs, but its Docker cannot use them; install nvidia-container-toolkit'
  refute_part "'--gpus'"
  FACTS[0.gpu_runtime]=1
  capture start_worker 0
  refute_part nvidia
  [[ $(changes) == *"'--gpus' 'all' "*"'--gpus' 'all,capabilities=utility' "* ]]
}

@test "a running container with the same settings is left untouched, a stopped one started, any other replaced" {
  start_master 0
  local settings
  settings=$(settings_label)
  : >"$CALLS"

  has_container "running $settings 0 0"
  capture start_master 0
  assert_line 'local: master runs already'
  assert_equal "$(changes)" ''

  has_container "exited $settings 0 0"
  start_master 0
  assert_equal "$(changes)" "docker 'start' 'infra-01234567-master'"
  : >"$CALLS"

  has_container "running 0000 0 0"
  capture start_master 0
  assert_part 'replacing master'
  assert_equal "$(changes | cut -d ' ' -f 1-3 | tr '\n' ' ')" \
    "docker 'stop' 'infra-01234567-master' docker 'rm' '--force' docker 'network' 'create' docker 'run' '--detach' "
}

@test "image, options and secrets make the settings" {
  local first
  start_worker 0
  first=$(settings_label)
  start_worker 0
  assert_equal "$(settings_label)" "$first"
  SLOTS=1
  start_worker 0
  [[ $(settings_label) != "$first" ]]
  SLOTS='' WORKER_IMAGE_ID=worker:2
  start_worker 0
  [[ $(settings_label) != "$first" ]]
  WORKER_IMAGE_ID=worker:1
  echo other >"$TOOL/.infra/secrets/worker@local/password"
  start_worker 0
  [[ $(settings_label) != "$first" ]]
}

@test "secrets reach the hosts as files and in no other way" {
  start_broker 0
  start_master 0
  start_worker 1
  [[ $(stat -c %a "$ROOT/secrets/infra-01234567/master") == 700 ]]
  cmp "$ROOT/secrets/infra-01234567/master/password" "$TOOL/.infra/secrets/master/password"
  cmp "$HOME/far/celery_tasks/secrets/infra-01234567/worker/password" "$TOOL/.infra/secrets/worker@far/password"
  assert_equal "$(ls "$HOME/far/celery_tasks/secrets/infra-01234567")" worker
  [[ ! -e $ROOT/secrets/infra-01234567/worker ]]
  assert_equal "$(grep -c secret-of "$CALLS")" 0
}

@test "a dry run shows the commands and changes nothing" {
  DRY_RUN=yes
  capture start_broker 0
  assert_equal "$status|$(changes)" '0|'
  assert_part 'local$ docker run --label infrainit.settings='
  assert_part ' --detach --name infra-01234567-broker'
  [[ ! -e $ROOT ]]
}

@test "a dry run does not ask for a Docker that would have to be installed first" {
  DRY_RUN=yes FACTS[0.docker]=missing
  stub docker 'exit 127'
  capture start_worker 0
  assert_equal "$status|$(<"$CALLS")" '0|'
}

@test "a container that cannot be started: the error names the host and quotes Docker" {
  stub docker 'case $1 in run) echo "port is already allocated" >&2; exit 125 ;; esac'
  capture start_master 0
  assert_equal "$status" 1
  assert_line 'port is already allocated'
  assert_part 'local: master could not be started'
}

@test "waiting asks the container itself" {
  has_container 'running x 0 0'
  stub docker 'case "$1 $2" in
    "ps --all") printf "%064d\n" 1 ;;
    "container inspect") echo "running x 3 0" ;;
  esac'
  capture wait_broker 0
  assert_equal "$status" 0
  assert_equal "$(tail -n 1 "$CALLS")" \
    "docker 'exec' 'infra-01234567-broker' 'sh' '-c' ${BROKER_LISTENS@Q}"
}

@test "waiting ends at once when the container has ended: its last lines, with the host" {
  has_container 'running x 0 0' 'running x 0 0' 'exited x 0 3'
  capture wait_master 0
  assert_equal "$status" 1
  assert_part 'local: the container of master does not run: it is exited, exit code 3'
  assert_line 'local: last words'
  assert_part 'local: master did not become ready'
  assert_equal "$(grep -c "^docker 'exec'" "$CALLS")" 1
}

@test "waiting ends at once when the container has been started again" {
  has_container 'running x 2 0' 'running x 2 0' 'running x 3 0'
  capture wait_flower 0
  assert_equal "$status" 1
  assert_part 'has ended, and Docker has started it again'
}

@test "waiting for workers: the master is asked for all of them by name" {
  WORKER_HOSTS=(0 1)
  stub docker 'case "$1 $2" in
    "ps --all") printf "%064d\n" 1 ;;
    "container inspect") echo "running x 0 0" ;;
  esac'
  capture wait_workers 0 1
  assert_equal "$status" 0
  assert_equal "$(grep "^docker 'exec'" "$CALLS")" \
    "docker 'exec' 'infra-01234567-master' 'framework' 'wait-workers' '--timeout' '5' 'local' 'far'"
}

@test "waiting for workers: ends at once when one has ended, and shows the logs of those that do not answer" {
  WORKER_HOSTS=(0 1)
  has_container 'running x 0 0' 'running x 0 0' 'running x 0 0' 'running x 0 0' 'running x 0 0' 'exited x 0 1'
  capture wait_workers 0 1
  assert_equal "$status" 1
  assert_part ' does not run: it is exited, exit code 1'
  assert_line 'far: last words'
  assert_part 'far: the last lines of infra-01234567-runner'
  assert_part 'far: the last lines of infra-01234567-worker'
  assert_part 'not all workers answer'
}

@test "remove_infrastructure: removes only what has our label; tries every step, and counts failures" {
  stub docker 'case "$2" in
    ls) if [[ $1 == volume ]]; then printf "infra-01234567-%s\n" a b; elif [[ $1 == image ]]; then
        printf "infra-%s-connect\n" 01234567 89abcdef; else printf "%064d\n" 1 2; fi ;;
    inspect) for _ in "${@:5}"; do echo infra-01234567; done ;;
    rm) [[ $1 == @(network|image) ]] || exit 1 ;;
  esac'
  capture remove_infrastructure 0
  assert_equal "$status" 2
  local one two ours="'--quiet' '--filter' 'label=infrainit.infrastructure=infra-01234567'"
  printf -v one "'%064d'" 1
  printf -v two "'%064d'" 2
  label() { printf "'inspect' '--format' '{{index %s \"infrainit.infrastructure\"}}'" "$1"; }
  assert_equal "$(<"$CALLS")" "docker 'container' 'ls' '--all' '--no-trunc' $ours
docker 'container' $(label .Config.Labels) $one $two
docker 'container' 'rm' '--force' '--volumes' $one $two
docker 'volume' 'ls' $ours
docker 'volume' $(label .Labels) 'infra-01234567-a' 'infra-01234567-b'
docker 'volume' 'rm' 'infra-01234567-a' 'infra-01234567-b'
docker 'network' 'ls' '--no-trunc' $ours
docker 'network' $(label .Labels) $one $two
docker 'network' 'rm' $one $two
docker 'image' 'ls' '--format' '{{.Tag}}' 'infrainit-empty'
docker 'image' 'rm' 'infrainit-empty:infra-01234567-connect'"
  stub docker
  capture remove_infrastructure 0
  assert_equal "$status" 0
}

@test "remove_unwanted: only roles that the host does not have any more" {
  MASTER_HOST=1
  stub docker 'case "$*" in
    *"{{.Label"*) printf "%s\n" flower master broker tunnel runner worker ;;
    "container inspect"*) echo infra-01234567 ;;
  esac'
  capture remove_unwanted 0
  assert_equal "$(changes | grep "'rm'" | tr '\n' ' ')" "docker 'rm' '--force' '--volumes' 'infra-01234567-flower' \
docker 'rm' '--force' '--volumes' 'infra-01234567-master' docker 'rm' '--force' '--volumes' 'infra-01234567-broker' \
docker 'rm' '--force' '--volumes' 'infra-01234567-tunnel' "
  : >"$CALLS"
  MASTER_HOST=0 WORKER_HOSTS=(1)
  capture remove_unwanted 0
  assert_equal "$(changes | grep -o "'stop' .*" | tr '\n' ' ')" "'stop' 'infra-01234567-runner' 'stop' 'infra-01234567-worker' \
'stop' 'infra-01234567-tunnel' "
}

@test "remove_unwanted: their secrets go with them" {
  mkdir -p "$ROOT/secrets/infra-01234567"/{broker,master,flower,worker,runner/p}
  capture remove_unwanted 0
  assert_equal "$status $(cd "$ROOT/secrets/infra-01234567" && echo *)" '0 broker flower master runner worker'
  WORKER_HOSTS=(1)
  capture remove_unwanted 0
  assert_equal "$status $(cd "$ROOT/secrets/infra-01234567" && echo *)" '0 broker flower master'
  MASTER_HOST=1
  capture remove_unwanted 0
  assert_equal "$status $(find "$ROOT/secrets/infra-01234567" -mindepth 1)" '0 '
}

@test "set_broker_users: the definitions go through a pipe, the names of all users as words" {
  mkdir -p "$TOOL/.infra/secrets/hashes"
  echo '{"hash": "secret-hash"}' >"$TOOL/.infra/secrets/hashes/users.json"
  stub docker "cat >'$BATS_TEST_TMPDIR/definitions'; echo 'worker@old may not use the broker any more'"
  capture set_broker_users local far
  assert_equal "$status|$output" '0|'
  assert_line 'local: worker@old may not use the broker any more'
  assert_equal "$(<"$CALLS")" \
    "docker 'exec' '--interactive' 'infra-01234567-broker' 'sh' '/secrets/set_users' 'master' 'flower' 'worker@local' 'worker@far'"
  assert_equal "$(<"$BATS_TEST_TMPDIR/definitions")" '{"hash": "secret-hash"}'
  stub docker 'echo "no such binding" >&2; exit 70'
  capture set_broker_users local
  assert_equal "$status" 1
  assert_line 'no such binding'
  assert_part 'local: the broker does not take its users'
  DRY_RUN=yes
  rm -r "$TOOL/.infra/secrets/hashes"
  capture set_broker_users local
  assert_equal "$status" 0
  assert_part 'docker exec --interactive infra-01234567-broker sh /secrets/set_users master flower worker@local'
}

@test "waiting for workers: each container of a worker host has to stay up" {
  local role
  for role in runner worker; do
    stub docker "case \"\$*\" in
      'ps --all'*role=$role*) printf '%064d\\n' 1 ;;
      'ps --all'*) printf '%064d\\n' 2 ;;
      'container inspect'*1) echo >>'$BATS_TEST_TMPDIR/$role'; echo \"running x \$((\$(wc -l <'$BATS_TEST_TMPDIR/$role') - 1)) 0\" ;;
      'container inspect'*) echo 'running x 0 0' ;;
      exec*) exit 1 ;;
    esac"
    capture wait_workers 0
    assert_equal "$status" 1
    assert_part "local: the container of $role has ended, and Docker has started it again"
  done
}

@test "runner_image_in_use: that of the version on the master host, and nothing that is no name of ours" {
  local answer
  version() {
    mkdir -p "$ROOT/code/$PROJECT_NAME/current"
    printf 'framework=a\nproject=b\n%s\n' "$1" >"$ROOT/code/$PROJECT_NAME/current/VERSION"
  }
  capture runner_image_in_use
  assert_equal "$status|$output" '1|'
  assert_part "error: local: there is no version of the project's files; $(as_typed infrainit.sh -f) pushes them"
  version image=infrainit-runner-p:0123456789ab
  capture runner_image_in_use
  assert_equal "$status|$output" '0|infrainit-runner-p:0123456789ab'
  version ''
  capture runner_image_in_use
  assert_equal "$status" 1
  assert_part "local: an earlier version of this tool has pushed the files; $(as_typed infrainit.sh -f) brings"
  for answer in --privileged 'infrainit-runner:0123456789ab x' infrainit-worker:0123456789ab $'infrainit-runner:0123456789ab\nimage=a'; do
    version "image=$answer"
    capture runner_image_in_use
    assert_equal "$status|$output" '1|'
    assert_part 'local: the answer cannot be read: the image '
  done
}

@test "nothing is removed that is no id, or that Docker itself does not call ours" {
  # What a start-up file prints is a name of somebody else's container.
  stub docker 'case "$2" in
    ls) printf "lab\n%064d\n" 1 ;;
    inspect) for _ in "${@:5}"; do echo infra-01234567; done ;;
  esac'
  capture remove_infrastructure 0
  assert_equal "$status" 3
  assert_line "local: the answer cannot be read: lab is no id of Docker's"
  assert_equal "$(grep -c "'rm'" "$CALLS")" 0
  stub docker 'case "$2" in
    ls) if [[ $1 == volume ]]; then echo infra-01234567-broker; else printf "%064d\n" 1; fi ;;
    inspect) echo infra-of-others ;;
  esac'
  capture remove_infrastructure 0
  assert_equal "$status" 3
  assert_part 'local: left alone, because not all of it has the label of infra-01234567: volume infra-01234567-broker'
  assert_equal "$(grep -c "'rm'" "$CALLS")" 0
  has_container 'running x 0 0'
  stub docker "case \"\$*\" in
    'ps --all'*) printf '%064d\\n' 1 ;;
    *infrainit.infrastructure*inspect* | *inspect*infrainit.infrastructure*) echo infra-of-others ;;
    *inspect*) echo 'exited x 0 0' ;;
  esac"
  capture remove_container 0 worker
  assert_equal "$status" 1
  assert_equal "$(changes)" ''
}

@test "the state of a container is not computed with, and the image not run, unless they look like it" {
  local evil='BASH_VERSINFO[$(touch evil;echo 0)]' answer
  for answer in "running x $evil 0" "running x 0 $evil" 'running x 0' $'running x 0 0\nrunning x 0 0' "$evil"; do
    stub docker "case \"\$1 \$2\" in
      'ps --all') printf '%064d\\n' 1 ;;
      'container inspect') echo ${answer@Q} ;;
    esac"
    capture stays_up 0 master
    assert_equal "$status" 1
    assert_part 'local: the answer cannot be read: '
    capture wait_workers 0
  done
  [[ ! -e evil ]]
  for answer in --volume=/:/x 'infrainit-worker:0123456789ab --privileged' other:0123456789ab ''; do
    stub docker "case \"\$*\" in
      'ps --all'*) printf '%064d\\n' 1 ;;
      *Config.Env*) echo IMAGE=${answer@Q} ;;
      *) echo 'running x 0 0' ;;
    esac"
    capture worker_image_in_use
    assert_equal "$status|$output" '1|'
    assert_part 'local: the answer cannot be read: the image'
  done
}

@test "the last lines of a log are printable text" {
  stub docker 'printf "\033]52;c;AAAA\007 \033[31mred\033[0m \302\2335n\rover f\303\274r\n"; printf "\033]0;title\007\n" >&2'
  capture show_last_lines 0 c
  assert_line 'local: ?]52;c;AAAA? red ?5n?over für'
  assert_line 'local: ?]0;title?'
}
