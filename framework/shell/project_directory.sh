# shellcheck shell=bash
# The directory of a project: where it is, which file says what runs, and which of its entries belong to the project.

PROJECT_PATH='' # absolute
PROJECT_NAME='' # the last part of it
readonly EXCLUDED_FILES=$CHECKOUT/framework/project/excluded_files

# find_project: sets PROJECT_PATH and PROJECT_NAME from -d; leaves them empty if there is no such directory.
find_project() {
  local path=$PROJECT
  [[ $path ]] || return 0
  if [[ $path != /* ]]; then
    path=$CHECKOUT/tasks/$path
  fi
  [[ -d $path ]] || return 0
  PROJECT_PATH=$(cd -- "$path" && pwd) # of a link, its own name
  PROJECT_NAME=$(basename -- "$PROJECT_PATH")
}

# check_project_directory: records what is wrong with -d. The framework itself checks a project's content later.
check_project_directory() {
  local file files resolved
  if [[ ! $PROJECT ]]; then
    problem "-d is missing: which project is to be run?"
    return 0
  elif [[ ! $PROJECT_PATH ]]; then
    problem "-d: there is no directory $PROJECT, nor one of that name under $CHECKOUT/tasks"
    return 0
  fi
  if [[ $PROJECT_NAME == *[[:cntrl:]]* || $PROJECT_PATH == / ]]; then
    problem "-d: $(quote "$PROJECT_NAME") cannot be a project's name"
  fi
  resolved=$(cd -- "$PROJECT_PATH" && pwd -P)
  if [[ $CHECKOUT/ == "$resolved"/* ]]; then
    problem "-d: $PROJECT_PATH holds this copy of the tool ($CHECKOUT), whose passwords and keys would go to every host; put one of them elsewhere"
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

# settings_of_project: prints the name of the file that says what runs: project.yml, or a W&B sweep file in its place.
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

# exclusion_options: prints tar's options that leave out what excluded_files names, each ended by a NUL.
exclusion_options() {
  local kind pattern
  printf '%s\0' --no-wildcards-match-slash
  while read -r kind pattern; do
    case $kind in
      '' | '#'*) ;;
      anywhere) printf '%s\0' --no-anchored "--exclude=$pattern" ;;
      top) printf '%s\0' --anchored "--exclude=./$pattern" ;;
      holding)
        # In the project's own directory such a file would make tar leave out everything.
        [[ -e $PROJECT_PATH/$pattern ]] || printf '%s\0' "--exclude-tag-all=$pattern"
        ;;
      *) die "$EXCLUDED_FILES: $kind is no kind of rule" ;;
    esac
  done <"$EXCLUDED_FILES"
}

# environments_of_project: prints the virtual environments at the top of the project, separated by commas.
environments_of_project() {
  local file found=()
  for file in "$PROJECT_PATH"/{*,.*}/pyvenv.cfg; do
    file=${file%/pyvenv.cfg}
    [[ ! -e $file/pyvenv.cfg || -L $file || $file == */. || $file == */.. ]] || found+=("${file##*/}")
  done
  join_by_comma "${found[@]}"
}
