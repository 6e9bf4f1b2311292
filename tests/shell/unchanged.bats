#!/usr/bin/env bats
# framework/shell/unchanged.sh: whether all runs as the last run of infrainit.sh left it; and host_state.sh.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

readonly STATE_1=1111111111111111111111111111111111111111111111111111111111111111
readonly STATE_2=2222222222222222222222222222222222222222222222222222222222222222

# As at the end of a run on two hosts, which has noted what runs.
setup() {
  prepare
  [[ $BATS_TEST_DESCRIPTION != host_state:* ]] || return 0
  make_project digits
  ANSWER=optuna=no
  export ANSWER TZ=UTC
  stub docker 'case "$*" in
    *" needs "*) printf "%s\n" "$ANSWER" "environment=TOKEN 1:1" "secret_file=CODE 1:1 ~/code" ;;
    *"image inspect"*) cat images ;;
  esac'
  stub ssh 'case "$*" in *" -G "*) echo hostname h1 ;; *) exit 255 ;; esac'
  echo sha256:1 >images
  (umask 077 && echo my-code >"$HOME/code")
  load_tool
  TOKEN=my-token
  read_user_environment() {
    USER_ENVIRONMENT=()
    [[ ! ${TOKEN:-} ]] || USER_ENVIRONMENT[TOKEN]=$TOKEN
  }
  read_settings_of_run
  mkdir -p "$TOOL/.infra/secrets/broker"
  echo my-password >"$TOOL/.infra/secrets/broker/password"
  facts
  TOOL_DIGEST=$(digest_of_tool) NEEDS_IMAGE=w WORKER_IMAGE_ID=w
  stage_code 2>/dev/null
  read_needs
  collect_user_values
  look_at_inputs
  BROKER_IMAGE_ID=b RUNNER_IMAGE_ID=r
  name_version
  record_after 1 2
  set_fact 1 master "$CODE_VERSION runs ,h1,h2"
  write_note
  remove_stage
}

# read_settings_of_run: what infrainit.sh reads.
read_settings_of_run() {
  read_all -a h1,h2 -d digits -m 1 -w 1,2
  INFRASTRUCTURE=infra-00000001
  load_infrastructure
  join_record
}

# facts: those of the hosts.
facts() {
  ask_facts() { echo "state=${STATE_OF[$1]}"; } # at the end of a run; this one has asked already
  declare -gA STATE_OF=([1]=$STATE_1 [2]=$STATE_2)
  good_host 0
  good_host 1
  good_host 2
  set_fact 1 state "$STATE_1"
  set_fact 2 state "$STATE_2"
}

# compare CHANGE: what another run finds after CHANGE, a command, which has been made before it begins; and MEANWHILE, when it has asked
# the hosts.
compare() {
  capture eval "$1; expect_unchanged; ${2:-:}; compare_with_note; echo \"\${UNCHANGED:-changed} \${WORKER_HOSTS[*]}\""
  assert_equal "$status" 0
}

# know_wanted: what is wanted here stays as it is, and is found out once.
know_wanted() {
  read_note
  WANTED_NOW=$(print_wanted_now 2>/dev/null)
  print_wanted_now() { printf '%s\n' "$WANTED_NOW"; }
  digest_of_tool() { :; }
}

assert_changed() {
  local change
  for change in "$@"; do
    compare "$change"
    [[ $output == changed* ]] || { echo "not noticed: $change" && false; }
  done
}

@test "nothing has changed: no container is started, nothing is asked, and no secret is in the note" {
  : >"$CALLS"
  compare :
  assert_equal "$output|$messages" 'yes 1 2|'
  assert_equal "$(grep ^docker "$CALLS" | grep -cv "'image' 'inspect'")" 0
  assert_equal "$(stat -c %a "$TOOL/.infra/unchanged")" 600
  assert_equal "$(grep -E 'my-(code|token|password)' "$TOOL/.infra/unchanged" || true)" ''
}

@test "what is wanted here has changed" {
  assert_changed \
    'echo "n: [1, 2, 3]" >"$TOOL/tasks/digits/parameters.yml"' 'echo "n: [1, 2]" >"$TOOL/tasks/digits/parameters.yml"; touch "$TOOL/tasks/digits/new"' \
    'rm "$TOOL/tasks/digits/new"; TOKEN=other' 'sed -i "s/^/#/" "$TOOL/docker/broker/Dockerfile"'
  assert_line 'what is wanted has changed since the last run'
  compare 'sed -i "s/^#//" "$TOOL/docker/broker/Dockerfile"'
  assert_equal "$output" 'yes 1 2' # all is as it was
  digest_of_tool() { printf '%s\n' "$TOOL_DIGEST"; }
  assert_changed \
    'TZ=CET' 'broker_name() { echo another; }' 'SLOTS=3' 'BROKER=h1' 'RUN_CAP=5' 'REMOTE_PATH=other' 'HOST_SETTINGS["1 slots"]=2' 'HOST_MOUNTS["1 /data"]=/x' \
    'echo sha256:2 >images'
  echo sha256:1 >images
  assert_changed \
    'echo x >"$HOME/code"' 'echo my-code >"$HOME/code"; chmod 644 "$HOME/code"' 'chmod 600 "$HOME/code"; unset TOKEN'
  assert_changed 'echo other >"$TOOL/.infra/secrets/broker/password"' # as if it was made again, or a certificate
  echo my-password >"$TOOL/.infra/secrets/broker/password"
  assert_changed 'echo "# x" >>"$TOOL/.infra/record"' 'rm "$TOOL/infra_clean.sh"'
}

@test "values and images that change while a run uses them are seen by the next one" {
  local change
  stage_code 2>/dev/null
  name_version
  for change in 'echo other >"$HOME/code"' 'echo sha256:2 >images' :; do
    (umask 077 && echo my-code >"$HOME/code")
    echo sha256:1 >images
    look_at_inputs
    eval "$change"
    write_note
    compare :
    [[ $output == changed* || $change == : ]]
  done
  assert_equal "$output" 'yes 1 2'
}

@test "other files of the tool, or another answer of the framework" {
  compare 'mkdir -p "$TOOL/framework/__pycache__"; echo x >"$TOOL/framework/__pycache__/x.pyc"' # of a local run
  assert_equal "$output" 'yes 1 2'
  assert_changed 'mkdir -p "$TOOL/framework/runner"; echo "x = 1" >"$TOOL/framework/runner/attempt.py"'
  rm -r "$TOOL/framework/runner"
  compare :
  assert_equal "$output" 'yes 1 2'
  rm -r "$TOOL/.infra/answers" # which would say the same; but asking takes time
  ANSWER=optuna=yes
  compare :
  assert_equal "$output" 'yes 1 2' # what it says follows from the files
  assert_changed 'echo >>"$TOOL/framework/shell/docker_options.sh"'
}

@test "a run that asks for more, and a note that is old, or none" {
  know_wanted
  compare :
  assert_equal "$output" 'yes 1 2'
  assert_changed 'DRY_RUN=yes' 'REFRESH=yes' 'RECOVER=yes' 'MASTER=""' 'LEFT_OUT=(2)' 'INSTALL_HOSTS=(2)' \
    'touch -d "25 hours ago" "$TOOL/.infra/unchanged"' # certificates are renewed in time
  touch "$TOOL/.infra/unchanged"
  compare 'AGAIN=--failed'
  assert_equal "$output" 'yes 1 2'
  assert_changed 'sed -i 1d "$TOOL/.infra/unchanged"' 'echo >"$TOOL/.infra/unchanged"' 'rm "$TOOL/.infra/unchanged"'
}

@test "a host has changed, or its master says something else" {
  local fact version
  know_wanted
  version=$(sed -n 's/^VERSION=//p' "$TOOL/.infra/unchanged")
  for fact in "state $STATE_2" 'state ' 'memory 1' 'engine_id X' 'docker down' 'home /root' 'broker 10.0.0.9' 'root_writable full' \
    'addresses ::1' "master $version paused ,h1,h2" "master $version runs ,h1" 'master c00000000000 runs ,h1,h2' 'master ' \
    "master $version runs ,h1,h22"; do
    assert_changed "set_fact 1 $(printf '%s %q' "${fact%% *}" "${fact#* }")"
  done
  assert_changed 'set_fact 2 state ""'
  assert_equal "$messages" 'h2: not as the last run left it'
  assert_changed 'set_fact 0 docker_kind rootless'
  assert_line 'local: not as the last run left it'
  assert_changed "set_fact 1 master '$version paused ,h2'"
  assert_equal "$messages" $'h1: the master has paused the sweep\nh1: the master has not heard of its worker lately'
  assert_changed 'set_fact 1 master ""'
  assert_line 'h1: the master has not said lately that it works on these files'
  compare 'set_fact 1 time 5; set_fact 1 disk 5; set_fact 1 boot_id x; set_fact 0 state "$STATE_1"'
  assert_equal "$output" 'yes 1 2'
}

@test "a directory that is mounted is missing" {
  NOTE_HAS=$'mount=ro /data /srv/x\noptuna=no'
  print_mount_states() { printf '%s 0 %s\n' "$1" "$(<"$BATS_TEST_TMPDIR/found")"; }
  echo 'ok -' >found
  rm -r "$TOOL/.infra/answers"
  ANSWER=$NOTE_HAS
  compare :
  assert_equal "$output" 'yes 1 2'
  assert_changed 'echo "missing -" >found' 'echo "ok 7" >found' # its group
}

@test "no note where something is left out, or left over" {
  stage_code 2>/dev/null
  for change in 'LEFT_OUT=(2)' 'MASTER=""' 'DRY_RUN=yes' 'RECORD[HOSTS]=h1,h2,h3'; do
    rm -f "$TOOL/.infra/unchanged"
    capture eval "$change; write_note"
    [[ ! -e $TOOL/.infra/unchanged ]]
  done
  capture write_note
  assert_equal "$status" 0
  [[ -e $TOOL/.infra/unchanged ]]
  capture forget_note
  [[ ! -e $TOOL/.infra/unchanged ]]
}

# state_of_host: what this machine answers.
state_of_host() {
  (cd "$TOOL/framework/shell" && cat facts.sh host_state.sh) | sh -s -- celery infra-1 '' | grep -E '^(state|master)='
}

@test "host_state: another digest for each change of containers, code and secrets" {
  local root=$HOME/celery before change
  know_facts
  mkdir -p "$root/code/p/c1" "$root/code/p/c2" "$root/secrets/infra-1/broker"
  ln -s c1 "$root/code/p/current"
  echo 1 | tee "$root/code/p/c1/VERSION" >"$root/code/p/c2/VERSION"
  echo running >container
  stub docker 'case "$*" in version*) echo 28 ;; *inspect*) cat container ;; "ps --all --quiet"*) echo 1 ;; esac'
  before=$(state_of_host)
  [[ $before =~ ^state=[0-9a-f]{64}$ ]]
  touch "$root/secrets/infra-1/broker"
  assert_equal "$(state_of_host)" "$before"
  for change in 'echo exited >"$BATS_TEST_TMPDIR/container"' 'ln -sfn c2 code/p/current' 'rm -r code/p/c2' 'echo x >secrets/infra-1/broker/key' \
    'chmod 600 secrets/infra-1/broker/key' 'rm -r secrets/infra-1'; do
    (cd "$root" && eval "$change")
    after=$(state_of_host)
    [[ $after =~ ^state=[0-9a-f]{64}$ && $after != "$before" ]] || { echo "the same after: $change" && false; }
    before=$after
  done
}

@test "host_state: what the newest master says, if it said it lately" {
  local published=$HOME/celery/master/p/published
  stub docker 'case "$*" in version*) echo 28 ;; esac'
  mkdir -p "$published" "$HOME/celery/master/a/published"
  write() {
    printf '{"updated": %s.25, "project": "p", "version": "c123456789ab", "paused": "%s", "notices": ["x, \\"alive\\": true, {"], "hosts": {"h-1.x": {"slots": 2, "alive": true, "drained": false}, "h2": {"alive": false}, "10.0.0.1": {"slots": 1, "alive": true}}}' \
      "$1" "$2" >"$3/status.json"
  }
  write "$(date +%s)" '' "$HOME/celery/master/a/published"
  touch -d '1 minute ago' "$HOME/celery/master/a/published/status.json"
  write "$(date +%s)" '' "$published"
  assert_equal "$(state_of_host | grep master)" 'master=c123456789ab runs ,h-1.x,10.0.0.1'
  write "$(date +%s)" 'the "sweep" is paused' "$published"
  assert_equal "$(state_of_host | grep master)" 'master=c123456789ab paused ,h-1.x,10.0.0.1'
  write "$(($(date +%s) - 90))" '' "$published"
  assert_equal "$(state_of_host | grep -c master)" 0
}
