#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that a site (`site`) or the tests (`test`) need: packages.sh GROUP...
# Quick when everything is there. Starts no service, and leaves a broker that it brought disabled: on a site
# install.sh enables it, once it listens as we want.
set -euo pipefail

declare -A packages=(
  [site]="mosquitto python3-venv"
  # systemd for systemd-analyze, tmux to type into the terminal page, chromium (which Ubuntu has only as a snap) to
  # look at the local one, telephone speech with its text, and music on hold; PostgreSQL for a larger HQ, an SFTP server
  # for replicas, and faketime for boxes without a clock.
  [test]="mosquitto shellcheck systemd tmux chromium asterisk-core-sounds-en asterisk-core-sounds-en-wav
    asterisk-moh-opsound-wav flite postgresql openssh-server faketime"
)

fail() {
  echo "packages.sh: $1" >&2
  exit "$2"
}

# 101 tells the packages' own scripts that they may start nothing.
forbid_services() {
  [[ -e /usr/sbin/policy-rc.d ]] && return
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
}

# apt's own time-out covers dpkg's lock, not that of the package lists.
patiently() {
  local wait_s
  for wait_s in 2 5 10 20 40 0; do
    "$@" && return
    sleep "$wait_s"
  done
  fail "'$*' failed six times; its own words are above" 3
}

installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

(($# > 0)) || fail "say which group: ${!packages[*]}" 2
command -v dpkg-query >/dev/null || fail "this system has no dpkg: on other systems install by hand: ${packages[*]}" 3

missing=()
for group in "$@"; do
  [[ -v packages[$group] ]] || fail "there is no group '$group'; there are: ${!packages[*]}" 2
  for package in ${packages[$group]}; do
    installed "$package" || missing+=("$package")
  done
done
((${#missing[@]})) || exit 0

((EUID == 0)) || fail "run me as root to install: ${missing[*]}" 2
export DEBIAN_FRONTEND=noninteractive

# Two runs at once would take each other's policy-rc.d away.
exec 9>/run/lock/outstation-packages
flock 9
forbid_services
patiently apt-get update --quiet --quiet
patiently apt-get install --quiet --quiet --yes --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
if [[ " ${missing[*]} " == *" mosquitto "* ]] && command -v systemctl >/dev/null; then
  systemctl --quiet disable mosquitto.service
fi
