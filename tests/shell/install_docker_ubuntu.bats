#!/usr/bin/env bats
# install_docker_ubuntu.sh, on a machine where every program that could change something is a stub

# shellcheck disable=SC2016,SC2154 # the stubs' own words; names are shared with helpers.bash

load helpers

setup() {
  local program
  prepare
  export MACHINE="$BATS_TEST_TMPDIR/machine" # holds what has happened to it
  export TMPDIR="$BATS_TEST_TMPDIR/tmp"
  mkdir "$MACHINE" "$TMPDIR"
  SCRIPT="$TOOL/install_docker_ubuntu.sh"
  # No links to the real programs: a stub of the same name would be written over them.
  for program in awk bash env mktemp rm sed sleep tail touch; do
    printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v "$program")" >"$STUBS/$program"
    chmod +x "$STUBS/$program"
  done
  stub sudo '[[ $1 == -n ]] || exec "$@"'
  stub id 'case $1 in -un) echo ann ;; -nG) echo ann $GROUPS_OF_ANN ;; -u) [[ ${@: -1} == ann ]] ;; esac'
  stub grep 'exit 1' # Docker's repository is not among the sources of packages
  stub cat 'exit 1'  # there is no file with the engine's process id
  stub dpkg 'echo amd64'
  stub apt-cache '[[ $2 != docker-cli ]] || echo "  Candidate: 26.1"'
  stub curl '[[ ${REPOSITORY:-} ]] || { echo "cannot resolve host" >&2; exit 6; }; touch "${@: -2:1}"'
  stub gpg 'printf "pub:-:4096:\nfpr:::::::::%s:\nsub:-:\nfpr:::::::::A_SUBKEY:\n" ${KEYS:-9DC858229FC7DD38854AE2D88D81803C0EBFCD88}'
  stub apt-get '
    [[ $* != *update* || ! ${OUT_OF_ORDER:-} ]] || exit 100
    [[ $* != *install* ]] || for package in "${@:7}"; do
      [[ " $MISSING_PACKAGES " != *" $package "* ]] || { echo "no package $package"; exit 100; }
      [[ $package != docker.io && $package != docker-ce ]] || touch "$MACHINE/installed"
    done'
  stub dpkg 'echo amd64'
  stub docker '[[ -e $MACHINE/runs ]]'
  stub sh 'touch "$MACHINE/runs"'
  stub systemctl 'touch "$MACHINE/runs"'
  for program in install groupadd usermod journalctl; do
    stub "$program"
  done
  export GROUPS_OF_ANN='' MISSING_PACKAGES=''
  unset SUDO_USER
  PATH=${PATH#"$STUBS:"} # the tests themselves need the real ones
}

# on_machine COMMAND…: with the stubs only; the real Docker of whoever runs the tests is out of reach.
on_machine() {
  : >"$CALLS"
  PATH=$STUBS capture "$@"
  output+=$'\n'$(<"$CALLS")
}

@test "changes nothing where an engine answers and the user is in the group" {
  touch "$MACHINE/runs"
  GROUPS_OF_ANN=docker on_machine "$SCRIPT"
  assert_equal "$status" 0
  assert_part 'a Docker engine answers already'
  refute_part apt-get
  refute_part usermod
}

@test "adds the user to the group where an engine answers" {
  touch "$MACHINE/runs"
  on_machine "$SCRIPT"
  assert_equal "$status" 0
  assert_line "usermod '--append' '--groups' 'docker' 'ann'"
  refute_part apt-get
}

@test "starts an engine that is installed" {
  stub dockerd
  on_machine "$SCRIPT" --user=ann
  assert_equal "$status" 0
  [[ -e $MACHINE/runs ]]
  refute_part apt-get
}

@test "installs Docker from its own repository, also if another source of packages is out of order" {
  OUT_OF_ORDER=yes REPOSITORY=yes on_machine "$SCRIPT"
  assert_equal "$status" 0
  assert_part "'docker-ce' 'docker-ce-cli' 'containerd.io' 'docker-buildx-plugin' 'apparmor'"
  assert_part "/etc/apt/sources.list.d/docker.list"
  refute_part docker.io
  [[ -e $MACHINE/installed && -e $MACHINE/runs ]]
  assert_equal "$(ls "$TMPDIR")" ''
}

@test "uses the distribution's packages where Docker's repository has another key, or one more" {
  local keys
  for keys in 0123456789ABCDEF0123456789ABCDEF01234567 '9DC858229FC7DD38854AE2D88D81803C0EBFCD88 0123'; do
    KEYS=$keys REPOSITORY=yes on_machine "$SCRIPT"
    assert_equal "$status" 0
    assert_part "Docker's repository has another key than 9DC858229FC7DD38854AE2D88D81803C0EBFCD88: ${keys// /$'\n'}; it is not used"
    assert_part "'docker.io'"
    refute_part docker-ce
    refute_part docker.list
    rm "$MACHINE"/*
  done
}

@test "uses the distribution's packages where Docker's repository cannot be reached" {
  on_machine "$SCRIPT"
  assert_equal "$status" 0
  assert_part 'cannot resolve host'
  assert_part "'docker.io' 'apparmor' 'iptables' 'docker-cli'"
  refute_part "'docker-cli' 'docker-buildx'"
  refute_part docker-ce
  [[ -e $MACHINE/runs ]]
}

@test "uses the distribution's packages where Docker's cannot be installed, and says why" {
  MISSING_PACKAGES=containerd.io REPOSITORY=yes on_machine "$SCRIPT"
  assert_equal "$status" 0
  assert_part 'no package containerd.io'
  assert_part "'docker.io'"
}

@test "fails, showing what apt-get said, where neither can be had" {
  MISSING_PACKAGES='docker.io' on_machine "$SCRIPT"
  assert_equal "$status" 1
  assert_part 'no package docker.io'
  assert_part 'error: Docker cannot be installed'
  refute_part usermod
}

@test "never removes what is installed" {
  REPOSITORY=yes on_machine "$SCRIPT"
  assert_equal "$(grep -c "apt-get.*'install'" "$CALLS")" "$(grep -c "'--no-remove'" "$CALLS")"
}

@test "says what to do on other systems" {
  rm "$STUBS/apt-get"
  on_machine "$SCRIPT"
  assert_equal "$status" 1
  assert_part 'neither Ubuntu nor Debian'
}

@test "removes the process id of a dead engine, and only that" {
  [[ ! -d /run/systemd/system ]] || skip "systemd starts the engine here"
  stub dockerd
  stub rm
  stub cat '[[ $1 == /var/run/docker.pid ]] && echo 4711 || echo dockerd'
  on_machine "$SCRIPT"
  refute_part "rm '-f' '/var/run/docker.pid'"
  rm "$MACHINE/runs"
  stub cat '[[ $1 == /var/run/docker.pid ]] && echo 4711 || echo bash'
  on_machine "$SCRIPT"
  assert_line "rm '-f' '/var/run/docker.pid'"
}

@test "a dry run shows the commands and runs none" {
  on_machine "$SCRIPT" --dry-run
  assert_equal "$status" 0
  assert_part 'docker.io apparmor iptables'
  assert_part 'usermod --append --groups docker ann'
  assert_equal "$(grep -E '^(apt-get|usermod|groupadd|install|sh|systemctl)' "$CALLS")" ''
}

@test "works from a pipe, as over ssh" {
  on_machine bash -s -- --user ann <"$SCRIPT"
  assert_equal "$status" 0
  assert_line "usermod '--append' '--groups' 'docker' 'ann'"
  on_machine bash -s -- --help <"$SCRIPT"
  assert_equal "$status" 0
  assert_part 'usage:'
}

@test "--help is the header; unknown options and users exit with 2" {
  on_machine "$SCRIPT" -h
  assert_equal "$status" 0
  assert_part '--dry-run     show every command, change nothing'
  for arguments in --nonsense --user '--user bob' ann; do
    # shellcheck disable=SC2086 # two words
    on_machine "$SCRIPT" $arguments
    assert_equal "$status" 2
  done
}
