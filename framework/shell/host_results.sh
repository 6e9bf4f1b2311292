#!/bin/sh
# Prints what get_results.sh asks of a host, in one go: facts, as key=value lines, and a line for each attempt that has ended there. Plain
# POSIX sh; fetch.sh runs it on each host as:
#   sh -s -- REMOTE_PATH PROJECT WHAT…     WHAT is docker, tables or attempts
set -u

main() {
  root=$HOME/$1 project=$2
  shift 2
  printf 'home=%s\n' "$HOME"
  for what; do
    "print_$what" || return
  done
}

# print_docker: the socket of the user's own engine, where no other answers.
print_docker() {
  socket=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock
  [ ! -S "$socket" ] || timeout 30 docker version >/dev/null 2>&1 || printf 'docker_host=unix://%s\n' "$socket"
}

# print_tables: a digest of when the master's journal and the code have changed: its tables depend on nothing else.
print_tables() {
  journal=$root/master/$project/journal.sqlite
  [ -e "$journal" ] || return 0
  printf 'tables=%s\n' "$({
    readlink -- "$root/code/$project/current"
    stat --format='%i %s %y' -- "$journal" "$journal-wal"
  } 2>/dev/null | sha256sum | cut -c 1-64)" # what is missing makes another digest
}

# print_attempts: a line TASK/NUMBER/result.json for each.
print_attempts() {
  [ ! -d "$root/worker/$project/tasks" ] ||
    find "$root/worker/$project/tasks" -mindepth 3 -maxdepth 3 -type f -name result.json -printf '%P\n'
}

main "$@"
