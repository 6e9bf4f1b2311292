#!/usr/bin/env bats
# framework/shell/stored_images.sh: which images stay on hosts, and which of them are removed.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  HOST_NAMES=(local far)
  # images: NAME ID LABEL TAGS SIZE LAYERS of each; containers: IMAGE_ID INFRASTRUCTURE NAME
  stub docker 'case "$1 $2" in
    "image ls") cut -d " " -f 1 images ;;
    "image inspect")
      for name in "${@:5}"; do
        read -r _ id label tags size layers < <(grep "^$name " images)
        if [[ $4 == *Layers* ]]; then echo "$size $layers"; else echo "sha256:$id ${label#-} $tags"; fi
      done ;;
    "image rm") [[ $3 != *:f* ]] || { echo "conflict: $3" >&2; exit 1; } ;;
    "ps --all") if [[ -s containers ]]; then echo c1; fi ;;
    "container inspect") cat containers ;;
    *) exit 9 ;;
  esac'
  run_with_stdin() { "${@:2}"; } # the far host has the same engine
  : >containers
  {
    image infrainit-worker:000000000001 1 label - 300 one two three
    image infrainit-runner:000000000002 2 label - 200 one two
    image infrainit-runner-mine:000000000003 3 - mine:latest, 900 four # the user's, and we have named it
    image infrainit-runner-old:000000000004 4 - - 700 five             # its name has gone to another image
    image infrainit-base:trixie 5 - debian:trixie-slim, 100 one
    image infrainit-empty:infra-89abcdef-connect 6 - - 0 six
    image infrainit-of-mine:latest 7 - - 1 seven
    image infrainit-worker:of-mine 8 - - 1 eight
  } >images
}

# image NAME DIGIT LABEL OTHER_TAGS SIZE LAYER…
image() {
  local layer layers=''
  for layer in "${@:6}"; do
    layers+="${layers:+,}\"sha256:$(sha256sum <<<"$layer" | cut -c 1-64)\""
  done
  printf '%s %064d %s %s%s, %s [%s]\n' "$1" "$2" "${3/label/0123abcd}" "${4#-}" "$1" "$5" "$layers"
}

removed() {
  sed -n "s/^docker 'image' 'rm' '\(.*\)'$/\1/p" "$CALLS" | tr '\n' ' '
}

@test "show_images: how many, and what they hold: a layer once, and not what stays under another name" {
  capture show_images 1
  assert_equal "$messages" 'far: keeps 6 images of this tool, 1000 bytes'
  capture show_images 0
  assert_equal "$messages" 'local: keeps 5 images of this tool, 300 bytes'
}

@test "size_of_images: what two images are both built on counts once if this machine has an image of it" {
  image infrainit-tunnel:000000000009 9 label - 250 one two nine >>images
  assert_equal "$(size_of_images 1 infrainit-worker:000000000001 infrainit-tunnel:000000000009)" 350
  sed -i '/^infrainit-runner:/d; /^infrainit-base:/d' images
  assert_equal "$(size_of_images 1 infrainit-worker:000000000001 infrainit-tunnel:000000000009)" 550
}

@test "remove_images: on another host all that was sent there, and nothing that only looks like it" {
  capture remove_images 1
  assert_equal "$status" 0
  assert_equal "$(removed)" 'infrainit-worker:000000000001 infrainit-runner:000000000002 infrainit-runner-mine:000000000003 infrainit-runner-old:000000000004 infrainit-base:trixie infrainit-empty:infra-89abcdef-connect '
}

@test "remove_images: here, an image of the user's keeps the name by which it can be found" {
  capture remove_images 0
  assert_equal "$(removed)" 'infrainit-worker:000000000001 infrainit-runner:000000000002 infrainit-runner-mine:000000000003 infrainit-base:trixie infrainit-empty:infra-89abcdef-connect '
}

@test "remove_images: what containers of others use stays, also under another name of the same image" {
  printf 'sha256:%064d %s %s\n' 1 infra-01234567 infrainit-worker:000000000001 2 infra-89abcdef some:name 9 '' infrainit-base:trixie >containers
  capture remove_images 1
  assert_equal "$(removed)" 'infrainit-worker:000000000001 infrainit-runner-mine:000000000003 infrainit-runner-old:000000000004 infrainit-empty:infra-89abcdef-connect '
  assert_line 'far: keeps 2 images, which containers of others use'
}

@test "remove_images: one that Docker does not remove stops none of the others" {
  {
    image infrainit-broker:f00000000001 9 label - 10 nine
    cat images
  } >newer
  mv newer images
  capture remove_images 1
  assert_equal "$status" 1
  assert_line 'conflict: infrainit-broker:f00000000001'
  assert_equal "$(removed | wc -w)" 7
}

@test "remove_images: a host whose answers make no sense loses nothing" {
  sed -i 's/^infrainit-worker:000000000001 [0-9]*/infrainit-worker:000000000001 x;rm/' images
  capture remove_images 1
  assert_equal "$status" 1
  assert_part 'far: the answer cannot be read'
  echo 'no container' >containers
  capture remove_images 1
  assert_equal "$status$(removed)" 1
}

@test "a host without images of ours is told nothing of" {
  : >images
  capture show_images 1
  assert_equal "$messages" ''
  capture remove_images 1
  assert_equal "$status$messages" 0
}
