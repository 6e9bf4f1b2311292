#!/usr/bin/env bats
# framework/shell/facts.sh: what a host tells about itself.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

@test "facts: answers of a real shell" {
  stub docker 'case $1 in
    version) echo 28.5.2 ;;
    info) printf "/\nENGINE\nrunc \n[name=seccomp]\n" ;;
    ps) [[ $3 != *5671 ]] || echo "other " ;;
  esac'
  stub nvidia-smi 'printf "GPU 0: A\nGPU 1: B\n"'
  FLOWER_PORT=1 METRICS_PORT=2 # nobody listens there
  MASTER_HOST=0
  probe_hosts 0
  assert_equal "$(fact 0 docker)|$(fact 0 engine)|$(fact 0 engine_id)|$(fact 0 gpus)" 'ok|28.5.2|ENGINE|2'
  assert_equal "$(fact 0 gpu_kind)|$(fact 0 gpu_groups)" 'nvidia|'
  assert_equal "$(fact 0 home)|$(fact 0 uid)|$(fact 0 user)" "$HOME|$(id -u)|$(id -un)"
  assert_equal "$(root_of 0)|$(fact 0 root_writable)" "$HOME/celery_tasks|yes"
  assert_equal "$(fact 0 port_5671)|$(fact 0 port_1)|$(fact 0 port_2)" 'taken by the container other|free|free'
  (($(fact 0 cores) > 0 && $(fact 0 memory) > 0 && $(fact 0 disk) > 0 && $(fact 0 docker_disk) > 0))
  is_reachable 0
}

@test "facts: Docker missing, denied, down" {
  facts() { sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''; }
  stub docker 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1'
  capture facts
  assert_line docker=denied
  stub docker 'echo "Cannot connect to the Docker daemon. Is the docker daemon running?" >&2; exit 1'
  capture facts
  assert_line docker=down
  assert_line 'docker_message=Cannot connect to the Docker daemon. Is the docker daemon running?'
}

# facts_with_devices DIRECTORY: what this machine tells with DIRECTORY/sys and DIRECTORY/dev in place of its own.
facts_with_devices() {
  sed "s|sys=/sys dev=/dev|sys='$1/sys' dev='$1/dev'|" "$TOOL/framework/shell/facts.sh" |
    PATH=$BATS_TEST_TMPDIR/bin sh -s -- celery_tasks infra-1 ''
}

@test "facts: GPUs of AMD, and the groups that may use them" {
  local root=$BATS_TEST_TMPDIR/root node program
  mkdir -p "$root/dev/dri" "$BATS_TEST_TMPDIR/bin"
  for program in bash sh cat head rm grep sort tr id date uname sed nproc awk hostname getent dirname df cut; do
    ln -sf "$(type -P "$program")" "$BATS_TEST_TMPDIR/bin/$program" # but no nvidia-smi
  done
  for node in 0 1 2; do
    mkdir -p "$root/sys/class/kfd/kfd/topology/nodes/$node"
    printf 'cpu_cores_count 0\nsimd_count %s\n' "$((node * 304))" >"$root/sys/class/kfd/kfd/topology/nodes/$node/properties"
  done
  capture facts_with_devices "$root"
  assert_line gpus=0
  refute_part gpu_kind
  touch "$root/dev/kfd" "$root/dev/dri/renderD128" "$root/dev/dri/renderD129"
  stub stat 'printf "44\n109\n0\n44\n"'
  ln -sf "$(type -P stat)" "$BATS_TEST_TMPDIR/bin/stat"
  capture facts_with_devices "$root"
  assert_line gpus=2
  assert_line gpu_kind=amd
  assert_line 'gpu_groups=44 109 '
}

# kind_with SECURITY_OPTIONS ROOT: the kind of an engine that says this of itself.
kind_with() {
  stub docker "case \"\$*\" in
    --version) echo 'Docker version 28.5.2' ;;
    version*) echo 28.5.2 ;;
    info*) printf '%s\n' '$2' ENGINE 'runc ' '$1' ;;
  esac"
  capture sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''
  grep ^docker_kind= <<<"$output" | cut -d = -f 2
}

@test "facts: kinds of engines" {
  mkdir hidden
  assert_equal "$(kind_with '[name=seccomp,profile=builtin name=cgroupns]' /)" plain
  assert_equal "$(kind_with '[name=seccomp,profile=builtin name=rootless name=cgroupns]' "$HOME/.local/share/docker")" rootless
  assert_equal "$(kind_with '[name=seccomp,profile=builtin name=userns]' /)" userns
  assert_equal "$(kind_with '[name=apparmor]' /var/snap/docker/common/var-lib-docker)" snap
  assert_equal "$(kind_with '[name=seccomp]' /nowhere/var/lib/docker)" elsewhere
  assert_equal "$(kind_with '' '')" plain
  refute_part docker_disk=0
  stub docker 'case "$*" in --version) echo "podman version 4.9.3" ;; *) echo 4.9.3 ;; esac'
  capture sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''
  assert_line docker=podman
  refute_part engine_id
}

@test "facts: a rootless engine is found by its socket where no other answers, and then used" {
  export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
  mkdir "$XDG_RUNTIME_DIR"
  stub docker 'case "$DOCKER_HOST,$*" in
    *--version) echo "Docker version 28.5.2" ;;
    ,*) echo "Cannot connect to the Docker daemon" >&2; exit 1 ;;
    unix:*,version*) echo 27.0.1 ;;
    unix:*,info*) printf "/\nENGINE\nrunc \n[name=rootless]\n" ;;
  esac'
  unset DOCKER_HOST
  MASTER_HOST=0
  probe_hosts 0
  assert_equal "$(fact 0 docker)" down
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$XDG_RUNTIME_DIR/docker.sock"
  FACTS=()
  probe_hosts 0
  assert_equal "$(fact 0 docker)|$(fact 0 engine)|$(fact 0 engine_id)|$(fact 0 docker_kind)" 'ok|27.0.1|ENGINE|rootless'
  assert_equal "$DOCKER_HOST" "unix://$XDG_RUNTIME_DIR/docker.sock"
  : >"$CALLS"
  stub env
  HOST_NAMES=(local far)
  set_fact 0 docker_host unix:///run/user/7/docker.sock
  docker_on 0 ps
  assert_equal "$(<"$CALLS")" "env 'DOCKER_HOST=unix:///run/user/7/docker.sock' 'docker' 'ps'"
}

@test "facts: whether a directory can be written is tried; a full one is not one without permission" {
  export TMPDIR=$HOME
  capture sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''
  assert_line root_writable=yes
  assert_line tmp_writable=yes
  assert_equal "$(find "$HOME" -maxdepth 1 -name '.infrainit.*')" ''
  stub head 'echo "No space left on device" >&2; exit 1'
  capture sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''
  assert_line root_writable=full
  assert_line tmp_writable=full
  stub df 'echo "df: cannot read" >&2; exit 1'
  capture sh "$TOOL/framework/shell/facts.sh" celery_tasks infra-1 ''
  assert_line disk=
}

@test "facts: a port that a program of this machine has" {
  python3 -c '
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
answer = subprocess.run(["sh", sys.argv[1], "x", "infra-1", "", port], capture_output=True, text=True).stdout
sys.exit(f"port_{port}=taken by another program" not in answer)' "$TOOL/framework/shell/facts.sh"
}

@test "facts: a port of a container that comes up while it is asked for" {
  stub docker 'case $1 in
    version) echo 28.5.2 ;;
    ps) [[ $(grep -c "^docker .ps" "$CALLS") == 1 ]] || echo "infra-1-broker infra-1" ;;
  esac'
  export CALLS
  python3 -c '
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
answer = subprocess.run(["sh", sys.argv[1], "x", "infra-1", "", port], capture_output=True, text=True).stdout
sys.exit(f"port_{port}=ours" not in answer)' "$TOOL/framework/shell/facts.sh"
}
