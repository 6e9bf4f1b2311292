# shellcheck shell=bash
# The settings: command line, config.sh and defaults. Also reads and writes config.sh and other files of bash assignments.

# The settings as config.sh names them; the second list has no options and is set in config.sh only.
readonly CONFIG_ONLY=(SLOTS BROKER_IMAGE WORKER_IMAGE DEBIAN_MIRROR BASE_DAYS FLOWER_PORT BROKER_PORT METRICS_PORT RESULTS_LIMIT SEND_LIMIT)
readonly SETTINGS=(HOSTS KEY REMOTE_PATH PROJECT ROOT RUN_CAP BROKER TUNNEL MASTER WORKERS TOLERATE "${CONFIG_ONLY[@]}")

# shellcheck disable=SC2034 # set_setting assigns them by name; other files read them
{
  HOSTS_OPTION=''          # -a, HOSTS in config.sh: the hosts as typed, separated by commas
  KEY=''                   # -i: private key file, absolute; empty: what ssh itself would use
  REMOTE_PATH=celery_tasks # -r: where framework and task files go, relative to the home directory
  PROJECT=''               # -d: a name under tasks/, or the absolute path of a directory or a W&B sweep file
  ROOT=''                  # --root: the directory of the sweep file's project, absolute; empty: the nearest one with its program
  RUN_CAP=''               # --run-cap: the most tasks; empty: what the project says
  BROKER=''                # -b: address under which workers reach the broker
  TUNNEL=''                # --tunnel, yes: workers reach the broker through ssh
  MASTER=''                # -m: local or a host number
  WORKERS=''               # -w: local, host numbers and ranges
  TOLERATE=''              # --tolerate: how many worker hosts may be left out because they are not fine, or all; empty: none
  SLOTS=''                 # how many tasks a worker runs at a time at most; empty: the host's cores
  BROKER_IMAGE=''          # images to use in place of those that are built here
  WORKER_IMAGE=''          # the same
  DEBIAN_MIRROR=''         # where the base image is bootstrapped from if no registry answers
  BASE_DAYS=30             # after so many the base images are renewed; 0: never
  FLOWER_PORT=5555         # published on the master host
  BROKER_PORT=5671         # the same
  METRICS_PORT=''          # the same, for Prometheus; empty: not published
  RESULTS_LIMIT=20480      # MiB that one call of a script takes from a host, at most
  SEND_LIMIT=200           # MiB of files that are sent to a host without asking
}
declare -gA ASSIGNED=() # name → value in the file that read_assignments read last

readonly CONFIG=$CHECKOUT/config.sh

# collect_settings: takes each setting from the command line, then from config.sh (with -f; those without an option always),
# then from the defaults above.
collect_settings() {
  local name
  if [[ $FROM_CONFIG && ! -e $CONFIG ]]; then
    usage_error "-f: there is no $CONFIG; give the options once without -f, or copy config.sh.example"
  fi
  take_from_config "${CONFIG_ONLY[@]}"
  forget_other_project
  for name in "${SETTINGS[@]}"; do
    if [[ -v OPTIONS[$name] ]]; then
      set_setting "$name" "${OPTIONS[$name]}" "$PWD"
    elif [[ $FROM_CONFIG ]]; then
      set_setting "$name" "${ASSIGNED[$name]:-}" "$CHECKOUT"
    fi
  done
}

# forget_other_project: with -f and another project than that of config.sh, ROOT and RUN_CAP of the latter are as if given empty.
forget_other_project() {
  local name given
  [[ $FROM_CONFIG && -v OPTIONS[PROJECT] ]] || return 0
  given=$(set_setting PROJECT "${OPTIONS[PROJECT]}" "$PWD" && printf '%s\n' "$PROJECT")
  if [[ $given != "$(value_in_config PROJECT)" ]]; then
    for name in ROOT RUN_CAP; do
      # shellcheck disable=SC2004 # an associative array
      OPTIONS[$name]=${OPTIONS[$name]:-}
    done
  fi
}

# take_from_config NAME…: takes these settings from config.sh, if there is one.
take_from_config() {
  local name
  ASSIGNED=()
  if [[ -e $CONFIG ]]; then
    read_assignments "$CONFIG" "${SETTINGS[@]}"
  fi
  for name in "$@"; do
    set_setting "$name" "${ASSIGNED[$name]:-}" "$CHECKOUT"
  done
}

# set_setting NAME VALUE DIRECTORY: an empty VALUE leaves the default; a relative path starts in DIRECTORY.
set_setting() {
  local name=$1 value=$2
  [[ $value ]] || return 0
  case $name in
    HOSTS)
      name=HOSTS_OPTION
      [[ $value != @* ]] || value=@$(absolute_path "${value#@}" "$3")
      ;;
    KEY | ROOT) value=$(absolute_path "$value" "$3") ;;
    PROJECT)
      if [[ $value == */* || $value == .* || ! -d $CHECKOUT/tasks/$value ]]; then
        value=$(absolute_path "$value" "$3")
      fi
      ;;
  esac
  printf -v "$name" '%s' "$value"
}

# resolve_settings: numbers the hosts, and finds the roles and the project that the settings name.
resolve_settings() {
  parse_hosts "$HOSTS_OPTION"
  resolve_roles
  find_project
}

# check_settings: records every problem that can be found without asking a host.
check_settings() {
  check_roles
  [[ ! $MASTER ]] || check_tunnel # else when the master is known
  check_remote_path
  if [[ $KEY && ! (-f $KEY && -r $KEY) ]]; then
    problem "-i: cannot read the key file $KEY"
  fi
  check_project_directory
  check_run_cap
  [[ $TOLERATE =~ ^([0-9]{1,4}|all)?$ ]] || problem "--tolerate: $(quote "$TOLERATE") is neither a number of hosts nor all"
  check_number SLOTS 1 100000
  check_number BASE_DAYS 0 100000
  check_number FLOWER_PORT 1 65535
  check_number BROKER_PORT 1 65535
  check_number METRICS_PORT 1 65535
  check_number RESULTS_LIMIT 1 100000000
  check_number SEND_LIMIT 0 100000000
  check_ports_differ FLOWER_PORT BROKER_PORT
  check_ports_differ FLOWER_PORT METRICS_PORT
  check_ports_differ BROKER_PORT METRICS_PORT
}

# check_ports_differ NAME NAME
check_ports_differ() {
  [[ ${!1} != "${!2}" ]] || problem "$1 and $2 in config.sh are the same"
}

# published_ports: prints the settings whose ports are published on the master host, each on a line with its port.
published_ports() {
  printf '%s %s\n' BROKER_PORT "$BROKER_PORT" FLOWER_PORT "$FLOWER_PORT" ${METRICS_PORT:+METRICS_PORT "$METRICS_PORT"}
}

check_remote_path() {
  if [[ $REMOTE_PATH == /* || $REMOTE_PATH == '~'* ]]; then
    problem "-r: $REMOTE_PATH must be relative; it is taken from the home directory on each host"
  elif [[ /$REMOTE_PATH/ == */../* || $REMOTE_PATH == *[[:cntrl:]]* ]]; then
    problem "-r: $(quote "$REMOTE_PATH") must stay under the home directory and be printable"
  fi
}

check_run_cap() {
  [[ ! $RUN_CAP || $RUN_CAP =~ ^[1-9][0-9]{0,8}$ ]] ||
    problem "--run-cap: $(quote "$RUN_CAP") is no whole number from 1 to 999999999"
}

# check_number NAME LOWEST HIGHEST: checks a setting; it may be empty.
check_number() {
  local value=${!1}
  [[ $value ]] || return 0
  if [[ ! $value =~ ^[0-9]{1,9}$ ]] || ((10#$value < $2 || 10#$value > $3)); then
    problem "$1 in config.sh must be a whole number from $2 to $3, not $(quote "$value")"
  fi
}

# read_assignments FILE NAME…: runs FILE, which is bash, in a clean shell, and stores the variables that it sets in ASSIGNED.
# Ends the program if FILE fails or sets a variable that is not one of the NAMEs.
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

# print_assignments FILE: prints the names and values that it sets, each ended by a NUL, and COMPLETE at the end.
print_assignments() {
  # shellcheck disable=SC2016 # this is the program of another, clean shell
  env -i HOME="$HOME" PATH="$PATH" bash --noprofile --norc -euc '
    known=" $(compgen -v | tr "\n" " ") known name "
    source "$1" >&2
    unset -v IFS # that of the file
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

# write_assignments FILE MODE NAME VALUE…: writes bash assignments.
write_assignments() {
  local file=$1 mode=$2 text=''
  shift 2
  while (($# > 0)); do
    text+="$1=${2@Q}"$'\n'
    shift 2
  done
  replace_file "$file" "$mode" "$text"
}

# write_config: writes config.sh.example with the present settings in it; an option that was not given is written empty.
write_config() {
  local line name text=''
  while IFS='' read -r line || [[ $line ]]; do
    if [[ $line =~ ^([A-Z_]+)= ]]; then
      name=${BASH_REMATCH[1]}
      setting_to_keep "$name"
      line="$name=$REPLY"
    fi
    text+=$line$'\n'
  done <"$CHECKOUT/config.sh.example"
  replace_file "$CONFIG" 644 "$text"
}

# keep_options: with -f, changes the assignments in config.sh of those options of the command line that have another value there, and
# says so. All else in the file stays as it is.
keep_options() {
  local name variable value file earlier
  [[ $FROM_CONFIG ]] || return 0
  take_from_config
  for name in "${SETTINGS[@]}"; do
    [[ -v OPTIONS[$name] ]] || continue
    variable=${name/#HOSTS/HOSTS_OPTION}
    value=${!variable} earlier=${ASSIGNED[$name]:-}
    [[ $(value_in_config "$name") != "$value" ]] || continue
    file=$(mktemp)
    if { with_assignment "$name" "$value" >"$file" && has_assignments "$file" "$name" "$value"; } ||
      { with_line "$name=${value@Q}" >"$file" && has_assignments "$file" "$name" "$value"; }; then
      say "config.sh: $name=$(quote "$value") (was ${earlier:-empty})"
      replace_file "$CONFIG" 644 "$(<"$file")"$'\n'
      ASSIGNED[$name]=$value
    else
      warn "$CONFIG cannot be changed line by line; to keep this option, put $name=$(quote "$value") into it"
    fi
    rm -- "$file"
  done
}

# value_in_config NAME: prints the value of a setting in config.sh, as set_setting takes it.
value_in_config() (
  variable=${1/#HOSTS/HOSTS_OPTION}
  printf -v "$variable" '%s' ''
  set_setting "$1" "${ASSIGNED[$1]:-}" "$CHECKOUT"
  printf '%s\n' "${!variable}"
)

# with_assignment NAME VALUE: prints config.sh with VALUE in the last line that assigns NAME and does nothing else.
with_assignment() {
  local lines index found='' pattern="^([[:space:]]*$1=)('[^']*'|\"[^\"]*\"|[^][:space:];#'\"\\\\]*)([[:space:]]*(#.*)?)\$"
  mapfile -t lines <"$CONFIG"
  for index in "${!lines[@]}"; do
    if [[ ${lines[index]} =~ $pattern ]]; then
      found=$index
    fi
  done
  if [[ $found ]]; then
    [[ ${lines[found]} =~ $pattern ]]
    lines[found]="${BASH_REMATCH[1]}${2@Q}${BASH_REMATCH[3]}"
  fi
  printf '%s\n' "${lines[@]}"
}

# with_line LINE: prints config.sh with one more line.
with_line() {
  local text
  text=$(<"$CONFIG")
  printf '%s\n' "$text" "$1"
}

# has_assignments FILE NAME VALUE: does FILE set what ASSIGNED holds, except for VALUE in NAME?
has_assignments() (
  declare -A expected=()
  for name in "${SETTINGS[@]}"; do
    expected[$name]=${ASSIGNED[$name]:-}
  done
  expected[$2]=$3
  read_assignments "$1" "${SETTINGS[@]}" 2>/dev/null
  for name in "${SETTINGS[@]}"; do
    [[ ${ASSIGNED[$name]:-} == "${expected[$name]}" ]] || exit 1
  done
)

# setting_to_keep NAME: sets REPLY to its value quoted for bash; empty where the default applies.
setting_to_keep() {
  local variable=$1 value=''
  if is_one_of "$1" "${CONFIG_ONLY[@]}"; then
    value=${ASSIGNED[$1]:-}
  elif [[ -v OPTIONS[$1] ]]; then
    [[ $1 != HOSTS ]] || variable=HOSTS_OPTION
    value=${!variable}
  fi
  REPLY=${value@Q}
}
