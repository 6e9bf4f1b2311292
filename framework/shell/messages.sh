# shellcheck shell=bash
# What the user is told. Messages go to stderr, one line each; stdout is left to results.

PROBLEMS=()   # what `problem` collected, one message each
DOING=''      # what is going on, for the message when it fails
MESSAGES_TO=2 # where `step` and `say` write; for_each_host points it past the output that it holds back

say() {
  printf '%s\n' "$*" >&"$MESSAGES_TO"
}

warn() {
  printf 'warning: %s\n' "$*" >&2
}

# doing WHAT: the next part of the work.
doing() {
  # shellcheck disable=SC2034 # it is for the scripts' exit traps
  DOING=$1
  say "$(colour 1)$1$(colour 0)"
}

# step HOST_NAME MESSAGE: one step of the work, on one host.
step() {
  say "$1: $2"
}

die() {
  printf '%serror:%s %s\n' "$(colour 31)" "$(colour 0)" "$*" >&2
  exit 1
}

# usage_error MESSAGE: the command line or config.sh is wrong; nothing was touched.
usage_error() {
  printf '%s: %s\n' "$(basename "${BASH_SOURCE[-1]}")" "$*" >&2
  exit 2
}

# problem MESSAGE: remembers something that is wrong, so that all of it can be reported at once.
problem() {
  PROBLEMS+=("$*")
}

# stop_on_problems EXIT_CODE: ends the program if there are problems, after naming each.
stop_on_problems() {
  local message
  ((${#PROBLEMS[@]} > 0)) || return 0
  for message in "${PROBLEMS[@]}"; do
    printf '%serror:%s %s\n' "$(colour 31)" "$(colour 0)" "$message" >&2
  done
  exit "$1"
}

# colour NUMBER: the terminal's code for a colour (0: back to normal); nothing where stderr is no terminal.
colour() {
  if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    printf '\033[%sm' "$1"
  fi
}

# confirm QUESTION: asks on the terminal; no where there is none.
confirm() {
  local answer
  [[ -t 0 && -t 2 ]] || return 1
  read -r -p "$1 [y/N] " answer || return 1
  [[ $answer == [yY] || $answer == [yY][eE][sS] ]]
}

# show_help: the header comment of the script that was started.
show_help() {
  sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "${BASH_SOURCE[-1]}"
}
