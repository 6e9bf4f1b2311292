#!/bin/sh
# Prints the facts of a host as key=value lines and leaves nothing changed. It is plain POSIX sh; hosts.sh runs it on each host as:
#   sh -s -- REMOTE_PATH INFRASTRUCTURE BROKER_NAME PORT…
set -u

main() {
  remote_path=$1 infrastructure=$2 broker_name=$3
  shift 3
  print_machine
  print_root "$HOME/$remote_path"
  printf 'tmp_writable=%s\n' "$(is_writable "${TMPDIR:-/tmp}")"
  print_docker
  print_root_user "$HOME/$remote_path" "$infrastructure"
  print_gpus
  printf 'broker=%s\n' "$(resolve "$broker_name")"
  for port in "$@"; do
    print_port "$port"
  done
}

print_machine() {
  printf 'time=%s\n' "$(date +%s)"
  printf 'home=%s\n' "$HOME"
  printf 'user=%s\n' "$(id -un)"
  printf 'uid=%s\n' "$(id -u)"
  printf 'gid=%s\n' "$(id -g)"
  printf 'arch=%s\n' "$(uname -m | sed -e s/x86_64/amd64/ -e s/aarch64/arm64/)" # as Docker calls them
  printf 'cores=%s\n' "$(nproc)"
  printf 'memory=%s\n' "$(awk '$1 == "MemTotal:" { printf "%.0f", $2 * 1024 }' /proc/meminfo)"
  printf 'boot_id=%s\n' "$(cat /proc/sys/kernel/random/boot_id)"
  connection=${SSH_CONNECTION:-}
  printf 'client_address=%s\n' "${connection%% *}"
  printf 'addresses=%s\n' "$(hostname -I 2>/dev/null)" # where hostname has no -I they stay unknown
}

# resolve NAME: prints its address, IPv4 if it has one, because containers seldom have IPv6. Sorted, so that the choice is stable.
resolve() {
  [ -n "$1" ] || return 0
  { getent ahostsv4 "$1" || getent ahosts "$1"; } | sort | awk '{ print $1; exit }'
}

# print_root ROOT: can it be made and written, and how much space is free there?
print_root() {
  nearest=$1
  while [ ! -e "$nearest" ]; do
    nearest=$(dirname -- "$nearest")
  done
  printf 'root_writable=%s\n' "$(is_writable "$nearest")"
  printf 'disk=%s\n' "$(free_bytes "$nearest")"
}

# is_writable DIRECTORY: tries it with a small file, because only that finds a quota that is used up.
is_writable() {
  if ! [ -d "$1" ] || ! [ -w "$1" ]; then
    printf 'no: %s\n' "$1"
  elif (head -c 65536 /dev/zero >"$1/.infrainit.$$") 2>/dev/null; then
    echo yes
  else
    echo full
  fi
  rm -f -- "$1/.infrainit.$$" 2>/dev/null
}

# print_root_user ROOT INFRASTRUCTURE: prints another infrastructure whose containers use files under ROOT.
print_root_user() {
  [ "$docker" = ok ] || return 0
  docker ps --all --no-trunc --filter label=infrainit.infrastructure \
    --format '{{.Label "infrainit.infrastructure"}} {{.Mounts}}' |
    ROOT=$1 awk -v ours="$2" '$1 != ours && index($0, ENVIRON["ROOT"] "/") { print "root_user=" $1; exit }'
}

# free_bytes DIRECTORY: prints nothing if df cannot look there, which does not mean that it is full.
free_bytes() {
  df -Pk -- "$1" 2>/dev/null | awk 'NR > 1 { free = $4 } END { if (free ~ /^[0-9]+$/) printf "%.0f", free * 1024 }'
}

print_docker() {
  docker=ok engine='' answer=''
  if ! command -v docker >/dev/null; then
    docker=missing
  elif docker --version 2>/dev/null | grep -qi podman; then
    docker=podman
    echo 'docker_message=docker is Podman'
  elif answer=$(ask_docker) || use_rootless; then
    engine=$(echo "$answer" | tail -n 1)
    answer=$(docker info --format '{{.DockerRootDir}}
{{.ID}}
{{range $name, $_ := .Runtimes}}{{$name}} {{end}}
{{.SecurityOptions}}')
    docker_root=$(echo "$answer" | sed -n 1p)
    printf 'docker_kind=%s\n' "$(kind_of_engine "$docker_root" "$(echo "$answer" | sed -n 4p)")"
    printf 'engine_id=%s\n' "$(echo "$answer" | sed -n 2p)"
    printf 'gpu_runtime=%s\n' "$(echo "$answer" | sed -n 3p | grep -c nvidia)"
    printf 'docker_disk=%s\n' "$(free_bytes "$docker_root")"
  else
    case $answer in
      *'permission denied'*) docker=denied ;;
      *) docker=down ;;
    esac
    printf 'docker_message=%s\n' "$(echo "$answer" | tail -n 1 | tr -d '[:cntrl:]')"
  fi
  printf 'docker=%s\n' "$docker"
  printf 'engine=%s\n' "$engine"
  printf 'docker_group=%s\n' "$(getent group docker | cut -d : -f 4)"
}

ask_docker() {
  timeout 30 docker version --format '{{.Server.Version}}' 2>&1
}

# use_rootless: does an engine of this user answer, which only a login shell would know of? The answer of the other stays if not.
use_rootless() {
  socket=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock
  [ -S "$socket" ] && version=$(DOCKER_HOST=unix://$socket ask_docker) || return 1
  answer=$version
  export DOCKER_HOST="unix://$socket"
  printf 'docker_host=%s\n' "$DOCKER_HOST"
}

# kind_of_engine ROOT SECURITY_OPTIONS: what is special about the engine whose files are in ROOT.
kind_of_engine() {
  case $2,$1 in
    *name=rootless*) echo rootless ;;
    *name=userns*) echo userns ;;
    *,/var/snap/*) echo snap ;;
    *,/*) if is_missing "$1"; then echo elsewhere; else echo plain; fi ;;
    *) echo plain ;;
  esac
}

# is_missing DIRECTORY: is it certainly not there? Below a directory that this user may not search it may be.
is_missing() {
  ! [ -e "$1" ] || return 1
  parent=$(dirname -- "$1")
  if [ -e "$parent" ]; then [ -x "$parent" ]; else is_missing "$parent"; fi
}

# print_gpus: those of NVIDIA; where there is no driver for them, those of AMD, and the groups that may use their devices.
print_gpus() {
  sys=/sys dev=/dev
  if command -v nvidia-smi >/dev/null; then
    echo 'gpu_kind=nvidia'
    printf 'gpus=%s\n' "$(nvidia-smi -L | grep -c '^GPU')"
  elif [ -e "$dev/kfd" ]; then
    echo 'gpu_kind=amd'
    printf 'gpus=%s\n' "$(cat "$sys"/class/kfd/kfd/topology/nodes/*/properties | grep -c '^simd_count [1-9]')" # 0 for a CPU
    printf 'gpu_groups=%s\n' "$(stat -c %g "$dev/kfd" "$dev"/dri/renderD* | sort -nu | grep -vx 0 | tr '\n' ' ')"
  else
    echo 'gpus=0'
  fi
}

# print_port PORT: is it free, used by our own container, or by what else?
print_port() {
  answer=$(port_holder "$1")
  # A container that Docker restarts again and again may have come up after Docker was asked.
  for _ in 1 2; do
    if [ "$docker" != ok ] || [ "$answer" != 'taken by another program' ]; then break; fi
    sleep 1
    answer=$(port_holder "$1")
  done
  printf 'port_%s=%s\n' "$1" "$answer"
}

# port_holder PORT: asks Docker first, because without its proxy nothing listens on a published port.
port_holder() {
  if [ "$docker" = ok ]; then
    container=$(docker ps --filter "publish=$1" --format '{{.Names}} {{.Label "infrainit.infrastructure"}}')
    case $container in
      '') ;;
      *" $infrastructure")
        echo ours
        return
        ;;
      *)
        echo "taken by the container ${container%% *}"
        return
        ;;
    esac
  fi
  if is_listening "$1"; then echo 'taken by another program'; else echo free; fi
}

# is_listening PORT: reads the kernel's own tables, because not every host has ss. State 0A is LISTEN.
is_listening() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | # without IPv6 there is no tcp6
    awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

main "$@"
