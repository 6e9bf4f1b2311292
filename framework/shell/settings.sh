# shellcheck shell=bash
# shellcheck disable=SC2034 # the settings are used by the files that are sourced with this one
# What the user asked for: options, config.sh, defaults. Everything here is checked before any host is asked.

# The settings, as config.sh names them; those from SLOTS on have no option and live in config.sh only.
readonly SETTINGS=(HOSTS KEY REMOTE_PATH PROJECT BROKER MASTER WORKERS
  SLOTS BROKER_IMAGE WORKER_IMAGE DEBIAN_MIRROR FLOWER_PORT BROKER_PORT)
readonly CONFIG_ONLY=(SLOTS BROKER_IMAGE WORKER_IMAGE DEBIAN_MIRROR FLOWER_PORT BROKER_PORT)

HOSTS_OPTION=''          # -a, HOSTS in config.sh: the hosts as typed, separated by commas
KEY=''                   # -i: private key file, absolute; empty: what ssh itself would use
REMOTE_PATH=celery_tasks # -r: where framework and task files go, relative to the home directory
PROJECT=''               # -d: a name under tasks/, or an absolute path
PROJECT_PATH=''          # its directory, absolute
PROJECT_NAME=''          # the last part of that
BROKER=''                # -b: address[:port] under which workers reach the broker
MASTER=''                # -m: local or a host number
WORKERS=''               # -w: local, host numbers and ranges
SLOTS=''                 # tasks at a time on one worker, at the most; empty: the host's cores
BROKER_IMAGE=''          # images to use in place of those that are built here
WORKER_IMAGE=''          #
DEBIAN_MIRROR=''         # where the base image is bootstrapped from, if no registry answers
FLOWER_PORT=5555         # published on the master host
BROKER_PORT=5671         #
ASSUME_YES=''            # -y, not empty: install Docker and what this machine lacks without asking
RECOVER=''               # --recover, not empty: the journal is to be rebuilt from what the workers kept
WAIT=''                  # --wait, not empty: stay until the set is finished
AGAIN=''                 # --failed, --outdated or --fresh: which tasks are run again although they have ended
FROM_CONFIG=''           # -f, not empty: all settings from config.sh; options win
declare -gA GIVEN=()     # setting → value on the command line
declare -gA ASSIGNED=()  # name → value of the file that read_assignments read last

readonly CONFIG=$CHECKOUT/config.sh

# parse_options ARGUMENT…
parse_options() {
  local option
  while (($# > 0)); do
    case $1 in
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
      -[airdbmw]?*) set -- "${1:0:2}" "${1:2}" "${@:2}" ;;
      -[fynh]?*) set -- "${1:0:2}" "-${1:2}" "${@:2}" ;;
    esac
    option=$1
    shift
    case $option in
      -f | --from-config) FROM_CONFIG=yes ;;
      -y | --yes) ASSUME_YES=yes ;;
      -n | --dry-run) DRY_RUN=yes ;;
      --recover) RECOVER=yes ;;
      --wait) WAIT=yes ;;
      --failed | --outdated | --fresh)
        [[ ! $AGAIN || $AGAIN == "$option" ]] || problem "$AGAIN and $option: say one of them"
        AGAIN=$option
        ;;
      --verbose) VERBOSE=yes ;;
      -h | --help)
        show_help
        exit 0
        ;;
      *)
        if take_value "$option" "$@"; then
          shift
        fi
        ;;
    esac
  done
}

# take_value OPTION [VALUE…]: true if VALUE belongs to OPTION.
take_value() {
  local setting long=(--hosts --key --remote-path --project --broker --master --workers
    --from-config --yes --dry-run --recover --wait --failed --outdated --fresh --verbose --help)
  setting=$(setting_of "$1")
  if [[ $1 != -* ]]; then
    problem "$1 belongs to no option; see $0 --help"
  elif [[ -z $setting && $1 == --* ]]; then
    problem "$1 is no option; the nearest is $(nearest "$1" "${long[@]}"), see $0 --help"
  elif [[ -z $setting ]]; then
    problem "$1 is no option; see $0 --help"
  elif [[ -z ${2:-} || $2 == -* ]]; then
    problem "$1 needs a value"
  else
    [[ ! -v GIVEN[$setting] ]] || problem "$1 is given twice"
    GIVEN[$setting]=$2
    return 0
  fi
  return 1
}

setting_of() {
  case $1 in
    -a | --hosts) echo HOSTS ;;
    -i | --key) echo KEY ;;
    -r | --remote-path) echo REMOTE_PATH ;;
    -d | --project) echo PROJECT ;;
    -b | --broker) echo BROKER ;;
    -m | --master) echo MASTER ;;
    -w | --workers) echo WORKERS ;;
  esac
}

# collect_settings: command line, then config.sh (with -f; what has no option always comes from there), then the defaults.
collect_settings() {
  local name
  ASSIGNED=()
  if [[ -e $CONFIG ]]; then
    read_assignments "$CONFIG" "${SETTINGS[@]}"
  elif [[ $FROM_CONFIG ]]; then
    usage_error "-f: there is no $CONFIG; give the options once without -f, or copy config.sh.example"
  fi
  for name in "${CONFIG_ONLY[@]}"; do
    set_setting "$name" "${ASSIGNED[$name]:-}" "$CHECKOUT"
  done
  for name in "${SETTINGS[@]}"; do
    if [[ -v GIVEN[$name] ]]; then
      set_setting "$name" "${GIVEN[$name]}" "$PWD"
    elif [[ $FROM_CONFIG ]]; then
      set_setting "$name" "${ASSIGNED[$name]:-}" "$CHECKOUT"
    fi
  done
}

# set_setting NAME VALUE DIRECTORY: an empty value leaves the default; relative paths start in DIRECTORY.
set_setting() {
  local name=$1 value=$2
  [[ $value ]] || return 0
  case $name in
    HOSTS) name=HOSTS_OPTION ;;
    KEY) value=$(absolute_path "$value" "$3") ;;
    PROJECT)
      if [[ $value == */* || $value == .* || ! -d $CHECKOUT/tasks/$value ]]; then
        value=$(absolute_path "$value" "$3")
      fi
      ;;
  esac
  printf -v "$name" '%s' "$value"
}

# absolute_path PATH DIRECTORY
absolute_path() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$2/$1" ;;
  esac
}

# check_settings: everything that can be said without asking a host; all of it at once.
check_settings() {
  parse_hosts "$HOSTS_OPTION"
  check_roles
  check_remote_path
  if [[ $KEY && ! (-f $KEY && -r $KEY) ]]; then
    problem "-i: cannot read the key file $KEY"
  fi
  if [[ $PROJECT ]]; then
    find_project
  else
    problem "-d is missing: which project is to be run?"
  fi
  check_number SLOTS 1 100000
  check_number FLOWER_PORT 1 65535
  check_number BROKER_PORT 1 65535
  if [[ $FLOWER_PORT == "$BROKER_PORT" ]]; then
    problem "FLOWER_PORT and BROKER_PORT in config.sh are the same"
  fi
  stop_on_problems 2
}

# check_roles: sets MASTER_HOST and WORKER_HOSTS.
check_roles() {
  local address port master=()
  if [[ -z $MASTER && -z $WORKERS ]]; then
    problem "neither -m nor -w is given: nothing would be started"
  elif [[ -z $MASTER && -z $BROKER ]]; then
    problem "-w without -m and -b: start the master with -m, or name the running broker's address with -b"
  fi
  if [[ $BROKER ]] && ! { split_address "$BROKER" address port && [[ -z $port ]]; }; then
    problem "-b: $(quote "$BROKER") is no name or address; its port is BROKER_PORT in config.sh"
  fi
  MASTER_HOST=''
  WORKER_HOSTS=()
  if [[ $MASTER == *[,-]* ]]; then
    problem "-m names one host: local or a number, not $MASTER"
  elif [[ $MASTER ]]; then
    parse_host_numbers -m "$MASTER" master
    MASTER_HOST=${master[0]:-}
  fi
  if [[ $WORKERS ]]; then
    parse_host_numbers -w "$WORKERS" WORKER_HOSTS
  fi
}

check_remote_path() {
  if [[ $REMOTE_PATH == /* || $REMOTE_PATH == '~'* ]]; then
    problem "-r: $REMOTE_PATH must be relative; it is taken from the home directory on each host"
  elif [[ /$REMOTE_PATH/ == */../* || $REMOTE_PATH == *[[:cntrl:]]* ]]; then
    problem "-r: $(quote "$REMOTE_PATH") must stay under the home directory and be printable"
  fi
}

# find_project: sets PROJECT_PATH and PROJECT_NAME; a project's contents are checked later, by the framework itself.
find_project() {
  local file files path=$PROJECT
  if [[ $path != /* ]]; then
    path=$CHECKOUT/tasks/$path
  fi
  if [[ ! -d $path ]]; then
    problem "-d: there is no directory $path, nor one of that name under $CHECKOUT/tasks"
    return 0
  fi
  PROJECT_PATH=$(cd -- "$path" && pwd) # of a link, its own name
  PROJECT_NAME=$(basename -- "$PROJECT_PATH")
  if [[ $PROJECT_NAME == *[[:cntrl:]]* || $PROJECT_PATH == / ]]; then
    problem "-d: $(quote "$PROJECT_NAME") cannot be a project's name"
  fi
  files=("$(settings_of_project)")
  if [[ ${files[0]} == project.yml ]]; then
    files+=(parameters.yml)
  fi
  for file in "${files[@]}"; do
    if [[ ! -r $PROJECT_PATH/$file ]]; then
      problem "-d: the project $PROJECT_PATH has no readable $file"
    fi
  done
}

# settings_of_project: the name of the file that says what runs: project.yml, or the W&B sweep file in its place.
settings_of_project() {
  local file
  for file in project.yml sweep.yaml sweep.yml; do
    if [[ -e $PROJECT_PATH/$file ]]; then
      printf '%s\n' "$file"
      return 0
    fi
  done
  printf 'project.yml\n'
}

# check_number NAME LOWEST HIGHEST: an empty setting is fine.
check_number() {
  local value=${!1}
  [[ $value ]] || return 0
  if [[ ! $value =~ ^[0-9]{1,6}$ ]] || ((10#$value < $2 || 10#$value > $3)); then
    problem "$1 in config.sh must be a whole number from $2 to $3, not $(quote "$value")"
  fi
}

# read_assignments FILE NAME…: runs FILE, which is bash, in a clean shell, and puts what it set into ASSIGNED.
# Ends the program if FILE fails or sets anything but NAME….
read_assignments() {
  local file=$1 name value complete=''
  shift
  ASSIGNED=()
  while IFS='' read -r -d '' name && IFS='' read -r -d '' value; do
    if [[ $name == COMPLETE ]]; then
      complete=yes
    elif is_one_of "$name" "$@"; then
      ASSIGNED[$name]=$value
    else
      usage_error "$file: $name is no setting; the nearest is $(nearest "$name" "$@")"
    fi
  done < <(print_assignments "$file")
  [[ $complete ]] || usage_error "$file: could not be read to its end"
}

# print_assignments FILE: the names and values it sets, each ended by a NUL, and COMPLETE.
print_assignments() {
  # Single quotes: this is the program of another, clean shell.
  # shellcheck disable=SC2016
  env -i HOME="$HOME" PATH="$PATH" bash --noprofile --norc -euc '
    known=" $(compgen -v | tr "\n" " ") known name "
    source "$1" >&2
    for name in $(compgen -v); do
      [[ $known == *" $name "* || $name == @(BASH*|PIPESTATUS|OLDPWD) ]] && continue
      if [[ $(declare -p "$name") == "declare -"[aA]* ]]; then
        echo "$1: $name must be one value, not an array" >&2
        exit 1
      fi
      printf "%s\0%s\0" "$name" "${!name}"
    done
    printf "COMPLETE\0\0"
  ' read_assignments "$1"
}

# write_assignments FILE MODE NAME VALUE…: bash assignments, written beside and renamed.
write_assignments() {
  local file=$1 mode=$2 text=''
  shift 2
  while (($# > 0)); do
    text+="$1=${2@Q}"$'\n'
    shift 2
  done
  replace_file "$file" "$mode" "$text"
}

# replace_file FILE MODE TEXT: written beside and renamed, so that no reader ever sees half of it.
replace_file() {
  if [[ -e $1 && $(<"$1")$'\n' == "$3" ]]; then
    return 0
  fi
  printf '%s' "$3" | change_host_stdin 0 install --mode="$2" -- /dev/stdin "$1.new"
  run mv -- "$1.new" "$1"
}

# write_config: config.sh.example with the present settings; the options' values are those that were given.
write_config() {
  local line name text=''
  while IFS='' read -r line || [[ $line ]]; do
    if [[ $line =~ ^([A-Z_]+)= ]]; then
      name=${BASH_REMATCH[1]}
      line="$name=$(setting_to_keep "$name")"
    fi
    text+=$line$'\n'
  done <"$CHECKOUT/config.sh.example"
  replace_file "$CONFIG" 644 "$text"
}

# setting_to_keep NAME: its value, quoted for bash; empty where the default is in force.
setting_to_keep() {
  local variable=$1 value=''
  if is_one_of "$1" "${CONFIG_ONLY[@]}"; then
    value=${ASSIGNED[$1]:-}
  elif [[ -v GIVEN[$1] ]]; then
    [[ $1 != HOSTS ]] || variable=HOSTS_OPTION
    value=${!variable}
  fi
  printf '%s\n' "${value@Q}"
}

# is_one_of WORD CANDIDATE…
is_one_of() {
  local candidate
  for candidate in "${@:2}"; do
    if [[ $1 == "$candidate" ]]; then
      return 0
    fi
  done
  return 1
}

# nearest WORD CANDIDATE…: the candidate with the smallest edit distance.
nearest() {
  local word=$1 candidate distance best='' smallest=1000
  shift
  for candidate in "$@"; do
    distance=$(edit_distance "$word" "$candidate")
    if ((distance < smallest)); then
      smallest=$distance best=$candidate
    fi
  done
  printf '%s\n' "$best"
}

# edit_distance A B: Levenshtein's, row by row.
edit_distance() {
  local a=$1 b=$2 row column above diagonal cost distances=()
  for ((column = 0; column <= ${#b}; column++)); do
    distances[column]=$column
  done
  for ((row = 1; row <= ${#a}; row++)); do
    diagonal=${distances[0]} distances[0]=$row
    for ((column = 1; column <= ${#b}; column++)); do
      above=${distances[column]} cost=$diagonal
      [[ ${a:row-1:1} == "${b:column-1:1}" ]] || cost=$((cost + 1))
      ((cost <= above + 1)) || cost=$((above + 1))
      ((cost <= distances[column - 1] + 1)) || cost=$((distances[column - 1] + 1))
      diagonal=$above distances[column]=$cost
    done
  done
  printf '%s\n' "${distances[${#b}]}"
}
