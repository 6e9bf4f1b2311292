# shellcheck shell=bash
# The secrets of the infrastructure, made here and pushed to the hosts: certificates, passwords, and the broker's configuration.
#
# .infra/secrets/
#   authority/                    the key that signs, and what it signed; never leaves this machine
#   hashes/                       of the RabbitMQ passwords, and users.json, which the broker reads from a pipe
#   broker/                       the broker's files, for the master host
#   master/ flower/ worker@NAME/  the files for a host, one directory for each user of the broker
#   tunnel@NAME/                  the key and the settings of ssh of a host's tunnel: tunnel.sh
#
# No secret is ever an argument of a program: openssl and cat read and write files.

readonly LONGEST_NAME=200 # characters of the name of a worker host: names of files and queues have a little more, and 255 at most

# make_secrets ADDRESS… [-- NAME…]: makes whatever is missing. The ADDRESSes are the names and IP addresses under which workers reach
# the broker and browsers reach Flower; the NAMEs are those of the worker hosts.
make_secrets() (
  local addresses=() user users=()
  umask 077
  command -v openssl >/dev/null || die "openssl is missing on this machine; install it: apt-get install openssl"
  while (($# > 0)) && [[ $1 != -- ]]; do
    addresses+=("$1")
    shift
  done
  for user in "${@:2}"; do
    users+=("$(worker_user "$user")") || exit
  done
  names=$(certificate_names broker localhost "${addresses[@]}") || exit
  mkdir -p "$(secrets_path)"/{authority/issued,hashes,broker,master,flower} || exit
  cd "$(secrets_path)" || exit

  make_authority &&
    make_certificate broker serverAuth "$names" &&
    make_certificate master clientAuth DNS:master &&
    make_certificate flower serverAuth,clientAuth "$names" &&
    make_random broker/erlang_cookie 32 &&
    make_random flower/flower_password 16 || exit
  for user in "${users[@]}"; do
    mkdir -p "$user" && make_certificate "$user" clientAuth DNS:worker || exit
  done
  for user in master flower "${users[@]}"; do
    make_random "$user/password" 32 && make_hash "$user" || exit
  done
  render_broker && render_users "${users[@]}"
)

secrets_path() {
  printf '%s\n' "$CHECKOUT/.infra/secrets"
}

# worker_user NAME: prints the name of the broker's user for the worker host NAME: in messages, in the broker and as directory here.
worker_user() {
  [[ $1 =~ ^[A-Za-z0-9.-]+$ && ${#1} -le $LONGEST_NAME ]] ||
    die "the host $(quote "${1:0:300}") cannot have a user of the broker: its name has other characters than A-Z a-z 0-9 . -, or more than $LONGEST_NAME"
  printf 'worker@%s\n' "$1"
}

# has_secrets ROLE: the runner has none of the infrastructure's; of a project's, see user_values.sh.
has_secrets() {
  [[ $1 != runner ]]
}

# secrets_of HOST ROLE: prints the directory here of what the role on this host has.
secrets_of() {
  local directory=$2
  if [[ $2 == @(worker|tunnel) ]]; then
    directory=$(worker_user "${HOST_NAMES[$1]}") || return
    directory=${directory/#worker/$2}
  fi
  printf '%s\n' "$(secrets_path)/$directory"
}

# secrets_digest HOST ROLE: prints a digest of the role's secrets on this machine.
secrets_digest() {
  local directory
  directory=$(secrets_of "$@") || return
  digest_on 0 "$directory"
}

# forget_workers NAME…: removes the secrets here of all other worker hosts.
forget_workers() {
  local directory user
  for directory in "$(secrets_path)"/worker*/; do
    user=$(basename -- "$directory")
    if [[ -d $directory ]] && { [[ $user == worker ]] || ! is_one_of "${user#worker@}" "$@"; }; then # worker: of earlier versions
      run rm -rf -- "${directory%/}" "$(secrets_path)/hashes/$user" "$(secrets_path)/authority/$user".{request,extensions,names}
    fi
  done
}

# Makes the directory $2 of stdin, an archive, by way of $1, below $3, that of all our files; fails unless its digest, made with the options
# of tar that follow, is $4. A directory that is there stays, as containers have it mounted: its files are replaced, and what else is there
# is removed.
# shellcheck disable=SC2016 # expands over there
readonly SECRETS_SCRIPT='
rm -rf -- "$1" && mkdir -p -m 0700 -- "$3" && install --directory --mode=0700 -- "$3/secrets" "${2%/*}" "$1" || exit
'$EXTRACT_SCRIPT' || exit
new=$1 target=$2 expected=$4
shift 4
found=$(tar --create --file - --directory "$new" "$@" . | sha256sum)
[ "${found%% *}" = "$expected" ] || { echo "secrets did not arrive as they were sent; run this again" >&2 && exit 1; }
[ -d "$target" ] || exec mv --no-target-directory -- "$new" "$target"
cd -- "$target" || exit
find . -mindepth 1 -maxdepth 1 | while IFS="" read -r file; do
  [ -e "$new/$file" ] || rm -rf -- "$file" || exit
done &&
find "$new" -mindepth 1 -maxdepth 1 -exec mv --target-directory=. -- {} + &&
rmdir -- "$new"'

# push_secrets HOST ROLE: replaces the role's secrets on the host if they differ from those here. Where they have changed here,
# start_container replaces the container, too, because the label infrainit.settings differs.
push_secrets() {
  local host=$1 role=$2 here there source target
  source=$(secrets_of "$host" "$role") || return
  target=$(secrets_directory "$host" "$role")
  here=$(secrets_digest "$host" "$role")
  if [[ ! $here && ! $DRY_RUN ]]; then
    die "$source is missing: run infrainit.sh on the machine that started the infrastructure"
  fi
  there=$(digest_on "$host" "$target")
  if [[ $here && $here == "$there" ]]; then
    return 0
  fi
  send_entries "$host" "$source" . -- "$SECRETS_SCRIPT" secrets "$target.new" "$target" "$(root_of "$host")" "$here" \
    "${ARCHIVE_OPTIONS[@]}"
}

# remove_secrets HOST ROLE…: removes the secrets of these roles on the host; without a ROLE, those of all.
remove_secrets() {
  local host=$1 role directory directories=() numbers number
  shift
  for role in "$@"; do
    directories+=("$(secrets_directory "$host" "$role")")
  done
  if (($# == 0)); then
    directories=("$(root_of "$host")/secrets/${INFRASTRUCTURE:?}")
  fi
  # shellcheck disable=SC2016 # expands over there
  numbers=$(on_host "$host" sh -c 'n=0; for each; do [ ! -e "$each" ] || echo "$n"; n=$((n + 1)); done' find "${directories[@]}") || return
  for number in $numbers; do
    [[ $number == [0-9] && ${directories[number]:-} ]] || unreadable "$host" "$number" || return
    directory=${directories[number]}
    step "${HOST_NAMES[host]}" "removing the secrets in $directory"
    change_host "$host" rm -rf -- "$directory" "$directory.new" "$directory.old" || return
  done
}

# remove_secrets_under HOST PATH: removes all secrets on the host under another path than -r.
remove_secrets_under() {
  # shellcheck disable=SC2034 # root_of reads it
  local REMOTE_PATH=$2
  remove_secrets "$1"
}

# The functions below run inside .infra/secrets.

# make_random FILE BYTES: writes random hexadecimal digits without a newline.
make_random() {
  local file=$1 bytes=$2
  [[ -s $file ]] && return
  openssl rand -hex "$bytes" | tr -d '\n' | write_secret "$file"
}

# render_broker: writes the files that RabbitMQ needs beside its certificate.
render_broker() {
  local file
  for file in definitions.json rabbitmq.conf enabled_plugins start set_users; do
    write_secret "broker/$file" <"$CHECKOUT/docker/broker/$file" || return
  done
}

# render_users WORKER…: writes hashes/users.json: each line with @HOST@ once for each of these users.
render_users() {
  local line user host
  while IFS='' read -r line; do
    line=${line//"@MASTER_HASH@"/"$(<hashes/master)"}
    line=${line//"@FLOWER_HASH@"/"$(<hashes/flower)"}
    if [[ $line == *@HOST@* ]]; then
      for user in "$@"; do
        host=${user#worker@}
        render_worker "$line" "$host" "$(<"hashes/$user")"
      done
    else
      printf '%s\n' "$line"
    fi
  done <"$CHECKOUT/docker/broker/users.json" | write_secret hashes/users.json
}

# render_worker LINE HOST HASH
render_worker() {
  local line=$1
  line=${line//"@WORKER_HASH@"/"$3"}
  line=${line//"@PATTERN@"/"${2//./'\\.'}"} # a regular expression, in JSON
  printf '%s\n' "${line//"@HOST@"/"$2"}"
}

# make_hash USER: makes hashes/USER, unless it is newer than the password: base64 of a salt of 4 bytes and SHA-256 of both,
# https://www.rabbitmq.com/docs/passwords#computing-password-hash
make_hash() {
  local user=$1
  [[ -s hashes/$user && hashes/$user -nt $user/password ]] && return
  openssl rand -out hashes/salt 4 &&
    cat hashes/salt "$user/password" | openssl dgst -sha256 -binary -out hashes/digest &&
    cat hashes/salt hashes/digest | openssl base64 -A | write_secret "hashes/$user" &&
    rm hashes/salt hashes/digest
}

# write_secret FILE: writes stdin to a new file and renames it.
write_secret() {
  cat >"$1.new" && mv "$1.new" "$1"
}
