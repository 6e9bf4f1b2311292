#!/usr/bin/env bats
# framework/shell/completion.bash: what bash offers for the scripts. tests/unit/cli/test_examples.py has the same for `framework`.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  sed 's/^CHECKOUT=@.*/CHECKOUT=$(dirname -- "$0")/; s/=@[A-Z]*@$/=x/' "$TOOL/infra_clean.sh.tmpl" >"$TOOL/infra_clean.sh"
  chmod +x "$TOOL"/*.sh
  # shellcheck source=framework/shell/completion.bash
  source "$TOOL/framework/shell/completion.bash"
}

# complete_words WORD…: sets offered to what is offered for the last WORD, one after the other.
complete_words() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _infrainit_complete "$1" "${*: -1}" "${*: -2:1}"
  offered="${COMPREPLY[*]}"
}

# known_options SCRIPT: prints the options that it takes, as it says them to parse_options; of the script for other machines, those of
# its own parser.
known_options() {
  {
    if [[ $1 == install_docker_ubuntu.sh ]]; then
      sed -nE 's/^ +(-[^)=]*)(=[^)]*)?\).*/\1/p' "$TOOL/$1" | sed 's/ | /\n/'
    else
      "$TOOL/$1" --any
      printf '%s\n' -h --help
    fi
  } | sort --unique | tr '\n' ' '
}

@test "every option of every script is offered, and no other" {
  local script
  for script in infrainit update_files check_celery_status get_results infra_clean install_docker_ubuntu; do
    complete_words "$TOOL/$script.sh" -
    offers[${#offers[@]}]="$script: $offered "
  done
  printf '%s\n' 'parse_options() {' '  while [[ $1 != -- ]]; do printf "%s\n" "${1%%=*}" | tr , "\n"; shift; done' '  exit 0' '}' \
    >>"$TOOL/framework/shell/all.sh"
  for script in infrainit update_files check_celery_status get_results infra_clean install_docker_ubuntu; do
    assert_equal "${offers[0]}" "$script: $(known_options "$script.sh")"
    offers=("${offers[@]:1}")
  done
}

@test "values: projects, hosts, commands; where nothing is known, bash offers files" {
  make_project digits
  make_project echo
  complete_words "$TOOL/infrainit.sh" -d ''
  assert_equal "$offered" 'digits echo'
  complete_words "$TOOL/infrainit.sh" --workers l
  assert_equal "$offered" local
  complete_words "$TOOL/check_celery_status.sh" ''
  assert_equal "$offered" 'explain logs'
  complete_words "$TOOL/check_celery_status.sh" logs 17 --f
  assert_equal "$offered" --follow
  complete_words "$TOOL/get_results.sh" -o ''
  assert_equal "$offered" ''
  complete_words "$TOOL/no_such_script" --
  assert_equal "$offered" ''
}

@test "a program is asked once" {
  stub framework 'printf "commands:\n    status  Print it.\n"'
  complete_words framework ''
  complete_words framework s
  assert_equal "$offered $(wc -l <"$CALLS")" 'status 1'
}

@test "bash itself completes a script in any directory" {
  printf 'complete -p infrainit.sh framework | grep -c _infrainit_complete\n' >program
  assert_equal "$(bash --norc -c 'source "$1"; source program' test "$TOOL/framework/shell/completion.bash")" 2
}
