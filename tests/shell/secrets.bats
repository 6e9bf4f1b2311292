#!/usr/bin/env bats
# framework/shell/secrets.sh, and the broker's configuration in docker/broker.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  umask 022
  SECRETS=$(secrets_path)
  INFRASTRUCTURE=infra-01234567 REMOTE_PATH='my tasks'
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  FACTS=([0.home]="$HOME" [1.home]="$HOME/far home")
}

# digest ROLE…: of all that these roles have.
digest() {
  local role
  for role in "$@"; do
    (cd "$SECRETS/$role" && sha256sum ./*)
  done
}

# read_permissions: PERMISSIONS[USER KIND], regular expressions
read_permissions() {
  local user kind pattern
  declare -gA PERMISSIONS=()
  while read -r user kind pattern; do
    PERMISSIONS["$user $kind"]=$pattern
  done < <(python3 -c '
import json, sys
for entry in json.load(sys.stdin)["permissions"]:
    for kind in "configure", "write", "read":
        print(entry["user"], kind, entry[kind])' <"$TOOL/docker/broker/definitions.json")
}

# allows USER KIND NAME: do the permissions let USER configure, write or read NAME?
allows() {
  if [[ ! $3 =~ ${PERMISSIONS["$1 $2"]} ]]; then
    echo "$1 may not $2 $3: ${PERMISSIONS["$1 $2"]}"
    return 1
  fi
}

refuses() {
  if allows "$@" >/dev/null; then
    echo "$1 may $2 $3: ${PERMISSIONS["$1 $2"]}"
    return 1
  fi
}

@test "make_secrets: each role gets what it needs and no more, readable by the user only" {
  capture make_secrets hostA 198.18.0.1 fd00::1
  assert_equal "$status $messages" '0 '
  assert_equal "$(cd "$SECRETS" && echo broker/* master/* worker/* flower/*)" "$(echo \
    broker/{ca.pem,cert.pem,definitions.json,enabled_plugins,erlang_cookie,key.pem,rabbitmq.conf,start} \
    {master,worker}/{ca.pem,cert.pem,key.pem,password} flower/{ca.pem,cert.pem,flower_password,key.pem,password})"
  assert_equal "$(find "$TOOL/.infra" -type d ! -perm 700 -o -type f ! -perm 600)" ''
}

@test "make_secrets: nothing changes when it is repeated" {
  make_secrets hostA
  local before
  before=$(digest broker master worker flower)
  make_secrets hostA
  assert_equal "$(digest broker master worker flower)" "$before"
}

@test "make_secrets: completes what an interrupted call has begun" {
  make_secrets hostA
  rm "$SECRETS/worker/cert.pem" "$SECRETS/authority/flower.names" "$SECRETS/hashes/master" "$SECRETS/broker/start"
  make_secrets hostA
  openssl verify -CAfile "$SECRETS/worker/ca.pem" "$SECRETS"/{worker,flower}/cert.pem
  [[ -s $SECRETS/broker/start && -s $SECRETS/hashes/master ]]
}

@test "make_secrets: no secret is an argument of a command" {
  local program secret
  for program in openssl cat mv tr date mkdir rm; do
    stub "$program" "exec $(command -v "$program") \"\$@\""
  done
  capture make_secrets hostA
  assert_equal "$status" 0
  output+=$(<"$CALLS")
  assert_part openssl
  for secret in "$SECRETS"/*/*password "$SECRETS"/hashes/* "$SECRETS"/broker/erlang_cookie; do
    [[ -s $secret ]]
    refute_part "$(<"$secret")"
  done
}

@test "make_secrets: says what is missing without openssl" {
  PATH=$STUBS capture make_secrets hostA
  assert_equal "$status" 1
  assert_part 'apt-get install openssl'
}

@test "make_secrets: shows the error of openssl when it fails, and leaves no incomplete files" {
  stub openssl 'echo "no entropy" >&2; exit 1'
  capture make_secrets hostA
  assert_equal "$status" 1
  assert_part 'no entropy'
  assert_equal "$(find "$SECRETS" -name '*.pem')" ''
}

# check_hashes: the hashes in definitions.json are those of the passwords.
check_hashes() {
  python3 - "$SECRETS" <<'PYTHON'
import base64, hashlib, json, pathlib, sys
secrets = pathlib.Path(sys.argv[1])
text = (secrets / "broker/definitions.json").read_text()
definitions = json.loads(text)
assert "@" not in text.replace("worker@", ""), "a placeholder is left"
assert {user["name"] for user in definitions["users"]} == {"master", "worker", "flower"}
for user in definitions["users"]:
    password = (secrets / user["name"] / "password").read_bytes()
    salted = base64.b64decode(user["password_hash"])
    assert salted[4:] == hashlib.sha256(salted[:4] + password).digest()
    assert password.decode() not in text and len(password) == 64 and user["tags"] == []
PYTHON
}

@test "definitions.json: holds the hashes of the passwords, for these users only" {
  make_secrets hostA
  check_hashes
}

@test "definitions.json: a password that was replaced gets a new hash" {
  local before
  make_secrets hostA
  before=$(<"$SECRETS/hashes/worker")
  touch -d '1 hour ago' "$SECRETS"/hashes/*
  printf '%064d' 7 >"$SECRETS/master/password"
  touch -d '2 hours ago' "$SECRETS/worker/password"
  make_secrets hostA
  check_hashes
  assert_equal "$(<"$SECRETS/hashes/worker")" "$before"
}

@test "definitions.json: what each role needs" {
  read_permissions
  local id=4704d050-44b1-40bb-bcdb-a37b5e66c90c
  # Celery's remote control, with reply, and its events
  for user in master flower; do
    allows "$user" configure celery.pidbox
    allows "$user" write celery.pidbox
    allows "$user" configure reply.celery.pidbox
    allows "$user" read reply.celery.pidbox
    for kind in configure write read; do
      allows "$user" "$kind" "$id.reply.celery.pidbox"
      allows "$user" "$kind" "celeryev.$id"
    done
    allows "$user" read celeryev
  done
  allows master write tasks
  for queue in results reports dead tasks.host-1.example; do
    allows master read "$queue"
  done
  for kind in configure write read; do
    allows worker "$kind" tasks.host-1.example
    allows worker "$kind" worker@host-1.example.celery.pidbox
  done
  allows worker read tasks
  allows worker read celery.pidbox
  allows worker write reports
  allows worker write reply.celery.pidbox
  allows worker write celeryev
}

@test "definitions.json: what no role may do" {
  read_permissions
  local user kind
  for user in master worker flower; do
    refuses "$user" write amq.default
    refuses "$user" write amq.direct
    refuses "$user" configure tasks
    refuses "$user" configure results
    refuses "$user" configure celery_delayed_0
  done
  for kind in configure write; do
    refuses worker "$kind" celery.pidbox-2
    refuses flower "$kind" tasks.hostA
  done
  refuses worker write tasks
  refuses worker write celery.pidbox
  refuses worker read results
  refuses worker read celeryev
  refuses master write reports
  refuses master configure tasks.hostA
  refuses flower write tasks
  refuses flower write reports
  refuses flower write celeryev
  refuses flower read results
  refuses flower read tasks.hostA
}

make_secret() {
  mkdir -p "$TOOL/.infra/secrets"
  (umask 077 && mkdir -p "$TOOL/.infra/secrets/worker" && echo "$1" >"$TOOL/.infra/secrets/worker/password")
}

@test "push_secrets: private, only when they differ, and never as words of a command" {
  local there="$HOME/far home/my tasks/secrets/infra-01234567/worker"
  stub ssh 'exec sh -c "${@: -1}"'
  make_secret first
  push_secrets 1 worker
  assert_equal "$(cat "$there/password") $(stat -c %a "$there" "$there/password" "$HOME/far home/my tasks/secrets" | tr '\n' ' ')" \
    'first 700 600 700 '
  touch "$there/marker-of-no-change"
  rm "$there/marker-of-no-change"
  : >"$CALLS"
  push_secrets 1 worker
  assert_equal "$(grep -c extract "$CALLS")" 0
  make_secret second
  push_secrets 1 worker
  assert_equal "$(cat "$there/password")" second
  assert_equal "$(ls "$HOME/far home/my tasks/secrets/infra-01234567")" worker
  refute_secret
}

refute_secret() {
  if grep -q -e first -e second "$CALLS"; then
    return 1
  fi
}

@test "push_secrets: a transfer that breaks leaves the old secrets whole" {
  local there="$HOME/far home/my tasks/secrets/infra-01234567/worker" tar
  stub ssh 'exec sh -c "${@: -1}"'
  make_secret first
  push_secrets 1 worker
  make_secret second
  tar=$(command -v tar)
  stub tar "[[ \$* == *--extract* ]] || exec $tar \"\$@\"
    echo half >\"\$5/password\"
    echo 'tar: no space left' >&2; exit 2"
  hash -r # bash remembers the real one
  capture push_secrets 1 worker
  assert_equal "$status" 2
  assert_equal "$(cat "$there/password")" first
  rm "$STUBS/tar"
  hash -r
  push_secrets 1 worker
  assert_equal "$(cat "$there/password") $(ls "$HOME/far home/my tasks/secrets/infra-01234567")" 'second worker'
}

@test "push_secrets: secrets that are not here, and what to do" {
  capture push_secrets 0 worker
  assert_equal "$status" 1
  assert_part 'run infrainit.sh on the machine that started the infrastructure'
}
