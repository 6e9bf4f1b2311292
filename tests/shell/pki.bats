#!/usr/bin/env bats
# framework/shell/pki.sh, through make_secrets, which calls it.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  umask 022
  SECRETS=$(secrets_path)
}

# digest ROLE…: of all that these roles have.
digest() {
  local role
  for role in "$@"; do
    (cd "$SECRETS/$role" && sha256sum ./*)
  done
}

# field CERTIFICATE OPTION…: of openssl x509
field() {
  openssl x509 -in "$SECRETS/$1/cert.pem" -noout "${@:2}"
}

@test "make_secrets: certificates are of one authority, for their names and uses, and valid since yesterday" {
  local role
  make_secrets hostA 198.18.0.1 fd00::1 hostA -- w1
  for role in broker master worker@w1 flower; do
    openssl verify -x509_strict -CAfile "$SECRETS/$role/ca.pem" "$SECRETS/$role/cert.pem"
    assert_equal "$(field "$role" -startdate | cut -d = -f 2 | date -f - +%F)" "$(date -u -d yesterday +%F)"
    assert_equal "$(field "$role" -pubkey)" "$(openssl pkey -in "$SECRETS/$role/key.pem" -pubout)"
  done
  output=$(field broker -ext subjectAltName,extendedKeyUsage)
  assert_part 'DNS:broker, DNS:localhost, DNS:hostA, IP Address:198.18.0.1, IP Address:FD00:0:0:0:0:0:0:1'
  assert_part 'TLS Web Server Authentication'
  output=$(field worker@w1 -ext subjectAltName,extendedKeyUsage)
  assert_part 'TLS Web Client Authentication'
  refute_part Server
  refute_part hostA
  assert_equal "$(field worker@w1 -subject -nameopt multiline | sed -n 's/ *commonName *= //p')" worker@w1
  output=$(field flower -ext subjectAltName,extendedKeyUsage)
  assert_part 'TLS Web Server Authentication, TLS Web Client Authentication'
  assert_part DNS:hostA
}

@test "make_secrets: other addresses renew the certificates of broker and Flower, and nothing else" {
  make_secrets hostA -- w1
  local others keys passwords
  others=$(digest master worker@w1)
  keys=$(sha256sum "$SECRETS"/{broker,flower}/{key,ca}.pem)
  passwords=$(sha256sum "$SECRETS"/flower/*password "$SECRETS"/{broker/erlang_cookie,hashes/users.json})
  make_secrets hostB -- w1
  output="$(field broker -ext subjectAltName) $(field flower -ext subjectAltName)"
  assert_part DNS:hostB
  refute_part DNS:hostA
  assert_equal "$(digest master worker@w1)" "$others"
  assert_equal "$(sha256sum "$SECRETS"/{broker,flower}/{key,ca}.pem)" "$keys"
  assert_equal "$(sha256sum "$SECRETS"/flower/*password "$SECRETS"/{broker/erlang_cookie,hashes/users.json})" "$passwords"
}

# make_with_days DAYS: make_secrets, with certificates that are valid for DAYS.
make_with_days() {
  sed "s/CERTIFICATE_DAYS=825/CERTIFICATE_DAYS=$1/" framework/shell/pki.sh >"$TOOL/framework/shell/pki.sh"
  bash -c 'source "$1/framework/shell/all.sh"; make_secrets hostA -- w1' make "$TOOL"
}

@test "make_secrets: renews certificates with less than 30 days left, and no others" {
  local serial
  mkdir -p framework/shell
  cp "$TOOL/framework/shell/pki.sh" framework/shell/
  make_with_days 31
  serial=$(field worker@w1 -serial)
  make_with_days 825
  assert_equal "$(field worker@w1 -serial)" "$serial"
  rm -r "$SECRETS"
  make_with_days 29
  serial=$(field worker@w1 -serial)
  make_with_days 825
  [[ $(field worker@w1 -serial) != "$serial" ]]
}

@test "make_secrets: makes new certificates when the authority is lost" {
  local serial
  make_secrets hostA -- w1
  serial=$(field worker@w1 -serial)
  rm -r "$SECRETS/authority"
  make_secrets hostA -- w1
  [[ $(field worker@w1 -serial) != "$serial" ]]
  openssl verify -CAfile "$SECRETS/broker/ca.pem" "$SECRETS/worker@w1/cert.pem"
}

@test "make_secrets: refuses an invalid name or address before it makes anything" {
  capture make_secrets hostA 'host B'
  assert_equal "$status" 1
  assert_part "'host B'"
  capture make_secrets ''
  assert_equal "$status" 1
  capture make_secrets 'a,DNS:evil'
  assert_equal "$status" 1
  [[ ! -e $SECRETS ]]
}

@test "make_secrets: says which certificates it renews, and until when they were valid" {
  mkdir -p framework/shell
  cp "$TOOL/framework/shell/pki.sh" framework/shell/
  make_with_days 29
  capture make_with_days 825
  assert_equal "$status" 0
  assert_part "local: the certificate of worker@w1 is renewed: it was valid until $(date -u -d '+29 days' '+%b %e')"
  assert_equal "$(grep -c renewed <<<"$messages")" 4
  capture make_with_days 825
  assert_equal "$status|$output$messages" '0|'
}

@test "make_secrets: an authority that would end before its certificates is replaced, and they are, too" {
  local before
  mkdir -p framework/shell
  sed 's/AUTHORITY_DAYS=3650/AUTHORITY_DAYS=824/' "$TOOL/framework/shell/pki.sh" >framework/shell/pki.sh
  make_with_days 825
  before=$(openssl x509 -in "$SECRETS/authority/ca.pem" -noout -fingerprint)
  sed -i 's/AUTHORITY_DAYS=824/AUTHORITY_DAYS=3650/' framework/shell/pki.sh
  capture make_with_days 825
  assert_equal "$status" 0
  assert_part 'local: the certificate authority ends on '
  [[ $(openssl x509 -in "$SECRETS/authority/ca.pem" -noout -fingerprint) != "$before" ]]
  openssl verify -CAfile "$SECRETS/broker/ca.pem" "$SECRETS"/{broker,master,flower,worker@w1}/cert.pem
  capture make_with_days 825
  assert_equal "$status|$output$messages" '0|'
}

@test "fingerprint_of: as browsers show it" {
  make_secrets hostA
  assert_equal "$(fingerprint_of "$SECRETS/flower/cert.pem" | tr -d : | tr A-F a-f)" \
    "$(openssl x509 -in "$SECRETS/flower/cert.pem" -outform DER | sha256sum | cut -c 1-64)"
}
