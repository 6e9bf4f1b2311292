# shellcheck shell=bash
# The mounts of a project: which directory of each host its tasks see where, and whether it can be mounted there.

declare -gA MOUNT_GROUPS=() # host → ids of the groups by which the user may use the sources there
readonly MOUNT_STATE='(missing|unreadable|unwritable|no_files|private|ok) (-|[0-9]{1,10})'

# print_mount_list: prints each mount as `mode target source`, one a line, as the project has it.
print_mount_list() {
  [[ ! ${NEEDS[mount]:-} ]] || printf '%s\n' "${NEEDS[mount]}"
}

# mount_source HOST TARGET SOURCE: prints the absolute path there.
mount_source() {
  local source=${HOST_MOUNTS["$1 $2"]:-$3} home
  home=$(fact "$1" home)
  case $source in
    \~ | \~/*) printf '%s\n' "$home${source#\~}" ;;
    *) printf '%s\n' "$source" ;;
  esac
}

# print_mounts HOST: the options of the runner there.
print_mounts() {
  local mode target source group
  while IFS=' ' read -r mode target source; do
    source=$(mount_source "$1" "$target" "$source")
    if [[ $mode == ro ]]; then
      print_mount type=bind "source=$source" "target=$target" readonly
    else
      print_mount type=bind "source=$source" "target=$target"
    fi
  done < <(print_mount_list)
  for group in ${MOUNT_GROUPS[$1]:-}; do
    print_words --group-add "$group"
  done
}

# check_mounts HOST…: records a problem for each source that cannot be mounted on one of these hosts, and sets MOUNT_GROUPS. A missing
# one is not made: Docker would make it as root, and empty.
check_mounts() {
  local answers host number found group lines mode target source
  [[ ${NEEDS[mount]:-} ]] || return 0
  mapfile -t lines < <(print_mount_list)
  answers=$(for_each_host print_mount_states "$@")
  while read -r host number found group; do
    IFS=' ' read -r mode target source <<<"${lines[number]}"
    if [[ $found != ok ]]; then
      host_problem "$host" "mounts: $(mount_source "$host" "$target" "$source"), for $target, $(explain_mount_state "$host" "$found")"
    elif [[ $group != - && " ${MOUNT_GROUPS[$host]:-} " != *" $group "* ]]; then
      MOUNT_GROUPS[$host]+="${MOUNT_GROUPS[$host]:+ }$group"
    fi
  done <<<"$answers"
}

# explain_mount_state HOST STATE
explain_mount_state() {
  local user
  user=$(fact "$1" user)
  case $2 in
    missing) echo "is not there; make it, or copy the data there, or leave this host out of -w" ;;
    unreadable) echo "cannot be read by $user, as whom tasks run; change its owner or its mode there" ;;
    unwritable) echo "cannot be written by $user, as whom tasks run; change its owner or its mode there, or leave out mode: rw" ;;
    no_files) echo "is neither a directory nor a file; name a directory of files" ;;
    private) echo "holds, or is part of, what tasks must not see (keys of ssh, files of this tool, Docker's socket, /proc, /sys or /dev); name a directory of data only" ;;
  esac
}

# print_mount_states HOST: prints `host number state group` for each mount, counted from 0.
print_mount_states() {
  local host=$1 answer number line mode target source words=() lines
  while IFS=' ' read -r mode target source; do
    source=$(mount_source "$host" "$target" "$source")
    words+=("$mode" "$source")
  done < <(print_mount_list)
  answer=$(on_host_stdin "$host" sh -s -- "$(root_of "$host")" "$( ((host != 0)) || echo "$STATE")" "${words[@]}" \
    <"$CHECKOUT/framework/shell/mount_states.sh")
  mapfile -t lines <<<"$answer"
  ((${#lines[@]} * 2 == ${#words[@]})) || unreadable "$host" "$answer"
  for number in "${!lines[@]}"; do
    line=${lines[number]}
    [[ $line =~ ^$MOUNT_STATE$ ]] || unreadable "$host" "$line"
    printf '%s %s %s\n' "$host" "$number" "$line"
  done
}
