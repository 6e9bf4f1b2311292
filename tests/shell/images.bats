#!/usr/bin/env bats
# framework/shell/images.sh, with engines that are files: a directory for each, a file for each image

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # the stubs' own words; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  export ENGINES="$BATS_TEST_TMPDIR/engines"
  export TMPDIR="$BATS_TEST_TMPDIR/tmp"
  mkdir -p "$ENGINES"/{local,hostA} "$TMPDIR"
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
          *) echo amd64 ;;
        esac ;;
      "context inspect") echo default ;;
      version*) echo "${ARCHITECTURE:-amd64}" ;;
      info*) echo / ;;
      pull*) [[ ${REGISTRY:-} ]] && echo pulled >"$(image "${@: -1}")" || { echo "no such host" >&2; exit 1; } ;;
      tag*) cp "$(image "$2")" "$(image "$3")" ;;
      import*) cat >"$(image "${@: -1}")" ;;
      build*)
        ls "${@: -1}"/* >"$ENGINES/context"
        echo "build says this"
        [[ ${BUILD:-} != fails ]] && cp "$ENGINES/context" "$(image "$3")" ;;
      save*) [[ ${SAVE:-} != fails ]] && { echo "$2"; echo "${SAVED:-$(cat "$(image "$2")")}"; } ;;
      load*) zcat | { read -r name; cat >"$(image "$name")"; } ;;
    esac'
  stub ssh '[[ $* != *" -O "* ]] && HOST_OF_STUB=hostA bash -c "${@: -1}"'
  stub sudo 'exec "${@:2}"' # without --preserve-env
  stub apt-get
  ensure_debootstrap() { :; }
  echo 'echo "bootstrapped $1 from $2"' >"$TOOL/docker/base.sh"
  make_project 'My Set'
  PROJECT_NAME='My Set' PROJECT_PATH="$TOOL/tasks/My Set" MASTER_HOST=0
  HOST_NAMES=(local hostA) SSH_DESTINATIONS=('' hostA) SSH_PORTS=('' '')
  unset SSL_CERT_FILE http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
}

# build: build_images, then BROKER_IMAGE_ID and WORKER_IMAGE_ID as output.
build() {
  build_images
  printf '%s\n' "$BROKER_IMAGE_ID" "$WORKER_IMAGE_ID"
}

# calls PATTERN: how many calls of programs look like this?
calls() {
  grep -c -- "$1" "$CALLS" || true
}

@test "build_images: takes the base from a registry" {
  REGISTRY=yes capture build
  assert_equal "$status" 0
  assert_equal "$(calls "^docker 'import'")" 0
  assert_equal "$(<"$ENGINES/local/infrainit-base:trixie")" pulled
  [[ $output == infrainit-broker:????????????$'\n'infrainit-worker:???????????? ]]
}

@test "build_images: bootstraps the base where no registry answers" {
  DEBIAN_MIRROR='' capture build
  assert_equal "$status" 0
  assert_part 'no such host'
  assert_equal "$(<"$ENGINES/local/infrainit-base:forky")" 'bootstrapped forky from http://deb.debian.org/debian'
  assert_equal "$(<"$ENGINES/local/infrainit-base:trixie")" 'bootstrapped trixie from http://deb.debian.org/debian'
}

@test "build_images: a mirror in config.sh is used without asking a registry" {
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

@test "build_images: says why there is no base" {
  echo 'echo "no space left" >&2; exit 1' >"$TOOL/docker/base.sh"
  capture build
  assert_equal "$status" 1
  assert_part 'no space left'
  assert_part 'DEBIAN_MIRROR in config.sh.example'
}

@test "build_images: builds once, and again when an input has changed" {
  REGISTRY=yes capture build
  local before=$output
  REGISTRY=yes capture build
  assert_equal "$output" "$before"
  assert_equal "$(calls "^docker 'build'")" 2
  echo >>"$TOOL/docker/worker/requirements.txt"
  REGISTRY=yes capture build
  assert_equal "$(head -n 1 <<<"$output")" "$(head -n 1 <<<"$before")"
  [[ $output != "$before" ]]
  assert_equal "$(calls "^docker 'build'")" 3
}

@test "build_images: the broker's only where the master is" {
  REGISTRY=yes MASTER_HOST='' capture build
  assert_equal "$(calls "^docker 'build'")" 1
  [[ $output == $'\n'infrainit-worker:* ]]
}

@test "build_images: a project with requirements gets an image of its own" {
  echo numpy >"$PROJECT_PATH/requirements.txt"
  REGISTRY=yes capture build
  assert_part infrainit-worker-my-set:
  grep -q '/project-requirements.txt$' "$ENGINES/context"
}

@test "image_name_of_project: only what Docker allows" {
  local name
  for name in digits:digits 'My Set!':my-set __a.b--C__:a-b-c 'ü/ß':project; do
    assert_equal "$(PROJECT_NAME=${name%:*} image_name_of_project)" "${name##*:}"
  done
}

@test "project_base: a plain name, with or without quotes" {
  local line
  for line in 'image: a.example:5000/b/c-d:1.2@sha256:00' 'image:   "a"' "image: 'a'  # why" $'image: a \r'; do
    printf 'command: x\n%s\nmetric: image\ngoal: maximize\n' "$line" >"$PROJECT_PATH/project.yml"
    capture project_base
    assert_equal "$status" 0
    [[ $output == a* && $output != *[\'\"\ ]* ]]
  done
  echo '#image: a' >"$PROJECT_PATH/project.yml"
  capture project_base
  assert_equal "$status $output" '0 '
  rm "$PROJECT_PATH/project.yml"
  echo 'image: b:2' >"$PROJECT_PATH/sweep.yml"
  capture project_base
  assert_equal "$status $output" '0 b:2'
}

@test "project_base: refuses everything that YAML might read differently" {
  local line
  for line in 'image:' 'image: ~/x' 'image : a' '"image": a' 'image: a b' 'image: "a' 'image: [a]' 'image: >-' 'image: a#b' $'image: a\nimage: b'; do
    echo "$line" >"$PROJECT_PATH/project.yml"
    capture project_base
    assert_equal "$line: $status" "$line: 1"
    assert_part 'project.yml: image:'
  done
}

@test "build_images: a project's own base image is pulled, and used" {
  echo 'image: torch:2' >>"$PROJECT_PATH/project.yml"
  REGISTRY=yes MASTER_HOST='' capture build
  assert_equal "$status" 0
  assert_equal "$(calls "BASE=torch:2")" 1
  assert_part infrainit-worker-my-set:
  rm "$ENGINES"/local/*
  capture build
  assert_equal "$status" 1
  assert_part 'torch:2 is not on this machine and cannot be pulled'
}

@test "build_images: BROKER_IMAGE and WORKER_IMAGE are not built, and their content is in the name" {
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

@test "docker build: gets proxies and package indexes by name only, as they may hold passwords" {
  export https_proxy=http://user:secret@proxy PIP_INDEX_URL=https://user:secret@index
  REGISTRY=yes capture build
  assert_equal "$(calls "'--build-arg' 'https_proxy'")" 2
  assert_equal "$(calls "'--build-arg' 'PIP_INDEX_URL'")" 2
  assert_equal "$(calls secret)" 0
  assert_equal "$(calls no_proxy)" 0
}

@test "docker build: gets the bundle of authorities that this machine trusts" {
  echo certificate >"$BATS_TEST_TMPDIR/bundle"
  export SSL_CERT_FILE="$BATS_TEST_TMPDIR/bundle"
  REGISTRY=yes capture build
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

@test "build_images: a dry run builds and pulls nothing" {
  DRY_RUN=yes capture build
  assert_equal "$status" 0
  assert_part 'docker build'
  assert_equal "$(calls "^docker '\(build\|pull\|import\|tag\)'")" 0
}

@test "send_image: to a host that lacks it" {
  echo layers >"$ENGINES/local/i:1"
  capture send_image 1 i:1
  assert_equal "$status" 0
  assert_line 'hostA: sending the image i:1'
  assert_equal "$(<"$ENGINES/hostA/i:1")" layers
}

@test "send_image: not to this machine, nor to a host that has the same layers" {
  echo layers | tee "$ENGINES/local/i:1" >"$ENGINES/hostA/i:1"
  capture send_image 0 i:1
  capture send_image 1 i:1
  assert_equal "$status $output $messages" '0  '
  assert_equal "$(calls "^docker 'save'")" 0
}

@test "send_image: sends again if the host has other layers under the name" {
  echo layers >"$ENGINES/local/i:1"
  echo others >"$ENGINES/hostA/i:1"
  capture send_image 1 i:1
  assert_equal "$(<"$ENGINES/hostA/i:1")" layers
}

@test "send_image: fails when the engine here cannot save it, or less arrives" {
  echo layers >"$ENGINES/local/i:1"
  SAVE=fails capture send_image 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: sending the image i:1 failed'
  SAVED=laye capture send_image 1 i:1
  assert_equal "$status" 1
  assert_part 'did not arrive whole'
  [[ ! -e $ENGINES/hostA/i:1 ]]
}

@test "send_image: refuses another architecture, and a host without room" {
  echo layers >"$ENGINES/local/i:1"
  ARCHITECTURE=arm64 capture send_image 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: is arm64, but the image i:1 is for amd64'
  stub df 'echo Filesystem; echo "/dev/x 9 9 2999999 1% /"'
  capture send_image 1 i:1
  assert_equal "$status" 1
  assert_part 'hostA: / has 2 MiB free'
  assert_equal "$(calls "^docker 'save'")" 0
}

@test "send_images: the broker's goes to the master's host only" {
  BROKER_IMAGE_ID=b:1 WORKER_IMAGE_ID=w:1
  echo layers | tee "$ENGINES/local/b:1" >"$ENGINES/local/w:1"
  send_images 1
  assert_equal "$(ls "$ENGINES/hostA")" w:1
  MASTER_HOST=1
  send_images 1
  assert_equal "$(ls "$ENGINES/hostA")" $'b:1\nw:1'
}

@test "send_image: a dry run sends nothing" {
  DRY_RUN=yes
  capture send_image 1 i:1
  assert_equal "$status" 0
  assert_part 'hostA$ docker load'
  assert_equal "$(<"$CALLS")" ''
}
