"""The journal's schema, as migrations that only append; run in a process of their own.

sqlite-utils uses Python's SQLite library and the daemon uses apsw's newer one. Two SQLite libraries in one process must
never hold the same file (closing one drops the POSIX locks of the other), so `migrate` starts `python -m
edge.store.migrations JOURNAL` and waits for its end before anybody opens the journal by apsw.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw

from edge.errors import JournalError

LANES = ("now", "day", "bulk")

M001_INITIAL = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', '1');

-- What happened. `kind` is call, reading or note; `data` is the JSON of that kind in edge/events.py.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
  at INTEGER NOT NULL, received_at INTEGER NOT NULL, boot_id TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX events_rare ON events (kind, seq) WHERE kind <> 'reading';
CREATE INDEX events_subject ON events (subject, at);

-- What was offered and accepted, so that it is accepted once. Keys of readings begin with their time: inserts stay
-- local, and old ones can be cut off.
CREATE TABLE offers (key BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
-- The last message under each MQTT packet identifier (at most 65,535): tells a redelivery from a new message.
CREATE TABLE deliveries (mid INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;

CREATE TABLE signals (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, event_id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
  at INTEGER NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX signals_event ON signals (event_id, seq);

CREATE TABLE predictions (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, signal_id TEXT NOT NULL, subject TEXT NOT NULL, at INTEGER NOT NULL,
  pack TEXT NOT NULL, pack_version TEXT NOT NULL, label TEXT NOT NULL, probability REAL NOT NULL,
  evidence TEXT NOT NULL) STRICT;
CREATE INDEX predictions_signal ON predictions (signal_id);
CREATE INDEX predictions_subject ON predictions (subject, at);

CREATE TABLE decisions (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, prediction_id TEXT NOT NULL, event_id TEXT NOT NULL,
  subject TEXT NOT NULL, at INTEGER NOT NULL, play TEXT NOT NULL, deadline INTEGER NOT NULL) STRICT;
CREATE INDEX decisions_event ON decisions (event_id);
CREATE INDEX decisions_subject ON decisions (subject);
-- When each play was last called for each subject, by the source's clock: it is not called again at once.
CREATE TABLE episodes (
  subject TEXT NOT NULL, play TEXT NOT NULL, last_at INTEGER NOT NULL,
  PRIMARY KEY (subject, play)) STRICT, WITHOUT ROWID;

-- `state` repeats the newest transition, for the queries of act and of the page.
CREATE TABLE actions (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision_id TEXT NOT NULL, step INTEGER NOT NULL,
  role TEXT NOT NULL, channel TEXT NOT NULL, what TEXT NOT NULL, payload TEXT NOT NULL, at INTEGER NOT NULL,
  due INTEGER NOT NULL,
  fires_at INTEGER, state TEXT NOT NULL DEFAULT 'proposed') STRICT;
CREATE INDEX actions_open ON actions (state, due) WHERE state IN ('proposed', 'accepted', 'fired');
CREATE INDEX actions_decision ON actions (decision_id);

CREATE TABLE transitions (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, action_id TEXT NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL,
  by TEXT NOT NULL, remark TEXT NOT NULL) STRICT;
CREATE INDEX transitions_action ON transitions (action_id, seq);

-- Up to which event each step has gone; written in the transaction of the step's results.
CREATE TABLE cursors (step TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Calls take long and end in any order, so each has its own place: by channel the seconds already transcribed.
CREATE TABLE transcripts (
  event_id TEXT PRIMARY KEY, done INTEGER NOT NULL, progress TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX transcripts_waiting ON transcripts (event_id) WHERE done = 0;
-- The windows' state at some event, so that a restart need not read the whole journal.
CREATE TABLE window_state (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, state BLOB NOT NULL) STRICT;
-- Each device's newest reading and score, for the page.
CREATE TABLE devices (
  device TEXT PRIMARY KEY, at INTEGER NOT NULL, event_id TEXT NOT NULL, "values" TEXT NOT NULL, score REAL,
  readings INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- What was kept aside, and why; the input itself lies in inbox/refused.
CREATE TABLE refusals (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL) STRICT;

-- One order over all that the page shows, so that a client can ask for what came after.
CREATE TABLE feed (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL) STRICT;

-- What HQ has to get; the only table that the link reads.
CREATE TABLE outbox (
  lane TEXT NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  record BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE lanes (lane TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO lanes VALUES ('now', 0), ('day', 0), ('bulk', 0);
"""

# `at`, `boot` and `mono` let HQ find the true time of a record that was made while the clock was wrong; a row that was
# there before has only `at`, so its `mono` is that and its boot one of which nothing is known. A row of kind gone
# stands for `span` numbers up to `seq` (edge/store/retention.py).
M002_LINK = """
CREATE TABLE outbox_with_spans (
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, span INTEGER NOT NULL DEFAULT 1, kind TEXT NOT NULL,
  id TEXT NOT NULL, at INTEGER NOT NULL, boot TEXT NOT NULL, mono INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID;
INSERT INTO outbox_with_spans SELECT epoch, lane, seq, 1, kind, id, at, 'unknown', max(at, 0), record FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_with_spans RENAME TO outbox;
-- All of a row but its record: what waits is counted, and what goes is chosen, without reading the records.
CREATE INDEX outbox_sizes ON outbox (epoch, lane, seq, span, kind, at, length(record));
CREATE INDEX outbox_gone ON outbox (epoch, lane, seq) WHERE kind = 'gone';
ALTER TABLE lanes ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE lanes SET bytes = (SELECT coalesce(sum(length(record)), 0) FROM outbox o WHERE o.lane = lanes.lane);
-- A journal that has given HQ nothing yet begins an epoch of its own: ms since 1970, and 16 random bits.
UPDATE meta SET value = (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) << 16) | (random() & 65535)
  WHERE key = 'epoch' AND (SELECT sum(last_seq) FROM lanes) = 0;

-- By device the readings of about an hour, sensor by sensor; they stay when the readings have gone.
CREATE TABLE rollups (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, at INTEGER NOT NULL, since INTEGER NOT NULL,
  readings INTEGER NOT NULL, sensors TEXT NOT NULL) STRICT;
CREATE INDEX rollups_subject ON rollups (subject, at);
-- What was accepted and is no longer here, or cannot go to HQ whole, and why.
CREATE TABLE losses (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, reason TEXT NOT NULL, kinds TEXT NOT NULL,
  bytes INTEGER NOT NULL, since INTEGER NOT NULL, ids TEXT NOT NULL) STRICT;
-- The site's files that people write, so that the replica has them too.
CREATE TABLE settings (name TEXT PRIMARY KEY, content TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

# What became of each order from HQ; its newest row is how it stands.
M003_ORDERS = """
CREATE TABLE orders (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, state TEXT NOT NULL, by TEXT NOT NULL, remark TEXT NOT NULL) STRICT;
CREATE INDEX orders_order ON orders (order_id, seq);
"""

# The keys before those in offers (edge/store/known.py); they go, those in offers become these, and so on.
M004_KNOWN = """
CREATE TABLE offers_before (key BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
"""

# A pack in the shadow of the one in use (edge/store/comparisons.py).
M005_SHADOWS = """
CREATE TABLE shadows (
  pack TEXT PRIMARY KEY, active_version TEXT NOT NULL, shadow_version TEXT NOT NULL, since INTEGER NOT NULL,
  judged INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE shadow_said (
  pack TEXT NOT NULL, place TEXT NOT NULL, at INTEGER NOT NULL, subject TEXT NOT NULL, label TEXT NOT NULL,
  active REAL NOT NULL, shadow REAL NOT NULL, by_active INTEGER NOT NULL, by_shadow INTEGER NOT NULL,
  text TEXT NOT NULL, PRIMARY KEY (pack, place, label)) STRICT, WITHOUT ROWID;
"""

# What was like a prediction before is found by its label (edge/store/cases.py).
M006_CASES = """
CREATE INDEX predictions_label ON predictions (label, seq);
CREATE INDEX decisions_prediction ON decisions (prediction_id);
"""

# What finishes, can be taken back, and proves itself. Timers run by the steady clock (edge/store/steady.py); `holder`
# is the role that has an action now (NULL: that of the play).
M007_ACTIONS = """
ALTER TABLE decisions ADD COLUMN arm TEXT NOT NULL DEFAULT 'treatment';
ALTER TABLE decisions ADD COLUMN trials TEXT NOT NULL DEFAULT '[]';
ALTER TABLE decisions ADD COLUMN goal TEXT NOT NULL DEFAULT '';
ALTER TABLE decisions ADD COLUMN outcome_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN chain TEXT NOT NULL DEFAULT 'null';
ALTER TABLE actions ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
ALTER TABLE actions ADD COLUMN holder TEXT;
ALTER TABLE transitions ADD COLUMN role TEXT NOT NULL DEFAULT '';
CREATE INDEX decisions_goal ON decisions (subject, goal, seq) WHERE goal <> '';

CREATE TABLE outcomes (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision_id TEXT NOT NULL, at INTEGER NOT NULL, value REAL NOT NULL,
  by TEXT NOT NULL, source TEXT NOT NULL, remark TEXT NOT NULL, excluded TEXT NOT NULL) STRICT;
CREATE INDEX outcomes_decision ON outcomes (decision_id, seq);
CREATE TABLE play_changes (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, play TEXT NOT NULL, state TEXT NOT NULL,
  by TEXT NOT NULL, remark TEXT NOT NULL) STRICT;
CREATE TABLE checkpoints (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, entry INTEGER NOT NULL, hash TEXT NOT NULL,
  key TEXT NOT NULL, signature TEXT NOT NULL) STRICT;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, by TEXT NOT NULL,
  content BLOB NOT NULL, hash BLOB NOT NULL) STRICT;

CREATE TABLE steady (
  id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, boot TEXT NOT NULL, mono INTEGER NOT NULL,
  wall INTEGER NOT NULL) STRICT;
INSERT INTO steady VALUES (1, 0, '', 0, 0);
CREATE TABLE timers (
  at INTEGER NOT NULL, action_id TEXT NOT NULL, what TEXT NOT NULL,
  PRIMARY KEY (at, action_id, what)) STRICT, WITHOUT ROWID;
CREATE INDEX timers_action ON timers (action_id, what);
INSERT INTO timers SELECT max(0, due - CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)), id, 'expire'
  FROM actions WHERE state IN ('proposed', 'accepted', 'fired');
INSERT INTO timers SELECT max(0, fires_at - CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)), id, 'fire'
  FROM actions WHERE state = 'proposed' AND fires_at IS NOT NULL;
INSERT INTO timers SELECT 0, id, 'perform' FROM actions WHERE state IN ('accepted', 'fired') AND channel <> 'card';
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    ("m001_initial", M001_INITIAL),
    ("m002_link", M002_LINK),
    ("m003_orders", M003_ORDERS),
    ("m004_known", M004_KNOWN),
    ("m005_shadows", M005_SHADOWS),
    ("m006_cases", M006_CASES),
    ("m007_actions", M007_ACTIONS),
)


def migrate(path: Path) -> None:
    """Bring the journal at `path` to the newest schema, creating it if there is none.

    Raises JournalError when the file is not a journal, is newer than this program, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    version = version_of(path)
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise JournalError(f"{path} was written by a newer program; install that one, or a later one.")
    done = subprocess.run(
        [sys.executable, "-m", "edge.store.migrations", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise JournalError(
            f"{path} cannot be opened as a journal ({reason}); free the disk, or restore it from its replica."
        )


def version_of(path: Path) -> int:
    """The schema's version that the file says it has; 0 when it is new or cannot be read (then the migration says why).
    Asked by apsw and closed again, so that a start with nothing to do starts no process."""
    if not path.exists():
        return 0
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        version = connection.pragma("user_version")
        connection.close()
    except apsw.Error:
        return 0
    return int(version)


def _apply(path: str) -> None:
    import sqlite_utils  # only this process may load it: see the module's first lines

    db = sqlite_utils.Database(path)
    db.enable_wal()
    db.execute("PRAGMA wal_autocheckpoint = 0")  # Python's SQLite may be one that must not checkpoint beside litestream
    migrations = sqlite_utils.Migrations("journal")
    for name, script in MIGRATIONS:
        migrations(name=name)(_runs(script))
    migrations.apply(db)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.close()


def _runs(script: str) -> Callable[[object], None]:
    def step(db: object) -> None:
        for statement in script.split(";\n"):
            if statement.strip():
                db.execute(statement)  # type: ignore[attr-defined]

    return step


if __name__ == "__main__":
    _apply(sys.argv[1])
