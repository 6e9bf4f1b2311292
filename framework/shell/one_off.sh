# shellcheck shell=bash
# Containers that run once: the framework reads or checks a project, or rebuilds a journal.

# What the project needs, as its files say: read_needs sets them.
declare -gA NEEDS=() # key → the values that were said of it, one a line
PROJECT_IMAGE=''     # the image that its tasks run in; empty: the usual one
NEEDS_OPTUNA=''      # not empty: the master needs Optuna

readonly PATH_IN_PROJECT='[^/[:cntrl:]][^[:cntrl:]]*' # beside this, no part of it is ..

# What `framework needs` can say, KEY=VALUE in each line: the pattern of the values of each key. Those of SAID_ONCE have one.
readonly SAID_ONCE=(image build optuna)
readonly WANTED='[A-Za-z_][A-Za-z0-9_]{0,199} [1-9][0-9]{0,6}:[1-9][0-9]{0,6}' # a variable, and the line and column that ask for it
readonly WANTED_PATH='~?/[^[:cntrl:]]*'
declare -grA NEED_PATTERNS=(
  [image]='[A-Za-z0-9][A-Za-z0-9._/:@-]*'
  [build]="$PATH_IN_PROJECT"              # of a Dockerfile
  [copied]="$PATH_IN_PROJECT"             # what its image depends on
  [package]='[a-z0-9][a-z0-9+.-]+'        # of Debian
  [requirements]="$PATH_IN_PROJECT"       # what pip reads; the first is requirements.txt
  [local]="$PATH_IN_PROJECT"              # what it installs from there
  [dependency]='[A-Za-z0-9][^[:cntrl:]]*' # a requirement for pip, of pyproject.toml
  [variable]='[A-Z_][A-Z0-9_]*'           # of the environment, for pip
  [docker_option]='--device=/dev/(fuse|kfd|dri|infiniband|accel)[A-Za-z0-9/_:-]*|--(add-host|cpu-shares|cpus|cpuset-cpus|dns|dns-option|dns-search|group-add|shm-size|sysctl|ulimit)=[A-Za-z0-9:][A-Za-z0-9 _.:=,/-]*'
  [label]='[A-Za-z0-9][A-Za-z0-9_.-]*'
  [mount]='(ro|rw) /[A-Za-z0-9._/+@=-]+ [/~][^[:cntrl:]]*'
  [optuna]='yes|no'
  [environment]="$WANTED"
  [secret]="$WANTED"
  [secret_value]="$WANTED $WANTED_PATH"
  [secret_file]="$WANTED $WANTED_PATH"
)

# find_root: sets PROJECT_PATH to the directory of the sweep file's project, unless it is known. Only the framework reads the file. A dry
# run takes the directory of the file.
find_root() {
  local directory top path options answer code=0
  [[ ! $PROJECT_PATH ]] || return 0
  directory=$(cd -- "$(dirname -- "$SWEEP_FILE")" && pwd -P)
  top=$(search_top "$directory")
  path=$directory/${SWEEP_FILE##*/}
  read_words options root_options "$top" "${path#"$top"/}"
  answer=$(change_docker 0 run "${options[@]}") || code=$?
  stop_on_invalid_project "$code"
  if [[ $DRY_RUN ]]; then
    PROJECT_PATH=$directory
    say "(the project may be a directory above $directory, where the sweep's program is)"
    return 0
  fi
  path=${answer#root=}
  [[ $answer == root=* && /$path/ != */../* && $path != *[[:cntrl:]]* && -d $top/$path ]] || unreadable 0 "$answer"
  PROJECT_PATH=$(cd -- "$top/$path" && pwd -P)
  check_root
  stop_on_problems 2
  if [[ $PROJECT_PATH != "$directory" ]]; then
    say "the project is $PROJECT_PATH, where the sweep's program is; --root DIR names another"
  fi
}

# read_needs: asks the framework in the worker image what the staged project needs. If the project is invalid, the framework shows
# what is wrong, and the program ends with 2.
read_needs() {
  local options answer line key value code=0
  read_words options needs_options
  answer=$(change_docker 0 run "${options[@]}") || code=$?
  stop_on_invalid_project "$code"
  [[ ! $DRY_RUN ]] || return 0
  NEEDS=()
  while IFS='' read -r line; do
    key=${line%%=*} value=${line#*=}
    [[ $line == ?*=* && ${NEED_PATTERNS[$key]:-} && $value =~ ^(${NEED_PATTERNS[$key]})$ ]] || unreadable 0 "$line"
    [[ ${NEED_PATTERNS[$key]} != "$PATH_IN_PROJECT" || /$value/ != */../* ]] || unreadable 0 "$line"
    [[ ! ${NEEDS[$key]:-} ]] || ! is_one_of "$key" "${SAID_ONCE[@]}" || unreadable 0 "$line"
    NEEDS[$key]+=${NEEDS[$key]:+$'\n'}$value
  done <<<"$answer"
  [[ ${NEEDS[optuna]:-} ]] || unreadable 0 "$answer"
  # shellcheck disable=SC2034 # images.sh reads both
  PROJECT_IMAGE=${NEEDS[image]:-} NEEDS_OPTUNA=${NEEDS[optuna]/#no/}
}

# validate_project_in_image: runs the framework's check of the staged project in the worker image, and whether it fits the workers.
validate_project_in_image() {
  local options code=0
  read_words options plan_options
  change_docker 0 run "${options[@]}" | printable >&2 || code=$?
  stop_on_invalid_project "$code"
}

# stop_on_invalid_project CODE: ends the program if the framework's exit code says that the project cannot be run.
stop_on_invalid_project() {
  case $1 in
    0) ;;
    2) usage_error "the project $PROJECT_SOURCE cannot be run; the errors to correct are above" ;;
    124) die "the project $PROJECT_SOURCE could not be read within $CHECK_SECONDS s; make its files smaller" ;;
    137) die "the project $PROJECT_SOURCE could not be read with $CHECK_MEMORY MiB of memory; make its files smaller" ;;
    *) die "the project $PROJECT_SOURCE could not be checked in the image $WORKER_IMAGE_ID (exit code $1); see above" ;;
  esac
}

# newest_worker_image: prints the name of the newest worker image of this machine; nothing if it has none.
newest_worker_image() {
  local image
  image=$(docker_on 0 image ls --format '{{.Repository}}:{{.Tag}}' infrainit-worker) || return
  image=${image%%$'\n'*}
  [[ ! $image || $image =~ ^infrainit-worker:[0-9a-f]{12}$ ]] || unreadable 0 "$image" || return
  printf '%s\n' "$image"
}

# recover_journal HOST: runs the framework's recovery on the files in recovered/ in the master's data directory.
recover_journal() {
  local options
  read_words options recover_options "$1"
  change_docker "$1" run "${options[@]}" | printable >&2 || die "${HOST_NAMES[$1]}: the journal could not be rebuilt; see above"
}
