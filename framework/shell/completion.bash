# shellcheck shell=bash
# Completion for bash: options, commands and some values of the scripts and of `framework`. In ~/.bashrc:
#   source /path/to/this/checkout/framework/shell/completion.bash
# It asks each program for its --help, once in a shell, so that it always knows what that program knows.

declare -gA _INFRAINIT_HELP=() # command line that was asked → its help

# _infrainit_help WORD…: sets the caller's help.
_infrainit_help() {
  local key="$*"
  if [[ ! -v _INFRAINIT_HELP[$key] ]]; then
    _INFRAINIT_HELP[$key]=$("$@" --help 2>/dev/null </dev/null) || return
  fi
  help=${_INFRAINIT_HELP[$key]}
}

# _infrainit_commands: prints the commands in the caller's help: words at the beginnings of lines that are indented.
_infrainit_commands() {
  sed -nE 's/^ {2,4}([a-z]+(-[a-z]+)*)( .*)?$/\1/p' <<<"${help%%[Ee]xamples:*}"
}

# _infrainit_options: prints the options in it: what lines begin with, up to two spaces.
_infrainit_options() {
  sed -nE 's/^ +(-.*)$/\1/p' <<<"${help%%[Ee]xamples:*}" | sed 's/  .*//' | grep -oE -- '(^|[ ,])(-[a-zA-Z]|--[a-z]+(-[a-z]+)*)\b' | tr -d ' ,'
}

# _infrainit_projects DIRECTORY: prints the projects under tasks/ there.
_infrainit_projects() {
  local file
  for file in "$1"/tasks/*/project.yml; do
    [[ ! -e $file ]] || basename -- "$(dirname -- "$file")"
  done
}

_infrainit_complete() {
  local program=$1 word=$2 before=$3 help='' command='' choices='' index directory
  _infrainit_help "$program" || return 0
  for ((index = 1; index < COMP_CWORD; index++)); do
    if [[ ${COMP_WORDS[index]} != -* ]]; then
      command=${COMP_WORDS[index]}
      break
    fi
  done
  if ((index == COMP_CWORD)) && [[ $word != -* ]]; then
    choices=$(_infrainit_commands)
  fi
  if [[ ${program##*/} == framework && $command ]]; then
    _infrainit_help "$program" "$command" || return 0
  fi
  case "${program##*/} $before" in
    *' -d' | *' --project')
      directory=$(dirname -- "$(type -P -- "$program" || echo "$program")")
      choices=$(_infrainit_projects "$directory")
      ;;
    *' -m' | *' --master' | *' -w' | *' --workers') choices=local ;;
    *) [[ $word != -* ]] || choices=$(_infrainit_options) ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word" | sort --unique)
}

# Where nothing fits, names of files are offered.
complete -o bashdefault -o default -F _infrainit_complete \
  infrainit.sh check_celery_status.sh update_files.sh get_results.sh infra_clean.sh install_docker_ubuntu.sh framework
