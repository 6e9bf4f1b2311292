# shellcheck shell=bash
# Images: built on this machine, once for the same inputs, and sent to the hosts that lack them.
#
#   infrainit-base:SUITE                 minimal Debian; trixie has Python 3.13, forky has RabbitMQ 4.3
#   infrainit-broker:INPUTS
#   infrainit-worker:INPUTS              ours, the same for all projects, with or without Optuna: worker, master and Flower
#   infrainit-runner[-PROJECT]:INPUTS    the user's, in which tasks run: see project_image.sh
#   infrainit-tunnel:INPUTS              ssh, for worker hosts that reach the broker through it
#
# INPUTS is a digest of everything that the image is built from: the same name is the same image, on every host.

# The names of the images to run. Docker's ids would not do: an engine that keeps its images in containerd uses different ones.
BROKER_IMAGE_ID=''
WORKER_IMAGE_ID=''
RUNNER_IMAGE_ID=''
TUNNEL_IMAGE_ID=''
USUAL_RUNNER='' # that of projects that name nothing, once it is made; others are made of it

EARLY_BROKER='' # not empty: send_images starts the broker
NAMES_ONLY=''   # not empty: build and pull nothing; what is made of an image that is not here has no name

readonly SAMPLE_BYTES=4194304
readonly SLOW_LINE=$((16 * 1024 * 1024)) # bytes a second

# build_our_images: sets BROKER_IMAGE_ID (if there is a master host), WORKER_IMAGE_ID and TUNNEL_IMAGE_ID (if there are tunnels).
build_our_images() {
  if [[ $MASTER_HOST ]]; then
    BROKER_IMAGE_ID=$(make_broker_image)
  fi
  if [[ ! $WORKER_IMAGE ]]; then
    USUAL_RUNNER=$(make_usual_runner)
  fi
  WORKER_IMAGE_ID=$(make_worker_image stage_worker)
  if [[ $(tunnelled_hosts) ]]; then
    TUNNEL_IMAGE_ID=$(make_tunnel_image)
  fi
}

# add_optuna: sets WORKER_IMAGE_ID to the image that has it, if the project needs it.
add_optuna() {
  if [[ $NEEDS_OPTUNA ]]; then
    WORKER_IMAGE_ID=$(make_worker_image stage_adaptive_worker)
  fi
}

# build_runner_image: sets RUNNER_IMAGE_ID.
build_runner_image() {
  RUNNER_IMAGE_ID=$(make_runner_image)
}

# send_images HOST: sends the images that its containers need; the broker's in front, if it is to start meanwhile.
send_images() {
  local images=("$WORKER_IMAGE_ID")
  if [[ $1 == "$MASTER_HOST" && $EARLY_BROKER ]]; then
    send_missing "$1" "$BROKER_IMAGE_ID"
    start_broker "$1"
  fi
  if [[ $1 == "$MASTER_HOST" ]]; then
    images+=("$BROKER_IMAGE_ID")
  fi
  if is_one_of "$1" "${WORKER_HOSTS[@]}"; then
    images+=("$RUNNER_IMAGE_ID")
  fi
  if is_tunnelled "$1"; then
    images+=("$TUNNEL_IMAGE_ID")
  fi
  send_missing "$1" "${images[@]}"
}

# The functions called make_… print the name of the image.

make_broker_image() {
  if [[ $BROKER_IMAGE ]]; then
    make_name_for "$BROKER_IMAGE" infrainit-broker
  else
    build_base forky
    build_image infrainit-broker infrainit-base:forky stage_broker
  fi
}

# make_worker_image STAGE: with the layers of the usual runner below its own, so that hosts keep them once.
make_worker_image() {
  local base
  if [[ $WORKER_IMAGE ]]; then
    make_name_for "$WORKER_IMAGE" infrainit-worker
  else
    base=$(make_usual_runner)
    build_image infrainit-worker "$base" "$1"
  fi
}

make_usual_runner() {
  if [[ $USUAL_RUNNER ]]; then
    printf '%s\n' "$USUAL_RUNNER"
  else
    build_base trixie
    build_image infrainit-runner infrainit-base:trixie stage_python
  fi
}

make_tunnel_image() {
  local base
  base=$(make_usual_runner) # hosts have its layers already
  build_image infrainit-tunnel "$base" stage_tunnel
}

# has_python IMAGE: can the image run the runner, with python3 in its PATH? If not, and apt-get cannot install it, ends the program.
has_python() {
  local code=0
  try_in_image "$1" python3 -c 'import asyncio, json, socket, subprocess, sys; sys.exit(sys.version_info < (3, 8))' || code=$?
  case $code in
    0) return 0 ;;
    125) die "the image $1 cannot be run on this machine; see above" ;;
  esac
  try_in_image "$1" apt-get --version ||
    die "image: $1 has no python3 of 3.8 or newer in its PATH, and no apt-get to install one: add Python to the image, or name another"
  return 1
}

# try_in_image IMAGE PROGRAM ARGUMENT…: fails as PROGRAM does; with 125 if Docker itself fails, whose reason is shown then.
try_in_image() {
  local options message code=0
  read_words options trial_options "$@"
  message=$(change_docker 0 run "${options[@]}" 2>&1) || code=$?
  if [[ $DRY_RUN ]] || ((code == 125)); then
    printf '%s\n' "$message" >&2
  fi
  return "$code"
}

# make_name_for IMAGE NAME: tags an image of the user's with a name that changes when IMAGE does.
make_name_for() {
  local image=$1 name digest
  get_image "$image" || return
  # In a dry run it may be missing.
  digest=$({ image_content 0 "$image" 2>/dev/null || true; } | sha256sum)
  name=$2:${digest:0:12}
  [[ $NAMES_ONLY ]] || change_docker 0 tag "$image" "$name"
  printf '%s\n' "$name"
}

# has_image HOST IMAGE: if Docker fails for another reason, the next step reports that reason.
has_image() {
  docker_on "$1" image inspect --format '{{.Id}}' "$2" >/dev/null 2>&1
}

# get_image IMAGE: pulls an image of the user's unless this engine has it.
get_image() {
  if has_image 0 "$1"; then
    return 0
  fi
  [[ ! $NAMES_ONLY ]] || return
  run_long "pulling $1" change_docker 0 pull "$1" ||
    die "the image $1 is not on this machine and cannot be pulled; see above"
}

# image_content HOST IMAGE: prints the digests of its layers, which are the same on all engines.
image_content() {
  docker_on "$1" image inspect --format '{{.Architecture}} {{json .RootFS.Layers}}' "$2"
}

# The base

# build_base SUITE: makes infrainit-base:SUITE once, from a registry, or else from the Debian mirror.
build_base() {
  local suite=$1
  if [[ $NAMES_ONLY ]] || has_image 0 "infrainit-base:$suite"; then
    return 0
  fi
  # A mirror in config.sh means that the usual places are out of reach.
  if [[ ! $DEBIAN_MIRROR ]] && pull_base "$suite"; then
    return
  fi
  ensure_debootstrap
  run_long "bootstrapping Debian $suite from $(debian_mirror)" bootstrap_base "$suite" ||
    die "Debian $suite cannot be installed from $(debian_mirror); see above, and DEBIAN_MIRROR in config.sh.example"
}

# renew_bases: makes the base images anew that are older than BASE_DAYS, or all of them with --refresh. Images that are built on one get
# other names when its layers have changed, so that hosts get them and containers are replaced. No running task begins again for updates
# that nobody has asked for: while a master of this infrastructure runs, the age is only said.
renew_bases() {
  local suite days suites=(trixie)
  if [[ $MASTER_HOST && ! $BROKER_IMAGE ]]; then
    suites+=(forky)
  fi
  for suite in "${suites[@]}"; do
    has_image 0 "infrainit-base:$suite" || continue
    days=$(days_of_image "infrainit-base:$suite")
    if [[ $REFRESH ]]; then
      renew_base "$suite" "$days"
    elif ((BASE_DAYS == 0 || days <= BASE_DAYS)); then
      continue
    elif may_master_run; then
      say "local: the base image of Debian $suite is $days days old; --refresh renews it, and replaces the containers"
    else
      renew_base "$suite" "$days"
    fi
  done
}

# may_master_run: does a master of this infrastructure run, or can that not be known?
may_master_run() {
  local state
  [[ $PRESENT_MASTER_HOST ]] || return 1
  is_reachable "$PRESENT_MASTER_HOST" || return 0
  state=$(container_state "$PRESENT_MASTER_HOST" master) || return 0
  [[ $state == running* ]]
}

# renew_base SUITE DAYS: without a network the old one stays.
renew_base() {
  if [[ ! $DEBIAN_MIRROR ]] && pull_base "$1"; then
    return
  fi
  if [[ -e /usr/share/debootstrap/functions ]] &&
    run_long "bootstrapping Debian $1 from $(debian_mirror)" bootstrap_base "$1"; then
    return
  fi
  warn "the base image of Debian $1 is $2 days old and cannot be renewed; it is used as it is"
}

# days_of_image IMAGE: prints its age on this machine.
days_of_image() {
  local created seconds
  created=$(docker_on 0 image inspect --format '{{.Created}}' "$1")
  [[ $created =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[-+][0-9:]+)$ ]] || unreadable 0 "$created"
  seconds=$(date --date="$created" +%s)
  printf '%s\n' $((($(date +%s) - seconds) / 86400))
}

# pull_base SUITE: if no registry answers, the engine gives up after 30 s.
pull_base() {
  run_long "asking the registry for debian:$1-slim" change_docker 0 pull --quiet "debian:$1-slim" &&
    change_docker 0 tag "debian:$1-slim" "infrainit-base:$1"
}

# bootstrap_base SUITE: it gets its name when it is complete; an archive that breaks off makes an image, too.
bootstrap_base() {
  local code=0
  run_as_root sh "$CHECKOUT/docker/base.sh" "$1" "$(debian_mirror)" |
    change_host_stdin 0 docker import \
      --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
      --change 'CMD ["/bin/sh"]' \
      - "infrainit-base:$1-incomplete" &&
    change_docker 0 tag "infrainit-base:$1-incomplete" "infrainit-base:$1" || code=$?
  if has_image 0 "infrainit-base:$1-incomplete"; then
    change_docker 0 image rm "infrainit-base:$1-incomplete" >/dev/null || true # another image of that content is not in the way
  fi
  return "$code"
}

# debian_mirror: prints that of config.sh, or the one that this machine uses if it runs Debian, or deb.debian.org.
debian_mirror() {
  local mirror=$DEBIAN_MIRROR
  if [[ ! $mirror ]] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2016 # apt-get's own expression
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
      grep -E '^https?://.*/debian/?$' | sed -n 1p) || true # nothing found
  fi
  mirror=${mirror:-http://deb.debian.org/debian}
  printf '%s\n' "${mirror%/}"
}

# ensure_debootstrap: installs it on this machine if it is missing and the user agrees.
ensure_debootstrap() {
  if [[ -e /usr/share/debootstrap/functions ]]; then
    return
  fi
  command -v apt-get >/dev/null ||
    die "no registry answers, and this machine has no debootstrap to build the base image from: install it"
  [[ $ASSUME_YES || $DRY_RUN ]] || confirm "install debootstrap on this machine, to build the base image?" ||
    die "no registry answers, and this machine has no debootstrap to build the base image from: apt-get install debootstrap, or -y"
  run_long "installing debootstrap" install_debootstrap || die "debootstrap cannot be installed; see above"
}

install_debootstrap() {
  run_as_root apt-get -q update || true # another source of packages may be out of order
  run_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends debootstrap gpgv wget
}

# Building

# build_image NAME BASE STAGE [OPTION…]: builds an image from the files that the function STAGE puts into a directory, unless it
# exists already; prints NAME:INPUTS. Settings of pip, for a STAGE that makes the directory settings, are no part of INPUTS.
build_image() (
  base=$2
  if [[ $NAMES_ONLY ]]; then
    has_image 0 "$base" || exit
  fi
  context=$(mktemp -d) build=''
  trap 'remove_build "$context" "$build"' EXIT
  "$3" "$context" || exit
  set_modes "$context" || exit
  inputs=$(digest_inputs "$context" "$base") || exit
  image=$1:${inputs:0:12}
  if [[ ! $NAMES_ONLY ]] && ! has_image 0 "$image"; then
    if [[ -d $context/settings ]]; then
      stage_pip_settings "$context/settings" || exit
    fi
    build=${context##*/}
    run_long "building $image" docker_build "$context" \
      --tag "$image" \
      --label "infrainit.inputs=$inputs" \
      --build-arg "BASE=$base" \
      --build-arg "BUILD=$build" \
      "${@:4}" ||
      die "the image $image cannot be built; see above"
  fi
  printf '%s\n' "$image"
)

# docker_build DIRECTORY OPTION…: proxies are used, and none of them stays in the image.
docker_build() {
  local options=("${@:2}") name
  # Without a value docker takes it from the environment: an address may hold a password.
  for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY; do
    if [[ ${!name:-} ]]; then
      options+=(--build-arg "$name")
    fi
  done
  # Of the builders that somebody may have set up, only the engine's own knows local base images.
  BUILDX_BUILDER=$(docker_on 0 context inspect --format '{{.Name}}') || return
  export BUILDX_BUILDER BUILDX_NO_DEFAULT_ATTESTATIONS=1 # attestations make an archive that older engines do not load
  change_docker 0 build "${options[@]}" --force-rm "$1"
}

# remove_build DIRECTORY BUILD: removes the build context and what the engine keeps of the stages of BUILD, which may hold settings of
# pip. What a stage was made of is recognised by its label.
remove_build() {
  local found ids id
  rm -rf -- "$1"
  [[ $2 && ! $DRY_RUN ]] || return 0
  found=$(docker_on 0 images --quiet --no-trunc --filter dangling=true --filter "label=infrainit.build=$2") || return 0
  [[ $found ]] || return 0
  mapfile -t ids <<<"$found"
  for id in "${ids[@]}"; do
    [[ $id =~ ^sha256:[0-9a-f]{64}$ ]] || unreadable 0 "$id"
    change_docker 0 image rm "$id" >/dev/null || true # the next build is not in its way
  done
}

# set_modes DIRECTORY: an image is for any user, whatever the umask was when this checkout was made, or is now.
set_modes() {
  chmod -R u=rwX,go=rX -- "$1"
}

# digest_inputs DIRECTORY BASE: prints a digest of the files, their modes, and the base image.
digest_inputs() {
  (
    cd "$1" || exit
    print_inputs .
    image_content 0 "$2" 2>/dev/null || true # in a dry run it may be missing
  ) | digest
}

# print_inputs PATH…: prints, for a digest, all that counts of files and directories in the current one: their content, modes, and where
# links lead. Options of tar may come first.
print_inputs() {
  tar --create --file - --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --hard-dereference \
    --warning=no-file-changed "$@" || (($? == 1)) # what changes meanwhile was read before or after that
}

stage_broker() {
  cp -- "$CHECKOUT"/docker/broker/{Dockerfile,install_broker} "$1"
}

stage_worker() {
  cp -- "$CHECKOUT"/docker/worker/{Dockerfile,framework,install_packages,requirements.txt,requirements-page.txt} "$1" &&
    mkdir -- "$1/settings"
}

# stage_adaptive_worker DIRECTORY: with Optuna.
stage_adaptive_worker() {
  stage_worker "$1" &&
    cat -- "$CHECKOUT/docker/worker/requirements-adaptive.txt" >>"$1/requirements.txt"
}

stage_tunnel() {
  cp -- "$CHECKOUT"/docker/tunnel/{Dockerfile,install_ssh,relay.py} "$1"
}

stage_python() {
  cp -- "$CHECKOUT"/docker/runner/python/* "$1" &&
    stage_certificates "$1/certificates"
}

# stage_certificates DIRECTORY: makes it, and copies the authorities that were added to this machine, such as a company's, so that the
# build reaches package indexes as this machine does.
stage_certificates() {
  local file bundle=${SSL_CERT_FILE:-}
  mkdir -- "$1" || return
  for file in /usr/local/share/ca-certificates/*.crt /usr/local/share/ca-certificates/*/*.crt; do
    if [[ -e $file ]]; then
      cp -- "$file" "$1" || return
    fi
  done
  if [[ -s $bundle && ! $bundle -ef /etc/ssl/certs/ca-certificates.crt ]]; then
    cp -- "$bundle" "$1/SSL_CERT_FILE.crt"
  fi
}

# Sending

# send_missing HOST IMAGE…: streams those that the host lacks, as one archive: what they share is in it once.
send_missing() {
  local host=$1 name=${HOST_NAMES[$1]} image missing=()
  if ((host == 0)); then
    return
  fi
  for image in "${@:2}"; do
    if [[ $DRY_RUN ]]; then
      show_on "$name" docker load "(with $image, if it is not there)"
    elif ! is_same_image "$host" "$image"; then
      missing+=("$image")
    fi
  done
  ((${#missing[@]} > 0)) || return 0
  check_host_for_images "$host" "${missing[@]}"
  step "$name" "sending the image ${missing[*]}"
  print_archive "$host" "${missing[@]}" | change_host_stdin "$host" docker load >/dev/null ||
    die "$name: sending the image ${missing[*]} failed; see above, and run this again"
  for image in "${missing[@]}"; do
    is_same_image "$host" "$image" || {
      change_docker "$host" image rm "$image" >/dev/null
      die "$name: the image $image did not arrive whole; run this again"
    }
  done
}

# is_same_image HOST IMAGE: does the host have this image, with the same layers?
is_same_image() {
  local here
  here=$(image_content 0 "$2") && [[ $(image_content "$1" "$2" 2>/dev/null) == "$here" ]]
}

# check_host_for_images HOST IMAGE…: ends the program unless the host has the images' architecture, and room for all of them.
check_host_for_images() {
  local host=$1 image name=${HOST_NAMES[$1]} here there directory size total=0 free
  there=$(docker_on "$host" version --format '{{.Server.Arch}}')
  [[ $there =~ ^[a-z0-9_]+$ ]] || unreadable "$host" "$there"
  for image in "${@:2}"; do
    here=$(docker_on 0 image inspect --format '{{.Architecture}}' "$image")
    [[ $here == "$there" ]] ||
      die "$name: is $there, but the image $image is for $here; run this from a $there machine, or leave the host out of -a"
    size=$(docker_on 0 image inspect --format '{{.Size}}' "$image")
    is_number "$size" || unreadable 0 "$size"
    total=$((total + size))
  done
  directory=$(docker_on "$host" info --format '{{.DockerRootDir}}')
  [[ $directory == /* && $directory != *[[:cntrl:]]* ]] || unreadable "$host" "$directory"
  free=$(on_host "$host" df --portability --block-size=1 -- "$directory" | awk 'NR == 2 { print $4 }')
  is_number "$free" || unreadable "$host" "$free"
  # The engine unpacks the archive first, and then keeps the layers: twice its size, and something to go on with.
  ((free > 3 * total)) ||
    die "$name: $directory has $((free >> 20)) MiB free, and the image ${*:2} takes $((3 * total >> 20)) MiB to load; make room there"
}

# print_archive HOST IMAGE…: prints the images as one archive; docker load recognises by itself whether it is compressed. That is worth its
# time on a slow line only, and where several hosts get the same images it is done once, if there is room for it.
print_archive() {
  local name file size
  size=$(size_of_images 0 "${@:2}" 2>/dev/null) || size=0 # it is only shown
  if ! command -v gzip >/dev/null || ! is_slow_line "$1"; then
    docker_on 0 save "${@:2}" | count_bytes "$1" "$size"
    return
  fi
  name=$(sha256sum <<<"${*:2}")
  file=$STAGE/images.${name:0:12}.gz
  (
    flock 9
    [[ -e $file || -e $file.none ]] || make_archive "$file" "${@:2}"
  ) 9>"$file.lock" || return
  if [[ -e $file ]]; then
    size=$(stat --format %s -- "$file")
    count_bytes "$1" "$size" <"$file"
  else
    docker_on 0 save "${@:2}" | count_bytes "$1" "$size" | gzip --fast
  fi
}

# make_archive FILE IMAGE…: makes FILE if it is for several hosts, and fits; if not, FILE.none.
make_archive() {
  local size total=0 image free
  for image in "${@:2}"; do
    size=$(docker_on 0 image inspect --format '{{.Size}}' "$image")
    is_number "$size" || unreadable 0 "$size" || return
    total=$((total + size))
  done
  free=$(df --portability --block-size=1 -- "$STAGE" | awk 'NR == 2 { print $4 }')
  if (($(hosts_in_use | wc -l) < 2 || free < 2 * total)); then
    touch -- "$1.none"
    return
  fi
  docker_on 0 save "${@:2}" | gzip --fast >"$1.new" && mv -- "$1.new" "$1"
}

# is_slow_line HOST: does a sample that cannot be compressed take so long that compressing an image is quicker than sending it?
is_slow_line() {
  local began ended
  began=$(date +%s%N)
  head --bytes="$SAMPLE_BYTES" /dev/urandom | on_host_stdin "$1" sh -c 'cat >/dev/null' || return
  ended=$(date +%s%N)
  ((SAMPLE_BYTES * 1000 / ((ended - began) / 1000000 + 1) < SLOW_LINE))
}
