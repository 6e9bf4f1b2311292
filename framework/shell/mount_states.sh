#!/bin/sh
# Prints what a host has at the sources of mounts, and changes nothing. It is plain POSIX sh; mounts.sh runs it on each host as:
#   sh -s -- ROOT STATE MODE SOURCE [MODE SOURCE]…
# ROOT and STATE (which may be empty) are directories of this tool's. For each source it prints `STATE GROUP`: the group is that of the
# source if the user has its rights by a group that a container would not have, else `-`.
set -u

main() {
  user_id=$(id -u) group_id=$(id -g) groups=" $(id -G) "
  docker_group=$(getent group docker | cut -d : -f 3)
  root=$1 state=$2
  shift 2
  while [ "$#" -gt 1 ]; do
    printf '%s %s\n' "$(state_of "$1" "$2")" "$(group_of "$2")"
    shift 2
  done
}

# state_of MODE SOURCE
state_of() {
  if [ ! -e "$2" ]; then
    echo missing
  elif is_private "$2"; then
    echo private
  elif [ ! -d "$2" ] && [ ! -f "$2" ]; then
    echo no_files
  elif [ ! -r "$2" ] || { [ -d "$2" ] && [ ! -x "$2" ]; }; then
    echo unreadable
  elif [ "$1" = rw ] && [ ! -w "$2" ]; then
    echo unwritable
  else
    echo ok
  fi
}

# is_private SOURCE: does it hold, or is it part of, what no task may see?
is_private() {
  source=$(real_path "$1")
  for private in "$root" "$state" "$HOME/.ssh" /proc /sys /dev /run/docker.sock /var/run/docker.sock; do
    [ -n "$private" ] || continue
    private=$(real_path "$private")
    if is_within "$source" "$private" || is_within "$private" "$source"; then return 0; fi
  done
  return 1
}

# is_within PATH DIRECTORY
is_within() {
  case ${1%/}/ in
    "${2%/}"/*) true ;;
    *) false ;;
  esac
}

# real_path PATH: prints it without links, as far as it is there.
real_path() {
  there=$1 missing=''
  while [ ! -e "$there" ]; do
    missing=/${there##*/}$missing
    there=$(dirname -- "$there")
  done
  there=$(readlink -f -- "$there")
  printf '%s\n' "${there%/}$missing"
}

# group_of SOURCE: never that of Docker, nor root's: they would give a task more than its files.
group_of() {
  owner=$(stat -L -c %u -- "$1" 2>/dev/null) group=$(stat -L -c %g -- "$1" 2>/dev/null)
  case $groups in
    *" ${group:-none} "*) ;;
    *) group=- ;;
  esac
  case $group in
    "$group_id" | "$docker_group" | 0) group=- ;;
  esac
  if [ "$owner" = "$user_id" ]; then group=-; fi
  echo "$group"
}

main "$@"
