# shellcheck shell=bash
# Messages for the user. They go to stderr, one line each; stdout is left to results. What they quote may come from a host, a
# container or a task: they show it as printable text.

PROBLEMS=()      # the messages that `problem` collected
PROBLEM_HOSTS=() # index in PROBLEMS → number of the host that alone has this problem
DOING=''         # the part of the work in progress; the scripts' exit traps name it when it fails
MESSAGES_TO=2    # file descriptor for `step` and `say`; for_each_host points it past the output that it holds back

say() {
  begin_line "$MESSAGES_TO"
  make_printable "$*" >&"$MESSAGES_TO"
}

warn() {
  show_in_colour 33 2 warning: " $*"
}

# doing WHAT: announces the next part of the work.
doing() {
  # shellcheck disable=SC2034 # the scripts' exit traps read it
  DOING=$1
  begin_phase "$1"
  show_in_colour 1 "$MESSAGES_TO" "$1" ''
}

# step HOST_NAME MESSAGE: announces one step of the work on one host.
step() {
  show_in_colour 36 "$MESSAGES_TO" "$1:" " $2"
}

# show_error MESSAGE
show_error() {
  show_in_colour 31 2 error: " $*"
}

die() {
  show_error "$@"
  exit 1
}

# usage_error MESSAGE: ends the program because the command line or config.sh is wrong, before anything was changed.
usage_error() {
  printf '%s: %s\n' "${BASH_SOURCE[-1]##*/}" "$(make_printable "$*")" >&2
  exit 2
}

# our_command SCRIPT [WORD…]: prints the command that runs a script of this checkout, as it can be typed where the user is.
our_command() {
  local path=$CHECKOUT/$1
  [[ ! $PWD -ef $CHECKOUT ]] || path=./$1
  quote "$path" "${@:2}"
}

# problem MESSAGE: records something that is wrong, so that stop_on_problems reports everything at once.
problem() {
  PROBLEMS+=("$*")
}

# host_problem HOST MESSAGE: records what is wrong with one host, whose name comes in front.
host_problem() {
  # shellcheck disable=SC2034 # tolerance.sh reads it
  PROBLEM_HOSTS[${#PROBLEMS[@]}]=$1
  problem "${HOST_NAMES[$1]}: $2"
}

# stop_on_problems EXIT_CODE: if there are problems, shows each of them and ends the program.
stop_on_problems() {
  local message
  ((${#PROBLEMS[@]} > 0)) || return 0
  for message in "${PROBLEMS[@]}"; do
    show_error "$message"
  done
  exit "$1"
}

# show_in_colour NUMBER DESCRIPTOR HEAD REST: shows a line whose HEAD has the colour with the terminal's NUMBER, if DESCRIPTOR is one.
# It is written at once: several processes may show messages.
show_in_colour() {
  local head rest
  set_printable head "$3"
  set_printable rest "$4"
  if [[ -t $2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    head=$'\033['"$1m$head"$'\033[0m'
  fi
  begin_line "$2"
  printf '%s\n' "$head$rest" >&"$2"
}

# put_host_in_front HOST_NAME: copies stdin to stdout as printable text; each line then begins with the host's name.
put_host_in_front() {
  local line
  printable | while IFS='' read -r line || [[ $line ]]; do
    case $line in
      "$1: "* | "$1\$ "*) printf '%s\n' "$line" ;;
      *) printf '%s: %s\n' "$1" "$line" ;;
    esac
  done
}

# confirm QUESTION: asks on the terminal; fails if the answer is not yes, or if there is no terminal.
confirm() {
  local answer
  [[ -t 0 && -t 2 ]] || return 1
  read -r -p "$1 [y/N] " answer || return 1
  [[ $answer == [yY] || $answer == [yY][eE][sS] ]]
}
