# shellcheck shell=bash
# The secrets of the infrastructure, made here and pushed to the hosts: certificates, passwords, and the broker's configuration,
# which contains password hashes.
#
# .infra/secrets/
#   authority/                         the key that signs, and what it signed; never leaves this machine
#   hashes/                            of the RabbitMQ passwords, as definitions.json wants them
#   broker/ master/ worker/ flower/    the files for the hosts, one directory for each role
#
# No secret is ever an argument of a program: openssl and cat read and write files.

# make_secrets ADDRESS…: makes whatever is missing. The ADDRESSes are the names and IP addresses under which workers reach the
# broker and browsers reach Flower.
make_secrets() (
  umask 077
  command -v openssl >/dev/null || die "openssl is missing on this machine; install it: apt-get install openssl"
  names=$(certificate_names broker localhost "$@") || exit
  mkdir -p "$(secrets_path)"/{authority/issued,hashes,broker,master,worker,flower} || exit
  cd "$(secrets_path)" || exit

  make_authority &&
    make_certificate broker serverAuth "$names" &&
    make_certificate master clientAuth DNS:master &&
    make_certificate worker clientAuth DNS:worker &&
    make_certificate flower serverAuth,clientAuth "$names" &&
    make_random broker/erlang_cookie 32 &&
    make_random master/password 32 &&
    make_random worker/password 32 &&
    make_random flower/password 32 &&
    make_random flower/flower_password 16 &&
    render_broker
)

secrets_path() {
  printf '%s\n' "$CHECKOUT/.infra/secrets"
}

# has_secrets ROLE: the runner has none.
has_secrets() {
  [[ $1 != runner ]]
}

# secrets_digest ROLE: prints a digest of the role's secrets on this machine.
secrets_digest() {
  digest_on 0 "$(secrets_path)/$1"
}

# push_secrets HOST ROLE: replaces the role's secrets on the host if they differ from those here. Running containers keep theirs
# until start_container replaces them, because the label infrainit.settings differs.
push_secrets() {
  local host=$1 role=$2 here there source target
  source="$(secrets_path)/$role"
  target=$(secrets_directory "$host" "$role")
  here=$(secrets_digest "$role")
  if [[ ! $here && ! $DRY_RUN ]]; then
    die "$source is missing: run infrainit.sh on the machine that started the infrastructure"
  fi
  there=$(digest_on "$host" "$target")
  if [[ $here && $here == "$there" ]]; then
    return 0
  fi
  change_host "$host" rm -rf -- "$target.new" "$target.old"
  make_root "$host"
  change_host "$host" install --directory --mode=0700 -- \
    "$(root_of "$host")/secrets" "$(dirname -- "$target")" "$target.new"
  send_directory "$host" "$source" "$target.new" .
  if [[ $there ]]; then
    change_host "$host" mv --no-target-directory -- "$target" "$target.old"
  fi
  change_host "$host" mv --no-target-directory -- "$target.new" "$target"
  change_host "$host" rm -rf -- "$target.old"
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
  local template=$CHECKOUT/docker/broker definitions user
  definitions=$(<"$template/definitions.json") || return
  for user in master worker flower; do
    make_hash "$user" || return
    definitions=${definitions//"@${user^^}_HASH@"/"$(<"hashes/$user")"}
  done
  printf '%s\n' "$definitions" | write_secret broker/definitions.json &&
    write_secret broker/rabbitmq.conf <"$template/rabbitmq.conf" &&
    write_secret broker/enabled_plugins <"$template/enabled_plugins" &&
    write_secret broker/start <"$template/start"
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
