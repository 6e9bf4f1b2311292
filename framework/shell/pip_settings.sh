# shellcheck shell=bash
# Settings of pip on this machine, for the builds of images: where packages come from. They may hold passwords, so they are files of a
# stage that is removed, and no arguments.

readonly BUILD_SETTINGS=/tmp/infrainit/settings # in the build
readonly PIP_VARIABLES=( # what they say holds in a build, too, unlike paths of this machine
  PIP_INDEX_URL
  PIP_EXTRA_INDEX_URL
  PIP_TRUSTED_HOST
  PIP_FIND_LINKS
  PIP_NO_INDEX
  PIP_PROXY
  PIP_DEFAULT_TIMEOUT
  PIP_TIMEOUT
  PIP_RETRIES
  PIP_PRE
  PIP_PREFER_BINARY
  PIP_ONLY_BINARY
  PIP_NO_BINARY
)

# stage_pip_settings DIRECTORY: copies the files of pip.conf as pip finds them, and writes a file environment of variables, as for sh.
# Ends the program if one is missing that a file variables in it names, because the project's requirements do.
stage_pip_settings() {
  local name names=() config=${XDG_CONFIG_HOME:-$HOME/.config}
  (umask 077 && mkdir -p -- "$1"/{home/.pip,home/.config/pip,system/pip}) &&
    copy_if_readable /etc/pip.conf "$1/system/pip/pip.conf" &&
    copy_if_readable "$HOME/.pip/pip.conf" "$1/home/.pip/pip.conf" &&
    copy_if_readable "$config/pip/pip.conf" "$1/home/.config/pip/pip.conf" &&
    copy_if_readable "${PIP_CONFIG_FILE:-}" "$1/pip.conf" &&
    copy_if_readable "${PIP_CLIENT_CERT:-}" "$1/client.pem" || return
  if [[ -e $1/variables ]]; then
    mapfile -t names <"$1/variables"
  fi
  for name in "${names[@]}"; do
    printenv "$name" >/dev/null ||
      die "requirements.txt names \${$name}, which is not set here: export $name, and run this again"
  done
  {
    for name in "${names[@]}" "${PIP_VARIABLES[@]}"; do
      ! printenv "$name" >/dev/null || print_assignment "$name" "$(printenv "$name")"
    done
    print_assignment HOME "$BUILD_SETTINGS/home"
    print_assignment XDG_CONFIG_HOME "$BUILD_SETTINGS/home/.config"
    print_assignment XDG_CONFIG_DIRS "$BUILD_SETTINGS/system"
    [[ ! -e $1/pip.conf ]] || print_assignment PIP_CONFIG_FILE "$BUILD_SETTINGS/pip.conf"
    [[ ! -e $1/client.pem ]] || print_assignment PIP_CLIENT_CERT "$BUILD_SETTINGS/client.pem"
  } >"$1/environment"
}

# copy_if_readable FILE TARGET
copy_if_readable() {
  if [[ -f $1 && -r $1 ]]; then
    install --mode=0600 -- "$1" "$2"
  fi
}

print_assignment() {
  printf '%s=%s\n' "$1" "$(quote "$2")"
}

# stage_pip_certificates DIRECTORY: copies the authorities that pip is told to trust here.
stage_pip_certificates() {
  local bundle=${PIP_CERT:-} file
  for file in "${PIP_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    if [[ ! $bundle && -f $file && -r $file ]]; then
      bundle=$(sed -n 's/^[[:space:]]*cert[[:space:]]*[=:][[:space:]]*//p' "$file" | tail -n 1)
    fi
  done
  bundle=${bundle/#\~\//$HOME/}
  if [[ -f $bundle && -r $bundle && ! $bundle -ef /etc/ssl/certs/ca-certificates.crt && ! $bundle -ef ${SSL_CERT_FILE:-} ]]; then
    cp -- "$bundle" "$1/PIP_CERT.crt"
  fi
}
