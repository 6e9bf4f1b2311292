# shellcheck shell=bash
# The table of hosts that is shown before anything is changed, and the checks of the hosts. Each problem names its host and says
# what to do.

readonly LEAST_FREE_DISK=$((3 * 1024 * 1024 * 1024)) # the images, and room to unpack them
readonly GREATEST_SKEW=300                           # seconds; certificates and leases need clocks that agree roughly

# print_table HOST…: shows one line for each host.
print_table() {
  local host width=4 format
  for host in "$@"; do
    ((${#HOST_NAMES[host]} <= width)) || width=${#HOST_NAMES[host]}
  done
  format="%2s  %-${width}s  %-14s  %-16s  %-6s  %5s  %7s  %7s  %4s  %s\n"
  # shellcheck disable=SC2059 # the format is made here, for the width of the names
  {
    printf "$format" '' host role docker arch cores memory disk gpus 'ports of the master'
    for host in "$@"; do
      if is_reachable "$host"; then
        printf "$format" "$host" "${HOST_NAMES[host]}" "$(role_of "$host")" "$(docker_state "$host")" "${FACTS[$host.arch]:-}" \
          "${FACTS[$host.cores]:-}" "$(gibibytes "$host" memory)" "$(gibibytes "$host" disk)" "${FACTS[$host.gpus]:-}" "$(ports_state "$host")"
      else
        printf "$format" "$host" "${HOST_NAMES[host]}" "$(role_of "$host")" unreachable '' '' '' '' '' ''
      fi
    done
  } | sed 's/ *$//' >&2
}

docker_state() {
  case ${FACTS[$1.docker]:-} in
    ok) printf '%s%s\n' "${FACTS[$1.engine]:-}" "$(fact "$1" docker_kind | sed -n '/^plain$/!s/^./ &/p')" ;;
    denied) echo 'not allowed' ;;
    down) echo 'not running' ;;
    *) fact "$1" docker ;;
  esac
}

gibibytes() {
  local bytes
  bytes=$(fact "$1" "$2")
  printf '%d GiB\n' "$((${bytes:-0} / 1024 / 1024 / 1024))"
}

ports_state() {
  local port
  if [[ $1 == "$MASTER_HOST" ]]; then
    while read -r _ port; do
      printf '%s %s  ' "$port" "$(fact "$1" "port_$port")"
    done < <(published_ports)
  fi
}

# check_hosts HOST…: records every problem of the hosts, one by one and together.
check_hosts() {
  local host
  for host in "$@"; do
    if is_reachable "$host"; then
      check_docker "$host"
      check_host "$host"
    else
      host_problem "$host" "${FACTS[$host.unreachable]:-}"
    fi
  done
  check_same_machine
  check_ports
  check_broker_addresses
  check_tunnel_addresses
}

check_docker() {
  local user
  if is_one_of "$1" "${INSTALL_HOSTS[@]}"; then
    return 0
  fi
  user=${FACTS[$1.user]:-}
  case ${FACTS[$1.docker]:-} in
    ok) check_engine "$1" ;;
    podman) host_problem "$1" "its docker is Podman, with which this tool does not work; install Docker there, or leave this host out" ;;
    missing) host_problem "$1" "Docker is missing; give -y to have it installed, or run: $(install_command "$1")" ;;
    down) host_problem "$1" "Docker does not answer (${FACTS[$1.docker_message]:-}); give -y to have it started, or run: $(install_command "$1")" ;;
    denied) host_problem "$1" "the user $user may not use Docker; let an administrator run: sudo usermod -aG docker $(quote "$user"), then try again" ;;
  esac
}

# check_engine HOST: what cannot work with its kind of engine.
check_engine() {
  case ${FACTS[$1.docker_kind]:-} in
    elsewhere) host_problem "$1" "its Docker engine keeps its files where this host has none (the socket of another machine, or Docker Desktop?), so files of this host cannot be mounted; use the engine's own machine as the host" ;;
    snap) host_problem "$1" "its Docker is a snap, whose AppArmor profile starts no container with the option no-new-privileges (https://bugs.launchpad.net/snapd/+bug/1908448); install Docker from its own packages: $(install_command "$1")" ;;
  esac
}

# install_command HOST: prints a command that the user can paste here to install or start Docker there.
install_command() {
  if (($1 == 0)); then
    our_command install_docker_ubuntu.sh
  else
    printf '%s <%s\n' "$(command_on "$1" bash -s)" "$(our_command install_docker_ubuntu.sh)"
  fi
}

check_host() {
  local kind kinds=(docker_disk) free skew
  if [[ $(role_of "$1") != - ]]; then # otherwise it is this machine, which only builds the images
    check_root_directory "$1"
    kinds+=(disk)
  fi
  case ${FACTS[$1.tmp_writable]:-} in
    full) host_problem "$1" "/tmp is full; make room there" ;;
    no*) host_problem "$1" "/tmp cannot be written; change its mode (chmod 1777 /tmp)" ;;
  esac
  for kind in "${kinds[@]}"; do
    free=$(fact "$1" "$kind")
    if [[ $free ]] && ((free < LEAST_FREE_DISK)); then
      host_problem "$1" "only $((free / 1024 / 1024)) MiB are free for $([[ $kind == disk ]] && root_of "$1" || echo "Docker's images"); make room for $((LEAST_FREE_DISK / 1024 / 1024)) MiB"
    fi
  done
  if [[ ${FACTS[$1.gpu_kind]:-} == amd && $(host_setting "$1" gpus) == *[1-9[]* ]]; then
    host_problem "$1" "gpus in the hosts file: which of its GPUs are used can be chosen for NVIDIA's only; leave it out, or write 0 for none"
  fi
  skew=${FACTS[$1.skew]:-} # computed here
  if ((${skew#-} > GREATEST_SKEW)); then
    host_problem "$1" "its clock differs from this machine's by ${skew#-} s; set the clocks (NTP)"
  fi
  if is_reachable 0 && [[ ${FACTS[$1.arch]:-} != "$(fact 0 arch)" ]]; then
    host_problem "$1" "it is ${FACTS[$1.arch]:-}, but the images are built here for $(fact 0 arch); leave this host out"
  fi
}

check_root_directory() {
  local root
  root=$(root_of "$1")
  case ${FACTS[$1.root_writable]:-} in
    yes) ;;
    full) host_problem "$1" "$root cannot be written: the disk is full, or the quota of ${FACTS[$1.user]:-} is used up; make room" ;;
    *) host_problem "$1" "$root cannot be written (${FACTS[$1.root_writable]:-}); choose another -r, or change its owner" ;;
  esac
  if [[ ${FACTS[$1.root_user]:-} ]]; then
    host_problem "$1" "$root is used by ${FACTS[$1.root_user]:-}, started from another copy of this tool; choose another -r, or run infra_clean.sh of that copy"
  fi
}

# check_same_machine: one engine under two host names would get two sets of containers with the same names.
check_same_machine() {
  local host engine
  local -A seen=()
  for host in $(hosts_in_use); do
    engine=${FACTS[$host.engine_id]:-}
    [[ $engine ]] || continue
    engine+=" ${FACTS[$host.boot_id]:-}" # cloned disks share the engine's id, not the boot's
    if [[ ${seen[$engine]:-} ]]; then
      host_problem "$host" "it is the same machine as ${HOST_NAMES[${seen[$engine]}]}; use only one of these names"
    fi
    seen[$engine]=$host
  done
}

check_ports() {
  local setting port state
  if [[ -z $MASTER_HOST ]] || ! is_reachable "$MASTER_HOST"; then
    return 0
  fi
  while read -r setting port; do
    state=$(fact "$MASTER_HOST" "port_$port")
    if [[ $state != free && $state != ours ]]; then
      host_problem "$MASTER_HOST" "port $port is $state; free it, or choose another $setting in config.sh"
    fi
  done < <(published_ports)
}

# check_broker_addresses: records a problem for each worker that could not find the broker.
check_broker_addresses() {
  local host address
  for host in "${WORKER_HOSTS[@]}"; do
    if ! is_reachable "$host"; then
      continue
    fi
    address=$(broker_address "$host")
    ! is_tunnelled "$host" || address=$(address_of_master "$host")
    if [[ -z $address ]]; then
      host_problem "$host" "it cannot resolve the broker's name $BROKER_NAME; give an address with -b that all workers can reach"
    elif [[ -z $BROKER && ($address == 127.* || $address == ::1) ]]; then
      host_problem "$host" "it would look for the broker at $address, which is itself; give the address of the master host with -b"
    elif [[ $address != broker && -z $BROKER_NAME && $(fact 0 addresses) && " $(fact 0 addresses) " != *" $address "* ]]; then
      host_problem "$host" "it sees this machine as $address, which is not its address (NAT, a jump host?); give this machine's address with -b"
    fi
  done
}
