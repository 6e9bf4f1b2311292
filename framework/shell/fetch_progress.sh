# shellcheck shell=bash
# What is to be fetched, in tasks and bytes: whether it fits on the disk, and how far it has come.

readonly SPARE_BYTES=$((16 * 1024 * 1024)) # left free on this machine's disk, at least

PROGRESS='' # process that shows the progress

# total_wanted HOST…: prints how many attempts and bytes are listed. A host that lists more than it may send counts as far as that goes.
total_wanted() {
  local files=("${@/#/"$LISTS/"}")
  awk -F '\t' -v most="$((10#$RESULTS_LIMIT * 1024 * 1024))" '
    { bytes[FILENAME] += $1 + 4096 }
    END {
      for (file in bytes) sum += (bytes[file] < most ? bytes[file] : most)
      printf "%d %.0f\n", NR, sum
    }' /dev/null "${files[@]/%/.sized}"
}

# check_space ATTEMPTS BYTES: ends the program if they do not fit.
check_space() {
  local free
  free=$(df --portability --block-size=1 -- "$RESULTS" | awk 'NR == 2 { print $4 }') || return 0 # this is only a hint
  is_number "$free" || return 0
  if (($2 + SPARE_BYTES > free)); then
    die "the files of $(count_of "$1" attempt) take $(size_text "$2"), but $RESULTS has $(size_text "$free") of free space; \
make room, name a directory on another disk (-o), or fetch less (--exclude, --only, --no-files)"
  fi
}

# start_progress ATTEMPTS BYTES HOST…: shows how far they have come, in one line that is drawn each second, on a terminal.
start_progress() {
  local start=$SECONDS
  [[ -t 2 && $1 != 0 ]] || return 0
  while sleep 1; do
    draw_progress "$((SECONDS - start))" "$@" || true # what it looks at comes and goes
  done 3>&2 2>/dev/null &
  PROGRESS=$!
}

stop_progress() {
  [[ $PROGRESS ]] || return 0
  kill "$PROGRESS" 2>/dev/null || true # it may have ended
  wait "$PROGRESS" || true             # it was killed
  PROGRESS=''
  printf '\r\033[K' >&2
}

# draw_progress SECONDS ATTEMPTS BYTES HOST…: also counts what has come of attempts that are not complete. Once the last byte is here,
# its file is still compared with its checksum.
draw_progress() {
  local seconds=$1 attempts=$2 bytes=$3 host count expected here=0 done=0 left=''
  shift 3
  for host in "$@"; do
    if read -r count _ expected <"$LISTS/$host.done"; then
      done=$((done + count)) here=$((here + expected))
    fi
    if [[ -d $INCOMING/$host ]]; then
      here=$((here + $(du --summarize --block-size=1 -- "$INCOMING/$host" | cut -f 1)))
    fi
  done
  here=$((here < bytes ? here : bytes))
  if ((here > 0 && seconds > 2)); then
    left=", $(size_text "$((here / seconds))")/s, $(duration "$(((bytes - here) * seconds / here))") left"
  fi
  printf '\r%s of %s, %s of %s%s\033[K' "$done" "$(count_of "$attempts" attempt)" "$(size_text "$here")" "$(size_text "$bytes")" "$left" >&3
}
