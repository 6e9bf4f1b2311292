# shellcheck shell=bash
# Values that a project wants of this machine for its tasks, of `environment:` and `secrets:`: collected before anything is started, and
# sent by ssh to the worker hosts, where runners alone have them. No value is ever an argument of a program, or in a message.
# framework/local/collected_values.py collects the same for `framework run`.
#
# ~/<path>/secrets/<id>/runner/<project>/
#   values       NAME=value, each ended by a NUL; a runner reads it whenever it starts an attempt
#   files/NAME   of a secret that tasks get as a file

USER_VALUES=()                               # NAME=value
declare -gA USER_FILES=()                    # NAME → path here of a secret that tasks get as a file
declare -gA USER_ENVIRONMENT=()              # what this script was started with; its own settings have names that a user's variable may have, too
readonly LONGEST_VALUE=100000                # bytes; the kernel takes 131,072 with the name
readonly VALUES_IN_RUNNER=/infrainit/secrets # the directory, in the runner's container

# shellcheck disable=SC2016 # expands over there
readonly REPLACE_SCRIPT='umask 077 && cat >"$1.new" && sync -- "$1.new" && mv -- "$1.new" "$1"'

# Removes all from the directory $1, if there is one, but what has one of the other names.
# shellcheck disable=SC2016 # expands over there
readonly KEEP_ONLY_SCRIPT='
  [ -d "$1" ] || exit 0
  find "$1" -mindepth 1 -maxdepth 1 -exec sh -c '\''
    found=$1
    shift 2
    for name; do [ "${found##*/}" != "$name" ] || exit 0; done
    rm -rf -- "$found"'\'' sh "{}" "$@" ";"'

# collect_user_values: sets USER_VALUES and USER_FILES to what read_needs has learnt. Ends the program with 2 if something is missing.
collect_user_values() {
  local key line
  USER_VALUES=() USER_FILES=()
  read_user_environment
  for key in environment secret secret_value secret_file; do
    while IFS='' read -r line; do
      [[ ! $line ]] || collect_user_value "$key" "$line"
    done <<<"${NEEDS[$key]:-}"
  done
  stop_on_problems 2
}

read_user_environment() {
  local word
  USER_ENVIRONMENT=()
  while IFS='' read -r -d '' word; do
    if [[ $word =~ ^([A-Za-z_][A-Za-z0-9_]*)= ]]; then
      USER_ENVIRONMENT[${BASH_REMATCH[1]}]=${word#*=}
    fi
  done <"/proc/$$/environ"
}

# collect_user_value KEY LINE: LINE is NAME LINE:COLUMN, then the PATH of a file.
collect_user_value() {
  local key=$1 name=${2%% *} rest=${2#* } place
  place="${SWEEP_FILE:-$PROJECT_PATH/project.yml}:${rest%% *}: "
  case $key in
    environment)
      if [[ ! -v USER_ENVIRONMENT[$name] ]]; then
        problem "${place}environment: $name is not set here; export it, or write its value"
        return 0
      fi
      USER_VALUES+=("$name=${USER_ENVIRONMENT[$name]}")
      ;;
    notify)
      if [[ ! ${USER_ENVIRONMENT[$name]:-} ]]; then
        problem "${place}notify: $name is not set here; export it, or name a file in secrets:, as in $name: {file: ~/.token}"
        return 0
      fi
      USER_VALUES+=("$name=${USER_ENVIRONMENT[$name]}")
      ;;
    secret)
      if [[ ! -v USER_ENVIRONMENT[$name] ]]; then
        problem "${place}secrets: $name is not set here; export it, or name a file, as in $name: {file: ~/.token}"
      elif [[ ! ${USER_ENVIRONMENT[$name]} ]]; then
        problem "${place}secrets: $name is empty here; export its value"
      else
        USER_VALUES+=("$name=${USER_ENVIRONMENT[$name]}")
      fi
      ;;
    secret_* | notify_value) collect_secret_of_file "$key" "$name" "${rest#* }" "$place" ;;
  esac
}

# collect_secret_of_file KEY NAME PATH PLACE
collect_secret_of_file() {
  local name=$2 path=$3 value wrong
  [[ $path == /* ]] || path=$HOME/${path:2} # from ~/ on
  wrong=$(what_is_wrong_with_secret "$path" "$3")
  if [[ ! $wrong && $1 == secret_file ]]; then
    USER_FILES[$name]=$path
    USER_VALUES+=("$name=$VALUES_IN_RUNNER/files/$name")
    return 0
  fi
  if [[ ! $wrong ]]; then
    value=$(without_line_ends "$path")
    if (($(printf %s "$value" | wc -c) > LONGEST_VALUE)); then
      wrong="which is longer than $LONGEST_VALUE bytes; add as: file"
    elif (($(tr -d '\0' <"$path" | wc -c) < $(wc -c <"$path"))); then
      wrong="which has NUL characters, as no variable can; add as: file"
    fi
  fi
  if [[ $wrong ]]; then
    problem "$4secrets: $name is in $3, $wrong"
  else
    USER_VALUES+=("$name=$value")
  fi
}

# what_is_wrong_with_secret PATH SHOWN: prints it, as it follows after `is in SHOWN,`; nothing if all is right.
what_is_wrong_with_secret() {
  local mode project
  if [[ ! -e $1 ]]; then
    echo 'which cannot be read: No such file or directory; correct it'
  elif [[ ! -f $1 ]]; then
    echo 'which is no regular file; correct it'
  elif [[ ! -r $1 ]]; then
    echo 'which cannot be read: Permission denied; correct it'
  else
    mode=$(stat --dereference --format=%a -- "$1")
    project=$(cd -- "$PROJECT_PATH" && pwd -P)
    if (((8#$mode & 8#77) != 0)); then
      echo "which others may read (mode $mode); chmod 600 $2"
    elif [[ $(readlink -f -- "$1") == "$project"/* ]]; then
      echo 'in the project, which goes to every host; put it elsewhere'
    elif (($(tr -d '\r\n' <"$1" | wc -c) == 0)); then
      echo 'which is empty; write it there'
    fi
  fi
}

# without_line_ends FILE: prints its content without line ends at its end, and without NULs.
without_line_ends() {
  local content
  content=$(tr -d '\0' <"$1")
  while [[ $content == *[$'\r\n'] ]]; do
    content=${content%?}
  done
  printf %s "$content"
}

# names_of_user_values: prints the names, separated by commas.
names_of_user_values() {
  local names
  names=$(join_by_comma "${USER_VALUES[@]%%=*}")
  printf '%s\n' "${names//,/, }"
}

# values_directory HOST: prints the directory of this project's values there.
values_directory() {
  local directory
  directory=$(secrets_directory "$1" runner)
  printf '%s/%s\n' "$directory" "$PROJECT_NAME"
}

# send_user_values HOST: a runner that is there uses them for attempts that start from now on.
send_user_values() {
  local host=$1 directory root name
  root=$(root_of "$host")
  directory=$(values_directory "$host")
  [[ ${#USER_VALUES[@]} == 0 ]] || step "${HOST_NAMES[host]}" "sending values for tasks: $(names_of_user_values)"
  make_directories "$host" -- \
    "$root/secrets" "$root/secrets/$INFRASTRUCTURE" "${directory%/*}" "$directory" "$directory/files"
  for name in "${!USER_FILES[@]}"; do
    change_host_stdin "$host" sh -c "$REPLACE_SCRIPT" replace "$directory/files/$name" <"${USER_FILES[$name]}"
  done
  print_user_values | change_host_stdin "$host" sh -c "$REPLACE_SCRIPT" replace "$directory/values"
  change_host "$host" sh -c "$KEEP_ONLY_SCRIPT" keep "$directory/files" "${!USER_FILES[@]}"
}

print_user_values() {
  [[ ${#USER_VALUES[@]} == 0 ]] || print_words "${USER_VALUES[@]}"
}

# forget_other_values HOST: removes those of other projects, which this infrastructure does not run any more.
forget_other_values() {
  local directory
  directory=$(secrets_directory "$1" runner)
  change_host "$1" sh -c "$KEEP_ONLY_SCRIPT" keep "$directory" "$PROJECT_NAME"
}

# check_values_place HOST: fails if there are values for the host, and its runner cannot see them.
check_values_place() {
  local found
  [[ ${#USER_VALUES[@]} -gt 0 ]] || return 0
  found=$(find_values_place "$1")
  [[ $found ]] ||
    die "${HOST_NAMES[$1]}: an earlier version of this tool has started its runner, which cannot get $(names_of_user_values): $(our_command infrainit.sh -f)"
}

# update_user_values HOST: sends what there is now, unless its runner cannot see it.
update_user_values() {
  local found
  found=$(find_values_place "$1")
  [[ ! $found ]] || send_user_values "$1"
}

# find_values_place HOST: prints yes if there is a directory for this project's values.
find_values_place() {
  local directory
  directory=$(values_directory "$1")
  # shellcheck disable=SC2016 # expands over there
  on_host "$1" sh -c '[ ! -d "$1" ] || echo yes' find "$directory"
}
