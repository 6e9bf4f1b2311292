#!/bin/sh
# Bootstraps a minimal Debian and writes it to stdout as a tar archive, for `docker import`. Needs root and debootstrap.
# Usage: base.sh SUITE MIRROR
set -eu
umask 022 # an image is for any user

suite=$1
mirror=$2
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# Debian's signing keys, which Ubuntu and older Debian do not have: from the mirror, pinned.
keyring_package=debian-archive-keyring_2025.1_all.deb
keyring_digest=9ea7778e443144ca490668737a8ab22dd3e748bb99e805e22ec055abeb3c7fac

find_keyring() {
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  # The package that brings this file has the keys of all suites used here.
  if [ ! -e /usr/share/keyrings/debian-archive-trixie-automatic.gpg ]; then
    download "$mirror/pool/main/d/debian-archive-keyring/$keyring_package" "$directory/keyring.deb"
    echo "$keyring_digest  $directory/keyring.deb" | sha256sum --check --quiet
    dpkg-deb --extract "$directory/keyring.deb" "$directory/keyring"
    keyring=$directory/keyring$keyring
  fi
}

download() {
  wget --no-verbose --tries 3 --timeout 30 --output-document "$2" "$1" # debootstrap needs wget, too
}

bootstrap() {
  mkdir "$directory/tree"
  set -- --variant=minbase --include=ca-certificates --force-check-gpg --keyring="$keyring"
  # An older debootstrap makes the links /bin -> usr/bin itself, where newer packages bring them.
  grep -q merge_usr_entry /usr/share/debootstrap/functions || set -- "$@" --no-merged-usr
  # It may have no script for a newer suite, either; sid's fits all of them.
  debootstrap "$@" "$suite" "$directory/tree" "$mirror" /usr/share/debootstrap/scripts/sid
}

# The suite's security updates, where the mirror has them.
write_sources() {
  if download "$mirror-security/dists/$suite-security/Release" /dev/null; then
    echo "deb $mirror-security $suite-security main" >>"$directory/tree/etc/apt/sources.list"
  fi
}

# Packages that come later shall leave their manuals and translations behind as well.
leave_out_documents() {
  cat >"$directory/tree/etc/dpkg/dpkg.cfg.d/documents" <<'SETTINGS'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
SETTINGS
  find "$directory/tree/usr/share/doc" ! -type d ! -name copyright -delete
  rm -rf "$directory"/tree/usr/share/info/* "$directory"/tree/usr/share/locale/* "$directory"/tree/usr/share/man/*
  rm -rf "$directory"/tree/var/cache/apt/* "$directory"/tree/var/lib/apt/lists/* "$directory"/tree/var/log/*.log
}

find_keyring
bootstrap >&2
write_sources
leave_out_documents
tar --create --directory "$directory/tree" --numeric-owner .
