#!/usr/bin/env bash
# Starts RabbitMQ, the Celery master, Flower and workers in Docker containers, on this machine and on hosts reached by ssh, and
# so runs every combination of a project's metaparameters that has no result yet. All hosts are checked first; nothing is changed
# before all is well. What runs already with the right image and settings is left alone.
#
# usage: infrainit.sh [-a HOSTS] [-i KEY] [-r PATH] -d PROJECT [-b ADDRESS] [-m HOST] [-w HOSTS] [option…]
#        infrainit.sh -f [option…]
#
#   -a, --hosts HOSTS        [user@]host[:port],… numbered from 1; names of your ssh config; IPv6 in brackets. This machine is
#                            called local and needs no place here
#   -i, --key FILE           private key for ssh (default: what ssh itself uses)
#   -r, --remote-path PATH   where files go on every host, relative to the home directory (default: celery_tasks)
#   -d, --project PROJECT    what to run: a name under tasks/, or a directory
#   -m, --master HOST        where RabbitMQ, the Celery master and Flower run: local or a number
#   -w, --workers HOSTS      where workers run: local, numbers and ranges, as in local,1,3-5
#   -b, --broker ADDRESS     where workers reach the broker, if not at the master host's own name or address; without -m,
#                            workers join the broker that runs there
#   -f, --from-config        all options from config.sh; those on the command line win. Without -f, config.sh is written
#   -y, --yes                install Docker, and what this machine lacks, without asking
#   -n, --dry-run            show every command, change nothing
#       --recover            the master's disk is lost: rebuild its journal from what the workers kept, before anything is run
#       --wait               stay until all is run, bring the results home; exit 0 only if every task succeeded
#       --failed             run again what has failed; without this or the next two, nothing that has ended is run again
#       --outdated           run again what was done with other files of the project, or in another image, than now
#       --fresh              run everything again
#       --verbose            show every command that changes something
#   -h, --help               this text
#
# Exit codes: 0 all is well, 1 something failed, 2 the options, config.sh or the project are wrong.
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

ARGUMENTS=("$@") # to start again with
STARTED=''       # not empty: there may be containers
FOLLOWING=''     # not empty: everything runs, and goes on if this script ends
TASKS_CODE=0     # what following the tasks ended with: 0 if every task succeeded

main() {
  if (($# == 0)); then
    show_help
    exit 0
  fi
  read_settings "$@"
  end_cleanly
  install_tools
  ask_hosts
  install_docker_here
  record_infrastructure
  make_certificates
  build_both_images
  check_staged_project
  install_docker_there
  send_all_images
  send_files
  remove_the_rest
  recover_results
  start_master_host
  start_workers
  record_what_runs
  report
  if [[ $WAIT ]]; then
    follow_tasks
    bring_results
  fi
}

# Settings

read_settings() {
  parse_options "$@"
  stop_on_problems 2
  collect_settings
  check_settings
  load_infrastructure
  join_record
  if [[ -z $MASTER ]]; then
    check_joining
    [[ ! $AGAIN ]] || problem "$AGAIN without -m: only with the master; the workers that join take part in it"
  elif [[ $WAIT && -z $WORKERS ]]; then
    problem "--wait without -w: there would be no worker to wait for"
  fi
  if [[ $RECOVER && -z $MASTER ]]; then
    problem "--recover without -m: it is the master's journal that is rebuilt"
  fi
  stop_on_problems 2
  if [[ ! $FROM_CONFIG ]]; then
    write_config
  fi
}

# The end, however it comes

end_cleanly() {
  trap clean_up EXIT
  trap 'interrupt 129' HUP
  trap 'interrupt 130' INT
  trap 'interrupt 143' TERM
}

interrupt() {
  trap '' HUP INT TERM
  stop_parallel_jobs
  if [[ $FOLLOWING && $1 == 130 ]]; then
    offer_to_stop
  fi
  exit "$1"
}

# offer_to_stop: for Ctrl-C while the tasks run; where there is no terminal to ask on they go on.
offer_to_stop() {
  if confirm "Stop the tasks? If not, they go on without this script."; then
    docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework pause &&
      FOLLOWING=stopped
  fi
}

clean_up() {
  local code=$?
  remove_stage
  close_connections
  if ((code == 0)) || [[ ! $DOING ]]; then
    return 0
  elif [[ $FOLLOWING == stopped ]]; then
    say "the tasks are stopped, and nothing more is sent; go on with: $(quote "$0") -f --wait"
  elif [[ $FOLLOWING ]]; then
    say "the tasks go on without this script; watch them again: $(quote "$0") -f --wait; stop them: $(quote "$CHECKOUT/infra_clean.sh")"
  elif [[ $STARTED ]]; then
    say "ended while $DOING; run it again to complete it, or remove what is there: $(quote "$CHECKOUT/infra_clean.sh")"
  else
    say "ended while $DOING; nothing was started"
  fi
}

# Checks

ask_hosts() {
  doing "asking the hosts"
  probe_hosts "${!HOSTS[@]}"
  start_again_in_group
  print_table "${ASKED_HOSTS[@]}"
  choose_where_to_install
  check_hosts "${ASKED_HOSTS[@]}"
  if [[ -z $MASTER ]]; then
    check_running_master
  fi
  stop_on_problems 1
}

# check_running_master: workers can only join a master that is there.
check_running_master() {
  if ! is_reachable "$MASTER_HOST"; then
    problem "${HOST_NAMES[MASTER_HOST]}: the master's host: $(fact "$MASTER_HOST" unreachable)"
  elif [[ $(container_state "$MASTER_HOST" master) != running* ]]; then
    problem "${HOST_NAMES[MASTER_HOST]}: the master does not run; start it with -m"
  fi
  check_joining_address
}

# Making and sending

# record_infrastructure: before anything is started.
record_infrastructure() {
  doing "recording what is started, for infra_clean.sh"
  record_before
}

make_certificates() {
  local addresses
  doing "making keys and certificates"
  mapfile -t addresses < <(certificate_addresses)
  run make_secrets "${addresses[@]}"
}

build_both_images() {
  doing "building the images"
  build_images
}

check_staged_project() {
  doing "checking the project"
  stage_code
  check_project
}

send_all_images() {
  local hosts
  doing "sending images"
  mapfile -t hosts < <(hosts_in_use)
  for_each_host send_images "${hosts[@]}"
}

send_files() {
  local hosts
  doing "sending files"
  mapfile -t hosts < <(hosts_in_use)
  for_each_host push_code "${hosts[@]}"
}

# Starting

# remove_the_rest: with -m, the command line says all that is to run.
remove_the_rest() {
  local host hosts=()
  STARTED=yes
  [[ $MASTER && ${#PRESENT_HOSTS[@]} -gt 0 ]] || return 0
  doing "removing what is not asked for any more"
  for host in "${PRESENT_HOSTS[@]}"; do
    if is_reachable "$host" && [[ $(fact "$host" docker) == ok ]]; then
      hosts+=("$host")
    fi
  done
  for_each_host remove_rest "${hosts[@]}"
  move_journal
}

remove_rest() {
  if [[ $(role_of "$1") == - ]]; then
    remove_infrastructure "$1"
  else
    remove_unwanted "$1"
  fi
}

# move_journal: when the master moves, what it knows moves along; the old files stay where they are.
move_journal() {
  local old=$PRESENT_MASTER_HOST new=$MASTER_HOST from to
  from="$(fact "$old" home)/${RECORD[REMOTE_PATH]}/master"
  to="$(root_of "$new")/master"
  if [[ $old == "$new" && $from == "$to" ]]; then
    return 0
  elif ! is_reachable "$old"; then
    warn "${HOST_NAMES[old]}: was the master's host and does not answer; the results it knows of are not taken along"
    return 0
  elif ! on_host "$old" test -d "$from"; then
    return 0
  fi
  step "${HOST_NAMES[new]}" "taking over the journal from ${HOST_NAMES[old]}"
  change_host "$new" rm -rf -- "$to.new" "$to.old"
  change_host "$new" mkdir -p -- "$to.new"
  # Not its status: it would speak for the new master before that is there.
  on_host "$old" tar --create --file - --directory "$from" --exclude=status.json . |
    change_host_stdin "$new" tar --extract --file - --directory "$to.new" --no-same-owner
  if on_host "$new" test -d "$to"; then
    change_host "$new" mv --no-target-directory -- "$to" "$to.old"
  fi
  change_host "$new" mv --no-target-directory -- "$to.new" "$to"
}

# recover_results: with --recover, from the disks of all hosts that answer, whether workers are to run there or not.
recover_results() {
  local host kept
  [[ $RECOVER ]] || return 0
  doing "rebuilding the journal from what the workers kept"
  kept="$(data_directory "$MASTER_HOST" master)/recovered"
  change_host "$MASTER_HOST" rm -rf -- "$kept"
  for host in "${!HOSTS[@]}"; do
    if ! is_reachable "$host"; then
      warn "${HOST_NAMES[host]}: does not answer; the results that it keeps are not recovered"
    elif on_host "$host" test -d "$(data_directory "$host" worker)"; then
      step "${HOST_NAMES[host]}" "collecting what its worker kept"
      change_host "$MASTER_HOST" mkdir -p -- "$kept/$host"
      pack_results "$host" | change_host_stdin "$MASTER_HOST" tar --extract --file - --directory "$kept/$host" --no-same-owner
    fi
  done
  recover_journal "$MASTER_HOST"
  change_host "$MASTER_HOST" rm -rf -- "$kept"
}

# pack_results HOST: an archive of the results of its tasks, without the files of the tasks, and of what it could not send yet.
pack_results() {
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '
    cd -- "$1" && find . -mindepth 2 -maxdepth 4 \( -path "./tasks/*/*/result.json" -o -path "./spool/*.json" \) -print0 |
      tar --create --file - --null --files-from - --ignore-failed-read' pack "$(data_directory "$1" worker)"
}

start_master_host() {
  [[ $MASTER ]] || return 0
  doing "starting broker, master and Flower"
  start_broker "$MASTER_HOST"
  wait_broker "$MASTER_HOST"
  start_master "$MASTER_HOST"
  start_flower "$MASTER_HOST"
  wait_master "$MASTER_HOST"
  wait_flower "$MASTER_HOST"
  if [[ $AGAIN ]]; then
    change_docker "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework again "$AGAIN" >/dev/null # `resume` says the same
  fi
  # A set that was stopped goes on: that is what starting it again means.
  change_docker "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework resume >&2
}

start_workers() {
  [[ $WORKERS ]] || return 0
  doing "starting workers"
  for_each_host start_worker "${WORKER_HOSTS[@]}"
  wait_workers "${WORKER_HOSTS[@]}"
}

# record_what_runs: without the hosts from which everything was removed; one that did not answer stays in the record.
record_what_runs() {
  local host hosts=("${ASKED_HOSTS[@]}")
  for host in "${!HOSTS[@]}"; do
    if is_one_of "$host" "${ASKED_HOSTS[@]}"; then
      continue
    elif [[ -z $MASTER ]]; then
      hosts+=("$host")
    elif ! is_reachable "$host" || [[ $(fact "$host" docker) != ok ]]; then
      warn "${HOST_NAMES[host]}: may still run what was started there earlier; infra_clean.sh will try again"
      hosts+=("$host")
    fi
  done
  [[ $DRY_RUN ]] || record_after "${hosts[@]}"
}

# The end of it

report() {
  local host roles
  DOING=''
  if [[ $DRY_RUN ]]; then
    say "dry run: nothing was changed"
    return 0
  fi
  for host in $(hosts_in_use); do
    roles=$(role_of "$host")
    say "$(printf '%-16s %s' "${HOST_NAMES[host]}" "${roles/master/broker, master, Flower}")"
  done
  say "Flower           https://$(master_address):$FLOWER_PORT, user flower, password in $(quote "$STATE/secrets/flower/flower_password")"
  say "to follow        $(quote "$CHECKOUT/check_celery_status.sh") -f"
  say "results          $(quote "$CHECKOUT/get_results.sh")"
  say "changed files    $(quote "$CHECKOUT/update_files.sh")"
  say "to tear down     $(quote "$CHECKOUT/infra_clean.sh")"
}

# follow_tasks: until the set is finished. A connection that breaks is made again: the tasks do not depend on it.
follow_tasks() {
  local code columns=0
  [[ ! $DRY_RUN ]] || return 0
  FOLLOWING=yes
  doing "running the tasks"
  if [[ -t 2 ]]; then
    columns=$(stty size <&2 | cut -d ' ' -f 2)
  fi
  while true; do
    code=0
    docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework watch --columns "$columns" || code=$?
    if ((code <= 1)); then
      break
    fi
    say "${HOST_NAMES[MASTER_HOST]}: the connection is lost; the tasks go on"
    wait_until 600 "the master on ${HOST_NAMES[MASTER_HOST]} answers again" ask_master
  done
  TASKS_CODE=$code
}

ask_master() {
  open_connection "$MASTER_HOST" && docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework status
}

bring_results() {
  [[ ! $DRY_RUN ]] || return 0
  FOLLOWING=''
  doing "bringing the results home"
  "$CHECKOUT/get_results.sh"
  # A project that names no metric has no best: that is said, and is no failure.
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework best || true
  DOING=''
  exit "$TASKS_CODE"
}

main "$@"
