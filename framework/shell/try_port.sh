#!/bin/sh
# One end of a trial of the broker's port; plain POSIX sh. broker_port.sh runs it on hosts as:
#   sh -s -- listen INFRASTRUCTURE SECONDS TOKEN OPTION…                answers TOKEN to whoever connects to the container's port 5671
#   sh -s -- connect INFRASTRUCTURE SECONDS ADDRESS PORT TOKEN OPTION…  succeeds if TOKEN is answered; without a TOKEN, if anyone accepts
# The OPTIONs are those of `docker run`. Exit codes: 1 not answered, 3 it cannot be tried here; the last line says why.
# No image of ours is here yet: an empty one is made for a moment, and programs of this host are mounted into it. Whatever becomes of
# the caller, all of it ends after SECONDS and is removed.
set -u

# shellcheck disable=SC2016 # perl's own
perl_listener='
  $listener = IO::Socket::INET->new(LocalPort => 5671, Listen => 128) or die "$@\n";
  while ($client = $listener->accept) { print $client "$ARGV[0]\n"; close $client }'

python_listener='
import socket, sys
listener = socket.socket()
listener.bind(("", 5671))
listener.listen(128)
while True:
    client = listener.accept()[0]
    client.sendall(sys.argv[1].encode() + b"\n")
    client.close()'

# A listener that is about to start refuses, or closes without an answer.
# shellcheck disable=SC2016 # expands in the container
connector='
  until
    answer=""
    { exec 3<>"/dev/tcp/$1/$2"; } && { [[ ! $3 ]] || read -r -t "$4" answer <&3; [[ $answer == "$3" ]]; }
  do
    if ((SECONDS >= $4)); then
      [[ ! $answer ]] || echo "something else answers" >&2
      exit 1
    fi
    sleep 0.3
  done'

main() {
  mode=$1 infrastructure=$2 seconds=$3
  image=infrainit-empty:$infrastructure-$mode
  shift 3
  "try_to_$mode" "$@"
}

try_to_listen() {
  token=$1
  shift
  if perl -MIO::Socket::INET -e 1 2>/dev/null; then
    set -- "$@" --entrypoint timeout "$image" "$seconds" perl -MIO::Socket::INET -e "$perl_listener" "$token"
  elif command -v python3 >/dev/null; then
    set -- "$@" --entrypoint timeout "$image" "$seconds" python3 -c "$python_listener" "$token"
  else
    cannot 'it has neither perl nor python3'
  fi
  run_once "$@"
}

try_to_connect() {
  address=$1 port=$2 token=$3
  shift 3
  command -v bash >/dev/null || cannot 'it has no bash'
  # The program itself gives up a second earlier, and says why.
  run_once "$@" --entrypoint timeout "$image" "$seconds" bash -c "$connector" connect "$address" "$port" "$token" "$((seconds - 1))"
  case $? in
    0) exit 0 ;;
    1) exit 1 ;;
    124)
      echo 'no answer' >&2
      exit 1
      ;;
    *) exit 3 ;;
  esac
}

# run_once OPTION… IMAGE ARGUMENT…: docker run with the empty image, and with programs and libraries of this host.
run_once() {
  trap 'docker image rm "$image" >/dev/null 2>&1' EXIT
  trap 'exit 1' HUP INT TERM                                              # a shell that a signal ends does not come to EXIT
  head -c 10240 /dev/zero | docker import - "$image" >/dev/null || exit 3 # an archive without files
  # shellcheck disable=SC2046 # words without spaces
  docker run --rm --label "infrainit.infrastructure=$infrastructure" --label infrainit.role=trial \
    --user "$(id -u):$(id -g)" --read-only --cap-drop ALL --security-opt no-new-privileges --memory 128m --pids-limit 16 \
    $(mounts) "$@"
}

mounts() {
  for directory in /usr /bin /lib /lib64; do
    [ ! -d "$directory" ] || printf '%s\n' --volume "$directory:$directory:ro"
  done
}

cannot() {
  echo "$1" >&2
  exit 3
}

main "$@"
