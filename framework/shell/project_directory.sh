# shellcheck shell=bash
# The directory of a project: where it is, and which file says what runs.

PROJECT_SOURCE='' # what -d names, absolute: the project's directory, or a W&B sweep file
PROJECT_NAME=''   # the last part of it; of a file, without its ending
SWEEP_FILE=''     # the W&B sweep file that says what runs; empty: project.yml does
PROJECT_PATH=''   # the project's directory, absolute; empty until find_root has found that of SWEEP_FILE

# find_project: sets these from -d and --root; leaves them empty if there is no such directory or sweep file.
find_project() {
  local path=$PROJECT
  PROJECT_SOURCE='' PROJECT_NAME='' SWEEP_FILE='' PROJECT_PATH=''
  [[ $path ]] || return 0
  if [[ $path != /* ]]; then
    path=$CHECKOUT/tasks/$path
  fi
  if [[ -d $path ]]; then
    PROJECT_SOURCE=$(cd -- "$path" && pwd) # of a link, its own name
  elif [[ -f $path ]] && is_sweep_name "$path"; then
    PROJECT_SOURCE=$(cd -- "$(dirname -- "$path")" && pwd)/${path##*/}
  else
    return 0
  fi
  name_project
  if [[ ! $SWEEP_FILE ]]; then
    PROJECT_PATH=$PROJECT_SOURCE
  elif [[ -d $ROOT ]]; then
    PROJECT_PATH=$(cd -- "$ROOT" && pwd -P)
  fi
}

# name_project: sets PROJECT_NAME and SWEEP_FILE from PROJECT_SOURCE, of which a file need not be there any more.
name_project() {
  local file
  PROJECT_NAME=${PROJECT_SOURCE##*/} SWEEP_FILE=''
  if [[ ! -d $PROJECT_SOURCE ]]; then
    if is_sweep_name "$PROJECT_SOURCE"; then
      SWEEP_FILE=$PROJECT_SOURCE
      PROJECT_NAME=${PROJECT_NAME%.*}
    fi
  elif [[ ! -e $PROJECT_SOURCE/project.yml ]]; then
    for file in sweep.yaml sweep.yml; do
      if [[ -e $PROJECT_SOURCE/$file ]]; then
        SWEEP_FILE=$PROJECT_SOURCE/$file
        return
      fi
    done
  fi
}

# is_sweep_name PATH: has it the name of a W&B sweep file?
is_sweep_name() {
  [[ ${1##*/} == ?*.@(yaml|yml|json) ]]
}

# shipped_projects: prints the names of the projects under tasks/, for the end of a message.
shipped_projects() {
  local file names=''
  for file in "$CHECKOUT"/tasks/*/project.yml; do
    [[ ! -e $file ]] || names+="${names:+, }$(basename -- "$(dirname -- "$file")")"
  done
  printf '%s\n' "${names:+; there are $names}"
}

# check_project_directory: records what is wrong with -d and --root. The framework itself checks a project's content later.
check_project_directory() {
  local file
  if [[ ! $PROJECT ]]; then
    problem "-d is missing: which project is to be run?$(shipped_projects)"
    return 0
  elif [[ ! $PROJECT_SOURCE ]]; then
    problem "-d: there is no directory or W&B sweep file (.yaml, .yml, .json) $PROJECT, nor a directory of that name under $CHECKOUT/tasks$(shipped_projects)"
    return 0
  fi
  if [[ $PROJECT_NAME == *[[:cntrl:]]* || $PROJECT_SOURCE == / ]]; then
    problem "-d: $(quote "$PROJECT_NAME") cannot be a project's name"
  fi
  if [[ $SWEEP_FILE ]]; then
    check_sweep_file
    return
  fi
  [[ ! $ROOT ]] || problem "--root: goes with a W&B sweep file, and $PROJECT_SOURCE is none; leave it out"
  check_holds_no_tool "$PROJECT_PATH"
  for file in project.yml parameters.yml; do
    if [[ ! -r $PROJECT_PATH/$file ]]; then
      problem "-d: the project $PROJECT_PATH has no readable $file"
    fi
  done
}

check_sweep_file() {
  if [[ ! -r $SWEEP_FILE ]]; then
    problem "-d: $SWEEP_FILE cannot be read"
  fi
  if [[ ! $ROOT ]]; then
    check_holds_no_tool "$(dirname -- "$SWEEP_FILE")"
  elif [[ ! $PROJECT_PATH ]]; then
    problem "--root: there is no directory $ROOT; it is the one that the path of the sweep's program begins in"
  else
    check_root
  fi
}

# check_root: records what is wrong with the directory of the sweep file's project.
check_root() {
  local path
  check_holds_no_tool "$PROJECT_PATH"
  path=$(sweep_path)
  if [[ $PROJECT_PATH == / ]]; then
    problem "--root: / cannot be a project"
  elif [[ ! $path ]]; then
    problem "--root: $SWEEP_FILE is not in $PROJECT_PATH; copy it there, as the sweep belongs to its project"
  elif [[ $path == *[[:cntrl:]]* ]]; then
    problem "-d: $(quote "$path") cannot be the path of a sweep file"
  fi
}

# check_holds_no_tool DIRECTORY: records a problem if the project DIRECTORY holds this copy of the tool.
check_holds_no_tool() {
  if holds_tool "$(cd -- "$1" && pwd -P)"; then
    problem "-d: $1 holds this copy of the tool ($CHECKOUT), whose passwords and keys would go to every host; put one of them elsewhere"
  fi
}

# holds_tool DIRECTORY: is this copy of the tool below it? DIRECTORY is without links.
holds_tool() {
  [[ $CHECKOUT/ == "${1%/}"/* ]]
}

# sweep_path: prints the path of the sweep file from the project's directory; empty if it is not in it.
sweep_path() {
  local directory
  directory=$(cd -- "$(dirname -- "$SWEEP_FILE")" && pwd -P)/
  if [[ $directory == "$PROJECT_PATH"/* ]]; then
    printf '%s\n' "${directory#"$PROJECT_PATH"/}${SWEEP_FILE##*/}"
  fi
}

# search_top DIRECTORY: prints the highest directory, from DIRECTORY upwards, that can be the project of a sweep file in it: that of
# the git repository, or without one the current directory if DIRECTORY is in it; but none that holds this tool. DIRECTORY and what is
# printed are without links. framework/configuration/program_root.py searches up to the same.
search_top() {
  local directory=$1 below=$1 top=$1 here
  here=$(pwd -P)
  while true; do
    holds_tool "$directory" || below=$directory
    if [[ -e $directory/.git ]]; then
      printf '%s\n' "$below"
      return
    fi
    [[ $directory != "$here" ]] || top=$below
    [[ $directory != / ]] || break
    directory=$(dirname -- "$directory")
  done
  printf '%s\n' "$top"
}
