#!/usr/bin/env bats
# framework/shell/docker_options.sh: the whole argument vector of each `docker run`.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  REMOTE_PATH="my tasks" PROJECT_NAME='my, "project"' PROJECT_PATH='/home/it/my, "project"'
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  MASTER_HOST=0 WORKER_HOSTS=(0)
  BROKER_IMAGE_ID=broker:1 WORKER_IMAGE_ID=worker:1 RUNNER_IMAGE_ID=runner:1
  TZ=''
  FACTS=([0.home]="/home/it's me" [0.uid]=1000 [0.gid]=100 [0.cores]=8 [0.memory]=$((16 * 1024 * MEBIBYTE)) [0.gpus]=0)
  FACTS+=([1.home]=/far [1.uid]=1 [1.gid]=2 [1.cores]=4 [1.memory]=$((4 * 1024 * MEBIBYTE)) [1.gpus]=0 [1.client_address]=10.0.0.9)
}

# words FUNCTION [HOST]: the words that it prints, one a line.
words() {
  local words
  read_words words "$@"
  printf '%s\n' "${words[@]}"
}

# common_words ROLE USER MEMORY: the first words of each container that stays.
common_words() {
  printf '%s\n' --detach --name "infra-01234567-$1" \
    --label infrainit.infrastructure=infra-01234567 --label "infrainit.role=$1" \
    --restart unless-stopped --log-driver local --log-opt max-size=10m --log-opt max-file=5 \
    --user "$2" --cap-drop ALL --security-opt no-new-privileges --memory "$3"
}

# words_with_secrets ROLE USER MEMORY HOME: the same of those with secrets.
words_with_secrets() {
  common_words "$1" "$2" "$3"
  printf '%s\n' --init --read-only --tmpfs /tmp:size=64m --mount "type=bind,source=$4/my tasks/secrets/infra-01234567/$1,target=/secrets,readonly"
}

# framework_words HOST_NAME BROKER [TZ]
framework_words() {
  printf '%s\n' --env INFRASTRUCTURE=infra-01234567 --env 'PROJECT=my, "project"' --env "HOST=$1" --env "BROKER=$2" \
    --env IMAGE=worker:1 --env HOME=/tmp --env USER=worker ${3:+--env "TZ=$3"}
}

@test "broker_options: the whole command" {
  assert_equal "$(words broker_options 0)" "$(
    words_with_secrets broker 1000:100 4096m "/home/it's me"
    printf '%s\n' --network infra-01234567 --network-alias broker --hostname broker --stop-timeout 120 --pids-limit 2048 \
      --env HOME=/var/lib/rabbitmq --env RABBITMQ_NODENAME=rabbit@localhost --env ERL_EPMD_ADDRESS=127.0.0.1 \
      --mount type=volume,source=infra-01234567-broker,target=/var/lib/rabbitmq \
      --publish 127.0.0.1:5671:5671 --entrypoint /bin/sh broker:1 /secrets/start
  )"
}

@test "master_options: the whole command, with TZ" {
  TZ=Europe/Berlin
  assert_equal "$(words master_options 1)" "$(
    words_with_secrets master 1:2 1024m /far
    printf '%s\n' --network infra-01234567 --hostname master --stop-timeout 30 --pids-limit 1024 --env STATUS=/dev/shm/status.json \
      --env SQLITE_TMPDIR=/data
    framework_words far broker:5671 Europe/Berlin
    printf '%s\n' --mount 'type=bind,"source=/far/my tasks/code/my, ""project""",target=/code,readonly' \
      --mount 'type=bind,"source=/far/my tasks/master/my, ""project""",target=/data' worker:1 master
  )"
}

@test "flower_options: the whole command; of the data it has what is published" {
  assert_equal "$(words flower_options 0)" "$(
    words_with_secrets flower 1000:100 512m "/home/it's me"
    printf '%s\n' --label "infrainit.definitions=$(cat "$TOOL"/docker/broker/{definitions,users}.json | sha256sum | cut -c 1-12)"
    printf '%s\n' --network infra-01234567 --hostname flower --stop-timeout 10 --pids-limit 1024
    framework_words local broker:5671
    printf '%s\n' --mount "type=bind,\"source=/home/it's me/my tasks/code/my, \"\"project\"\"\",target=/code,readonly" \
      --mount "type=bind,\"source=/home/it's me/my tasks/master/my, \"\"project\"\"/published\",target=/published,readonly" \
      --mount type=volume,source=infra-01234567-flower,target=/var/tmp \
      --publish 127.0.0.1:5555:5555 worker:1 flower
  )"
}

# runner_words [TZ]: what follows after the GPUs of the runner on the host far.
runner_words() {
  local data='source=/far/my tasks/worker/my, ""project""'
  printf '%s\n' --workdir / --stop-signal SIGTERM --no-healthcheck --env IMAGE=runner:1 --env INFRAINIT_MOUNTS= --env HOME=/tmp --env USER=worker \
    ${1:+--env "TZ=$1"} \
    --mount 'type=bind,"source=/far/my tasks/code/my, ""project""",target=/code,readonly' \
    --mount "type=bind,\"$data/tasks\",target=/infrainit/tasks" \
    --mount "type=bind,\"$data/setup\",target=/infrainit/setup" \
    --mount "type=bind,\"$data/runner\",target=/infrainit/runner" \
    --mount "type=bind,\"$data/link\",target=/infrainit/link,readonly" \
    --mount 'type=bind,"source=/far/my tasks/secrets/infra-01234567/runner/my, ""project""",target=/infrainit/secrets,readonly' \
    --entrypoint python3 runner:1 -I -S /code/current/framework/runner/__main__.py \
    --link /infrainit/link/socket --log /infrainit/runner/log --tasks /infrainit/tasks --code /code --values /infrainit/secrets/values
}

@test "runner_options: the whole command, with GPUs and TZ" {
  WORKER_HOSTS=(1) SLOTS=3 TZ=Asia/Tokyo FACTS[1.gpus]=2 FACTS[1.gpu_runtime]=1
  assert_equal "$(words runner_options 1)" "$(
    common_words runner 1:2 3072m
    printf '%s\n' --network infra-01234567-tasks --hostname far --stop-timeout 60 --pids-limit 32768 --shm-size 1536m --gpus all
    runner_words Asia/Tokyo
  )"
}

@test "runner_options, worker_options: GPUs of AMD, which the runner may use, and the worker may count" {
  local before
  before=$(words runner_options 1)
  FACTS[1.gpus]=2 FACTS[1.gpu_runtime]=0 FACTS[1.gpu_kind]=amd FACTS[1.gpu_groups]='44 109 '
  assert_equal "$(diff <(printf '%s\n' "$before") <(words runner_options 1) | sed -n 's/^[<>] //p')" \
    "$(printf '%s\n' --device /dev/kfd --device /dev/dri --group-add 44 --group-add 109)"
  output=$(words worker_options 1) messages=''
  assert_equal "$(grep -A 1 -x -e --device <<<"$output")" "--device"$'\n'/dev/dri
  refute_part --group-add
  FACTS[1.gpu_groups]=''
  output=$(words runner_options 1)
  refute_part --group-add
  assert_equal "$(usable_gpus 1)" 2
  FACTS[1.gpus]=0
  assert_equal "$(words runner_options 1)" "$before"
}

@test "runner_options: the whole command, without GPUs, the same however the worker reaches the broker" {
  FACTS[1.client_address]=2001:db8::7 FACTS[1.gpus]=2 FACTS[1.gpu_runtime]=0 BROKER_PORT=7000
  assert_equal "$(words runner_options 1)" "$(
    common_words runner 1:2 3072m
    printf '%s\n' --network infra-01234567-tasks --hostname far --stop-timeout 60 --pids-limit 32768 --shm-size 1536m
    runner_words
  )"
}

@test "runner_options: the project's own options come after ours, with a label of theirs" {
  NEEDS[docker_option]=$'--shm-size=8g\n--ulimit=memlock=-1'
  output=$(words runner_options 0) messages=''
  assert_equal "$(grep -A 3 -x -e --shm-size=8g <<<"$output")" "$(printf '%s\n' --shm-size=8g --ulimit=memlock=-1 \
    --label "infrainit.docker_options=$(sha256sum <<<"${NEEDS[docker_option]}" | cut -c 1-12)")"
  assert_equal "$(grep -n -x -e --shm-size=8g -e --shm-size -e --entrypoint <<<"$output" | cut -d : -f 2 | tr '\n' ' ')" \
    '--shm-size --shm-size=8g --entrypoint '
  output=$(words worker_options 0)
  refute_part --shm-size
}

@test "runner_options: no secret of the infrastructure's, no broker, nothing of the infrastructure's, and a link that is read-only" {
  local host
  WORKER_HOSTS=(0 1)
  for host in 0 1; do
    output=$(words runner_options "$host") messages=''
    refute_part /secrets/infra-01234567/worker
    refute_part 'target=/secrets'
    refute_part BROKER
    refute_part broker
    refute_part 5671
    refute_part 10.0.0.9
    refute_part INFRASTRUCTURE
    refute_part worker:1
    refute_part --init
    refute_part --publish
    refute_part --cap-add
    assert_equal "$(grep -A 1 -x -e --network <<<"$output")" "--network"$'\n'infra-01234567-tasks
    assert_equal "$(grep -c 'target=/infrainit/link,readonly$' <<<"$output")" 1
    assert_equal "$(grep -c 'target=/infrainit/secrets,readonly$' <<<"$output")" 1
    assert_equal "$(grep -c target=/infrainit/ <<<"$output")" 5
  done
}

@test "runner_options: mounts of the project, and what the worker compares with its files" {
  NEEDS[mount]=$'ro /data ~/my data\nrw /out /srv/out'
  local words without
  words=$(words runner_options 1)
  NEEDS=()
  without=$(words runner_options 1)
  assert_equal "$(diff <(echo "$without") <(echo "$words") | grep '^[<>]')" '< INFRAINIT_MOUNTS=
> INFRAINIT_MOUNTS=ro /data ~/my data
> rw /out /srv/out
> --mount
> type=bind,source=/far/my data,target=/data,readonly
> --mount
> type=bind,source=/srv/out,target=/out'
}

@test "worker_options: the whole command, with SLOTS, GPUs and TZ" {
  WORKER_HOSTS=(1) SLOTS=3 TZ=Asia/Tokyo FACTS[1.gpus]=2 FACTS[1.gpu_runtime]=1
  assert_equal "$(words worker_options 1)" "$(
    words_with_secrets worker 1:2 512m /far
    printf '%s\n' --network infra-01234567 --hostname far --stop-timeout 30 --pids-limit 1024 --gpus all,capabilities=utility \
      --env SLOTS=3 --env TASK_MEMORY=3072
    framework_words far 10.0.0.9:5671 Asia/Tokyo
    printf '%s\n' --mount 'type=bind,"source=/far/my tasks/code/my, ""project""",target=/code,readonly' \
      --env DATA=/infrainit --mount 'type=bind,"source=/far/my tasks/worker/my, ""project""",target=/infrainit' worker:1 worker
  )"
}

@test "worker_options: the whole command, without SLOTS and GPUs, at a broker with an IPv6 address" {
  FACTS[1.client_address]=2001:db8::7 FACTS[1.gpus]=2 FACTS[1.gpu_runtime]=0 BROKER_PORT=7000
  assert_equal "$(words worker_options 1)" "$(
    words_with_secrets worker 1:2 512m /far
    printf '%s\n' --network host --hostname far --stop-timeout 30 --pids-limit 1024 --env TASK_MEMORY=3072
    framework_words far '[2001:db8::7]:7000'
    printf '%s\n' --mount 'type=bind,"source=/far/my tasks/code/my, ""project""",target=/code,readonly' \
      --env DATA=/infrainit --mount 'type=bind,"source=/far/my tasks/worker/my, ""project""",target=/infrainit' worker:1 worker
  )"
}

@test "worker_options: a new image for the tasks leaves the worker as it is" {
  local before
  before=$(words worker_options 1)
  RUNNER_IMAGE_ID=runner:2
  assert_equal "$(words worker_options 1)" "$before"
}

@test "worker_options: a worker on the master host uses the infrastructure's own network" {
  assert_equal "$(words worker_options 0 | grep -x 'BROKER=.*')" BROKER=broker:5671
}

@test "worker_options, runner_options: the host's name is cut to what the kernel accepts" {
  local role
  HOST_NAMES[1]=$(printf 'x%.0s' {1..70})
  for role in worker runner; do
    assert_equal "$(words "${role}_options" 1 | grep -A 1 -x -e --hostname)" "--hostname
$(printf 'x%.0s' {1..63})"
  done
}

@test "ports: published only as far as they are needed, over IPv4 and IPv6" {
  published() { words "$@" | grep -A 1 -x -e --publish | grep -v -e ^-- | tr '\n' ' '; }
  BROKER_PORT=7000 FLOWER_PORT=7001
  assert_equal "$(published broker_options 0)" '127.0.0.1:7000:5671 '
  WORKER_HOSTS=(0 1)
  assert_equal "$(published broker_options 0)" '0.0.0.0:7000:5671 '
  WORKER_HOSTS=(0) BROKER=example.org FACTS[0.addresses]='10.0.0.9 2001:db8::9'
  assert_equal "$(published broker_options 0)" '0.0.0.0:7000:5671 [::]:7000:5671 '
  MASTER_HOST=1
  assert_equal "$(published flower_options 1)" '0.0.0.0:7001:5555 '
  assert_equal "$(published flower_options 0)" '127.0.0.1:7001:5555 '
  METRICS_PORT=7002
  assert_equal "$(published flower_options 1)" '0.0.0.0:7001:5555 0.0.0.0:7002:5556 '
  assert_equal "$(published flower_options 0)" '127.0.0.1:7001:5555 127.0.0.1:7002:5556 '
  assert_equal "$(words flower_options 0 | grep -x 'METRICS=.*')" METRICS=yes
  assert_equal "$(published master_options 1)$(published worker_options 1)" ''
}

# once_words: the first words of each container that runs once here.
once_words() {
  printf '%s\n' --rm --network none --user "$(id -u):$(id -g)" --cap-drop ALL --security-opt no-new-privileges
}

# check_words: the first words of each that reads a project.
check_words() {
  once_words
  printf '%s\n' --read-only --memory 1024m --pids-limit 128
}

# stage_words NAME: what follows for the staged project.
stage_words() {
  printf '%s\n' --mount 'type=bind,"source=/tmp/a, ""stage""",target=/code/current,readonly' \
    --mount 'type=bind,"source=/tmp/a, ""stage""/beside",target=/project,readonly' \
    --mount "type=bind,\"source=/tmp/a, \"\"stage\"\"/project\",\"target=/project/$1\",readonly" --workdir /project
  deadline_words
}

deadline_words() {
  printf '%s\n' --entrypoint timeout worker:1 --kill-after 5 300 /usr/local/bin/framework
}

@test "plan_options: the whole command, without network, with the resources of the workers" {
  STAGE='/tmp/a, "stage"' MASTER=local WORKER_HOSTS=(0 1)
  FACTS[0.gpus]=2 FACTS[0.gpu_runtime]=1 FACTS[1.gpus]=4 FACTS[1.gpu_runtime]=0
  assert_equal "$(words plan_options)" "$(
    check_words
    stage_words 'my, ""project""'
    printf '%s\n' plan './my, "project"' --host local 8 8602 2 --host far 4 3072 0
  )"
}

@test "needs_options, trial_options: the whole commands, without network, with limits" {
  STAGE='/tmp/a, "stage"'
  assert_equal "$(words needs_options)" "$(
    check_words
    stage_words 'my, ""project""'
    printf '%s\n' needs './my, "project"'
  )"
  assert_equal "$(words trial_options torch:2 python3 -c 'a b')" "$(
    once_words
    printf '%s\n' --memory 512m --pids-limit 128 --workdir / --entrypoint python3 torch:2 -c 'a b'
  )"
}

@test "plan_options, needs_options: a sweep file below its project, and the most tasks" {
  STAGE='/tmp/a, "stage"' MASTER='' RUN_CAP=7
  mkdir -p 'root, it/my sweeps'
  touch 'root, it/my sweeps/wide.yaml'
  PROJECT_PATH="$PWD/root, it" PROJECT_NAME=wide SWEEP_FILE="$PROJECT_PATH/my sweeps/wide.yaml"
  local command
  for command in plan needs; do
    assert_equal "$(words "${command}_options")" "$(
      check_words
      stage_words 'root, it'
      printf '%s\n' "$command" './root, it/my sweeps/wide.yaml' --root './root, it' --name wide --run-cap 7
    )"
  done
}

@test "root_options: the whole command; of this tool it sees the framework alone, and no more of the project than can be it" {
  RUN_CAP=7
  assert_equal "$(words root_options '/home/my "repo"' 'a b/wide.yaml')" "$(
    check_words
    printf '%s\n' --mount "type=bind,source=$TOOL/framework,target=/code/current/framework,readonly" \
      --mount 'type=bind,"source=/home/my ""repo""","target=/project/my ""repo""",readonly' --workdir '/project/my "repo"'
    deadline_words
    printf '%s\n' root './a b/wide.yaml' --run-cap 7
  )"
}

@test "plan_options: resources are left out unless all workers are known" {
  STAGE=/stage MASTER=local WORKER_HOSTS=(0 1)
  plan_arguments() { words plan_options | sed '1,/^plan$/d' | tr '\n' ' '; }
  assert_equal "$(plan_arguments)" './my, "project" --host local 8 8602 0 --host far 4 3072 0 '
  BROKER=example.org # other workers can join
  assert_equal "$(plan_arguments)" './my, "project" '
  BROKER='' FACTS[1.memory]=''
  assert_equal "$(plan_arguments)" './my, "project" '
  MASTER='' FACTS[1.memory]=$((4 * 1024 * MEBIBYTE))
  assert_equal "$(plan_arguments)" './my, "project" '
}

@test "recover_options: the whole command, without network" {
  assert_equal "$(words recover_options 1)" "$(
    printf '%s\n' --rm --network none --user 1:2 --cap-drop ALL --security-opt no-new-privileges --env 'PROJECT=my, "project"' \
      --mount 'type=bind,"source=/far/my tasks/code/my, ""project""",target=/code,readonly' \
      --mount 'type=bind,"source=/far/my tasks/master/my, ""project""",target=/data' worker:1 recover /data/recovered
  )"
}

@test "read_words: keeps empty words and newlines, and fails if the command fails" {
  local found
  read_words found print_words '' $'two\nlines' 'a b' "it's"
  assert_equal "${found[*]@Q}" "'' \$'two\\nlines' 'a b' 'it'\\''s'"
  FACTS[1.home]=''
  capture read_words found recover_options 1
  ((status != 0))
  assert_part 'of host 1 is not known'
}

@test "memory_limit: never less than a container needs to start, and a reserve for the host" {
  limits() {
    FACTS[0.memory]=$(($1 * MEBIBYTE + 12345))
    printf '%s ' "$(memory_limit 0 broker)" "$(memory_limit 0 worker)" "$(memory_limit 0 runner)"
  }
  assert_equal "$(limits 1024)" '512 512 512 '
  assert_equal "$(limits 8192)" '2048 512 3277 '
  assert_equal "$(limits 524288)" '4096 512 514048 '
  MASTER_HOST=1
  assert_equal "$(limits 8192)" '2048 512 6861 '
}

@test "a rootless engine runs containers as its own user, one with userns-remap in the host's user namespace; others as the user of the files" {
  local role
  for role in broker master flower runner worker; do
    FACTS[0.docker_kind]=rootless
    assert_equal "$(words "${role}_options" 0 | grep -A 1 -e '^--user$' -e '^--userns$' | paste -sd ' ')" '--user 0:0'
    FACTS[0.docker_kind]=userns
    assert_equal "$(words "${role}_options" 0 | grep -A 1 -e '^--user$' -e '^--userns$' | paste -sd ' ')" '--userns host --user 1000:100'
  done
  FACTS[0.docker_kind]=rootless
  assert_equal "$(words trial_options image program | grep -A 1 '^--user' | paste -sd ' ')" '--user 0:0'
  FACTS[0.docker_kind]=plain
  assert_equal "$(words trial_options image program | grep -A 1 '^--user' | paste -sd ' ')" "--user $(id -u):$(id -g)"
}

@test "worker_options: the slots of the hosts file win; GPUs are those that it allows" {
  SLOTS=3
  FACTS[0.gpus]=4 FACTS[0.gpu_runtime]=1
  words worker_options 0 | grep -x SLOTS=3
  HOST_SETTINGS=(["0 slots"]=7 ["0 gpus"]='[1,3]')
  words worker_options 0 | grep -x SLOTS=7
  words worker_options 0 | grep -x '"device=1,3",capabilities=utility'
  words runner_options 0 | grep -x '"device=1,3"'
  HOST_SETTINGS=(["0 gpus"]=0)
  assert_equal "$(words runner_options 0 | grep -c -e '^--gpus')" 0
}
