#!/bin/sh
# Prints what of our infrastructure a host holds, as facts after those of facts.sh, whose main has set remote_path, infrastructure and
# docker: unchanged.sh compares them with those of an earlier run. Plain POSIX sh; it leaves nothing changed.
# shellcheck disable=SC2154 # see above

# print_state: state, a digest of the containers, the code and the secrets; and master, what the master has published last.
print_state() {
  root=$HOME/$remote_path
  [ "$docker" = ok ] || return 0
  printf 'state=%s\n' "$(list_state | sha256sum | cut -c 1-64)"
  # shellcheck disable=SC2012 # such names have no newlines
  newest=$(ls -t -- "$root"/master/*/published/status.json 2>/dev/null | head -n 1) # of the project that runs
  if master=$(read_status 2>/dev/null <"${newest:-/dev/null}"); then
    printf 'master=%s\n' "$master"
  fi
}

# list_state: a container that was started again has another StartedAt, one that was made again another Id.
list_state() {
  docker ps --all --quiet --no-trunc --filter "label=infrainit.infrastructure=$infrastructure" | sort |
    xargs docker container inspect --format '{{.Name}} {{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}
{{- range .NetworkSettings.Networks}} {{.NetworkID}} {{.IPAddress}}{{end}} {{index .Config.Labels "infrainit.settings"}}'
  for current in "$root"/code/*/current; do
    readlink -- "$current"
    cat -- "$current/VERSION" "$current/git/HEAD"
  done
  tar --create --file - --directory "$root/secrets" --sort=name --mtime=@0 --format=gnu "$infrastructure" | sha256sum
  grep -F " infrainit-tunnel:$infrastructure:" "$HOME/.ssh/authorized_keys"
} 2>/dev/null # what is missing makes another digest

# read_status: reads a status; fails if it is older than a minute. Prints the version of the code that the master runs, whether the sweep
# is paused, and the hosts with workers that answer, each after a comma. In JSON no text looks like a key: its quotes are escaped.
read_status() {
  tr ',' '\n' | tr '{' '\n' | awk -v now="$(date +%s)" '
    /^ *"updated": [0-9.]+$/ { updated = $2 }
    /^ *"version": "c[0-9a-f]+"$/ { gsub(/.*: "|"$/, ""); version = $0 }
    /^ *"paused": ""$/ { state = "runs" }
    /^ *"[A-Za-z0-9.-]+": *$/ { gsub(/[ ":]/, ""); name = $0 }
    /^ *"alive": true/ { hosts = hosts "," name }
    END {
      print version, (state ? state : "paused"), hosts
      exit now - updated > 60
    }'
}

print_state
