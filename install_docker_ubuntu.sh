#!/usr/bin/env bash
# Installs Docker on Ubuntu or Debian, starts it, and lets a user use it. Safe to repeat: where an engine answers already,
# only the user is added to the group docker.
#
# usage: install_docker_ubuntu.sh [--user NAME] [-n] [-h]
#        ssh HOST bash -s < install_docker_ubuntu.sh
#
#       --user NAME   who may use Docker (which is as much as being root); default: whoever runs this, also through sudo
#   -n, --dry-run     show every command, change nothing
#   -h, --help        this text
#
# Runs as root or with sudo. Docker comes from its own repository or, where that cannot be reached, from the distribution's.
#
# exit codes: 0 success, 1 something failed, 2 the options are wrong
#
# examples:
#   ./install_docker_ubuntu.sh -n                                    what would be done
#   ssh root@hostA bash -s -- --user me < install_docker_ubuntu.sh   on hostA, for its user me

set -euo pipefail
shopt -s inherit_errexit

readonly REPOSITORY=https://download.docker.com/linux
# The fingerprint of its key: https://docs.docker.com/engine/install/debian
readonly REPOSITORY_KEY=9DC858229FC7DD38854AE2D88D81803C0EBFCD88
readonly REACH_SECONDS=20         # for Docker's repository to answer
readonly START_SECONDS=60         # for the engine to answer
readonly LOCK_SECONDS=300         # a machine that has just been started may be busy with its updates
readonly LOG=/var/log/dockerd.log # of the engine, where there is no systemd
readonly LOG_LINES_SHOWN=30

DRY_RUN=''
DOCKER_USER=''
AS_ROOT=() # the words in front of a command that needs root

main() {
  parse_options "$@"
  find_sudo
  if engine_answers; then
    say "a Docker engine answers already: nothing to install"
  else
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
      install_docker
    fi
    start_engine
  fi
  add_user_to_group
}

parse_options() {
  while (($# > 0)); do
    case $1 in
      --user)
        [[ ${2:-} ]] || usage_error "--user needs a name"
        DOCKER_USER=$2
        shift
        ;;
      --user=?*) DOCKER_USER=${1#*=} ;;
      -n | --dry-run) DRY_RUN=yes ;;
      -h | --help)
        show_help
        exit 0
        ;;
      *) usage_error "$1 is no option; see --help" ;;
    esac
    shift
  done
  DOCKER_USER=${DOCKER_USER:-${SUDO_USER:-$(id -un)}}
  id -u -- "$DOCKER_USER" >/dev/null 2>&1 || usage_error "there is no user $DOCKER_USER on this machine"
}

show_help() {
  # A script on stdin cannot read its own text.
  if [[ -f ${BASH_SOURCE[0]:-} ]]; then
    sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  else
    echo "usage: ssh HOST bash -s -- [--user NAME] [--dry-run] < install_docker_ubuntu.sh"
  fi
}

find_sudo() {
  if ((EUID == 0)); then
    return
  fi
  command -v sudo >/dev/null || die "this needs root, and there is no sudo: run it as root"
  AS_ROOT=(sudo)
  if [[ ! $DRY_RUN && ! -t 2 ]]; then
    sudo -n true || die "sudo wants a password, and there is no terminal to ask on: log in to this machine and run it there"
  fi
}

engine_answers() {
  command -v docker >/dev/null && "${AS_ROOT[@]}" docker info >/dev/null 2>&1
}

install_docker() {
  local extras
  command -v apt-get >/dev/null ||
    die "this machine runs neither Ubuntu nor Debian: see https://docs.docker.com/engine/install"
  say "updating the lists of packages"
  apt_get update || true # another source of packages may be out of order; the installation below decides
  # No container starts without apparmor's programs where the kernel has it.
  if add_repository && install_packages docker-ce docker-ce-cli containerd.io docker-buildx-plugin apparmor; then
    return
  fi
  say "using the distribution's own Docker instead"
  # From Debian 13 on the command docker is a package of its own.
  mapfile -t extras < <(known_packages docker-cli docker-buildx)
  install_packages docker.io apparmor iptables "${extras[@]}" || die "Docker cannot be installed; see above"
}

# add_repository: adds Docker's own; fails if it cannot be reached or has nothing for this release.
add_repository() {
  local name codename directory code=0
  if grep -qrs "$REPOSITORY" /etc/apt/sources.list /etc/apt/sources.list.d; then
    return
  fi
  install_packages ca-certificates curl gpg || return
  if ! command -v curl >/dev/null || ! command -v gpg >/dev/null; then
    say "(without curl and gpg a dry run cannot tell whether Docker's repository answers)"
    return 1
  fi
  name=$(release_value ID)
  codename=$(release_value VERSION_CODENAME)
  say "looking for Docker's repository for $name $codename"
  directory=$(mktemp -d)
  download "$REPOSITORY/$name/dists/$codename/Release" "$directory/Release" &&
    download "$REPOSITORY/$name/gpg" "$directory/docker.asc" &&
    is_repository_key "$directory" "$directory/docker.asc" &&
    printf 'deb [arch=%s signed-by=/etc/apt/keyrings/docker.asc] %s %s stable\n' \
      "$(dpkg --print-architecture)" "$REPOSITORY/$name" "$codename" >"$directory/docker.list" &&
    run_as_root install -D --mode 0644 "$directory/docker.asc" /etc/apt/keyrings/docker.asc &&
    run_as_root install -D --mode 0644 "$directory/docker.list" /etc/apt/sources.list.d/docker.list || code=$?
  rm -r -- "$directory"
  if ((code != 0)); then
    say "Docker's repository cannot be used: it cannot be reached, has nothing for this release, or another key"
    return 1
  fi
  apt_get update || true # what lists it has may do; if not, the installation fails, and says so
}

# is_repository_key HOME FILE: does FILE hold that key, and no other? apt would trust each key in it. HOME is for gpg.
is_repository_key() {
  local keys
  keys=$(gpg --homedir "$1" --no-options --batch --quiet --with-colons --import-options show-only --import "$2" |
    awk -F : '$1 == "pub" { wanted = 1 } $1 == "fpr" && wanted { print $10; wanted = 0 }') || return
  if [[ $keys != "$REPOSITORY_KEY" ]]; then
    say "Docker's repository has another key than $REPOSITORY_KEY: ${keys:-none}; it is not used"
    return 1
  fi
}

download() {
  curl --fail --silent --show-error --location --max-time "$REACH_SECONDS" --output "$2" "$1"
}

# release_value NAME: prints a value of os-release.
release_value() (
  # shellcheck source=/dev/null
  source /etc/os-release
  printf '%s\n' "${!1:-}"
)

# known_packages PACKAGE…: prints those that apt can install.
known_packages() {
  local package
  for package in "$@"; do
    if [[ $(apt-cache policy "$package") == *Candidate:\ [0-9]* ]]; then
      printf '%s\n' "$package"
    fi
  done
}

# install_packages PACKAGE…: installs them without removing any package.
install_packages() {
  say "installing $*"
  apt_get install --yes --no-remove --no-install-recommends "$@"
}

# apt_get WORD…: runs apt-get and shows its output only if it fails.
apt_get() {
  local log code=0
  log=$(mktemp)
  run_as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get --quiet -o "DPkg::Lock::Timeout=$LOCK_SECONDS" "$@" >"$log" 2>&1 || code=$?
  if ((code != 0)) || [[ $DRY_RUN ]]; then
    tail -n "$LOG_LINES_SHOWN" -- "$log" >&2
  fi
  rm -- "$log"
  return "$code"
}

start_engine() {
  say "starting the engine"
  if has_systemd; then
    run_as_root systemctl enable --now docker
  elif ! engine_answers; then # the package may have started it
    remove_stale_pid_file
    run_as_root sh -c "setsid dockerd >>$LOG 2>&1 </dev/null &"
  fi
  wait_for_engine
}

has_systemd() {
  [[ -d /run/systemd/system ]]
}

# A killed dockerd leaves its process id behind, which may now belong to another program; dockerd then refuses to start.
remove_stale_pid_file() {
  local pid
  pid=$(cat /var/run/docker.pid 2>/dev/null) || return 0
  if [[ $(cat "/proc/$pid/comm" 2>/dev/null) != dockerd ]]; then
    run_as_root rm -f /var/run/docker.pid
  fi
}

wait_for_engine() {
  local start=$SECONDS
  [[ ! $DRY_RUN ]] || return 0
  until engine_answers; do
    if ((SECONDS - start >= START_SECONDS)); then
      show_engine_log
      die "the engine does not answer after $START_SECONDS s; the last lines of its log are above"
    fi
    sleep 1
  done
}

show_engine_log() {
  if has_systemd; then
    "${AS_ROOT[@]}" journalctl --unit docker --lines "$LOG_LINES_SHOWN" --no-pager >&2
  else
    "${AS_ROOT[@]}" tail -n "$LOG_LINES_SHOWN" "$LOG" >&2
  fi
}

add_user_to_group() {
  if [[ $DOCKER_USER == root ]]; then
    return
  fi
  if [[ " $(id -nG -- "$DOCKER_USER") " == *" docker "* ]]; then
    say "$DOCKER_USER is in the group docker already"
    return
  fi
  run_as_root groupadd --force docker
  run_as_root usermod --append --groups docker "$DOCKER_USER"
  say "$DOCKER_USER may use Docker from the next login on"
}

# run_as_root COMMAND…: runs a command that changes something.
run_as_root() {
  if [[ $DRY_RUN ]]; then
    printf '%q ' "${AS_ROOT[@]}" "$@" >&2
    echo >&2
  else
    "${AS_ROOT[@]}" "$@"
  fi
}

say() {
  printf '%s\n' "$*" >&2
}

die() {
  say "error: $*"
  exit 1
}

usage_error() {
  say "install_docker_ubuntu.sh: $*"
  exit 2
}

main "$@" </dev/null
