#!/usr/bin/env bash
# Starts RabbitMQ, the Celery master, Flower and workers in Docker containers, on this machine and on hosts reached by ssh, and
# runs every combination of a project's metaparameters that has no result yet. All hosts are checked first; nothing is changed
# before all checks have passed. A container that already runs with the right image and settings is left untouched.
#
# usage: infrainit.sh [-a HOSTS] [-i KEY] [-r PATH] -d PROJECT [-b ADDRESS] [-m HOST] [-w HOSTS] [option…]
#        infrainit.sh -f [option…]
#
#   -a, --hosts HOSTS        [user@]host[:port],… numbered from 1; names of your ssh config; IPv6 in brackets; ranges, as in
#                            gpu[01-16]; or @FILE, a hosts file. This machine is always available as local; do not list it
#   -i, --key FILE           private key for ssh (default: what ssh itself uses)
#   -r, --remote-path PATH   where files go on every host, relative to the home directory (default: celery_tasks)
#   -d, --project PROJECT    what to run: a name under tasks/, a directory, or a W&B sweep file (.yaml, .yml, .json)
#       --root DIR           the directory of the sweep file's project, in which the path of its program begins (default: the
#                            nearest one, from the file upwards in its git repository, that has the program)
#       --run-cap N          the most tasks, in place of the project's run_cap
#   -m, --master HOST        where RabbitMQ, the Celery master and Flower run: local or a number
#   -w, --workers HOSTS      where workers run: local, numbers and ranges, as in local,1,3-5
#       --tolerate N         go on without up to N worker hosts that are not fine, or with all: without any of them; exit code 3
#   -b, --broker ADDRESS     where workers reach the broker, if not at the master host's own name or address; without -m,
#                            workers join the broker that runs there
#       --tunnel             workers reach the broker through ssh: between hosts, no port but that of sshd has to be open
#   -f, --from-config        take all options from config.sh; those on the command line win. Without -f, config.sh is written
#   -y, --yes                without asking: install Docker, and missing tools on this machine; send more than SEND_LIMIT MiB of
#                            files; begin running tasks again where the container that they run in has to be replaced
#   -n, --dry-run            show every command, change nothing
#       --refresh            renew the base images now, for updates of Debian; what is built on them is built and sent again
#       --recover            if the master's disk is lost: rebuild its journal from what the workers kept, before anything is run
#       --drain              before running tasks would begin again: send their hosts nothing more, wait for the end of the tasks
#       --wait               stay until all tasks have ended, and copy their results to this machine as they end; exit 0 only if
#                            all succeeded
#       --failed             run failed tasks again; without this or the next two, no task that has ended is run again
#       --outdated           run tasks again whose results come from other files of the project, or another image, than now
#       --fresh              run all tasks again
#       --verbose            show every command, to be pasted into a shell on the host in front of it; what a command reads from this
#                            machine, such as files and secrets, is not shown
#   -h, --help               this text
#
# exit codes: 0 success, 1 something failed, 2 the options, config.sh or the project are wrong, 3 success, but hosts were left out
# (--tolerate)
#
# examples:
#   ./infrainit.sh -y -d digits -m local -w local --wait               all of it on this machine
#   ./infrainit.sh -a user@hostA,user@hostB -d digits -m 1 -w 1,2 -n   what would be done on two hosts
#   ./infrainit.sh -a user@gpu[01-16] -d ~/train -m 1 -w 1-16 --wait   until all tasks of that directory have ended
#   ./infrainit.sh -f --failed --wait                                  as before, and failed tasks again
set -euo pipefail
# shellcheck source=framework/shell/all.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/framework/shell/all.sh"

ARGUMENTS=("$@") # for start_again_in_group, and for commands in messages
STARTED=''       # not empty: there may be containers
FOLLOWED_FROM=0  # value of SECONDS: what happens to the tasks from then on is shown
FOLLOWING=''     # not empty: everything runs, and keeps running if this script ends; paused: it was paused; removed: it is gone
TERMINAL=''      # descriptor of this script's stdin; a trap itself runs with the stdin of the function that it interrupts
TASKS_CODE=0     # exit code of following the tasks: 0 if every task succeeded

main() {
  if (($# == 0)); then
    show_help
    exit 0
  fi
  read_settings "$@"
  end_cleanly
  install_tools
  expect_unchanged
  ask_hosts
  compare_with_note
  if [[ $UNCHANGED ]]; then
    leave_as_it_is
  else
    bring_up
  fi
  report
  release_lock # so that infra_clean.sh can run while this script watches
  if [[ $WAIT ]]; then
    follow_tasks
    fetch_results
  fi
  TASKS_CODE=$(code_with_left_out "$TASKS_CODE")
  ((TASKS_CODE == 0)) || exit "$TASKS_CODE"
}

# leave_as_it_is: all runs already.
leave_as_it_is() {
  STARTED=yes
  keep_options
  say "all of it runs already, and nothing has changed"
  run_again >&2
}

bring_up() {
  install_docker_here
  record_infrastructure
  try_way_to_broker
  make_certificates
  build_images
  validate_project
  build_image_of_tasks
  ask_before_tasks_end
  keep_options
  install_docker_there
  send_all_images
  send_values
  send_files
  remove_the_rest
  recover_results
  start_master_host
  start_workers # while the master gets ready
  resume_sweep
  wait_for_workers
  end_drain
  remove_earlier_secrets
  record_what_runs
}

# Settings

read_settings() {
  parse_infrainit_options "$@"
  collect_settings
  resolve_settings
  check_settings
  stop_on_problems 2
  take_lock # before the id is read or made
  load_infrastructure
  join_record
  if [[ -z $MASTER ]]; then
    join_master
    check_joining
  fi
  check_combinations
  stop_on_problems 2
  choose_asked_hosts
  if [[ ! $FROM_CONFIG ]]; then
    write_config
  fi
}

# check_combinations: records options that make no sense together.
check_combinations() {
  if [[ -z $MASTER && $AGAIN ]]; then
    problem "$AGAIN without -m: it needs the master; workers that join only take part in its sweep"
  elif [[ $MASTER && $WAIT && -z $WORKERS ]]; then
    problem "--wait without -w: there would be no worker to wait for"
  fi
  if [[ $RECOVER && -z $MASTER ]]; then
    problem "--recover without -m: only the master's journal can be rebuilt"
  fi
}

# Interruption and exit

end_cleanly() {
  trap clean_up EXIT
  call_on_signals interrupt
}

interrupt() {
  trap '' HUP INT TERM
  stop_parallel_jobs
  if [[ $FOLLOWING && $1 == 130 ]]; then
    offer_to_pause
  fi
  exit "$1"
}

# offer_to_pause: on Ctrl-C while the tasks run. Without a terminal to ask on they keep running.
offer_to_pause() {
  if confirm "Pause the sweep and stop its tasks? If not, they keep running without this script." <&"$TERMINAL"; then
    # In a subshell, because in a trap bash takes the exit code of the pipeline that was interrupted for that of a new one.
    (docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework pause) &&
      FOLLOWING=paused
  fi
}

clean_up() {
  local code=$?
  stop_fetching
  remove_stage
  end_trial
  end_drain
  close_connections
  if ((code == 0)) || [[ ! $DOING ]]; then
    return 0
  elif [[ $FOLLOWING == paused ]]; then
    say "the sweep is paused: its tasks are stopped, and no more are sent; resume it with: $(our_command infrainit.sh -f --wait)"
  elif [[ $FOLLOWING == removed ]]; then
    return 0 # all is said
  elif [[ $FOLLOWING ]]; then
    say "the tasks keep running without this script; watch them again: $(our_command infrainit.sh -f --wait); stop them: $(our_command infra_clean.sh)"
  elif [[ $STARTED ]]; then
    say "ended while $DOING; to complete it: $(our_command infrainit.sh "${ARGUMENTS[@]}"); to remove what was started: $(our_command infra_clean.sh)"
  else
    say "ended while $DOING; nothing was started"
  fi
}

# Checks

ask_hosts() {
  local hosts=("${ASKED_HOSTS[@]}" "${PRESENT_HOSTS[@]}")
  doing "asking the hosts"
  if [[ $RECOVER ]]; then # any of them may have results
    hosts=("${!HOSTS[@]}")
  else
    say_unused_hosts
  fi
  probe_hosts "${hosts[@]}"
  start_again_in_group
  print_table "${ASKED_HOSTS[@]}"
  choose_where_to_install
  check_hosts "${ASKED_HOSTS[@]}"
  leave_out_unfit
  ask_host_keys
  if [[ -z $MASTER ]]; then
    check_running_master
  fi
  stop_on_problems 1
}

# check_running_master: records a problem if there is no running master to join.
check_running_master() {
  if ! is_reachable "$MASTER_HOST"; then
    problem "${HOST_NAMES[MASTER_HOST]}: the master host: $(fact "$MASTER_HOST" unreachable)"
  elif [[ $(container_state "$MASTER_HOST" master) != running* ]]; then
    problem "${HOST_NAMES[MASTER_HOST]}: the master does not run; start it with -m"
  fi
  check_joining_address
}

# Making and sending

# record_infrastructure: comes before anything is started.
record_infrastructure() {
  doing "recording what is started, for infra_clean.sh"
  forget_note
  record_before
}

# try_way_to_broker: before images are built, which takes minutes.
try_way_to_broker() {
  check_broker_port
  leave_out_unfit
  stop_on_problems 1
}

make_certificates() {
  local addresses names
  doing "making keys and certificates"
  mapfile -t addresses < <(certificate_addresses)
  mapfile -t names < <(workers_with_access)
  run make_secrets "${addresses[@]}" -- "${names[@]}"
  run make_tunnel_keys
}

build_images() {
  doing "building the images"
  renew_bases
  build_our_images
}

# validate_project: comes before the image of the tasks is built, which may take long.
validate_project() {
  local hosts
  doing "checking the project"
  find_root
  stage_code
  NEEDS_IMAGE=$WORKER_IMAGE_ID # of unchanged.sh
  read_needs
  choose_labelled_hosts
  stop_on_problems 2
  collect_user_values
  collect_notify_values
  look_at_inputs
  add_optuna
  validate_project_in_image
  check_mounts "${WORKER_HOSTS[@]}"
  leave_out_unfit
  stop_on_problems 1
  mapfile -t hosts < <(hosts_in_use)
  ask_about_size "${hosts[@]}"
}

build_image_of_tasks() {
  doing "building the image of the tasks"
  build_runner_image
  name_version
}

# ask_before_tasks_end: comes before anything is changed on a host.
ask_before_tasks_end() {
  local host hosts=("${WORKER_HOSTS[@]}")
  if [[ $MASTER ]]; then # those that lose their workers
    for host in "${PRESENT_WORKER_HOSTS[@]}"; do
      if is_reachable "$host" && ! is_one_of "$host" "${WORKER_HOSTS[@]}" "${LEFT_OUT[@]}"; then
        hosts+=("$host")
      fi
    done
  fi
  ((${#hosts[@]} > 0)) || return 0
  doing "checking whether running tasks would have to begin again"
  ask_about_tasks "${hosts[@]}"
}

send_all_images() {
  local hosts
  doing "sending images"
  mapfile -t hosts < <(hosts_in_use)
  choose_early_broker
  try_each_host send_images "${hosts[@]}"
  rm -f -- "$STAGE"/images.* # compressed ones
}

# choose_early_broker: has the broker start, as far as it takes long, while the other images are on their way; unless something runs that
# has to be removed first.
choose_early_broker() {
  local state
  [[ $MASTER && ! $DRY_RUN && ! $RECOVER && $MASTER_HOST != 0 && ${PRESENT_MASTER_HOST:-$MASTER_HOST} == "$MASTER_HOST" ]] || return 0
  state=$(container_state "$MASTER_HOST" broker)
  if [[ ! $state ]]; then
    EARLY_BROKER=yes STARTED=yes
  fi
}

# send_values: comes before the files, so that no task starts without them.
send_values() {
  [[ $WORKERS ]] || return 0
  try_each_host send_user_values "${WORKER_HOSTS[@]}"
}

send_files() {
  local hosts
  doing "sending files"
  mapfile -t hosts < <(hosts_in_use)
  try_each_host push_code "${hosts[@]}"
}

# Starting

# remove_the_rest: with -m, the command line names everything that is to run; removes all else that was started earlier.
remove_the_rest() {
  local host hosts=() leaving=()
  STARTED=yes
  [[ $MASTER && ${#PRESENT_HOSTS[@]} -gt 0 ]] || return 0
  doing "removing what is no longer asked for"
  for host in "${PRESENT_HOSTS[@]}"; do
    if is_reachable "$host" && [[ $(fact "$host" docker) == ok ]] && ! is_one_of "$host" "${LEFT_OUT[@]}"; then
      hosts+=("$host")
      if is_one_of "$host" "${PRESENT_WORKER_HOSTS[@]}" && ! is_one_of "$host" "${WORKER_HOSTS[@]}"; then
        leaving+=("$host")
      fi
    fi
  done
  stop_sending "${leaving[@]}"
  for_each_host remove_rest "${hosts[@]}"
  move_journal "$PRESENT_MASTER_HOST" "$MASTER_HOST"
}

remove_rest() {
  if [[ ${RECORD[TUNNEL]:-} && $1 != "$MASTER_HOST" ]]; then
    remove_tunnel_lines "$1"
  fi
  if [[ $(role_of "$1") == - ]]; then
    remove_unwanted "$1" # stops them, so that tasks are handed back at once
    remove_infrastructure "$1"
    remove_secrets "$1"
  else
    remove_unwanted "$1"
  fi
}

recover_results() {
  [[ $RECOVER ]] || return 0
  doing "rebuilding the journal from what the workers kept"
  rebuild_journal
}

start_master_host() {
  [[ $MASTER ]] || return 0
  doing "starting broker, master and Flower"
  FOLLOWED_FROM=$SECONDS
  start_broker "$MASTER_HOST"
  wait_broker "$MASTER_HOST"
  give_access
  start_master "$MASTER_HOST"
  start_flower "$MASTER_HOST"
}

# resume_sweep: when its master is ready.
resume_sweep() {
  [[ $MASTER ]] || return 0
  doing "waiting for master and Flower"
  wait_master "$MASTER_HOST"
  wait_flower "$MASTER_HOST"
  run_again >/dev/null # `resume` prints the same
  # A paused sweep is resumed by starting it again.
  change_docker "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework resume | printable >&2
}

# run_again: ended tasks, if there is an option for it; prints what is to run.
run_again() {
  [[ $AGAIN ]] || return 0
  change_docker "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework again "$AGAIN" | printable
}

# give_access: lets the workers use the broker, and nobody else any more.
give_access() {
  local names
  mapfile -t names < <(workers_with_access)
  set_broker_users "${names[@]}"
  authorize_tunnels "${names[@]}"
  forget_workers "${names[@]}"
  forget_tunnels "${names[@]}"
}

start_workers() {
  ((${#WORKER_HOSTS[@]} > 0)) || return 0
  doing "starting workers"
  if [[ ! $MASTER ]]; then
    give_access
  fi
  start_tunnels
  try_each_host start_worker "${WORKER_HOSTS[@]}"
}

wait_for_workers() {
  ((${#WORKER_HOSTS[@]} > 0)) || return 0
  doing "waiting for the workers"
  wait_workers "${WORKER_HOSTS[@]}"
}

start_tunnels() {
  local hosts
  mapfile -t hosts < <(tunnelled_hosts)
  ((${#hosts[@]} > 0)) || return 0
  try_each_host start_tunnel "${hosts[@]}"
  mapfile -t hosts < <(tunnelled_hosts)
  try_each_host wait_tunnel "${hosts[@]}"
}

# remove_earlier_secrets: those under an earlier -r, which nothing uses any more.
remove_earlier_secrets() {
  local host
  [[ $MASTER && ${#PRESENT_HOSTS[@]} -gt 0 && ${RECORD[REMOTE_PATH]} != "$REMOTE_PATH" ]] || return 0
  doing "removing secrets that are not needed any more"
  for host in "${PRESENT_HOSTS[@]}"; do
    ! is_reachable "$host" || remove_secrets_under "$host" "${RECORD[REMOTE_PATH]}"
  done
}

# record_what_runs: drops hosts from which everything was removed; one that did not answer stays in the record.
record_what_runs() {
  local host hosts
  mapfile -t hosts < <(hosts_in_use)
  for host in "${LEFT_OUT[@]}"; do
    if is_one_of "$host" "${PRESENT_HOSTS[@]}" || is_reachable "$host"; then
      hosts+=("$host")
    fi
  done
  for host in "${PRESENT_HOSTS[@]}"; do
    if is_one_of "$host" "${hosts[@]}"; then
      continue
    elif [[ -z $MASTER ]]; then
      hosts+=("$host")
    elif ! is_reachable "$host" || [[ $(fact "$host" docker) != ok ]]; then
      warn "${HOST_NAMES[host]}: may still run containers that were started earlier; $(our_command infra_clean.sh) removes them"
      hosts+=("$host")
    fi
  done
  [[ $DRY_RUN ]] || record_after "${hosts[@]}"
  write_note
}

# Following and reporting

report() {
  local host roles
  DOING=''
  begin_phase ''
  if [[ $DRY_RUN ]]; then
    say "dry run: nothing was changed"
    return 0
  fi
  for host in $(hosts_in_use); do
    roles=$(role_of "$host")
    say "$(printf '%-16s %s' "${HOST_NAMES[host]}" "${roles/master/broker, master, Flower}")"
  done
  say_left_out
  say "Flower           https://$(master_address):$FLOWER_PORT, user flower, password in $(quote "$STATE/secrets/flower/flower_password")"
  say "live page        https://$(master_address):$FLOWER_PORT/sweep, with the same password"
  [[ ! $METRICS_PORT ]] || say "Prometheus       https://$(master_address):$METRICS_PORT/metrics, with the same password"
  say "its certificate  SHA-256 $(fingerprint_of "$STATE/secrets/flower/cert.pem")"
  say "to follow        $(quote "$CHECKOUT/check_celery_status.sh") -f"
  say "results          $(quote "$CHECKOUT/get_results.sh")"
  say "changed files    $(quote "$CHECKOUT/update_files.sh")"
  say "to tear down     $(quote "$CHECKOUT/infra_clean.sh")"
  say "time             $(print_phases | sed '2,$s/^/                 /')"
}

# follow_tasks: shows the progress until the sweep is finished. A broken connection is opened again; the tasks do not depend on it.
follow_tasks() {
  local code columns=0 MESSAGES_FILTER=printable_redrawn
  [[ ! $DRY_RUN ]] || return 0
  FOLLOWING=yes
  exec {TERMINAL}<&0
  doing "running the tasks"
  start_fetching
  if [[ -t 2 ]]; then
    columns=$(stty size <&2 | cut -d ' ' -f 2)
  fi
  while true; do
    code=0
    ANSWER_LIMIT='' docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework watch --columns "$columns" \
      --past "$((SECONDS - FOLLOWED_FROM))" | printable || code=$?
    if ((code == 0)); then
      break
    fi
    stop_if_removed # Docker, too, returns 1 if there is no such container
    if ((code == 1)); then
      break
    fi
    FOLLOWED_FROM=$((SECONDS - 60)) # ssh gives a silent connection up after as long
    say "${HOST_NAMES[MASTER_HOST]}: the connection is lost; the tasks keep running"
    wait_until 600 "the master on ${HOST_NAMES[MASTER_HOST]} answers again" ask_master || {
      stop_if_removed
      return 1
    }
  done
  TASKS_CODE=$code
}

# ask_master: fails with NEVER_READY if there is no master any more.
ask_master() {
  open_connection "$MASTER_HOST" || return
  ! is_removed || return "$NEVER_READY"
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework status
}

# is_removed: does the master's host answer, and have no master?
is_removed() {
  local state
  state=$(container_state "$MASTER_HOST" master 2>/dev/null) && [[ ! $state ]]
}

# stop_if_removed: ends the program if the infrastructure is gone.
stop_if_removed() {
  if is_removed; then
    FOLLOWING=removed
    die "${HOST_NAMES[MASTER_HOST]}: the infrastructure was removed while its tasks were followed; $(our_command infrainit.sh -f) starts it again"
  fi
}

fetch_results() {
  [[ ! $DRY_RUN ]] || return 0
  FOLLOWING=''
  doing "copying the results to this machine"
  # What a host that is gone has of its tasks is out of reach; the table of results is the master's.
  end_fetching || warn "logs and files of tasks are missing here, see above; to fetch them: $(our_command get_results.sh)"
  docker_on "$MASTER_HOST" exec "$INFRASTRUCTURE-master" framework best --failures | printable || true # a project may have no metric
  DOING=''
  say_left_out
}

main "$@"
