# shellcheck shell=bash
# Installing what is missing, with the user's consent: tools on this machine, Docker on any host.

ARGUMENTS=()     # of infrainit.sh, to start it again with them
INSTALL_HOSTS=() # numbers of the hosts on which Docker is to be installed or started

# install_tools: installs what the next steps need and a bare machine lacks.
install_tools() {
  local packages=()
  command -v openssl >/dev/null || packages+=(openssl)
  if ((${#HOST_NAMES[@]} > 1)); then
    command -v ssh >/dev/null || packages+=(openssh-client)
  fi
  ((${#packages[@]} > 0)) || return 0
  doing "preparing this machine"
  if [[ ! $ASSUME_YES ]] && ! confirm "Install ${packages[*]} on this machine?"; then
    die "this machine lacks ${packages[*]}; give -y to have them installed, or run: sudo apt-get install ${packages[*]}"
  fi
  run_long "updating the lists of packages" run_as_root apt-get update
  run_long "installing ${packages[*]}" run_as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "${packages[@]}"
}

# choose_where_to_install: sets INSTALL_HOSTS to the hosts without a running Docker, if the user agrees.
choose_where_to_install() {
  local host names=()
  for host in "${ASKED_HOSTS[@]}"; do
    if [[ $(fact "$host" docker) == @(missing|down) ]]; then
      INSTALL_HOSTS+=("$host")
      names+=("${HOST_NAMES[host]}")
    fi
  done
  ((${#names[@]} > 0)) || return 0
  if [[ ! $ASSUME_YES ]] && ! confirm "Install or start Docker on: ${names[*]}?"; then
    INSTALL_HOSTS=()
  fi
}

install_docker_here() {
  is_one_of 0 "${INSTALL_HOSTS[@]}" || return 0
  doing "installing Docker on this machine"
  install_docker 0
  probe_hosts_again 0
}

install_docker_there() {
  local host hosts=()
  for host in "${INSTALL_HOSTS[@]}"; do
    ((host == 0)) || is_one_of "$host" "${LEFT_OUT[@]}" || hosts+=("$host")
  done
  ((${#hosts[@]} > 0)) || return 0
  doing "installing Docker on hosts"
  try_each_host install_docker "${hosts[@]}"
  probe_hosts_again "${hosts[@]}"
}

# install_docker HOST
install_docker() {
  local script="$CHECKOUT/install_docker_ubuntu.sh" user
  user=$(fact "$1" user)
  step "${HOST_NAMES[$1]}" "installing Docker"
  if (($1 == 0)); then
    run "$script" --user "$user" >&2 # sudo may ask for a password
  else
    change_host_stdin "$1" bash -s -- --user "$user" <"$script" >&2
  fi
}

# probe_hosts_again HOST…: asks and checks hosts on which Docker was installed, over new connections, because only these are in
# the group docker. Takes the hosts off INSTALL_HOSTS.
probe_hosts_again() {
  local host left=() hosts=()
  [[ ! $DRY_RUN ]] || return 0
  for host in "${INSTALL_HOSTS[@]}"; do
    is_one_of "$host" "$@" || left+=("$host")
  done
  INSTALL_HOSTS=("${left[@]}")
  for host in "$@"; do
    is_one_of "$host" "${LEFT_OUT[@]}" || hosts+=("$host")
  done
  ((${#hosts[@]} > 0)) || return 0
  for host in "${hosts[@]}"; do
    close_connection "$host"
  done
  probe_hosts "${hosts[@]}"
  start_again_in_group
  check_hosts "${hosts[@]}"
  leave_out_unfit
  stop_on_problems 1
}

# start_again_in_group: membership of the group docker holds for new processes only; sg starts one.
start_again_in_group() {
  if [[ $(fact 0 docker) == denied && ,$(fact 0 docker_group), == *",$(fact 0 user),"* && ! ${INFRAINIT_IN_GROUP:-} ]] &&
    command -v sg >/dev/null; then
    close_connections
    release_lock
    export INFRAINIT_IN_GROUP=yes
    exec sg docker -c "$(quote "$CHECKOUT/infrainit.sh" "${ARGUMENTS[@]}")"
  fi
}
