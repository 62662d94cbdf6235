#!/bin/sh
# Runs litestream 0.5 in the one way that was seen to lose nothing, and speaks sd_notify for it, which it does not do
# itself. replica.sh BIN: the folder with the programs litestream and apsw; outstation-replica.service sets the rest.
set -eu
bin=$1
probe_s=$((${WATCHDOG_USEC:?is set by systemd for a unit that has WatchdogSec=} / 4000000))

# Every start begins with a whole copy of the journal. litestream would go on where it ended; but if the journal's log
# was begun anew in between, it leaves out what was committed last before that, and neither it nor a restore's integrity
# check says so. An empty log makes it copy, and without its own files no torn one of them can stop it.
begin_anew() {
  "$bin/litestream" reset "$OUTSTATION_JOURNAL" >/dev/null
  emptied=$("$bin/apsw" "$OUTSTATION_JOURNAL" '.timeout 20000' 'PRAGMA wal_checkpoint(TRUNCATE)')
  case $emptied in
    0\|*) ;;
    *) echo "replica.sh: somebody reads the journal without an end; its log could not be emptied" >&2 && return 1 ;;
  esac
}

# Not `litestream sync`: asked for that, litestream lets go of its hold on the journal's log, and then loses rows too.
follows() {
  [ -e "$OUTSTATION_JOURNAL-wal" ] || return 0
  last=$("$bin/litestream" list -timeout "$probe_s" -socket "$OUTSTATION_REPLICA_SOCKET" | sed -n 's/.*(last sync: \(.*\))$/\1/p')
  synced_s=$(date --date="$last" +%s 2>/dev/null) || synced_s=0
  changed_s=$(stat --format=%Y "$OUTSTATION_JOURNAL-wal")
  [ "$changed_s" -le "$((synced_s + probe_s))" ] || { echo "replica.sh: the replica is behind, last sync: $last" && false; }
}

vouch() {
  until "$bin/litestream" info -socket "$OUTSTATION_REPLICA_SOCKET" >/dev/null 2>&1; do sleep 0.2; done
  systemd-notify --ready
  while sleep "$probe_s"; do
    if follows; then systemd-notify WATCHDOG=1 || true; fi
  done
}

[ ! -e "$OUTSTATION_JOURNAL" ] || begin_anew
vouch &
exec "$bin/litestream" replicate
