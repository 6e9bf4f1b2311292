# shellcheck shell=bash
# The image that a project's tasks run in: Debian with Python, the project's image:, or what its build: makes, with layers on it for
# packages: and for requirements.txt. The staged project is what they are made of; read_needs has read it.

# make_runner_image: prints its name. An image of the user's that has all it needs is used as it is.
make_runner_image() {
  local name image=$PROJECT_IMAGE base
  name=infrainit-runner-$(image_name_of_project)
  if [[ ${NEEDS[build]:-} ]]; then
    image=$(make_built_image) || return
    if is_to_be_built "$image"; then
      return
    fi
  fi
  if [[ ! $image ]]; then
    base=$(make_usual_runner) || return
  else
    get_image "$image" || return
    if has_python "$image"; then
      base=$image
    else
      base=$(build_image "$name" "$image" stage_python) || return
    fi
  fi
  if [[ ${NEEDS[package]:-} ]]; then
    base=$(build_image "$name" "$base" stage_debian_packages) || return
    if is_to_be_built "$base"; then
      return
    fi
  fi
  if needs_pip; then
    build_image "$name" "$base" stage_requirements --build-arg "WORKER=$WORKER_IMAGE_ID"
  elif [[ $base == "$image" ]]; then
    make_name_for "$image" "$name"
  else
    printf '%s\n' "$base"
  fi
}

# is_to_be_built IMAGE: with NAMES_ONLY, is an image missing on which others are to be made? Prints its name then, in place of theirs.
is_to_be_built() {
  [[ $NAMES_ONLY ]] && ! has_image 0 "$1" && printf '%s\n' "$1"
}

# image_name_of_project: prints the project's name with only the characters that Docker allows.
image_name_of_project() {
  local name=${PROJECT_NAME,,}
  name=${name//[!a-z0-9]/-}
  shopt -s extglob
  name=${name//+(-)/-}
  name=${name#-}
  name=${name%-}
  printf '%s\n' "${name:-project}"
}

# make_built_image: builds what the project's Dockerfile says, unless that was done with the same files; prints its name.
make_built_image() {
  local inputs image options
  inputs=$(digest_copied) || return
  image=infrainit-built-$(image_name_of_project):${inputs:0:12}
  options=(--tag "$image" --label "infrainit.inputs=$inputs" --file "$STAGE/project/${NEEDS[build]}")
  if [[ $REFRESH ]]; then
    options+=(--no-cache)
  fi
  if [[ ! $NAMES_ONLY ]] && { [[ $REFRESH ]] || ! has_image 0 "$image"; }; then
    run_long "building $image, by the project's ${NEEDS[build]}" docker_build "$STAGE/project" "${options[@]}" ||
      die "build: the image of the project's ${NEEDS[build]} cannot be built; see above"
  fi
  printf '%s\n' "$image"
}

# digest_copied: prints a digest of the files that the Dockerfile copies. Two that say what runs do not count, which change often.
digest_copied() {
  local paths
  mapfile -t paths <<<"${NEEDS[copied]}"
  (
    cd "$STAGE/project" || exit
    printf '%s\n' "${NEEDS[build]}"
    print_inputs --anchored --exclude=./{,./}{project,parameters}.yml "${paths[@]/#/./}"
  ) | digest
}

stage_debian_packages() {
  cp -- "$CHECKOUT"/docker/runner/debian/* "$1" &&
    printf '%s\n' "${NEEDS[package]}" >"$1/packages"
}

# needs_pip: a dry run has not read the project.
needs_pip() {
  [[ ${NEEDS[dependency]:-}${NEEDS[requirements]:-} || ($DRY_RUN && -e $STAGE/project/requirements.txt) ]]
}

stage_requirements() {
  local key paths=()
  for key in requirements local; do
    if [[ ${NEEDS[$key]:-} ]]; then
      mapfile -t -O "${#paths[@]}" paths <<<"${NEEDS[$key]}"
    fi
  done
  cp -- "$CHECKOUT"/docker/runner/packages/{Dockerfile,explain_failure.py,install_packages.py} "$1" &&
    stage_certificates "$1/certificates" &&
    stage_pip_certificates "$1/certificates" &&
    mkdir -- "$1/project" "$1/settings" &&
    printf %s "${NEEDS[requirements]:+${NEEDS[requirements]}$'\n'}" >"$1/requirement_files" || return
  if ((${#paths[@]} > 0)); then
    (cd "$STAGE/project" && cp --recursive -H --parents -- "${paths[@]/#/./}" "$1/project") || return
  fi
  if [[ ${NEEDS[dependency]:-} ]]; then
    printf '%s\n' "${NEEDS[dependency]}" >"$1/dependencies.txt" || return
  fi
  if [[ ${NEEDS[variable]:-} ]]; then
    printf '%s\n' "${NEEDS[variable]}" >"$1/settings/variables"
  fi
}
