#!/usr/bin/env bats
# framework/shell/facts.sh: what a host tells about itself.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-00000001
}

@test "facts: answers of a real shell" {
  stub docker 'case $1 in
    version) echo 28.5.2 ;;
    info) [[ $3 != *ID* ]] || echo ENGINE; [[ $3 != *Root* ]] || echo / ;;
    ps) [[ $3 != *5671 ]] || echo "other " ;;
  esac'
  stub nvidia-smi 'printf "GPU 0: A\nGPU 1: B\n"'
  FLOWER_PORT=1 # nobody listens there
  MASTER_HOST=0
  probe_hosts 0
  assert_equal "$(fact 0 docker)|$(fact 0 engine)|$(fact 0 engine_id)|$(fact 0 gpus)" 'ok|28.5.2|ENGINE|2'
  assert_equal "$(fact 0 gpu_kind)|$(fact 0 gpu_groups)" 'nvidia|'
  assert_equal "$(fact 0 home)|$(fact 0 uid)|$(fact 0 user)" "$HOME|$(id -u)|$(id -un)"
  assert_equal "$(root_of 0)|$(fact 0 root_writable)" "$HOME/celery_tasks|yes"
  assert_equal "$(fact 0 port_5671)|$(fact 0 port_1)" 'taken by the container other|free'
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
  for program in bash sh cat grep sort tr id date uname sed nproc awk hostname getent dirname df cut; do
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
