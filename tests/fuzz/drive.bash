#!/usr/bin/env bash
# Functions of framework/shell for hosts.py, archives.py and options.py: each line of stdin is `VERB DIRECTORY`, where inputs are files.
# VERB runs in a subshell, with its output in out and err there; its exit code is printed.
#
# Usage: bash drive.bash COPY_OF_THE_TOOL
# shellcheck disable=SC1091,SC2034,SC2079,SC2317 # the copy is sourced; variables and functions are those of the tool
# shellcheck source=framework/shell/all.sh
source "$1/framework/shell/all.sh"

main() {
  local verb directory code
  while read -r verb directory; do
    code=0
    # In a subshell of its own, where errexit holds: behind `||` it would not.
    (
      exec </dev/null >"$directory/out" 2>"$directory/err"
      cd -- "$directory" || exit
      "verb_$verb"
    ) &
    wait "$!" || code=$?
    printf '%s\n' "$code"
  done
}

# Answers of hosts: whatever is asked, a host says what is in the file answer.

answer_everything() {
  parse_hosts far,other
  INFRASTRUCTURE=infra-01234567 MASTER_HOST=1 WORKER_HOSTS=(1) METRICS_PORT=9464
  SSH_CONNECTIONS=$PWD
  LISTS=$PWD/lists INCOMING=$PWD/in RESULTS=$PWD/results
  mkdir -p lists in results/tasks
  : >lists/patterns
  FACTS=([0.home]=/home/me [0.arch]=amd64 [0.unreachable]='' [1.home]=/home/me [1.user]=me [1.docker]=ok [1.unreachable]='' [1.root_writable]=yes)
  ssh_to() {
    local asked="$*"
    [[ $asked == *"exec sh -c "* ]] || return 0 # it opens the connection
    asked=${asked#*"$RUN_SCRIPT' "}
    sed "s/MARKER/${asked%% *}/g" answer
  }
  find_ours() { printf '%064d\n' 1; }
  ssh_config_of() { echo 'hostname far'; }
}

verb_facts() {
  local key
  answer_everything
  FACTS=([0.arch]=amd64 [0.unreachable]='')
  probe_hosts 1
  print_table 1
  check_hosts 1
  for key in "${!FACTS[@]}"; do
    [[ $key != 1.* ]] || printf '%s=%s\n' "${key#1.}" "${FACTS[$key]}"
  done
  stop_on_problems 1
}

# The check alone, which takes a tenth of the time.
verb_check() {
  METRICS_PORT=9464
  check_facts answer "$NEEDED_FACTS" || fail_for_far
}

fail_for_far() {
  echo 'far: the answer cannot be read' >&2
  exit 1
}

verb_answer() {
  answer_everything
  on_host 1 true
}

verb_states() {
  answer_everything
  container_state 1 master || true
  docker_options_in_use 1 || true
  print_running_tasks 1 || true
  current_version 1
  runner_targets 1
  (show_images 1) || true
  (size_of_images 1 a b) || true
  (worker_image_in_use) || true
  (runner_image_in_use) || true
  (ask_host_keys && printf '%s\n' "${TUNNEL_HOST_KEYS[@]}") || true
  NEEDS=([mount]=$'ro /data ~/data\nrw /more /more')
  check_mounts 1
  stop_on_problems 1
}

verb_sizes() {
  answer_everything
  IS_SURE=''
  renew_lists
  ask_host 1 attempts >/dev/null
  printf '0\t%s\t\n' 0123456789abcdef/1 0123456789abcdef/2 >"$LISTS/1.wanted"
  size_up 1
  cat "$LISTS/1.sized"
  for_groups true 1 500 "$LISTS/1.sized"
}

# What hosts send as archives, with the files sums and attempts.

verb_fetch() {
  local attempts
  answer_everything
  renew_lists
  RESULTS_LIMIT=8
  on_host() {
    case $5 in
      digests) cat sums ;;
      archive) cat archive ;;
    esac
  }
  echo 0 0 0 >"$LISTS/1.done"
  mapfile -t attempts <attempts
  fetch_group 1 '' 0 "${attempts[@]}"
  [[ ! -e in/failed ]] || exit 1
}

verb_named() {
  mkdir named
  HOST_NAMES=(local) RESULTS_LIMIT=8 # which is this machine
  copy=$(mktemp -d)
  take_bytes 0 "$copy" <archive | unpack_named 0 "$PWD/named" "$(<pattern)" || code=$?
  rm -r -- "$copy"
  exit "${code:-0}"
}

# What users write: the words of the command line, each ended by a NUL; config.sh, if there is one; hosts, which `-a @hosts` names.

verb_options() {
  local words name variable
  mapfile -d '' -t words <words
  rm -f -- "$CONFIG"
  [[ ! -e config ]] || cp config "$CONFIG"
  parse_infrainit_options "${words[@]}"
  collect_settings
  resolve_settings
  check_settings
  stop_on_problems 2
  for name in "${SETTINGS[@]}"; do
    variable=${name/#HOSTS/HOSTS_OPTION}
    printf '%s=%s\0' "$name" "${!variable}"
  done
  if [[ $FROM_CONFIG ]]; then
    keep_options
  else
    write_config
  fi
  FROM_CONFIG=yes OPTIONS=()
  collect_settings
  for name in "${SETTINGS[@]}"; do
    variable=${name/#HOSTS/HOSTS_OPTION}
    printf '%s=%s\0' "$name" "${!variable}"
  done
  INFRASTRUCTURE=infra-01234567
  record_after "${!HOSTS[@]}"
}

main
