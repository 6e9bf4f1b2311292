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

# have_secrets: what `make_secrets hostA -- w1 w-2.example` makes, made once for the tests of this file.
have_secrets() {
  local made=$BATS_FILE_TMPDIR/secrets
  if [[ -e $made ]]; then
    mkdir "$TOOL/.infra"
    cp -a "$made" "$SECRETS"
  else
    make_secrets hostA -- w1 w-2.example
    cp -a "$SECRETS" "$made"
  fi
}

# digest ROLE…: of all that these roles have.
digest() {
  local role
  for role in "$@"; do
    (cd "$SECRETS/$role" && sha256sum ./*)
  done
}

# read_permissions: PERMISSIONS[USER KIND], regular expressions, for the worker hosts w1 and w-2.example.
read_permissions() {
  local user kind pattern
  declare -gA PERMISSIONS=()
  have_secrets
  while read -r user kind pattern; do
    PERMISSIONS["$user $kind"]=$pattern
  done < <(python3 -c '
import json, sys
for entry in json.load(sys.stdin)["permissions"]:
    for kind in "configure", "write", "read":
        print(entry["user"], kind, entry[kind])' <"$SECRETS/hashes/users.json")
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
  capture make_secrets hostA 198.18.0.1 fd00::1 -- w1 w-2.example
  assert_equal "$status $messages" '0 '
  assert_equal "$(cd "$SECRETS" && echo broker/* master/* worker*/* flower/*)" "$(echo \
    broker/{ca.pem,cert.pem,definitions.json,enabled_plugins,erlang_cookie,key.pem,rabbitmq.conf,set_users,start} \
    {master,worker@w-2.example,worker@w1}/{ca.pem,cert.pem,key.pem,password} flower/{ca.pem,cert.pem,flower_password,key.pem,password})"
  assert_equal "$(find "$TOOL/.infra" -type d ! -perm 700 -o -type f ! -perm 600)" ''
}

@test "make_secrets: nothing changes when it is repeated" {
  have_secrets
  local before
  before=$(digest broker master worker@w1 flower)
  make_secrets hostA -- w1 w-2.example
  assert_equal "$(digest broker master worker@w1 flower)" "$before"
}

@test "make_secrets: completes what an interrupted call has begun" {
  have_secrets
  rm "$SECRETS/worker@w1/cert.pem" "$SECRETS/authority/flower.names" "$SECRETS/hashes/master" "$SECRETS/broker/start"
  make_secrets hostA -- w1 w-2.example
  openssl verify -CAfile "$SECRETS/worker@w1/ca.pem" "$SECRETS"/{worker@w1,flower}/cert.pem
  [[ -s $SECRETS/broker/start && -s $SECRETS/hashes/master ]]
}

@test "make_secrets: no secret is an argument of a command" {
  local program secret
  for program in openssl cat mv tr date mkdir rm; do
    stub "$program" "exec $(command -v "$program") \"\$@\""
  done
  capture make_secrets hostA -- w1
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
  capture make_secrets hostA -- w1
  assert_equal "$status" 1
  assert_part 'no entropy'
  assert_equal "$(find "$SECRETS" -name '*.pem')" ''
}

# check_hashes: the hashes in definitions.json are those of the passwords.
check_hashes() {
  python3 - "$SECRETS" <<'PYTHON'
import base64, hashlib, json, pathlib, sys
secrets = pathlib.Path(sys.argv[1])
text = (secrets / "hashes/users.json").read_text()
definitions = json.loads(text)
assert "@" not in text.replace("worker@w", ""), "a placeholder is left"
assert {user["name"] for user in definitions["users"]} == {"master", "worker@w1", "worker@w-2.example", "flower"}
for user in definitions["users"]:
    password = (secrets / user["name"] / "password").read_bytes()
    salted = base64.b64decode(user["password_hash"])
    assert salted[4:] == hashlib.sha256(salted[:4] + password).digest()
    assert password.decode() not in text and user["name"].count("@") <= 1 and len(password) == 64 and user["tags"] == []
PYTHON
}

@test "write_secret: what cannot be read to its end replaces nothing" {
  echo old >secret
  if write_secret secret <. 2>/dev/null; then return 1; fi
  assert_equal "$(<secret)" old
}

@test "users.json: holds the hashes of the passwords, for these users only" {
  have_secrets
  check_hashes
}

@test "users.json: a password that was replaced gets a new hash" {
  local before
  have_secrets
  before=$(<"$SECRETS/hashes/worker@w1")
  touch -d '1 hour ago' "$SECRETS"/hashes/*
  printf '%064d' 7 >"$SECRETS/master/password"
  touch -d '2 hours ago' "$SECRETS/worker@w1/password"
  make_secrets hostA -- w1 w-2.example
  check_hashes
  assert_equal "$(<"$SECRETS/hashes/worker@w1")" "$before"
}

@test "users.json: what each user needs" {
  read_permissions
  local user kind queue id=4704d050-44b1-40bb-bcdb-a37b5e66c90c
  # Celery's remote control, with reply, and its events
  for user in master flower; do
    allows "$user" write control.pidbox
    allows "$user" read reply.control.pidbox
    for kind in configure write read; do
      allows "$user" "$kind" "$id.reply.control.pidbox"
      allows "$user" "$kind" "celeryev.$id"
    done
    allows "$user" read celeryev
  done
  allows master write tasks
  for queue in results reports dead tasks.host-1.example; do
    allows master read "$queue"
  done
  for host in w1 w-2.example; do
    user=worker@$host
    allows "$user" read "tasks.$host"
    allows "$user" read "$user.control.pidbox"
    for exchange in reports reply.control.pidbox celeryev; do
      allows "$user" write "$exchange"
    done
  done
}

@test "users.json: what no user may do" {
  read_permissions
  local user kind name
  for user in master worker@w1 flower; do
    for name in amq.default amq.direct amq.topic results reports dead tasks.w1 worker@w1.control.pidbox; do
      [[ $user == worker* && $name == reports ]] || refuses "$user" write "$name"
    done
    # who may declare it may delete it
    for name in tasks reports results dead control.pidbox reply.control.pidbox celeryev tasks.w1 worker@w1.control.pidbox \
      celery_delayed_0 celery.pidbox ''; do
      [[ $user == worker* && ! $name ]] || refuses "$user" configure "$name"
    done
  done
  # to bind to an exchange is to read from it
  for name in tasks control.pidbox reply.control.pidbox celeryev results reports dead tasks.w2 tasks.w-2.example tasks.w11 \
    worker@w-2.example.control.pidbox 4704d050.reply.control.pidbox; do
    refuses worker@w1 read "$name"
  done
  refuses worker@w-2.example read tasks.w-2Xexample
  refuses worker@w-2.example read worker@w-2Xexample.control.pidbox
  for name in tasks control.pidbox; do
    refuses worker@w1 write "$name"
  done
  for name in tasks celeryev; do
    refuses flower write "$name"
  done
  refuses flower read tasks.w1
}

@test "users.json: each worker host has its queues, and they are bound to what is sent to it" {
  have_secrets
  python3 - "$SECRETS/hashes/users.json" "$TOOL/docker/broker/definitions.json" <<'PYTHON'
import json, sys
users, broker = (json.load(open(file)) for file in sys.argv[1:])
exchanges = {it["name"] for it in broker["exchanges"]}
queues = {it["name"]: it["arguments"]["x-queue-type"] for it in users["queues"]}
bindings = {(it["source"], it["routing_key"], it["destination"]) for it in users["bindings"]}
for host in "w1", "w-2.example":
    assert queues[f"tasks.{host}"] == "quorum"
    assert queues[f"worker@{host}.control.pidbox"] == "classic"
    assert ("tasks", host, f"tasks.{host}") in bindings
    assert ("control.pidbox", "", f"worker@{host}.control.pidbox") in bindings
assert {source for source, *_ in bindings} <= exchanges
assert len(queues) == len(bindings) == 5
assert "users" not in broker and "permissions" not in broker
PYTHON
}

@test "users.json: is complete without any worker host" {
  make_secrets hostA
  python3 -c 'import json, sys; assert [it["name"] for it in json.load(sys.stdin)["users"]] == ["master", "flower"]' \
    <"$SECRETS/hashes/users.json"
}

@test "worker_user: a name that would need quoting anywhere is refused" {
  local name
  capture worker_user host-1.example
  assert_equal "$status|$output" '0|worker@host-1.example'
  for name in '' 'a b' a/b 'a@b' 'a*' $'a\nb' 'a"b' "$(printf '%0201d' 0)"; do
    capture worker_user "$name"
    assert_equal "$status|$output" '1|'
  done
}

@test "make_secrets: a long name of a host" {
  local name
  name=$(printf '%0200d' 7)
  make_secrets hostA -- "$name"
  openssl verify -CAfile "$SECRETS/master/ca.pem" "$SECRETS/worker@$name/cert.pem"
}

@test "forget_workers: what other hosts had is gone, also that of earlier versions; a new password comes with the host" {
  local before
  have_secrets
  mkdir "$SECRETS/worker"
  before=$(<"$SECRETS/worker@w1/password")
  forget_workers w-2.example
  assert_equal "$(find "$SECRETS" -name '*worker*' -not -path '*/issued/*' -printf '%P\n' | sort | tr '\n' ' ')" \
    "authority/worker@w-2.example.extensions authority/worker@w-2.example.names authority/worker@w-2.example.request \
hashes/worker@w-2.example worker@w-2.example "
  make_secrets hostA -- w1
  [[ $(<"$SECRETS/worker@w1/password") != "$before" ]]
  forget_workers
  [[ ! -e $SECRETS/worker@w1 && -s $SECRETS/master/password ]]
}

make_secret() {
  mkdir -p "$TOOL/.infra/secrets"
  (umask 077 && mkdir -p "$TOOL/.infra/secrets/worker@far" && echo "$1" >"$TOOL/.infra/secrets/worker@far/password")
}

@test "push_secrets: private, only when they differ, and never as words of a command" {
  local there="$HOME/far home/my tasks/secrets/infra-01234567/worker" inode
  stub ssh 'exec sh -c "${@: -1}"'
  make_secret first
  push_secrets 1 worker
  inode=$(stat -c %i "$there")
  assert_equal "$(cat "$there/password") $(stat -c %a "$there" "$there/password" "$HOME/far home/my tasks/secrets"{,/infra-01234567} | tr '\n' ' ')" \
    'first 700 600 700 700 '
  touch "$there/marker-of-no-change"
  rm "$there/marker-of-no-change"
  : >"$CALLS"
  push_secrets 1 worker
  assert_equal "$(grep -c extract "$CALLS")" 0
  make_secret second
  touch "$there/of nobody" "$there/.hidden"
  push_secrets 1 worker
  assert_equal "$(cat "$there/password") $(ls -A "$there")" 'second password'
  assert_equal "$(stat -c '%i %a' "$there")" "$inode 700" # containers have it mounted
  assert_equal "$(stat -c %a "$there/password")" 600
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
  stub tar "$tar \"\$@\" && [[ \$* != *--extract* ]] || rm \"\$5/password\"" # as of an archive that has ended early
  capture push_secrets 1 worker
  assert_equal "$status" 1
  assert_part 'secrets did not arrive as they were sent; run this again'
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

@test "remove_secrets: of roles, or all of this infrastructure; says so, and nothing where there is nothing" {
  local there="$HOME/far home/my tasks/secrets"
  stub ssh 'exec sh -c "${@: -1}"'
  mkdir -p "$there/infra-01234567"/{worker,worker.new,master} "$there/infra-89abcdef/worker"
  capture remove_secrets 1 worker runner
  assert_equal "$status $(ls "$there/infra-01234567")" '0 master'
  assert_part "far: removing the secrets in $there/infra-01234567/worker"
  capture remove_secrets 1 worker
  assert_equal "$status|$output$messages" '0|'
  capture remove_secrets 1
  assert_equal "$status $(ls "$there")" '0 infra-89abcdef'
  mkdir -p "$HOME/far home/earlier/secrets/infra-01234567/worker" "$there/infra-01234567"
  capture remove_secrets_under 1 earlier
  assert_equal "$status $(find "$HOME/far home/earlier/secrets" -mindepth 1) $(cd "$there" && echo *)" \
    '0  infra-01234567 infra-89abcdef'
  INFRASTRUCTURE=''
  capture remove_secrets 1
  [[ $status != 0 && -e $there/infra-89abcdef ]]
}

@test "remove_secrets: a host that does not answer is an error" {
  stub ssh 'exit 255'
  capture remove_secrets 1
  [[ $status != 0 ]]
}
