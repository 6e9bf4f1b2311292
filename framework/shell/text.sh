# shellcheck shell=bash
# Functions of text alone: they print what follows from their arguments and change nothing.

# quote WORD…: prints the words as one line of POSIX shell, the same in every locale and for every shell that has single quotes.
quote() {
  local word line=''
  for word in "$@"; do
    # A first word that contains '=' is always quoted: otherwise it would be an assignment.
    if [[ ! $word =~ ^[A-Za-z0-9_@%+:,./-]+${line:+[A-Za-z0-9_@%+=:,./-]*}$ ]]; then
      word="'${word//\'/"'\\''"}'"
    fi
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
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
