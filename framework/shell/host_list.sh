# shellcheck shell=bash
# What -a names: hosts with ranges in brackets, or a hosts file, which also has settings of single hosts.

readonly MOST_HOSTS=1000 # that -a may name; a range that was mistyped is not to make millions
readonly HOST_KEYS=(name user port key slots gpus labels)
HOSTS_PLACE='-a'             # what messages name as the place of a host: -a, or the line of the hosts file
EXPANDED=()                  # hosts of expand_ranges
declare -gA HOST_SETTINGS=() # "number key" → value of name, key, slots, gpus or labels in the hosts file
declare -gA HOST_MOUNTS=()   # "number target" → directory of that host that a project's mount of this target uses
declare -gA HOST_OF_FILE=()  # settings of the host that is being read from the hosts file; its mounts as mount:TARGET

# split_list LIST ARRAY: stores the items between commas in ARRAY; commas in brackets are part of an item.
split_list() {
  local -n items_of_list=$2
  local part item=''
  mapfile -d , -t items_of_list < <(printf '%s,' "$1")
  [[ $1 == *'['* ]] || return 0
  set -- "${items_of_list[@]}"
  items_of_list=()
  for part in "$@"; do
    item+=${item:+,}$part
    if [[ ${item##*'['} == *']'* || $item != *'['* ]]; then
      items_of_list+=("$item")
      item=''
    fi
  done
  [[ ! $item ]] || items_of_list+=("$item") # a bracket is not closed: no host
}

# expand_ranges TEXT: appends to EXPANDED what TEXT stands for: gpu[01-03,7] is gpu01, gpu02, gpu03 and gpu7; the first number of a
# range says how many digits there are. An IPv6 address in brackets stays. Fails after recording a problem.
expand_ranges() {
  local before list after item items first last number
  if [[ ! $1 =~ ^([^][]*)\[([0-9,-]*)\](.*)$ ]]; then
    EXPANDED+=("$1")
    return 0
  fi
  before=${BASH_REMATCH[1]} list=${BASH_REMATCH[2]} after=${BASH_REMATCH[3]}
  mapfile -d , -t items < <(printf '%s,' "$list")
  for item in "${items[@]}"; do
    if [[ ! $item =~ ^([0-9]{1,9})(-([0-9]{1,9}))?$ ]]; then
      problem "$HOSTS_PLACE: $(quote "$1"): $(quote "$item") is no number or range; write gpu[01-16] or gpu[1,3,5-7]"
      return 1
    fi
    first=${BASH_REMATCH[1]} last=${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}
    if ((10#$first > 10#$last)); then
      problem "$HOSTS_PLACE: $(quote "$1"): the range $item runs backwards"
      return 1
    fi
    for ((number = 10#$first; number <= 10#$last; number++)); do
      if ((${#EXPANDED[@]} >= MOST_HOSTS)); then
        problem "$HOSTS_PLACE: $(quote "$1") names more than $MOST_HOSTS hosts"
        return 1
      fi
      expand_ranges "$before$(pad "$number" "$first")$after" || return
    done
  done
}

# pad NUMBER LIKE: prints NUMBER with as many digits as LIKE has, if LIKE begins with 0.
pad() {
  if [[ $2 == 0* ]]; then
    printf '%0*d\n' "${#2}" "$1"
  else
    printf '%d\n' "$1"
  fi
}

# add_listed_hosts LIST: numbers the hosts of a list as in -a.
add_listed_hosts() {
  local items item host
  split_list "$1" items
  for item in "${items[@]}"; do
    EXPANDED=()
    expand_ranges "$item" || continue
    for host in "${EXPANDED[@]}"; do
      add_host "$host"
    done
  done
}

# read_hosts_file FILE: numbers its hosts, and takes their settings. A name that ends in .yml or .yaml means the YAML form.
read_hosts_file() {
  local before=${#PROBLEMS[@]}
  if [[ ! (-f $1 && -r $1) ]]; then
    problem "-a: cannot read the hosts file $1"
    return 0
  fi
  HOST_OF_FILE=()
  case $1 in
    *.yml | *.yaml) read_yaml_hosts "$1" ;;
    *) read_host_lines "$1" ;;
  esac
  HOSTS_PLACE='-a'
  if ((${#HOSTS[@]} == 1 && ${#PROBLEMS[@]} == before)); then
    problem "-a: the hosts file $1 names no host"
  fi
}

# read_host_lines FILE: one host a line, then key=value and mount:TARGET=SOURCE; lines of GNU parallel's sshlogin files, too.
read_host_lines() {
  local file=$1 lines line words word number=0
  mapfile -t lines <"$file"
  for line in "${lines[@]}"; do
    number=$((number + 1))
    HOSTS_PLACE=$file:$number
    [[ ! $line =~ (^|[[:space:]])#.*$ ]] || line=${line%"${BASH_REMATCH[0]}"}
    read -r -a words <<<"$line"
    ((${#words[@]} > 0)) || continue
    HOST_OF_FILE=()
    word=${words[0]}
    if [[ $word =~ ^([0-9]+)/(.*)$ ]]; then # as GNU parallel has it
      take_host_setting slots "${BASH_REMATCH[1]}"
      word=${BASH_REMATCH[2]}
    fi
    take_host_setting host "${word/#:/local}"
    for word in "${words[@]:1}"; do
      if [[ $word == mount:/*=* ]]; then
        word=${word#mount:}
        take_host_setting "mount:${word%%=*}" "${word#*=}"
      elif [[ $word == [a-z]*=* ]]; then
        take_host_setting "${word%%=*}" "${word#*=}"
      else
        problem "$HOSTS_PLACE: $(quote "$word") is no key=value; a line is: host key=value…"
      fi
    done
    add_host_of_file "$file"
  done
}

# read_yaml_hosts FILE: a list of mappings with plain or quoted values, [lists], lists of lines, and `mounts:` with a mapping below.
# It is read line by line, as no YAML reader can be relied on here: what it does not know is refused.
read_yaml_hosts() {
  local file=$1 lines line indent text key='' number=0 item_indent='' key_indent=''
  mapfile -t lines <"$file"
  for line in "${lines[@]}"; do
    number=$((number + 1))
    [[ ! $line =~ (^|[[:space:]])#.*$ ]] || line=${line%"${BASH_REMATCH[0]}"}
    [[ $line =~ ^(\ *)(.*[^[:space:]])[[:space:]]*$ ]] || continue
    indent=${#BASH_REMATCH[1]} text=${BASH_REMATCH[2]}
    [[ ! ($indent == 0 && $text == @(---|hosts:)) ]] || continue
    if [[ $text == '- '* && (! $item_indent || $indent == "$item_indent") ]]; then # a new host
      add_host_of_file "$file"
      HOSTS_PLACE=$file:$number item_indent=$indent key=''
      text=${text#- }
      while [[ $text == ' '* ]]; do text=${text# } indent=$((indent + 1)); done
      indent=$((indent + 2)) key_indent=$indent
      if [[ $text != *:* ]]; then
        text="host: $text"
      fi
    fi
    if [[ ! $item_indent ]]; then
      problem "$file:$number: expected a list of hosts: - host: NAME"
      return 0
    elif [[ $key == mounts && $indent -gt $key_indent && $text =~ ^([\"\']?/[^:\"\']*[\"\']?):\ +(.*)$ ]]; then
      take_yaml_setting "$file:$number" "mount:$(unquoted "${BASH_REMATCH[1]}")" "${BASH_REMATCH[2]}"
    elif [[ $key == @(labels|gpus) && $indent -ge $key_indent && $text == '- '* ]]; then
      take_yaml_setting "$file:$number" "$key" "[${text#- }]"
    elif [[ $indent == "$key_indent" && $text =~ ^([a-z]+):(\ +(.*))?$ ]]; then
      key=${BASH_REMATCH[1]}
      if [[ ${BASH_REMATCH[3]} ]]; then
        take_yaml_setting "$file:$number" "$key" "${BASH_REMATCH[3]}"
      elif [[ $key != @(labels|gpus|mounts) ]]; then
        problem "$file:$number: $key has no value"
      fi
    else
      problem "$file:$number: cannot read $(quote "$text"); the hosts file is a simple YAML list: see docs/options.md"
    fi
  done
  add_host_of_file "$file"
}

# take_yaml_setting PLACE KEY VALUE: VALUE as it stands in YAML.
take_yaml_setting() {
  local value=$3 items item list=''
  if [[ $value =~ ^\[(.*)\]$ && $2 != host ]]; then
    mapfile -d , -t items < <(printf '%s,' "${BASH_REMATCH[1]}")
    for item in "${items[@]}"; do
      [[ $item =~ ^\ *(.*[^ ])\ *$ ]] || continue
      list+=${list:+,}$(unquoted "${BASH_REMATCH[1]}")
    done
    value=[$list]
  elif [[ $value == ['&*!|>%@`{']* || $value == *': '* || $value == \"*\\* ]]; then
    problem "$1: cannot read $(quote "$value"); values are plain, quoted, or [lists]"
    return 0
  else
    value=$(unquoted "$value")
  fi
  if [[ $value == \[*\] && ${HOST_OF_FILE[$2]:-} == \[*\] ]]; then # the next line of a list
    HOST_OF_FILE[$2]="${HOST_OF_FILE[$2]%]},${value#[}"
  else
    HOSTS_PLACE=$1 take_host_setting "$2" "$value"
  fi
}

unquoted() {
  if [[ $1 =~ ^\"(.*)\"$ || $1 =~ ^\'(.*)\'$ ]]; then
    printf '%s\n' "${BASH_REMATCH[1]}"
  else
    printf '%s\n' "$1"
  fi
}

# take_host_setting KEY VALUE: keeps it in HOST_OF_FILE, or records a problem.
take_host_setting() {
  if [[ $1 != mount:* ]] && ! is_one_of "$1" host "${HOST_KEYS[@]}"; then
    problem "$HOSTS_PLACE: $(quote "$1") is no setting of a host; the nearest is $(nearest "$1" host mounts "${HOST_KEYS[@]}")"
  elif [[ -v HOST_OF_FILE[$1] ]]; then
    problem "$HOSTS_PLACE: $1 is given twice"
  elif [[ ! $2 || $2 == *[[:cntrl:]]* ]]; then
    problem "$HOSTS_PLACE: $1 has no value"
  else
    HOST_OF_FILE[$1]=$2
  fi
}

# add_host_of_file FILE: adds what HOST_OF_FILE holds, if anything, and empties it. A range gives each of its hosts the settings.
add_host_of_file() {
  local file=$1 address user port host number key before=${#PROBLEMS[@]}
  ((${#HOST_OF_FILE[@]} > 0)) || return 0
  address=${HOST_OF_FILE[host]:-${HOST_OF_FILE[name]:-}} user=${HOST_OF_FILE[user]:-} port=${HOST_OF_FILE[port]:-}
  EXPANDED=()
  if [[ ! $address ]]; then
    problem "$HOSTS_PLACE: the host has no host: or name:"
  elif expand_ranges "$address"; then
    check_host_settings "$file" "$address"
  fi
  if ((${#PROBLEMS[@]} == before)); then
    for host in "${EXPANDED[@]}"; do
      if [[ $host == local ]]; then
        number=0
      else
        [[ ! $port || $host != *:*:* || $host == *'['* ]] || host="[$host]"
        add_host "${user:+$user@}$host${port:+:$port}" "${HOST_OF_FILE[name]:-}"
        ((${#PROBLEMS[@]} == before)) || break
        number=$((${#HOSTS[@]} - 1))
      fi
      for key in "${!HOST_OF_FILE[@]}"; do
        case $key in
          mount:*) HOST_MOUNTS["$number ${key#mount:}"]=${HOST_OF_FILE[$key]} ;;
          name | key | slots | gpus | labels) HOST_SETTINGS["$number $key"]=${HOST_OF_FILE[$key]} ;;
        esac
      done
    done
  fi
  HOST_OF_FILE=()
}

# check_host_settings FILE ADDRESS: records what is wrong with HOST_OF_FILE, and brings its values into one form.
check_host_settings() {
  local key value label labels
  for key in "${!HOST_OF_FILE[@]}"; do
    value=${HOST_OF_FILE[$key]}
    case $key in
      name)
        if [[ ! $value =~ ^[A-Za-z0-9][A-Za-z0-9.-]*$ || $value == local ]]; then
          problem "$HOSTS_PLACE: name: $(quote "$value") has other characters than letters, digits, . and -"
        elif ((${#EXPANDED[@]} > 1)); then
          problem "$HOSTS_PLACE: name: $2 is more than one host"
        fi
        ;;
      slots) [[ $value =~ ^[1-9][0-9]{0,4}$ ]] || problem "$HOSTS_PLACE: slots must be a whole number from 1, not $(quote "$value")" ;;
      port) [[ $value =~ ^[0-9]{1,5}$ ]] || problem "$HOSTS_PLACE: port must be a number, not $(quote "$value")" ;;
      user) [[ $2 != *@* ]] || problem "$HOSTS_PLACE: user is given twice" ;;
      key)
        value=${value/#'~/'/"$HOME/"}
        value=$(absolute_path "$value" "$(dirname -- "$1")")
        HOST_OF_FILE[key]=$value
        [[ -f $value && -r $value ]] || problem "$HOSTS_PLACE: cannot read the key file $value"
        ;;
      gpus)
        [[ $value != *,* || $value == \[* ]] || value="[$value]"
        HOST_OF_FILE[gpus]=$value
        [[ $value =~ ^([0-9]{1,3}|\[([0-9]{1,3}|GPU-[0-9a-f-]+)(,([0-9]{1,3}|GPU-[0-9a-f-]+))*\])$ ]] ||
          problem "$HOSTS_PLACE: gpus is how many may be used, or which ones: 2, or [0,3]; not $(quote "$value")"
        ;;
      labels)
        value=${value#[} value=${value%]}
        HOST_OF_FILE[labels]=$value
        mapfile -d , -t labels < <(printf '%s,' "$value")
        for label in "${labels[@]}"; do
          [[ $label =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] ||
            problem "$HOSTS_PLACE: labels: $(quote "$label") has other characters than letters, digits, _, . and -"
        done
        ;;
      mount:*)
        [[ $key == mount:/* && $value == @(/*|\~/*) ]] ||
          problem "$HOSTS_PLACE: ${key#mount:} and $(quote "$value"): the target is an absolute path, and so is the directory of the host, or it begins with ~/"
        ;;
    esac
  done
  if [[ $2 == local && ${HOST_OF_FILE[user]:-}${HOST_OF_FILE[port]:-}${HOST_OF_FILE[key]:-}${HOST_OF_FILE[name]:-} ]]; then
    problem "$HOSTS_PLACE: local is this machine, which needs no name, user, port or key"
  fi
}

# host_setting HOST KEY: prints what the hosts file says; nothing if it does not.
host_setting() {
  printf '%s\n' "${HOST_SETTINGS["$1 $2"]:-}"
}

# key_of HOST: prints the private key file for ssh to it; nothing if ssh is to choose.
key_of() {
  printf '%s\n' "${HOST_SETTINGS["$1 key"]:-$KEY}"
}

# print_host_lines HOST…: prints the settings of these hosts for the record, one a line: host, key, value, with tabs between them.
print_host_lines() {
  local entry host
  for host in "$@"; do
    for entry in "${!HOST_SETTINGS[@]}"; do
      [[ ${entry%% *} != "$host" ]] || printf '%s\t%s\t%s\n' "${HOSTS[host]}" "${entry#* }" "${HOST_SETTINGS[$entry]}"
    done
    for entry in "${!HOST_MOUNTS[@]}"; do
      [[ ${entry%% *} != "$host" ]] || printf '%s\tmount:%s\t%s\n' "${HOSTS[host]}" "${entry#* }" "${HOST_MOUNTS[$entry]}"
    done
  done | LC_ALL=C sort
}

# take_host_lines TEXT HOST…: takes the settings that print_host_lines has printed of these hosts.
take_host_lines() {
  local typed key value host
  while IFS=$'\t' read -r typed key value; do
    for host in "${@:2}"; do
      [[ $typed == "${HOSTS[host]}" ]] || continue
      case $key in
        mount:*) HOST_MOUNTS["$host ${key#mount:}"]=$value ;;
        name)
          # shellcheck disable=SC2034 # of hosts.sh
          HOST_NAMES[host]=$value
          HOST_SETTINGS["$host name"]=$value
          ;;
        *) HOST_SETTINGS["$host $key"]=$value ;;
      esac
    done
  done <<<"$1"
}
