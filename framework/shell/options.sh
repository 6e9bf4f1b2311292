# shellcheck shell=bash
# Parsing the command line, in the same way for all scripts.

declare -gA OPTIONS=() # REMOTE_PATH for --remote-path and so on, of each option given → its value, or yes
FROM_CONFIG=''         # -f, not empty: all settings from config.sh; options win
ASSUME_YES=''          # -y, not empty: install Docker and missing tools without asking
RECOVER=''             # --recover, not empty: rebuild the journal from what the workers kept
DRAIN=''               # --drain, not empty: wait for the end of tasks that would begin again
WAIT=''                # --wait, not empty: stay until the sweep is finished
REFRESH=''             # --refresh, not empty: renew the base images now
AGAIN=''               # --failed, --outdated or --fresh: which ended tasks are run again

# parse_options OPTION… -- ARGUMENT…: fills OPTIONS from the ARGUMENTs. An OPTION is --long or -s,--long; a = at its end means
# that it takes a value, =+ that it may be given again: its values are lines. -h and --help show the help and end the program. Reports all errors at once, with exit code 2.
parse_options() {
  local option name long=() takes_value=' ' repeatable=' '
  local -A option_names=([-h]=HELP)
  option_names[--help]=HELP
  while [[ $1 != -- ]]; do
    option=${1%=*}
    long+=("${option#*,}")
    name=${long[-1]#--} name=${name^^} name=${name//-/_}
    option_names[${option#*,}]=$name
    option_names[${option%,*}]=$name
    [[ $1 == "$option" ]] || takes_value+="$name "
    [[ $1 != *=+ ]] || repeatable+="$name "
    shift
  done
  shift
  OPTIONS=()
  while (($# > 0)); do
    if [[ $1 == --*=* ]]; then
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
    elif [[ $1 == -[!-]?* ]]; then
      name=${option_names[${1:0:2}]:-}
      if [[ $takes_value == *" $name "* ]]; then
        set -- "${1:0:2}" "${1:2}" "${@:2}"
      elif [[ $name ]]; then
        set -- "${1:0:2}" "-${1:2}" "${@:2}"
      fi
    fi
    option=$1
    shift
    name=${option_names[${option:- }]:-}
    if [[ $name == HELP ]]; then
      show_help
      exit 0
    elif [[ $option != -* ]]; then
      problem "$(quote "$option") belongs to no option; see $(quote "$0") --help"
    elif [[ -z $name && $option == --* ]]; then
      problem "$option is no option; the nearest is $(nearest "$option" "${long[@]}" --help), see $(quote "$0") --help"
    elif [[ -z $name ]]; then
      problem "$option is no option; see $(quote "$0") --help"
    elif [[ $takes_value != *" $name "* ]]; then
      OPTIONS[$name]=yes
    elif [[ -z ${1:-} || $1 == -* ]]; then
      problem "$option needs a value"
    elif [[ -v OPTIONS[$name] && $repeatable == *" $name "* ]]; then
      OPTIONS[$name]+=$'\n'$1
      shift
    else
      [[ ! -v OPTIONS[$name] ]] || problem "$option is given twice"
      OPTIONS[$name]=$1
      shift
    fi
  done
  stop_on_problems 2
  # shellcheck disable=SC2034 # run.sh reads both
  VERBOSE=${OPTIONS[VERBOSE]:-$VERBOSE} DRY_RUN=${OPTIONS[DRY_RUN]:-$DRY_RUN}
  if [[ $VERBOSE && ! $DRY_RUN ]]; then
    # shellcheck disable=SC2034 # run.sh reads it
    exec {SHOWN_TO}>&2
  fi
}

# parse_infrainit_options ARGUMENT…: the options of infrainit.sh. Those that are settings stay in OPTIONS for collect_settings.
parse_infrainit_options() {
  local name
  parse_options -a,--hosts= -i,--key= -r,--remote-path= -d,--project= --root= --run-cap= -b,--broker= --tunnel -m,--master= -w,--workers= --tolerate= \
    -f,--from-config -y,--yes -n,--dry-run --refresh --recover --drain --wait --failed --outdated --fresh --verbose -- "$@"
  # shellcheck disable=SC2034 # other files read them
  FROM_CONFIG=${OPTIONS[FROM_CONFIG]:-} ASSUME_YES=${OPTIONS[YES]:-} RECOVER=${OPTIONS[RECOVER]:-} WAIT=${OPTIONS[WAIT]:-}
  # shellcheck disable=SC2034 # images.sh and containers.sh read them
  REFRESH=${OPTIONS[REFRESH]:-} DRAIN=${OPTIONS[DRAIN]:-}
  AGAIN=''
  for name in FAILED OUTDATED FRESH; do
    [[ -v OPTIONS[$name] ]] || continue
    [[ ! $AGAIN ]] || problem "$AGAIN and --${name,,}: give only one of them"
    AGAIN=--${name,,}
  done
  stop_on_problems 2
}

# show_help: prints the header comment of the script that was started.
show_help() {
  sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "${BASH_SOURCE[-1]}"
}
