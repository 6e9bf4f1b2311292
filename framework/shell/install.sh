# shellcheck shell=bash
# shellcheck disable=SC2153 # the hosts are another file's
# Installing what is missing, with the user's consent: tools on this machine, Docker anywhere.

ARGUMENTS=() # of infrainit.sh, to start it again with

# install_tools: what a bare machine lacks and the next steps need.
install_tools() {
  local packages=()
  command -v openssl >/dev/null || packages+=(openssl)
  if ((${#HOSTS[@]} > 1)); then
    command -v ssh >/dev/null || packages+=(openssh-client)
  fi
  ((${#packages[@]} > 0)) || return 0
  doing "preparing this machine"
  if [[ ! $ASSUME_YES ]] && ! confirm "Install ${packages[*]} on this machine?"; then
    die "this machine lacks ${packages[*]}; say -y to have that installed, or run: sudo apt-get install ${packages[*]}"
  fi
  run_long "updating the lists of packages" as_root apt-get update
  run_long "installing ${packages[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "${packages[@]}"
}

as_root() {
  if ((EUID == 0)); then
    run "$@"
  else
    run sudo "$@"
  fi
}

# choose_where_to_install: sets INSTALL_HOSTS.
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
  check_docker_again 0
}

install_docker_there() {
  local host hosts=()
  for host in "${INSTALL_HOSTS[@]}"; do
    ((host == 0)) || hosts+=("$host")
  done
  ((${#hosts[@]} > 0)) || return 0
  doing "installing Docker on hosts"
  for_each_host install_docker "${hosts[@]}"
  check_docker_again "${hosts[@]}"
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

# check_docker_again HOST…: over new connections, as only they are in the group docker.
check_docker_again() {
  local host left=()
  [[ ! $DRY_RUN ]] || return 0
  for host in "${INSTALL_HOSTS[@]}"; do
    is_one_of "$host" "$@" || left+=("$host")
  done
  INSTALL_HOSTS=("${left[@]}")
  for host in "$@"; do
    close_connection "$host"
  done
  probe_hosts "$@"
  start_again_in_group
  check_hosts "$@"
  stop_on_problems 1
}

# start_again_in_group: a new member of the group docker is let in by new processes only, and sg starts one.
start_again_in_group() {
  if [[ $(fact 0 docker) == denied && ,$(fact 0 docker_group), == *",$(fact 0 user),"* && ! ${INFRAINIT_IN_GROUP:-} ]] &&
    command -v sg >/dev/null; then
    close_connections
    export INFRAINIT_IN_GROUP=yes
    exec sg docker -c "$(quote "$CHECKOUT/infrainit.sh" "${ARGUMENTS[@]}")"
  fi
}
