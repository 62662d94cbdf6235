#!/usr/bin/env bash
# Makes a box run Outstation as services: user, folders, units, broker. Run it as root once the program is in
# /opt/outstation with its .venv, and again after every update: it starts everything anew and keeps what is the site's.
#   install.sh              this box
#   install.sh --root DIR   an image: DIR is its root, nothing is started, and the box runs install.sh once more
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
outstation=/opt/outstation/.venv/bin/outstation
site=/var/lib/outstation/site
root=
units=(outstation.service outstation-link.service outstation-replica.service)

fail() {
  echo "install.sh: $1" >&2
  exit "$2"
}

put_units() {
  local unit
  for unit in "${units[@]}"; do
    install -D --mode=644 "$here/systemd/$unit" "$root/etc/systemd/system/$unit"
    if (($(systemctl --version | awk 'NR == 1 { print $2 }') >= 254)); then
      install -D --mode=644 "$here/systemd/backoff.conf" "$root/etc/systemd/system/$unit.d/backoff.conf"
    fi
  done
  install -D --mode=644 "$here/systemd/sysusers.conf" "$root/etc/sysusers.d/outstation.conf"
  install -D --mode=644 "$here/systemd/tmpfiles.conf" "$root/etc/tmpfiles.d/outstation.conf"
}

make_user_and_folders() {
  systemd-sysusers --root="$root/" outstation.conf
  systemd-tmpfiles --root="$root/" --create outstation.conf
}

put_broker_settings() {
  install -D --mode=644 "$here/mosquitto/outstation.conf" "$root/etc/mosquitto/conf.d/outstation.conf"
  [[ -e $root/etc/mosquitto/outstation.acl ]] ||
    install -D --mode=644 "$here/mosquitto/outstation.acl" "$root/etc/mosquitto/outstation.acl"
  install -D --mode=644 "$here/systemd/mosquitto.conf" "$root/etc/systemd/system/mosquitto.service.d/outstation.conf"
}

# A Python in somebody's home folder is out of this user's reach, and hidden by ProtectHome= in the units.
check_program() {
  runuser --user outstation -- "$outstation" --version >/dev/null ||
    fail "the user outstation cannot run $outstation; make its .venv with the system's python3, as docs/operate.md says" 3
}

# A folder on the same disk saves the journal from a mistake, not from a dead disk: docs/operate.md says what does.
make_site() {
  [[ -e $site/site.toml ]] && return
  runuser --user outstation -- "$outstation" init "$site"
  printf '\n[replica]\nurl = "file:///var/lib/outstation/replica"  # where the journal is copied to\n' |
    runuser --user outstation -- tee --append "$site/site.toml" >/dev/null
}

# The gateway's own name at the broker, with a password that no other box has; the devices' names stay.
make_broker_password() {
  local names=/etc/mosquitto/outstation.passwd secret=$site/secrets/bus.password new
  [[ -e $names && -e $secret ]] && return
  install -d --mode=700 --owner=outstation --group=outstation "$site/secrets"
  install --mode=600 --owner=outstation --group=outstation /dev/null "$secret"
  head --bytes=24 /dev/urandom | base64 >"$secret"
  new=$(mktemp)
  echo "outstation:$(cat "$secret")" >"$new"
  mosquitto_passwd -U "$new"
  [[ ! -e $names ]] || sed '/^outstation:/d' "$names" >>"$new"
  install --mode=640 --owner=root --group=mosquitto "$new" "$names"
  rm "$new"
}

# The daemon may have migrations to run, which want the journal to themselves: all stop before it starts.
start() {
  systemctl daemon-reload
  systemctl stop "${units[@]}"
  systemctl restart "${broker[@]}" "${units[@]}"
}

case "$#:${1-}" in
  0:) ;;
  2:--root) root=$(cd "$2" && pwd) || fail "$2 is not a folder" 2 ;;
  *) fail "takes nothing, or --root DIR" 2 ;;
esac
((EUID == 0)) || fail "run me as root" 2
[[ -x $root$outstation ]] || fail "$root$outstation is not there; install the program first, as docs/operate.md says" 3

broker=()
[[ -x $root/usr/sbin/mosquitto ]] && broker=(mosquitto.service)

put_units
make_user_and_folders
((${#broker[@]})) && put_broker_settings
systemctl --quiet --root="$root/" enable "${broker[@]}" "${units[@]}"
[[ -n $root ]] && exit 0

check_program
make_site
((${#broker[@]})) && make_broker_password
systemd-tmpfiles --create outstation.conf
[[ -d /run/systemd/system ]] || fail "installed, but nothing is started: systemd does not run here" 1
start
