#!/usr/bin/env bats
# framework/shell/pki.sh, through make_secrets, which calls it.

# shellcheck disable=SC2034,SC2154,SC2317 # names are shared with the tool and helpers.bash

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
  make_secrets hostA 198.18.0.1 fd00::1 hostA
  for role in broker master worker flower; do
    openssl verify -x509_strict -CAfile "$SECRETS/$role/ca.pem" "$SECRETS/$role/cert.pem"
    assert_equal "$(field "$role" -startdate | cut -d = -f 2 | date -f - +%F)" "$(date -u -d yesterday +%F)"
    assert_equal "$(field "$role" -pubkey)" "$(openssl pkey -in "$SECRETS/$role/key.pem" -pubout)"
  done
  output=$(field broker -ext subjectAltName,extendedKeyUsage)
  assert_part 'DNS:broker, DNS:localhost, DNS:hostA, IP Address:198.18.0.1, IP Address:FD00:0:0:0:0:0:0:1'
  assert_part 'TLS Web Server Authentication'
  output=$(field worker -ext subjectAltName,extendedKeyUsage)
  assert_part 'TLS Web Client Authentication'
  refute_part Server
  refute_part hostA
  output=$(field flower -ext subjectAltName,extendedKeyUsage)
  assert_part 'TLS Web Server Authentication, TLS Web Client Authentication'
  assert_part DNS:hostA
}

@test "make_secrets: other addresses renew the certificates of broker and Flower, and nothing else" {
  make_secrets hostA
  local others keys passwords
  others=$(digest master worker)
  keys=$(sha256sum "$SECRETS"/{broker,flower}/{key,ca}.pem)
  passwords=$(sha256sum "$SECRETS"/flower/*password "$SECRETS"/broker/{definitions.json,erlang_cookie})
  make_secrets hostB
  output="$(field broker -ext subjectAltName) $(field flower -ext subjectAltName)"
  assert_part DNS:hostB
  refute_part DNS:hostA
  assert_equal "$(digest master worker)" "$others"
  assert_equal "$(sha256sum "$SECRETS"/{broker,flower}/{key,ca}.pem)" "$keys"
  assert_equal "$(sha256sum "$SECRETS"/flower/*password "$SECRETS"/broker/{definitions.json,erlang_cookie})" "$passwords"
}

@test "make_secrets: renews certificates that are about to expire, and those of a lost authority" {
  local openssl serial
  make_secrets hostA
  serial=$(field worker -serial)
  openssl=$(command -v openssl)
  stub openssl "[[ \"\$*\" != *-checkend* ]] && exec $openssl \"\$@\""
  make_secrets hostA
  rm "$STUBS/openssl"
  hash -r
  [[ $(field worker -serial) != "$serial" ]]
  rm -r "$SECRETS/authority"
  make_secrets hostA
  openssl verify -CAfile "$SECRETS/broker/ca.pem" "$SECRETS/worker/cert.pem"
}

@test "make_secrets: refuses what is no name or address, before anything is made" {
  capture make_secrets hostA 'host B'
  assert_equal "$status" 1
  assert_part "'host B'"
  capture make_secrets ''
  assert_equal "$status" 1
  capture make_secrets 'a,DNS:evil'
  assert_equal "$status" 1
  [[ ! -e $SECRETS ]]
}
