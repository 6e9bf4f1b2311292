# shellcheck shell=bash
# Secrets of the infrastructure: its certificate authority, certificates and passwords, and the broker's settings, which hold some.
#
# .infra/secrets/
#   authority/                         the key that signs, and what it signed; never leaves this machine
#   hashes/                            of the RabbitMQ passwords, as definitions.json wants them
#   broker/ master/ worker/ flower/    what is sent to the hosts, one directory for each role
#
# openssl (1.1.1 or newer) does it all. No secret is ever an argument of a program: openssl and cat read and write files.

# Certificates are valid from a day ago on, because clocks differ, and made again when less than 30 days are left.
readonly CERTIFICATE_DAYS=825
readonly CERTIFICATE_RESERVE=$((30 * 24 * 3600))
readonly AUTHORITY_DAYS=3650

# make_secrets ADDRESS…: creates whatever is missing. ADDRESSes are the names and IP addresses under which workers reach
# the broker and browsers reach Flower.
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

# certificate_names ADDRESS…: DNS:name,IP:address as openssl wants them, each once.
certificate_names() {
  local address names=""
  for address in "$@"; do
    case $address in
      "" | *[!A-Za-z0-9.:_-]*) die "no host name or IP address: '$address'; name the broker's address with -b" ;;
      *:*) address=IP:$address ;;
      *[!0-9.]*) address=DNS:$address ;;
      *) address=IP:$address ;;
    esac
    [[ ",$names," == *",$address,"* ]] || names+=${names:+,}$address
  done
  printf '%s\n' "$names"
}

# The functions below run inside the directory of the secrets.

make_authority() {
  [[ -s authority/ca.pem ]] && return
  : >authority/index.txt
  write_secret authority/openssl.conf <<'SETTINGS' || return
[ca]
default_ca = authority
[authority]
database = authority/index.txt
new_certs_dir = authority/issued
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[extensions]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
SETTINGS
  make_key authority/key.pem &&
    request_certificate authority infrainit &&
    sign_request authority "$AUTHORITY_DAYS" -selfsign -extensions extensions >authority/ca.pem.new &&
    mv authority/ca.pem.new authority/ca.pem
}

# make_certificate ROLE USAGE NAMES: ROLE/key.pem, cert.pem and ca.pem. The key stays when only the certificate is renewed.
make_certificate() {
  local role=$1 usage=$2 names=$3
  has_certificate "$role" "$names" && return
  write_secret "authority/$role.extensions" <<SETTINGS || return
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = $usage
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
subjectAltName = $names
SETTINGS
  make_key "$role/key.pem" &&
    request_certificate "$role" "$role" &&
    sign_request "$role" "$CERTIFICATE_DAYS" -extfile "authority/$role.extensions" >"$role/cert.pem.new" &&
    mv "$role/cert.pem.new" "$role/cert.pem" &&
    write_secret "$role/ca.pem" <authority/ca.pem &&
    printf '%s\n' "$names" | write_secret "authority/$role.names"
}

# has_certificate ROLE NAMES: is there one for these names, of this authority, that is not about to expire?
has_certificate() {
  local role=$1 names=$2
  [[ -s $role/key.pem && -s $role/cert.pem && -s $role/ca.pem && -s authority/$role.names ]] &&
    [[ $(<"authority/$role.names") == "$names" ]] &&
    openssl verify -CAfile authority/ca.pem "$role/cert.pem" >/dev/null 2>&1 &&
    openssl x509 -in "$role/cert.pem" -noout -checkend "$CERTIFICATE_RESERVE" >/dev/null
}

make_key() {
  local file=$1
  [[ -s $file ]] && return
  openssl_quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$file.new" && mv "$file.new" "$file"
}

# request_certificate ROLE COMMON_NAME: authority/ROLE.request
request_certificate() {
  local role=$1 common_name=$2
  openssl_quietly req -new -batch \
    -config authority/openssl.conf \
    -key "$role/key.pem" \
    -subj "/CN=$common_name" \
    -out "authority/$role.request"
}

# sign_request ROLE DAYS OPTION…: prints the certificate.
sign_request() {
  local role=$1 days=$2
  shift 2
  openssl_quietly ca -batch -notext \
    -config authority/openssl.conf \
    -keyfile authority/key.pem \
    -cert authority/ca.pem \
    -in "authority/$role.request" \
    -startdate "$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)" \
    -enddate "$(date -u -d "+$days days" +%Y%m%d%H%M%SZ)" \
    "$@"
}

# openssl_quietly ARG…: openssl's chatter on stderr is shown only when it fails.
openssl_quietly() {
  local messages
  { messages=$(openssl "$@" 2>&1 >&3); } 3>&1 || {
    printf '%s\n' "$messages" >&2
    return 1
  }
}

# make_random FILE BYTES: hexadecimal, without a newline.
make_random() {
  local file=$1 bytes=$2
  [[ -s $file ]] && return
  openssl rand -hex "$bytes" | tr -d '\n' | write_secret "$file"
}

# render_broker: what RabbitMQ needs beside its certificate.
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

# make_hash USER: hashes/USER, kept as long as the password: base64 of a salt of 4 bytes and SHA-256 of salt and password,
# https://www.rabbitmq.com/docs/passwords#computing-password-hash
make_hash() {
  local user=$1
  [[ -s hashes/$user && hashes/$user -nt $user/password ]] && return
  openssl rand -out hashes/salt 4 &&
    cat hashes/salt "$user/password" | openssl dgst -sha256 -binary -out hashes/digest &&
    cat hashes/salt hashes/digest | openssl base64 -A | write_secret "hashes/$user" &&
    rm hashes/salt hashes/digest
}

# write_secret FILE: stdin, written beside and renamed.
write_secret() {
  cat >"$1.new" && mv "$1.new" "$1"
}
