#!/usr/bin/env bash
# Makes a site's journal from its replica; run it as root. What is there now is set aside, nothing is deleted.
#   restore.sh                  from the folder that the box replicates to by default
#   restore.sh REPLICA [DATA]   REPLICA as litestream names it: file:///mnt/copy, s3://…, sftp://…
set -euo pipefail

programs=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.venv/bin" && pwd)
replica=${1:-file:///var/lib/outstation/replica}
data=${2:-/var/lib/outstation/site/data}
units=(outstation.service outstation-link.service outstation-replica.service)
owner=$(stat --format=%U "$data")
restored=$data/restored.db

as_owner() {
  runuser --user "$owner" -- "$@"
}

units() {
  [[ ! -d /run/systemd/system ]] || systemctl "$1" "${units[@]}"
}

set_aside() {
  local aside file
  aside=$data/before-$(date +%Y%m%dT%H%M%S.%3N)
  as_owner mkdir "$aside"
  for file in journal.db journal.db-wal journal.db-shm; do
    [[ ! -e $data/$file ]] || as_owner mv "$data/$file" "$aside"
  done
  echo "restore.sh: what was there is in $aside"
}

# HQ may have had numbers that the replica had not, and would take the next records for repeats of those: in an epoch of
# their own they are new. The clock in it keeps two restores of one copy apart. Without a log beside it the file is whole.
begin_epoch() {
  as_owner "$programs/apsw" "$restored" "
    PRAGMA journal_mode = delete;
    BEGIN;
    UPDATE lanes SET last_seq = 0;
    UPDATE meta SET value = max(CAST(value AS INTEGER) + 1, CAST(1000 * unixepoch('subsec') AS INTEGER))
      WHERE key = 'epoch';
    COMMIT" >/dev/null
}

umask 077
trap 'units start' EXIT
units stop
as_owner rm -f "$restored"
as_owner "$programs/litestream" restore -integrity-check full -o "$restored" "$replica"
begin_epoch
set_aside
as_owner mv "$restored" "$data/journal.db"
