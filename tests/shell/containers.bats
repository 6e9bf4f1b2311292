#!/usr/bin/env bats
# framework/shell/containers.sh: the exact commands, and when which of them are run.

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
  BROKER_IMAGE_ID=broker:1 WORKER_IMAGE_ID=worker:1
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
  for role in broker master flower worker; do
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
      "ps --all") [[ ! $(head -n 1 "$states") ]] || echo 0123abcd ;;
      "container inspect")
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

@test "the broker's command" {
  start_broker 0
  assert_equal "$(changes)" "docker 'volume' 'create' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567-broker'
docker 'network' 'create' '--driver' 'bridge' '--label' 'infrainit.infrastructure=infra-01234567' 'infra-01234567'
docker 'run' '--detach' '--name' 'infra-01234567-broker' \
'--label' 'infrainit.infrastructure=infra-01234567' '--label' 'infrainit.role=broker' \
'--init' '--restart' 'unless-stopped' '--log-driver' 'local' '--log-opt' 'max-size=10m' '--log-opt' 'max-file=5' \
'--user' '1000:100' '--cap-drop' 'ALL' '--security-opt' 'no-new-privileges' '--memory' '4096m' \
'--mount' 'type=bind,source=$ROOT/secrets/infra-01234567/broker,target=/secrets,readonly' \
'--network' 'infra-01234567' '--network-alias' 'broker' '--hostname' 'broker' '--stop-timeout' '120' '--pids-limit' '2048' \
'--env' 'HOME=/var/lib/rabbitmq' '--env' 'RABBITMQ_NODENAME=rabbit@localhost' '--env' 'ERL_EPMD_ADDRESS=127.0.0.1' \
'--mount' 'type=volume,source=infra-01234567-broker,target=/var/lib/rabbitmq' \
'--publish' '127.0.0.1:5671:5671' '--entrypoint' '/bin/sh' 'broker:1' '/secrets/start'"
}

@test "a worker's command" {
  WORKER_HOSTS=(1) SLOTS=3 TZ=Asia/Tokyo
  start_worker 1
  assert_equal "$(changes | tail -n 1)" "docker 'run' '--detach' '--name' 'infra-01234567-worker' \
'--label' 'infrainit.infrastructure=infra-01234567' '--label' 'infrainit.role=worker' \
'--init' '--restart' 'unless-stopped' '--log-driver' 'local' '--log-opt' 'max-size=10m' '--log-opt' 'max-file=5' \
'--user' '1:2' '--cap-drop' 'ALL' '--security-opt' 'no-new-privileges' '--memory' '3584m' \
'--mount' 'type=bind,source=$HOME/far/celery_tasks/secrets/infra-01234567/worker,target=/secrets,readonly' \
'--network' 'infra-01234567' '--hostname' 'far' '--stop-timeout' '60' '--pids-limit' '32768' '--shm-size' '1792m' \
'--env' 'SLOTS=3' '--env' 'INFRASTRUCTURE=infra-01234567' '--env' 'PROJECT=my, \"project\"' '--env' 'HOST=far' \
'--env' 'BROKER=10.0.0.9:5671' '--env' 'IMAGE=worker:1' '--env' 'HOME=/tmp' '--env' 'USER=worker' '--env' 'TZ=Asia/Tokyo' \
'--mount' 'type=bind,\"source=$HOME/far/celery_tasks/code/my, \"\"project\"\"\",target=/code,readonly' \
'--mount' 'type=bind,\"source=$HOME/far/celery_tasks/worker/my, \"\"project\"\"\",target=/data' 'worker:1' 'worker'"
  [[ -d $HOME/far/celery_tasks/worker/$PROJECT_NAME ]]
  SLOTS=''
  start_worker 1
  [[ $(changes | tail -n 1) != *SLOTS=* ]] # the worker itself counts what it has
}

@test "master and Flower use the broker in their own network, and Flower has no data" {
  start_master 0
  start_flower 0
  assert_equal "$(changes | grep -c "'--env' 'BROKER=broker:5671'")" 2
  assert_equal "$(changes | grep -c 'target=/data')" 1
  assert_equal "$(changes | grep -o "'--publish' '[^']*'")" "'--publish' '127.0.0.1:5555:5555'"
}

@test "ports are published only as far as they are needed" {
  published() { grep -o "'--publish' '[^']*'" "$CALLS" | tr -d "'" | cut -d ' ' -f 2 | tr '\n' ' '; }
  BROKER_PORT=7000 FLOWER_PORT=7001
  start_broker 0
  assert_equal "$(published)" '127.0.0.1:7000:5671 '
  : >"$CALLS"
  WORKER_HOSTS=(0 1)
  start_broker 0
  assert_equal "$(published)" '0.0.0.0:7000:5671 '
  : >"$CALLS"
  WORKER_HOSTS=(0) BROKER=example.org FACTS[0.addresses]='10.0.0.9 2001:db8::9'
  start_broker 0
  assert_equal "$(published)" '0.0.0.0:7000:5671 [::]:7000:5671 '
  : >"$CALLS"
  MASTER_HOST=1
  start_flower 1
  assert_equal "$(published)" '0.0.0.0:7001:5555 '
}

@test "where a worker finds the broker" {
  assert_equal "$(broker_endpoint 0)|$(broker_endpoint 1)" 'broker:5671|10.0.0.9:5671'
  BROKER_PORT=7000
  assert_equal "$(broker_endpoint 0)|$(broker_endpoint 1)" 'broker:5671|10.0.0.9:7000'
  BROKER=front:8000 BROKER_NAME=front FACTS[1.broker]=10.0.0.7
  assert_equal "$(broker_endpoint 1)" 10.0.0.7:8000
  BROKER='' BROKER_NAME=front FACTS[1.broker]=2001:db8::7
  assert_equal "$(broker_endpoint 1)" '[2001:db8::7]:7000'
}

@test "a broker with an IPv6 address only is reached over the host's own network" {
  FACTS[1.client_address]=2001:db8::7
  start_worker 1
  assert_equal "$(changes | grep -o "'--network' '[^']*'")" "'--network' 'host'"
}

@test "GPUs are given to workers, or it is said why not" {
  FACTS[0.gpus]=2 FACTS[0.gpu_runtime]=0
  capture start_worker 0
  assert_part 'install nvidia-container-toolkit'
  refute_part "'--gpus'"
  FACTS[0.gpu_runtime]=1
  start_worker 0
  [[ $(changes | tail -n 1) == *"'--gpus' 'all'"* ]]
}

@test "memory: never less than a container needs to start, and a reserve for the host" {
  limits() {
    FACTS[0.memory]=$(($1 * MEBIBYTE + 12345))
    printf '%s ' "$(memory_limit 0 broker)" "$(memory_limit 0 worker)"
  }
  assert_equal "$(limits 1024)" '512 512 '
  assert_equal "$(limits 8192)" '2048 3789 '
  assert_equal "$(limits 524288)" '4096 514560 '
  MASTER_HOST=1
  assert_equal "$(limits 8192)" '2048 7373 '
}

@test "a container that runs with the same settings is left alone, a stopped one started, another one replaced" {
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
  echo other >"$TOOL/.infra/secrets/worker/password"
  start_worker 0
  [[ $(settings_label) != "$first" ]]
}

@test "secrets get there as files, and nowhere else" {
  start_broker 0
  start_master 0
  start_worker 1
  [[ $(stat -c %a "$ROOT/secrets/infra-01234567/master") == 700 ]]
  cmp "$ROOT/secrets/infra-01234567/master/password" "$TOOL/.infra/secrets/master/password"
  cmp "$HOME/far/celery_tasks/secrets/infra-01234567/worker/password" "$TOOL/.infra/secrets/worker/password"
  [[ ! -e $ROOT/secrets/infra-01234567/worker ]]
  assert_equal "$(grep -c secret-of "$CALLS")" 0
}

@test "a dry run shows the commands and changes nothing" {
  DRY_RUN=yes
  capture start_broker 0
  assert_equal "$status|$(changes)" '0|'
  assert_part 'local$ docker run --detach --name infra-01234567-broker'
  [[ ! -e $ROOT ]]
}

@test "a dry run does not ask for a Docker that would have to be installed first" {
  DRY_RUN=yes FACTS[0.docker]=missing
  stub docker 'exit 127'
  capture start_worker 0
  assert_equal "$status|$(<"$CALLS")" '0|'
}

@test "a container that cannot be started: the host and what Docker says" {
  stub docker 'case $1 in run) echo "port is already allocated" >&2; exit 125 ;; esac'
  capture start_master 0
  assert_equal "$status" 1
  assert_line 'port is already allocated'
  assert_part 'local: master could not be started'
}

@test "waiting asks the container itself" {
  has_container 'running x 0 0'
  stub docker 'case "$1 $2" in
    "ps --all") echo 0123abcd ;;
    "container inspect") echo "running x 3 0" ;;
  esac'
  capture wait_broker 0
  assert_equal "$status" 0
  assert_equal "$(tail -n 1 "$CALLS")" \
    "docker 'exec' 'infra-01234567-broker' 'rabbitmq-diagnostics' '-q' 'check_port_listener' '5671'"
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
    "ps --all") echo 0123abcd ;;
    "container inspect") echo "running x 0 0" ;;
  esac'
  capture wait_workers 0 1
  assert_equal "$status" 0
  assert_equal "$(grep "^docker 'exec'" "$CALLS")" \
    "docker 'exec' 'infra-01234567-master' 'framework' 'wait-workers' '--timeout' '5' 'local' 'far'"
}

@test "waiting for workers: ends at once when one has ended, and shows the lines of those that do not answer" {
  WORKER_HOSTS=(0 1)
  has_container 'running x 0 0' 'running x 0 0' 'running x 0 0' 'exited x 0 1'
  capture wait_workers 0 1
  assert_equal "$status" 1
  assert_part 'the container of worker does not run'
  assert_line 'far: last words'
  assert_part 'not all workers answer'
}

@test "check_project: its exit code tells an invalid project from a failure" {
  make_project p
  PROJECT_PATH="$TOOL/tasks/p" PROJECT_NAME=p
  stage_code
  stub docker 'echo "p/project.yml:1:1: wrong" >&2; exit 2'
  capture check_project
  assert_equal "$status" 2
  assert_line 'p/project.yml:1:1: wrong'
  stub docker 'exit 125'
  capture check_project
  assert_equal "$status" 1
  stub docker
  : >"$CALLS"
  capture check_project
  assert_equal "$status" 0
  assert_equal "$(<"$CALLS")" "docker 'run' '--rm' '--network' 'none' '--user' '$(id -u):$(id -g)' '--cap-drop' 'ALL' \
'--security-opt' 'no-new-privileges' '--mount' 'type=bind,source=$STAGE,target=/code/current,readonly' \
'--mount' 'type=bind,source=$STAGE/project,target=/project/p,readonly' '--workdir' '/project' 'worker:1' 'plan' './p'"
  remove_stage
}

@test "check_project is told what the workers have, if they are all known" {
  make_project p
  PROJECT_PATH="$TOOL/tasks/p" PROJECT_NAME=p MASTER=local
  WORKER_HOSTS=(0 1) FACTS[0.gpus]=2 FACTS[0.gpu_runtime]=1 FACTS[1.gpus]=4 FACTS[1.gpu_runtime]=0
  stage_code
  stub docker
  options() {
    : >"$CALLS"
    check_project
    sed "s/.* 'plan' //" "$CALLS"
  }
  assert_equal "$(options)" "'./p' '--host' 'local' '8' '9114' '2' '--host' 'far' '4' '3584' '0'"
  BROKER=example.org
  assert_equal "$(options)" "'./p'"
  BROKER='' FACTS[1.memory]=''
  assert_equal "$(options)" "'./p'"
  MASTER='' FACTS[1.memory]=$((4 * 1024 * MEBIBYTE))
  assert_equal "$(options)" "'./p'"
  remove_stage
}

@test "remove_infrastructure: what carries our label, and nothing else; every step is tried, and failures are counted" {
  stub docker 'case "$2" in
    ls) printf "%s1\n%s2\n" "$1" "$1" ;;
    rm) [[ $1 == network ]] || exit 1 ;;
  esac'
  capture remove_infrastructure 0
  assert_equal "$status" 2
  assert_equal "$(<"$CALLS")" "docker 'container' 'ls' '--all' '--quiet' '--filter' 'label=infrainit.infrastructure=infra-01234567'
docker 'container' 'rm' '--force' '--volumes' 'container1' 'container2'
docker 'volume' 'ls' '--quiet' '--filter' 'label=infrainit.infrastructure=infra-01234567'
docker 'volume' 'rm' 'volume1' 'volume2'
docker 'network' 'ls' '--quiet' '--filter' 'label=infrainit.infrastructure=infra-01234567'
docker 'network' 'rm' 'network1' 'network2'"
  stub docker
  capture remove_infrastructure 0
  assert_equal "$status" 0
}

@test "remove_unwanted: only roles that the host does not have any more" {
  MASTER_HOST=1
  has_container 'running x 0 0'
  capture remove_unwanted 0
  assert_equal "$(changes | grep "'rm'" | tr '\n' ' ')" "docker 'rm' '--force' '--volumes' 'infra-01234567-flower' \
docker 'rm' '--force' '--volumes' 'infra-01234567-master' docker 'rm' '--force' '--volumes' 'infra-01234567-broker' "
}
