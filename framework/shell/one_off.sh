# shellcheck shell=bash
# Containers that run once: the framework checks a project, or rebuilds a journal.

# validate_project_in_image: runs the framework's check of the staged project in the worker image. If the project is invalid, the
# framework shows what is wrong, and the program ends with 2.
validate_project_in_image() {
  local options code=0
  read_words options plan_options
  change_docker 0 run "${options[@]}" | printable >&2 || code=$?
  case $code in
    0) ;;
    2) usage_error "the project $PROJECT_PATH cannot be run; the errors to correct are above" ;;
    *) die "the project $PROJECT_PATH could not be checked in the image $WORKER_IMAGE_ID (exit code $code); see above" ;;
  esac
}

# recover_journal HOST: runs the framework's recovery on the files in recovered/ in the master's data directory.
recover_journal() {
  local options
  read_words options recover_options "$1"
  change_docker "$1" run "${options[@]}" | printable >&2 || die "${HOST_NAMES[$1]}: the journal could not be rebuilt; see above"
}
