# shellcheck shell=bash
# Images that stay on hosts after infra_clean.sh, so that the next start is quick: how much they hold, and their removal.

# The names that images.sh, project_image.sh and try_port.sh make.
readonly OUR_IMAGE='infrainit-(base:[a-z]+(-incomplete)?|empty:infra-[0-9a-f]{8}-(listen|connect)|(broker|worker|runner|built|tunnel)(-[a-z0-9-]+)?:[0-9a-f]{12})'
readonly IMAGE_ID='(sha256:)?[0-9a-f]{64}'

# show_images HOST: says how many images of ours stay there, and how much they hold.
show_images() {
  local names size
  read_our_images "$1" && ((${#names[@]} > 0)) || return
  size=$(size_of_names "$1" "${names[@]}") || return
  step "${HOST_NAMES[$1]}" "keeps $(count_of "${#names[@]}" image) of this tool, $size"
}

# remove_images HOST: removes the images of ours there that no container of another infrastructure uses. Tries each; fails if one stays
# that could be removed.
remove_images() {
  local host=$1 name size names failures=0 used=0 unused=()
  local -A used_images=()
  read_our_images "$host" && read_used_images "$host" || return
  for name in "${names[@]}"; do
    if [[ ${used_images[$name]:-} || ${used_images[${IMAGE_IDS[$name]}]:-} ]]; then
      used=$((used + 1))
    else
      unused+=("$name")
    fi
  done
  ((used == 0)) || step "${HOST_NAMES[host]}" "keeps $(count_of "$used" image), which containers of others use"
  ((${#unused[@]} > 0)) || return 0
  size=$(size_of_names "$host" "${unused[@]}") || return
  step "${HOST_NAMES[host]}" "removing $(count_of "${#unused[@]}" image), $size"
  for name in "${unused[@]}"; do
    change_docker "$host" image rm "$name" >/dev/null || failures=$((failures + 1)) # not by force: what is in use stays
  done
  return "$failures"
}

# read_our_images HOST: sets the caller's names to the images of ours there, the newest first, and IMAGE_IDS and SHARED_IMAGES. An
# image here that has no label of ours and no other name may be the user's, which we have only named: it is none of them.
read_our_images() {
  local host=$1 found line id label tags name others
  declare -gA IMAGE_IDS=()     # name → id
  declare -gA SHARED_IMAGES=() # name → yes, if the image has a name that is not ours, too: it stays under that
  names=()
  found=$(docker_on "$host" image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=infrainit-*:*') || return
  found=$(grep --extended-regexp --line-regexp "$OUR_IMAGE" <<<"$found") || true # there may be none
  [[ $found ]] || return 0
  mapfile -t names <<<"$found"
  found=$(docker_on "$host" image inspect --format \
    '{{.Id}} {{with .Config}}{{with .Labels}}{{index . "infrainit.inputs"}}{{end}}{{end}} {{range .RepoTags}}{{.}},{{end}}' "${names[@]}") || return
  found=$(paste -d ' ' <(printf '%s\n' "${names[@]}") - <<<"$found")
  names=()
  while IFS='' read -r line; do
    [[ $line =~ ^($OUR_IMAGE)\ ($IMAGE_ID)\ ([0-9a-f]*)\ ([^ ]*)$ ]] || unreadable "$host" "$line" || return
    read -r name id label tags <<<"${line/  / - }"
    others=$(grep --extended-regexp --line-regexp --invert-match "$OUR_IMAGE" <<<"${tags//,/$'\n'}") || true # there may be none
    if [[ $others ]]; then
      SHARED_IMAGES[$name]=yes
    elif [[ $host == 0 && $label == - && ! $name =~ ^infrainit-(base|empty): ]]; then
      continue
    fi
    IMAGE_IDS[$name]=$id
    names+=("$name")
  done <<<"$found"
}

# read_used_images HOST: notes in the caller's used_images the ids and names of the images of all containers there but those of this
# infrastructure.
read_used_images() {
  local host=$1 found line ids
  found=$(docker_on "$host" ps --all --quiet --no-trunc) || return
  [[ $found ]] || return 0
  mapfile -t ids <<<"$found"
  found=$(docker_on "$host" container inspect --format \
    '{{.Image}} {{with .Config.Labels}}{{index . "infrainit.infrastructure"}}{{end}} {{.Config.Image}}' "${ids[@]}") || return
  while IFS='' read -r line; do
    [[ $line =~ ^$IMAGE_ID\ .*\ [^\ ]+$ ]] || unreadable "$host" "$line" || return
    if [[ $line != *" $INFRASTRUCTURE "* ]]; then
      used_images[${line%% *}]=yes used_images[${line##* }]=yes
    fi
  done <<<"$found"
}

# size_of_names HOST IMAGE…: prints what the removal of these names would free, for people.
size_of_names() {
  local name size own=()
  for name in "${@:2}"; do
    [[ ${SHARED_IMAGES[$name]:-} ]] || own+=("$name")
  done
  size=0
  if ((${#own[@]} > 0)); then
    size=$(size_of_images "$1" "${own[@]}") || return
  fi
  size_text "$size"
}

# size_of_images HOST IMAGE…: prints the bytes that they take together. Layers that they share count once, as far as an image of ours on
# this machine consists of them: Docker says the size of images only.
size_of_images() {
  local answer known
  answer=$(print_layers "$@") || return
  mapfile -t known < <(docker_on 0 image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=infrainit-*:*')
  {
    printf '%s\n' "$answer"
    echo
    ((${#known[@]} == 0)) || print_layers 0 "${known[@]}" || true # one may have been removed just now
  } | awk '
    !NF { known = 1; next }
    {
      layers = $2 ","
      size[layers] = $1
      if (!known) wanted[layers]
    }
    END {
      for (layers in size) {
        part = below = 0
        for (other in wanted) if (index(other, layers) == 1) part = 1
        for (other in size) if (other != layers && index(layers, other) == 1 && size[other] > below) below = size[other]
        if (part) total += size[layers] - below
      }
      printf "%.0f\n", total
    }'
}

# print_layers HOST IMAGE…: prints a line for each: its size in bytes, and the digests of its layers, separated by commas.
print_layers() {
  local answer line
  answer=$(docker_on "$1" image inspect --format '{{.Size}} {{json .RootFS.Layers}}' "${@:2}") || return
  answer=${answer//[]\"[]/}
  while IFS='' read -r line; do
    [[ $line =~ ^[0-9]{1,15}\ ((sha256:[0-9a-f]{64},?)*|null)$ ]] || unreadable "$1" "$line" || return
  done <<<"$answer"
  printf '%s\n' "$answer"
}
