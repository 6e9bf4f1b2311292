# shellcheck shell=bash
# The certificate authority of the infrastructure, and the certificates that it signs. The functions that make something run inside
# .infra/secrets; secrets.sh calls them. openssl (1.1.1 or newer) does the work.

# Certificates are valid from a day ago on, because clocks differ, and are renewed when less than 30 days are left: each start looks.
# An authority that would end before its certificates is replaced, and then they are, too.
readonly CERTIFICATE_DAYS=825
readonly CERTIFICATE_RESERVE=$((30 * 24 * 3600))
readonly AUTHORITY_DAYS=3650

# certificate_names ADDRESS…: prints DNS:name,IP:address as openssl reads them, each once.
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

make_authority() {
  if [[ -s authority/ca.pem ]]; then
    openssl x509 -in authority/ca.pem -noout -checkend "$((CERTIFICATE_DAYS * 24 * 3600))" >/dev/null && return
    say "local: the certificate authority ends on $(end_of authority/ca.pem): a new one replaces it, and all certificates"
    rm -f authority/ca.pem authority/key.pem
  fi
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

# make_certificate ROLE USAGE NAMES: makes ROLE/key.pem, cert.pem and ca.pem. The key stays when the certificate is renewed.
make_certificate() {
  local role=$1 usage=$2 names=$3
  has_certificate "$role" "$names" && return
  if [[ -s $role/cert.pem ]]; then
    say "local: the certificate of $role is renewed: it was valid until $(end_of "$role/cert.pem"), or is for other addresses now"
  fi
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

# end_of CERTIFICATE: prints the date until which it is valid.
end_of() {
  openssl x509 -in "$1" -noout -enddate | sed 's/^notAfter=//'
}

# fingerprint_of CERTIFICATE: prints the SHA-256 that browsers show.
fingerprint_of() {
  openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/^.*=//'
}

# has_certificate ROLE NAMES: is there a certificate for these names, by this authority, that does not expire soon?
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

# request_certificate ROLE COMMON_NAME: makes authority/ROLE.request. A common name has 64 characters at most; nobody relies on it.
request_certificate() {
  local role=$1 common_name=$2
  openssl_quietly req -new -batch \
    -config authority/openssl.conf \
    -key "$role/key.pem" \
    -subj "/CN=${common_name:0:64}" \
    -out "authority/$role.request"
}

# sign_request ROLE DAYS OPTION…: signs authority/ROLE.request and prints the certificate.
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

# openssl_quietly ARGUMENT…: shows the stderr of openssl only when it fails.
openssl_quietly() {
  local messages
  { messages=$(openssl "$@" 2>&1 >&3); } 3>&1 || {
    printf '%s\n' "$messages" >&2
    return 1
  }
}
