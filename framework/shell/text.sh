# shellcheck shell=bash
# Functions of text alone: they print what follows from their arguments and change nothing.

# quote WORD…: prints the words as one line of POSIX shell, the same in every locale and for every shell that has single quotes.
quote() {
  local quoted
  set_quoted quoted "$@"
  printf '%s\n' "$quoted"
}

# set_quoted VARIABLE WORD…: stores what `quote` prints, without a process.
set_quoted() {
  local word line_of_words=''
  for word in "${@:2}"; do
    # A first word that contains '=' is always quoted: otherwise it would be an assignment.
    if [[ ! $word =~ ^[A-Za-z0-9_@%+:,./-]+${line_of_words:+[A-Za-z0-9_@%+=:,./-]*}$ ]]; then
      word="'${word//\'/"'\\''"}'"
    fi
    line_of_words+="${line_of_words:+ }$word"
  done
  printf -v "$1" %s "$line_of_words"
}

# quote_for_any_shell WORD…: prints the words as one line that sh, bash, dash, zsh, csh, tcsh and fish all read as the same words.
# What they treat differently between single quotes is written as printf's %b reads it; whoever gets the words decodes them.
quote_for_any_shell() {
  local LC_ALL=C word line='' character code number
  for word in "$@"; do
    if [[ ! $word =~ ^[A-Za-z0-9_./-][A-Za-z0-9_@%+=:,./-]*$ ]]; then
      word=${word//\\/'\0134'}
      word=${word//\'/'\0047'}
      word=${word//!/'\0041'}
      word=${word//$'\n'/'\0012'}
      while [[ $word =~ [^\ -~] ]]; do # a byte at a time, each value once
        character=${BASH_REMATCH[0]}
        printf -v number %d "'$character"
        printf -v code '\\0%03o' "$((number & 255))"
        word=${word//"$character"/"$code"}
      done
      word="'$word'"
    fi
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# with_input COMMAND…: runs COMMAND on stdin, and on its bytes as they are, unless stdin is empty, as messages of most commands are.
with_input() {
  local LC_ALL=C byte
  IFS='' read -r -d '' -n 1 byte || return 0
  export LC_ALL
  { printf %b "${byte:-\0}" && cat; } | "$@"
}

# digest: prints the SHA-256 of stdin, as hexadecimal digits.
digest() {
  local line
  line=$(sha256sum)
  printf '%s\n' "${line%% *}"
}

# printable: copies stdin to stdout line by line, as text that can be shown on any terminal. Colours and bytes that are no UTF-8 are
# left out; other control characters, and those that change the direction of writing, become a question mark.
printable() {
  with_input sed --unbuffered --regexp-extended \
    -e 's/\x1b\[[0-9;]*m//g' \
    -e 's/\r$//' \
    -e 's/([\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf4][\x80-\xbf]{3})|[\x80-\xff]/\1/g' \
    -e 's/\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|[\x01-\x08\x0b-\x1f\x7f]|\x00/?/g'
}

# make_printable TEXT: prints TEXT as `printable` does.
make_printable() {
  if is_plain "$1"; then
    printf '%s\n' "$1"
  else
    printable <<<"$1"
  fi
}

# set_printable VARIABLE TEXT: stores what make_printable prints.
set_printable() {
  if is_plain "$2"; then
    printf -v "$1" %s "$2"
  else
    printf -v "$1" %s "$(printable <<<"$2")"
  fi
}

# is_plain TEXT: is it certainly printable: only ASCII, newlines and tabs?
is_plain() {
  local LC_ALL=C
  [[ $1 != *[!\ -~$'\n\t']* ]]
}

# printable_redrawn: the same for text that draws a line again and again with carriage returns, as `framework watch` does.
printable_redrawn() {
  local text end code=0
  while ((code == 0 || code > 128)); do # above: nothing more came for a moment
    code=0
    IFS='' read -r -d $'\r' -t 0.3 text || code=$?
    end=''
    if ((code == 0)); then
      end=$'\r'
    fi
    if [[ $text$end ]]; then
      text=$(make_printable "$text.") # the dot, because a newline at the end would be lost
      printf '%s%s' "${text%.}" "$end"
    fi
  done
}

# is_number TEXT: is it a whole number that bash can compute with? Without a leading 0, which would make it octal.
is_number() {
  [[ $1 =~ ^(0|[1-9][0-9]{0,17})$ ]]
}

# duration SECONDS: prints it in the unit that people would use.
duration() {
  if (($1 < 120)); then
    echo "$1 s"
  elif (($1 < 120 * 60)); then
    echo "$(($1 / 60)) min"
  elif (($1 < 48 * 3600)); then
    echo "$(($1 / 3600)) h"
  else
    echo "$(($1 / 86400)) d"
  fi
}

# size_text BYTES: prints it in the unit that people would use.
size_text() {
  local bytes=$1 unit tenths
  for unit in KiB MiB GiB TiB; do
    tenths=$((bytes * 10 / 1024))
    if ((bytes < 1024 * 1024)) || [[ $unit == TiB ]]; then
      break
    fi
    bytes=$((bytes / 1024))
  done
  if (($1 < 1024)); then
    echo "$1 bytes"
  elif ((tenths < 100)); then
    echo "$((tenths / 10)).$((tenths % 10)) $unit"
  else
    echo "$((tenths / 10)) $unit"
  fi
}

# count_of NUMBER NOUN: prints both, with an s where there is not one.
count_of() {
  local noun=$2
  [[ $1 == 1 ]] || noun+=s
  printf '%s %s\n' "$1" "$noun"
}

# is_one_of WORD CANDIDATE…
is_one_of() {
  local candidate
  for candidate in "${@:2}"; do
    if [[ $1 == "$candidate" ]]; then
      return 0
    fi
  done
  return 1
}

# in_order NUMBER…: prints each number once, the smallest first; an empty one is none.
in_order() {
  local number numbers=()
  for number in "$@"; do
    [[ ! $number ]] || numbers[number]=yes
  done
  ((${#numbers[@]} == 0)) || printf '%s\n' "${!numbers[@]}"
}

join_by_comma() {
  local IFS=,
  printf '%s\n' "$*"
}

# absolute_path PATH DIRECTORY: a relative PATH starts in DIRECTORY.
absolute_path() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$2/$1" ;;
  esac
}

# nearest WORD CANDIDATE…: prints the candidate with the smallest edit distance to WORD.
nearest() {
  local word=$1 candidate distance best='' smallest=1000
  shift
  for candidate in "$@"; do
    distance=$(edit_distance "$word" "$candidate")
    if ((distance < smallest)); then
      smallest=$distance best=$candidate
    fi
  done
  printf '%s\n' "$best"
}

# edit_distance A B: Levenshtein's distance, computed row by row.
edit_distance() {
  local a=$1 b=$2 row column above diagonal cost distances=()
  for ((column = 0; column <= ${#b}; column++)); do
    distances[column]=$column
  done
  for ((row = 1; row <= ${#a}; row++)); do
    diagonal=${distances[0]} distances[0]=$row
    for ((column = 1; column <= ${#b}; column++)); do
      above=${distances[column]} cost=$diagonal
      [[ ${a:row-1:1} == "${b:column-1:1}" ]] || cost=$((cost + 1))
      ((cost <= above + 1)) || cost=$((above + 1))
      ((cost <= distances[column - 1] + 1)) || cost=$((distances[column - 1] + 1))
      diagonal=$above distances[column]=$cost
    done
  done
  printf '%s\n' "${distances[${#b}]}"
}
