#!/usr/bin/env bats
# framework/shell/images.sh, with engines that are files: a directory for each, a file for each image

# shellcheck disable=SC1091,SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # the stubs' own words; names are shared with the tool and
# helpers.bash, and bats runs each test in a subshell

load helpers

setup() {
  prepare
  load_tool
  export ENGINES="$BATS_TEST_TMPDIR/engines"
  export TMPDIR="$BATS_TEST_TMPDIR/tmp"
  mkdir -p "$ENGINES"/{local,hostA} "$TMPDIR" "$BATS_TEST_TMPDIR/stage"
  # What an image is made of is the text of its file. SAVED is what gets through to another engine.
  stub docker '
    engine=$ENGINES/${HOST_OF_STUB:-local}
    image() { printf "%s/%s" "$engine" "${1//\//_}"; }
    case "$1 $2" in
      "image rm") rm "$(image "$3")" ;;
      "image inspect")
        [[ -e $(image "$5") ]] || exit 1
        case $4 in
          *Layers*) cat "$(image "$5")" ;;
          *Size*) echo 1000000 ;;
          *Created*) date --utc --reference="$(image "$5")" +%Y-%m-%dT%T.123456789Z ;;
          *) echo amd64 ;;
        esac ;;
      "context inspect") echo default ;;
      version*) echo "${ARCHITECTURE:-amd64}" ;;
      info*) echo / ;;
      pull*) [[ ${REGISTRY:-} ]] && echo pulled >"$(image "${@: -1}")" || { echo "no such host" >&2; exit 1; } ;;
      tag*) cp "$(image "$2")" "$(image "$3")" ;;
      import*) cat >"$(image "${@: -1}")" ;;
      run*) # PYTHON and APT: the exit codes of these programs in the image
        case "$*" in
          *"--entrypoint python3"*) exit "${PYTHON:-0}" ;;
          *"--entrypoint apt-get"*) exit "${APT:-0}" ;;
        esac ;;
      build*)
        ls "${@: -1}"/* >"$ENGINES/context"
        cp "${@: -1}/settings/environment" "$ENGINES/environment" 2>/dev/null || true
        find "${@: -1}" -printf "%m %P\n" >"$ENGINES/modes"
        echo "build says this"
        [[ ${BUILD:-} != fails ]] && cp "$ENGINES/context" "$(image "$3")" ;;
      save*) # a line for each image
        [[ ${SAVE:-} != fails ]] && for name in "${@:2}"; do echo "$name ${SAVED:-$(cat "$(image "$name")")}"; done ;;
      load*) zcat --force | while read -r name layers; do echo "$layers" >"$(image "$name")"; done ;;
    esac'
  stub ssh '[[ $* != *" -O "* ]] && HOST_OF_STUB=hostA bash -c "${@: -1}"'
  stub sudo 'exec "${@:2}"' # without --preserve-env
  stub apt-get
  ensure_debootstrap() { :; }
  echo 'echo "bootstrapped $1 from $2"' >"$TOOL/docker/base.sh"
  make_project 'My Set'
  PROJECT_NAME='My Set' PROJECT_PATH="$TOOL/tasks/My Set" MASTER_HOST=0
  STAGE="$BATS_TEST_TMPDIR/stage" # on a slow line, archives of images are made there
  HOST_NAMES=(local hostA) SSH_DESTINATIONS=('' hostA) SSH_PORTS=('' '')
  unset SSL_CERT_FILE http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
}

# build: our images; BROKER_IMAGE_ID and WORKER_IMAGE_ID as output.
build() {
  build_our_images
  printf '%s\n' "$BROKER_IMAGE_ID" "$WORKER_IMAGE_ID"
}

# teardown: the staged project, too.
teardown() {
  remove_stage
  close_connections
}

# stage: the project as it is now, with what `framework needs` says of its requirements.
stage() {
  stage_code
  if [[ -e $PROJECT_PATH/requirements.txt ]]; then
    NEEDS[requirements]=requirements.txt
  else
    unset 'NEEDS[requirements]'
  fi
}

# build_runner: the project's; RUNNER_IMAGE_ID as output.
build_runner() {
  trap remove_stage EXIT
  stage
  WORKER_IMAGE_ID=infrainit-worker:0123456789ab
  build_runner_image
  printf '%s\n' "$RUNNER_IMAGE_ID"
}

# calls PATTERN: how many calls of programs look like this?
calls() {
  grep -c -- "$1" "$CALLS" || true
}

@test "build_our_images: takes the base from a registry" {
  REGISTRY=yes capture build
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'import'")" 0
  assert_equal "$(<"$ENGINES/local/infrainit-base:trixie")" pulled
  [[ $output == infrainit-broker:????????????$'\n'infrainit-worker:???????????? ]]
}

@test "build_our_images: bootstraps the base where no registry answers" {
  DEBIAN_MIRROR='' capture build
  assert_equal "$status" 0
  assert_part 'no such host'
  assert_equal "$(<"$ENGINES/local/infrainit-base:forky")" 'bootstrapped forky from http://deb.debian.org/debian'
  assert_equal "$(<"$ENGINES/local/infrainit-base:trixie")" 'bootstrapped trixie from http://deb.debian.org/debian'
}

@test "build_our_images: a mirror in config.sh is used without asking a registry" {
  DEBIAN_MIRROR=http://mirror.example/debian REGISTRY=yes capture build
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'pull'")" 0
  assert_equal "$(<"$ENGINES/local/infrainit-base:trixie")" 'bootstrapped trixie from http://mirror.example/debian'
}

@test "debian_mirror: the one that this machine uses" {
  stub apt-get 'echo mirror+file:/etc/apt/mirrors; echo http://x.example/debian-security/; echo https://y.example/debian/'
  assert_equal "$(debian_mirror)" https://y.example/debian
  stub apt-get
  assert_equal "$(debian_mirror)" http://deb.debian.org/debian
}

# bases SUITE…: base images that are 40 days old.
bases() {
  local suite
  for suite in "$@"; do
    echo old >"$ENGINES/local/infrainit-base:$suite"
    touch --date='40 days ago' "$ENGINES/local/infrainit-base:$suite"
  done
}

# base SUITE: what it is made of.
base() {
  cat "$ENGINES/local/infrainit-base:$1"
}

@test "renew_bases: by their age, which gives other names to what is built on them" {
  local before days
  bases trixie forky
  for days in 0 40; do
    BASE_DAYS=$days REGISTRY=yes capture renew_bases
    assert_equal "$status$messages$(base trixie)$(base forky)" 0oldold
  done
  before=$(REGISTRY=yes build 2>/dev/null)
  BASE_DAYS=39 MASTER_HOST='' REGISTRY=yes capture renew_bases
  assert_equal "$status$(base trixie)$(base forky)" 0pulledold
  BASE_DAYS=39 REGISTRY=yes capture renew_bases
  assert_equal "$status$(base trixie)$(base forky)" 0pulledpulled
  capture build
  [[ $(head -n 1 <<<"$output") != "$(head -n 1 <<<"$before")" && $(tail -n 1 <<<"$output") != "$(tail -n 1 <<<"$before")" ]]
}

@test "renew_bases: on request, at any age; what is not there is not made" {
  bases trixie
  touch "$ENGINES/local/infrainit-base:trixie"
  REGISTRY=yes REFRESH=yes BASE_DAYS=0 capture renew_bases
  assert_equal "$status$(base trixie)" 0pulled
  assert_equal "$(calls forky)" 1 # has_image
}

@test "renew_bases: not while a master runs, or may run, unless it is asked for" {
  local found
  container_state() { [[ $found != fails ]] && printf '%s\n' "$found"; }
  bases trixie forky
  PRESENT_MASTER_HOST=0 MASTER_HOST=''
  set_fact 0 unreachable ''
  for found in 'running x 0 0' fails; do
    REGISTRY=yes capture renew_bases
    assert_equal "$status$(base trixie)" 0old
    assert_line 'local: the base image of Debian trixie is 40 days old; --refresh renews it, and replaces the containers'
  done
  for found in '' 'exited x 0 0'; do
    bases trixie
    REGISTRY=yes capture renew_bases
    assert_equal "$status$(base trixie)" 0pulled
  done
  bases trixie
  found='running x 0 0'
  REFRESH=yes REGISTRY=yes capture renew_bases
  assert_equal "$status$(base trixie)" 0pulled
}

@test "renew_bases: without a network the old one stays, with a warning" {
  bases trixie forky
  echo 'echo "no mirror" >&2; exit 1' >"$TOOL/docker/base.sh"
  capture renew_bases
  assert_equal "$status$(base trixie)$(base forky)" 0oldold
  assert_line 'warning: the base image of Debian trixie is 40 days old and cannot be renewed; it is used as it is'
  assert_line 'warning: the base image of Debian forky is 40 days old and cannot be renewed; it is used as it is'
}

@test "build_our_images: says why there is no base" {
  echo 'echo "no space left" >&2; exit 1' >"$TOOL/docker/base.sh"
  capture build
  assert_equal "$status" 1
  assert_part 'no space left'
  assert_part 'DEBIAN_MIRROR in config.sh.example'
}

@test "build_our_images: builds once, and again when an input has changed" {
  REGISTRY=yes capture build
  local before=$output
  REGISTRY=yes capture build
  assert_equal "$output" "$before"
  assert_equal "$(calls "^docker 'build'")" 3 # the usual runner's is below the worker's
  echo >>"$TOOL/docker/worker/requirements.txt"
  REGISTRY=yes capture build
  assert_equal "$(head -n 1 <<<"$output")" "$(head -n 1 <<<"$before")"
  [[ $output != "$before" ]]
  assert_equal "$(calls "^docker 'build'")" 4
}

@test "build_our_images: the umask, and the modes of the checkout, make no difference to an image" {
  local before
  REGISTRY=yes capture build
  assert_equal "$(grep -v ' settings/' "$ENGINES/modes" | awk '$1 != 755 && $1 != 644')" ''
  grep -qx '755 framework' "$ENGINES/modes"
  before=$output
  chmod -R go= "$TOOL/docker"
  umask 077
  REGISTRY=yes capture build
  assert_equal "$output" "$before"
  rm "$ENGINES"/local/infrainit-worker*
  REGISTRY=yes capture build
  assert_equal "$output" "$before"
  assert_equal "$(grep -v ' settings/' "$ENGINES/modes" | awk '$1 != 755 && $1 != 644')" ''
  grep -qx '755 framework' "$ENGINES/modes"
}

@test "build_our_images: modes are part of an image's name" {
  local before
  REGISTRY=yes capture build
  before=$output
  chmod a+x "$TOOL/docker/worker/install_packages"
  REGISTRY=yes capture build
  [[ $output != "$before" ]]
}

@test "base.sh: a base image is for any user, whatever the umask is" {
  # What debootstrap makes, makes base.sh's archive; the real one would ask for a mirror.
  stub debootstrap 'for tree in "$@"; do [[ $tree != */tree ]] || break; done
    mkdir -p "$tree"/{etc/apt/apt.conf.d,etc/dpkg/dpkg.cfg.d,usr/share/doc,usr/share/info}; echo x >"$tree/etc/x"'
  stub wget 'exit 1'
  stub grep
  stub dpkg-deb
  stub sha256sum
  cp "$BATS_TEST_DIRNAME/../../docker/base.sh" base.sh
  sed -i 's/^find_keyring$/keyring=x/' base.sh
  umask 077
  sh base.sh trixie http://m >base.tar
  assert_equal "$(tar --list --verbose --file base.tar | awk '{ print $1 }' | sort -u | tr '\n' ' ')" '-rw-r--r-- drwxr-xr-x '
  [[ $(tar --list --file base.tar) != */apt.conf.d/[!$'\n']* ]] # apt checks as it does anywhere
}

@test "pin_hashes: each package of the worker image is pinned, with hashes" {
  local name
  for name in requirements requirements-adaptive; do
    assert_equal "$(grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' "$TOOL/docker/worker/$name.txt" | tr '[:upper:]_.' '[:lower:]--' | LC_ALL=C sort)" \
      "$(grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' "$TOOL/docker/worker/$name.in" | tr '[:upper:]_.' '[:lower:]--' | LC_ALL=C sort)"
    assert_equal "$(grep -cE '^[A-Za-z].* \\$' "$TOOL/docker/worker/$name.txt")" "$(grep -cE '^[A-Za-z]' "$TOOL/docker/worker/$name.in")"
    assert_equal "$(grep -vcE '^#|^[A-Za-z].* \\$|^    --hash=sha256:[0-9a-f]{64}( \\)?$' "$TOOL/docker/worker/$name.txt")" 0
  done
  grep -q -- --require-hashes "$TOOL/docker/worker/install_packages"
}

@test "build_our_images: the broker's only where the master is" {
  REGISTRY=yes MASTER_HOST='' capture build
  assert_equal "$(calls "^docker 'build'")" 2
  [[ $output == $'\n'infrainit-worker:* ]]
}

@test "build_our_images: the worker's is the same for all projects, on the layers of the usual runner" {
  REGISTRY=yes MASTER_HOST='' capture build
  local before=$output runner
  runner=$(cd "$ENGINES/local" && echo infrainit-runner*)
  assert_equal "$(calls "'BASE=$runner' '")" 1
  echo numpy >"$PROJECT_PATH/requirements.txt"
  PROJECT_NAME=other PROJECT_IMAGE=torch:2 REGISTRY=yes MASTER_HOST='' capture build
  assert_equal "$output" "$before"
}

@test "add_optuna: another image for the worker, only if the project needs it" {
  local before
  WORKER_IMAGE_ID=$(REGISTRY=yes make_worker_image stage_worker 2>/dev/null)
  before=$WORKER_IMAGE_ID
  add_optuna
  assert_equal "$WORKER_IMAGE_ID" "$before"
  NEEDS_OPTUNA=yes
  add_optuna
  [[ $WORKER_IMAGE_ID == infrainit-worker:???????????? && $WORKER_IMAGE_ID != "$before" ]]
  capture stage_adaptive_worker "$TMPDIR"
  assert_equal "$(grep -cE '^(celery|optuna)==' "$TMPDIR/requirements.txt")" 2
  [[ ! -e $TMPDIR/requirements-adaptive.txt ]]
}

@test "build_runner_image: the usual one for a project that names nothing, without a layer of its own" {
  REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  [[ $output == infrainit-runner:???????????? ]]
  assert_equal "$(calls "^docker 'build'")" 1
}

@test "build_runner_image: requirements are one build on the usual one, with nothing of ours" {
  local usual
  echo click==7.1.2 >"$PROJECT_PATH/requirements.txt"
  mkdir -p "$TOOL/docker/runner/packages/__pycache__" # of somebody who has imported what is there
  REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  [[ $output == infrainit-runner-my-set:???????????? ]]
  usual=$(cd "$ENGINES/local" && echo infrainit-runner:*)
  assert_equal "$(calls "'BASE=$usual' .*'--build-arg' 'WORKER=infrainit-worker:0123456789ab'")" 1
  assert_equal "$(xargs -n 1 basename <"$ENGINES/context" | grep -vE '[.](crt|conf)$' | sort | tr '\n' ' ')" \
    'Dockerfile certificates: environment explain_failure.py home install_packages.py project: requirement_files requirements.txt settings: system '
  assert_equal "$(grep -c constraint "$TOOL"/docker/runner/packages/* | cut -d : -f 2 | sort -u)" 0
}

@test "build_runner_image: the same for another worker image; another one for other requirements" {
  local first
  echo numpy >"$PROJECT_PATH/requirements.txt"
  REGISTRY=yes capture build_runner
  first=$output
  WORKER_IMAGE_ID=infrainit-worker:111111111111
  stage
  assert_equal "$(make_runner_image)" "$first"
  echo scipy >>"$PROJECT_PATH/requirements.txt"
  REGISTRY=yes capture build_runner
  [[ $output == infrainit-runner-my-set:* && $output != "$first" ]]
}

@test "image_name_of_project: only what Docker allows" {
  local name
  for name in digits:digits 'My Set!':my-set __a.b--C__:a-b-c 'ü/ß':project; do
    assert_equal "$(PROJECT_NAME=${name%:*} image_name_of_project)" "${name##*:}"
  done
}

@test "build_runner_image: a project's own image is pulled, and used as it is" {
  local before
  PROJECT_IMAGE=torch:2 REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  [[ $output == infrainit-runner-my-set:???????????? ]]
  assert_equal "$(calls "^docker 'build'")" 0
  assert_equal "$(<"$ENGINES/local/$output")" pulled
  assert_equal "$(calls "^docker 'run' '--rm' '--network' 'none' .*'--entrypoint' 'python3' 'torch:2'")" 1
  before=$output
  echo other >"$ENGINES/local/torch:2"
  PROJECT_IMAGE=torch:2 capture build_runner
  [[ $output != "$before" ]]
  rm "$ENGINES"/local/*
  PROJECT_IMAGE=torch:2 capture build_runner
  assert_equal "$status" 1
  assert_part 'torch:2 is not on this machine and cannot be pulled'
}

@test "build_runner_image: a project's own image with its requirements is one build" {
  echo numpy >"$PROJECT_PATH/requirements.txt"
  PROJECT_IMAGE=torch:2 REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  [[ $output == infrainit-runner-my-set:???????????? ]]
  assert_equal "$(calls "^docker 'build'") $(calls "'BASE=torch:2' .*'WORKER=")" '1 1'
}

@test "build_runner_image: Python is installed where there is none but apt-get, below the requirements" {
  PROJECT_IMAGE=debian:13 REGISTRY=yes PYTHON=127 capture build_runner
  assert_equal "$status" 0
  [[ $output == infrainit-runner-my-set:???????????? ]]
  assert_equal "$(calls "^docker 'build'") $(calls "'BASE=debian:13'")" '1 1'
  grep -q install_python "$ENGINES/context"
  local python=$output
  echo numpy >"$PROJECT_PATH/requirements.txt"
  PROJECT_IMAGE=debian:13 REGISTRY=yes PYTHON=127 capture build_runner
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'build'") $(calls "'BASE=$python' .*'WORKER=")" '2 1'
}

@test "build_runner_image: an image without Python and apt-get is refused, with what to do" {
  PROJECT_IMAGE=busybox REGISTRY=yes PYTHON=127 APT=127 capture build_runner
  assert_equal "$status" 1
  assert_part 'error: image: busybox has no python3 of 3.8 or newer in its PATH, and no apt-get to install one: add Python to the image'
  assert_equal "$(calls "^docker '\(build\|tag\)'")" 0
  PROJECT_IMAGE=busybox REGISTRY=yes PYTHON=125 capture build_runner
  assert_equal "$status" 1
  assert_part 'error: the image busybox cannot be run on this machine'
}

@test "make_runner_image: its name without building, pulling or tagging" {
  local name
  name() {
    stage
    NAMES_ONLY=yes capture make_runner_image
  }
  name
  assert_equal "$status|$output" '1|' # the base is not here
  REGISTRY=yes capture build_runner
  : >"$CALLS"
  local usual=$output
  name
  assert_equal "$status|$output" "0|$usual"
  echo numpy >"$PROJECT_PATH/requirements.txt"
  name
  assert_equal "$status" 0
  [[ $output == infrainit-runner-my-set:???????????? && ! -e $ENGINES/local/$output ]]
  name=$output
  assert_equal "$(calls "^docker '\(build\|tag\|pull\|import\)'")" 0
  assert_equal "$(make_runner_image 2>/dev/null)" "$name"
  rm "$PROJECT_PATH/requirements.txt"
  PROJECT_IMAGE=torch:2
  name
  assert_equal "$status|$output" '1|'
  echo pulled >"$ENGINES/local/torch:2"
  : >"$CALLS"
  name
  name=$output
  assert_equal "$(calls "^docker '\(build\|tag\|pull\|import\)'")" 0
  assert_equal "$(make_runner_image 2>/dev/null)" "$name"
}

@test "build_our_images: BROKER_IMAGE and WORKER_IMAGE are not built, and their content is in the name" {
  local first
  echo one >"$ENGINES/local/mine:1"
  BROKER_IMAGE=mine:1 WORKER_IMAGE=mine:1 capture build
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'build'")" 0
  first=$output
  [[ $first == infrainit-broker:????????????$'\n'infrainit-worker:???????????? ]]
  echo two >"$ENGINES/local/mine:1"
  BROKER_IMAGE=mine:1 WORKER_IMAGE=mine:1 capture build
  [[ $output != "$first" ]]
}

@test "docker build: gets proxies by name only, as they may hold passwords" {
  export https_proxy=http://user:secret@proxy HTTP_PROXY=http://user:secret@proxy
  REGISTRY=yes capture build
  assert_equal "$(calls "'--build-arg' 'https_proxy' '--build-arg' 'HTTP_PROXY'")" 3
  assert_equal "$(calls secret)" 0
  assert_equal "$(calls no_proxy)" 0
}

@test "docker build: gets settings of pip as files, which are no part of an image's name" {
  local before
  REGISTRY=yes capture build
  before=$output
  rm "$ENGINES"/local/infrainit-worker*
  export PIP_INDEX_URL="https://user:it's secret@index" PIP_TARGET=/here PIP_CONFIG_FILE="$BATS_TEST_TMPDIR/pip.conf"
  echo '[global]' >"$PIP_CONFIG_FILE"
  REGISTRY=yes capture build
  assert_equal "$output" "$before"
  assert_equal "$(calls secret)" 0
  assert_equal "$(. "$ENGINES/environment" && printf '%s|%s|%s' "$PIP_INDEX_URL" "$HOME" "$PIP_CONFIG_FILE")" \
    "https://user:it's secret@index|/tmp/infrainit/settings/home|/tmp/infrainit/settings/pip.conf"
  assert_equal "$(grep -c TARGET "$ENGINES/environment")" 0
  grep -qx '600 settings/pip.conf' "$ENGINES/modes"
}

@test "stage_pip_settings: variables that requirements name, and none of ours" {
  mkdir settings
  echo TOKEN >settings/variables
  capture stage_pip_settings settings
  assert_equal "$status" 1
  assert_part 'error: requirements.txt names ${TOKEN}, which is not set here: export TOKEN, and run this again'
  export TOKEN='a b'
  capture stage_pip_settings settings
  assert_equal "$status" 0
  grep -qx "TOKEN='a b'" settings/environment
}

@test "stage_pip_settings: pip.conf where pip finds it" {
  mkdir -p settings "$HOME/.config/pip" "$HOME/.pip" xdg/pip
  echo new >"$HOME/.config/pip/pip.conf"
  echo old >"$HOME/.pip/pip.conf"
  echo xdg >xdg/pip/pip.conf
  stage_pip_settings settings
  assert_equal "$(cat settings/home/.config/pip/pip.conf settings/home/.pip/pip.conf)" $'new\nold'
  XDG_CONFIG_HOME=$PWD/xdg stage_pip_settings settings
  assert_equal "$(<settings/home/.config/pip/pip.conf)" xdg
}

@test "stage_pip_certificates: PIP_CERT, or cert in pip.conf" {
  mkdir -p certificates "$HOME/.config/pip"
  echo one >bundle
  echo two >"$HOME/two.pem"
  PIP_CERT=$PWD/bundle stage_pip_certificates certificates
  assert_equal "$(<certificates/PIP_CERT.crt)" one
  printf '[global]\n  cert = ~/two.pem\n' >"$HOME/.config/pip/pip.conf"
  PIP_CERT='' stage_pip_certificates certificates
  assert_equal "$(<certificates/PIP_CERT.crt)" two
}

@test "docker build: what its stages leave behind is removed, also of one that fails" {
  local id
  id=sha256:$(printf '%064d' 7)
  sed -i "s|^      import\*)|      images*) echo '$id' ;;\n&|" "$STUBS/docker"
  sed -i 's|"image rm") |"image rm") [[ $3 != sha256:* ]] \|\| exit 0; |' "$STUBS/docker"
  DEBIAN_MIRROR=http://m MASTER_HOST='' capture make_worker_image stage_worker
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'images' '--quiet' '--no-trunc' '--filter' 'dangling=true' '--filter' 'label=infrainit.build=tmp\.")" 2
  assert_equal "$(calls "^docker 'image' 'rm' '$id'")" 2
  rm "$ENGINES"/local/infrainit-worker*
  DEBIAN_MIRROR=http://m BUILD=fails capture make_worker_image stage_worker
  assert_equal "$status" 1
  assert_equal "$(calls "^docker 'image' 'rm' '$id'")" 3
  sed -i "s|echo '$id'|echo --x|" "$STUBS/docker"
  BUILD=fails capture make_worker_image stage_worker
  refute_part "'image' 'rm' '--x'"
}

# build_of TEXT: a Dockerfile of the project, of which it copies a directory.
build_of() {
  mkdir -p "$PROJECT_PATH/tools"
  echo "$1" >"$PROJECT_PATH/Dockerfile"
  NEEDS+=([build]=Dockerfile [copied]=$'Dockerfile\ntools')
}

@test "build_runner_image: build: makes an image of the staged project, once for the files that it copies" {
  local first
  build_of 'FROM x'
  REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  first=$output
  [[ $first == infrainit-runner-my-set:???????????? ]]
  assert_equal "$(calls "^docker 'build' '--tag' 'infrainit-built-my-set:.*'--file' '.*/project/Dockerfile' '--force-rm' '.*/project'")" 1
  assert_equal "$(calls "--build-arg' 'B")" 0
  echo 'other' >"$PROJECT_PATH/run.py"
  echo 'm: 1' >>"$PROJECT_PATH/parameters.yml"
  capture build_runner
  assert_equal "$output $(calls "^docker 'build'")" "$first 1"
  REFRESH=yes capture build_runner
  assert_equal "$(calls "^docker 'build' .*'--no-cache'")" 1
  touch "$PROJECT_PATH/tools/x"
  capture build_runner
  assert_equal "$status $(calls "^docker 'build'")" '0 3'
  echo numpy >"$PROJECT_PATH/requirements.txt"
  capture build_runner
  assert_equal "$(calls "^docker 'build'") $(calls "'BASE=infrainit-built-my-set:.*'WORKER=")" '4 1'
  echo >>"$PROJECT_PATH/Dockerfile"
  BUILD=fails capture build_runner
  assert_equal "$status" 1
  assert_part "error: build: the image of the project's Dockerfile cannot be built; see above"
}

@test "digest_copied: of all of a project, what runs does not count" {
  local before
  build_of 'FROM x'
  NEEDS[copied]=.
  stage
  before=$(digest_copied)
  echo 'm: 1' >>"$PROJECT_PATH/parameters.yml"
  stage
  assert_equal "$(digest_copied)" "$before"
  echo 'm: 1' >"$PROJECT_PATH/tools/parameters.yml"
  stage
  [[ $(digest_copied) != "$before" ]]
}

@test "build_runner_image: packages: are a layer below the requirements" {
  local packages
  NEEDS[package]=$'git\ngcc'
  REGISTRY=yes capture build_runner
  assert_equal "$status" 0
  packages=$output
  [[ $packages == infrainit-runner-my-set:???????????? ]]
  assert_equal "$(xargs -n 1 basename <"$ENGINES/context" | sort | tr '\n' ' ')" 'Dockerfile install_packages packages '
  echo numpy >"$PROJECT_PATH/requirements.txt"
  REGISTRY=yes capture build_runner
  assert_equal "$(calls "'BASE=$packages' .*'WORKER=")" 1
  NEEDS[package]=git
  stage
  NAMES_ONLY=yes capture make_runner_image
  [[ $status == 0 && $output == infrainit-runner-my-set:* && $output != "$packages" ]]
  NEEDS[build]=Dockerfile NEEDS[copied]=run.py
  echo >"$PROJECT_PATH/run.py"
  stage
  NAMES_ONLY=yes capture make_runner_image
  [[ $status == 0 && $output == infrainit-built-my-set:* ]]
}

@test "build_runner_image: files and directories that requirements name, and dependencies of pyproject.toml" {
  mkdir -p "$PROJECT_PATH"/{sub,wheels}
  echo six >"$PROJECT_PATH/sub/more.txt"
  ln -s /etc/passwd "$PROJECT_PATH/wheels/link"
  NEEDS+=([local]=wheels [dependency]='click>=7 ; x == "y"' [variable]=TOKEN)
  stage_code
  NEEDS[requirements]=$'sub/more.txt'
  stage_requirements "$TMPDIR"
  assert_equal "$(cat "$TMPDIR"/{requirement_files,dependencies.txt,settings/variables,project/sub/more.txt})" \
    $'sub/more.txt\nclick>=7 ; x == "y"\nTOKEN\nsix'
  [[ -L $TMPDIR/project/wheels/link ]]
}

@test "docker build: gets the bundle of authorities that this machine trusts" {
  echo certificate >"$BATS_TEST_TMPDIR/bundle"
  export SSL_CERT_FILE="$BATS_TEST_TMPDIR/bundle"
  REGISTRY=yes capture build_runner
  grep -q 'SSL_CERT_FILE.crt$' "$ENGINES/context"
  echo numpy >"$PROJECT_PATH/requirements.txt"
  REGISTRY=yes capture build_runner
  assert_equal "$(calls "^docker 'build'")" 2
  grep -q 'SSL_CERT_FILE.crt$' "$ENGINES/context"
}

@test "docker build: is quiet, and shows its last lines when it fails" {
  REGISTRY=yes capture build
  refute_part 'build says'
  rm "$ENGINES"/local/infrainit-broker*
  BUILD=fails REGISTRY=yes capture build
  assert_equal "$status" 1
  assert_part 'build says this'
  assert_part 'infrainit-broker:'
  VERBOSE=yes REGISTRY=yes capture build
  assert_part 'build says this'
  assert_equal "$(ls "$TMPDIR")" ''
}

@test "a dry run builds, pulls and runs nothing" {
  DRY_RUN=yes capture build
  assert_equal "$status" 0
  assert_part 'docker build'
  PROJECT_IMAGE=torch:2 DRY_RUN=yes capture build_runner
  assert_equal "$status" 0
  assert_part 'docker run --rm --network none'
  assert_part 'docker tag torch:2 infrainit-runner-my-set:'
  assert_equal "$(calls "^docker '\(build\|pull\|import\|tag\|run\)'")" 0
}

@test "send_missing: to a host that lacks it" {
  echo layers >"$ENGINES/local/i:1"
  capture send_missing 1 i:1
  assert_equal "$status" 0
  assert_line 'hostA: sending the image i:1'
  assert_equal "$(<"$ENGINES/hostA/i:1")" layers
}

@test "send_missing: not to this machine, nor to a host that has the same layers" {
  echo layers | tee "$ENGINES/local/i:1" >"$ENGINES/hostA/i:1"
  capture send_missing 0 i:1
  capture send_missing 1 i:1
  assert_equal "$status $output $messages" '0  '
  assert_equal "$(calls "^docker 'save'")" 0
}

@test "send_missing: sends again if the host has other layers under the name" {
  echo layers >"$ENGINES/local/i:1"
  echo others >"$ENGINES/hostA/i:1"
  capture send_missing 1 i:1
  assert_equal "$(<"$ENGINES/hostA/i:1")" layers
}

@test "send_missing: fails when the engine here cannot save it, or less arrives" {
  echo layers >"$ENGINES/local/i:1"
  SAVE=fails capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: sending the image i:1 failed'
  SAVED=laye capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'did not arrive whole'
  [[ ! -e $ENGINES/hostA/i:1 ]]
}

@test "send_missing: refuses another architecture, and a host without room" {
  echo layers >"$ENGINES/local/i:1"
  ARCHITECTURE=arm64 capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: is arm64, but the image i:1 is for amd64'
  stub df 'echo Filesystem; echo "/dev/x 9 9 2999999 1% /"'
  capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: / has 2 MiB free'
  assert_equal "$(calls "^docker 'save'")" 0
}

@test "send_missing: what a host says of its disk is not computed with" {
  local evil='BASH_VERSINFO[$(touch evil;echo 0)]'
  echo layers >"$ENGINES/local/i:1"
  stub df "echo Filesystem; echo '/dev/x 9 9 BASH_VERSINFO[\$(touch\${IFS}evil)] 1% /'"
  capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: the answer cannot be read: BASH_VERSINFO'
  [[ ! -e evil ]]
  rm "$STUBS/df"
  sed -i "s|^      info\*) echo / ;;|      info*) echo --x ;;|" "$STUBS/docker"
  capture send_missing 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: the answer cannot be read: --x'
  ARCHITECTURE=$'\033]0;x\007' capture send_missing 1 i:1
  assert_part 'hostA: the answer cannot be read: ?]0;x?'
}

@test "send_images: the broker's goes to the master's host only, the runner's to those of workers only" {
  BROKER_IMAGE_ID=b:1 WORKER_IMAGE_ID=w:1 RUNNER_IMAGE_ID=r:1 WORKER_HOSTS=(1)
  echo layers | tee "$ENGINES/local/b:1" "$ENGINES/local/r:1" >"$ENGINES/local/w:1"
  capture send_images 1
  assert_line 'hostA: sending the image w:1 r:1'
  assert_equal "$(ls "$ENGINES/hostA")" $'r:1\nw:1'
  assert_equal "$(calls "^docker 'save'")" 1 # what they share is sent once
  rm "$ENGINES/hostA/w:1"
  capture send_images 1
  assert_line 'hostA: sending the image w:1'
  rm "$ENGINES"/hostA/*
  MASTER_HOST=1 WORKER_HOSTS=(0)
  send_images 1
  assert_equal "$(ls "$ENGINES/hostA")" $'b:1\nw:1'
}

# line_of SECONDS: a line on which the sample takes so long.
line_of() {
  echo 0 >"$BATS_TEST_TMPDIR/clock"
  stub date "read -r now <'$BATS_TEST_TMPDIR/clock'; echo \"\${now}000000000\"; echo \$((now + $1)) >'$BATS_TEST_TMPDIR/clock'"
}

@test "send_missing: compressed on a slow line, once for several hosts; as it is on a fast one" {
  local host file
  STAGE=$TMPDIR MASTER_HOST=1 WORKER_HOSTS=(1 2) HOST_NAMES=(local hostA hostB) SSH_DESTINATIONS=('' hostA hostA) SSH_PORTS=('' '' '')
  echo layers | tee "$ENGINES/local/i:1" >"$ENGINES/local/i:2"
  line_of 0
  capture send_missing 1 i:1
  assert_equal "$(<"$ENGINES/hostA/i:1")|$(ls "$TMPDIR")" 'layers|'
  line_of 1
  for host in 1 2; do
    rm -f "$ENGINES/hostA/i:2"
    capture send_missing "$host" i:2
    assert_equal "$status|$(<"$ENGINES/hostA/i:2")" '0|layers'
  done
  assert_equal "$(calls "^docker 'save' 'i:2'")" 1
  file=$(echo "$TMPDIR"/images.*.gz)
  gzip --test "$file"
}

@test "send_missing: on a slow line each host has its own stream where the archive would not fit, or goes to one host" {
  STAGE=$TMPDIR MASTER_HOST=1 WORKER_HOSTS=(1)
  echo layers >"$ENGINES/local/i:1"
  line_of 1
  capture send_missing 1 i:1
  assert_equal "$status|$(<"$ENGINES/hostA/i:1")|$(find "$TMPDIR" -name '*.gz')" '0|layers|'
  rm "$TMPDIR"/* "$ENGINES/hostA/i:1"
  WORKER_HOSTS=(1 2)
  stub df "[[ \$* == *'$TMPDIR'* ]] && free=1 || free=99999999; echo Filesystem; echo \"/dev/x 9 9 \$free 1% /\""
  capture send_missing 1 i:1
  assert_equal "$status|$(<"$ENGINES/hostA/i:1")|$(find "$TMPDIR" -name '*.gz')" '0|layers|'
  SAVE=fails capture send_missing 1 i:2
  assert_equal "$status" 1
}

@test "send_images: the broker starts before the other images are sent, if it is to start early" {
  BROKER_IMAGE_ID=b:1 WORKER_IMAGE_ID=w:1 RUNNER_IMAGE_ID=r:1 MASTER_HOST=1 WORKER_HOSTS=(1) EARLY_BROKER=yes
  echo layers | tee "$ENGINES/local/b:1" "$ENGINES/local/r:1" >"$ENGINES/local/w:1"
  start_broker() { echo "broker on $1, there: $(ls "$ENGINES/hostA")"; }
  line_of 0
  capture send_images 1
  assert_equal "$status|$output" '0|broker on 1, there: b:1'
  assert_line 'hostA: sending the image w:1 r:1'
}

@test "send_missing: a dry run sends nothing" {
  DRY_RUN=yes
  capture send_missing 1 i:1
  assert_equal "$status" 0
  assert_part 'hostA$ docker load'
  assert_equal "$(<"$CALLS")" ''
}
