"""HQ's store: every record of every site once, in one SQLite database.

The receiver is its only writer beside `hq enrol` and `hq revoke`; pages read through connections of their own.
A record is here when its transaction is on disk (WAL, synchronous=FULL), and only then is it acknowledged.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from sync.database import open_to_read, open_to_write
from sync.envelope import Header
from sync.errors import LinkSettingsError
from sync.protocol import Ack, State

QUARANTINE_ROWS = 1000
QUARANTINE_BYTES = 64 << 10
"""How much of one refused envelope is kept."""

# Only ever appended to; `PRAGMA user_version` counts those that were applied.
_MIGRATIONS = (
    """
    CREATE TABLE sites (
      site TEXT PRIMARY KEY,
      key TEXT NOT NULL,               -- Ed25519 public key, base64
      enrolled_at INTEGER NOT NULL,
      revoked INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- What is known of a site's link, beside its records.
    CREATE TABLE contact (
      site TEXT PRIMARY KEY,
      heard_at INTEGER,                -- the last envelope or birth
      state TEXT,                      -- up | down
      connection TEXT,
      state_at INTEGER                 -- when HQ heard of the state
    ) STRICT;

    -- With a rowid: its order is the order of arrival.
    CREATE TABLE received (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      record TEXT NOT NULL,            -- JSON
      received_at INTEGER NOT NULL,
      PRIMARY KEY (site, epoch, lane, seq)
    ) STRICT;

    -- received holds each (site, epoch, lane) from its first number to last_seq.
    CREATE TABLE watermark (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      last_seq INTEGER NOT NULL,
      PRIMARY KEY (site, epoch, lane)
    ) STRICT, WITHOUT ROWID;

    -- Counted on arrival, because counting received takes longer every day.
    CREATE TABLE tally (
      site TEXT NOT NULL,
      kind TEXT NOT NULL,
      lane TEXT NOT NULL,
      records INTEGER NOT NULL,
      PRIMARY KEY (site, kind, lane)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE quarantine (
      n INTEGER PRIMARY KEY,
      site TEXT NOT NULL,              -- by the topic; nothing else about it is known to be true
      reason TEXT NOT NULL,
      envelope BLOB NOT NULL,          -- its first bytes
      at INTEGER NOT NULL
    ) STRICT;
    """,
)


def store_path(folder: Path) -> Path:
    """Where the store lies in HQ's folder."""
    return folder / "hq.db"


class Arrival(msgspec.Struct, frozen=True):
    """One record as it is kept: `record` is JSON."""

    seq: int
    kind: str
    id: str
    record: str


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """What HQ knows of a site. `state` is None until its link was heard of; times in µs."""

    site: str
    key: str
    enrolled_at: int
    revoked: bool
    state: str | None
    state_at: int | None
    heard_at: int | None
    records: list["Tally"]
    watermarks: list["Watermark"]


class Tally(msgspec.Struct, frozen=True):
    """How many records of a kind came on a lane."""

    kind: str
    lane: str
    records: int


class Watermark(msgspec.Struct, frozen=True):
    """Up to where a lane has come, without a gap."""

    epoch: int
    lane: str
    last_seq: int


class RecordView(msgspec.Struct, frozen=True):
    """A received record, with its JSON as it lies in the store."""

    site: str
    epoch: int
    lane: str
    seq: int
    kind: str
    id: str
    received_at: int
    record: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True):
    """What was refused of a site, and why."""

    site: str
    reason: str
    at: int


class Store:
    """A connection to HQ's database, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open to write, creating what is not there; raises LinkSettingsError when that fails."""
        try:
            connection = open_to_write(path)
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(path, connection)
        except (OSError, apsw.Error) as fault:
            raise LinkSettingsError(f"{path} cannot be used as HQ's store: {fault}.") from None
        return cls(connection)

    @classmethod
    def read(cls, path: Path) -> "Store":
        """Open an existing store to read; raises LinkSettingsError when there is none."""
        try:
            return cls(open_to_read(path))
        except apsw.Error as fault:
            raise LinkSettingsError(f"{path} cannot be read as HQ's store: {fault}.") from None

    def close(self) -> None:
        """Release the database."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: on disk when it ends, undone when it raises."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except apsw.Error as fault:
            raise LinkSettingsError(f"{self._connection.filename} cannot be written: {fault}.") from None
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    # ---- who may send ------------------------------------------------------------------------------------------

    def enrol(self, site: str, key: str) -> None:
        """Take records of `site` from now on if `key` (public, base64) signed them.

        Raises LinkSettingsError if the site is enrolled with another key that was not revoked.
        """
        with self.transaction():
            known = self._one("SELECT key FROM sites WHERE site = ? AND NOT revoked", site)
            if known is not None and known[0] != key:
                raise LinkSettingsError(
                    f"site {site} is enrolled with another key; run `outstation hq revoke {site}` first if it is lost."
                )
            if known is None:
                self._connection.execute(
                    "INSERT OR REPLACE INTO sites (site, key, enrolled_at) VALUES (?, ?, ?)", (site, key, _now_us())
                )

    def revoke(self, site: str) -> None:
        """Take nothing from `site` any more; raises LinkSettingsError if it is not enrolled."""
        with self.transaction():
            self._connection.execute("UPDATE sites SET revoked = 1 WHERE site = ? AND NOT revoked", (site,))
            if not self._connection.changes():
                raise LinkSettingsError(f"site {site} is not enrolled.")

    def key_of(self, site: str) -> str | None:
        """The public key that `site` signs with; None if nothing is taken from it."""
        found = self._one("SELECT key FROM sites WHERE site = ? AND NOT revoked", site)
        return None if found is None else found[0]

    # ---- what arrives, inside a transaction --------------------------------------------------------------------

    def apply(self, header: Header, arrivals: Sequence[Arrival]) -> Ack:
        """Keep those of `arrivals` (numbers that follow one another) that are new, and say what is here now.

        If they begin behind a gap none is kept, and the Ack asks to resend.
        """
        site, epoch, lane = header.site, header.epoch, header.lane
        last_seq = self._last_seq(site, epoch, lane)
        now = _now_us()
        self._heard(site, now)
        if header.first_seq > last_seq + 1:
            return Ack(epoch=epoch, lane=lane, last_seq=last_seq, resend=True)
        fresh = [arrival for arrival in arrivals if arrival.seq > last_seq]
        if fresh:
            self._connection.executemany(
                "INSERT INTO received VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((site, epoch, lane, new.seq, new.kind, new.id, new.record, now) for new in fresh),
            )
            self._connection.executemany(
                "INSERT INTO tally VALUES (?, ?, ?, ?)"
                " ON CONFLICT (site, kind, lane) DO UPDATE SET records = records + excluded.records",
                ((site, kind, lane, records) for kind, records in Counter(new.kind for new in fresh).items()),
            )
            last_seq = fresh[-1].seq
            self._connection.execute(
                "INSERT OR REPLACE INTO watermark VALUES (?, ?, ?, ?)", (site, epoch, lane, last_seq)
            )
        return Ack(epoch=epoch, lane=lane, last_seq=last_seq)

    def note_state(self, site: str, state: State, *, retained: bool) -> None:
        """Remember a site's birth or death. A connection dies once, and its death is not news once another followed;
        a retained birth says that the site was there, not that it is heard now."""
        known = self._one("SELECT connection, state FROM contact WHERE site = ?", site)
        if known is not None and known[1] is not None:
            of_the_known_one = known[0] == state.connection
            death = (known[1], state.state) == ("up", "down")
            if of_the_known_one != death:
                return
        now = _now_us()
        self._connection.execute(
            "INSERT INTO contact (site, state, connection, state_at) VALUES (?, ?, ?, ?) ON CONFLICT (site) DO UPDATE"
            " SET state = excluded.state, connection = excluded.connection, state_at = excluded.state_at",
            (site, state.state, state.connection, now),
        )
        if state.state == "up" and not retained:
            self._heard(site, now)

    def quarantine(self, site: str, reason: str, envelope: bytes) -> None:
        """Keep what was refused, and forget the oldest beyond QUARANTINE_ROWS."""
        self._connection.execute(
            "INSERT INTO quarantine (site, reason, envelope, at) VALUES (?, ?, ?, ?)",
            (site, reason, envelope[:QUARANTINE_BYTES], _now_us()),
        )
        self._connection.execute(
            "DELETE FROM quarantine WHERE n <= (SELECT max(n) FROM quarantine) - ?", (QUARANTINE_ROWS,)
        )

    # ---- what is here ------------------------------------------------------------------------------------------

    def sites(self) -> list[SiteView]:
        """All enrolled sites by name."""
        tallies = self._select("SELECT site, kind, lane, records FROM tally ORDER BY site, kind, lane")
        watermarks = self._select("SELECT site, epoch, lane, last_seq FROM watermark ORDER BY site, epoch, lane")
        found = self._select(
            "SELECT site, key, enrolled_at, revoked, state, state_at, heard_at"
            " FROM sites LEFT JOIN contact USING (site) ORDER BY site"
        )
        return [
            SiteView(
                site=site,
                key=key,
                enrolled_at=enrolled_at,
                revoked=bool(revoked),
                state=state,
                state_at=state_at,
                heard_at=heard_at,
                records=[Tally(*rest) for owner, *rest in tallies if owner == site],
                watermarks=[Watermark(*rest) for owner, *rest in watermarks if owner == site],
            )
            for site, key, enrolled_at, revoked, state, state_at, heard_at in found
        ]

    def newest(self, limit: int) -> list[RecordView]:
        """The records that arrived last, newest first."""
        found = self._select(
            "SELECT site, epoch, lane, seq, kind, id, received_at, record FROM received ORDER BY rowid DESC LIMIT ?",
            limit,
        )
        return [
            RecordView(site, epoch, lane, seq, kind, id, received_at, msgspec.Raw(record.encode()))
            for site, epoch, lane, seq, kind, id, received_at, record in found
        ]

    def refused(self) -> int:
        """How many envelopes were refused since the store began."""
        ((refused,),) = self._select("SELECT coalesce(max(n), 0) FROM quarantine")
        return int(refused)

    def newest_refusals(self, limit: int) -> list[Refusal]:
        """The refusals that came last, newest first."""
        return [
            Refusal(*row)
            for row in self._select("SELECT site, reason, at FROM quarantine ORDER BY n DESC LIMIT ?", limit)
        ]

    def _last_seq(self, site: str, epoch: int, lane: str) -> int:
        found = self._one("SELECT last_seq FROM watermark WHERE site = ? AND epoch = ? AND lane = ?", site, epoch, lane)
        return 0 if found is None else found[0]

    def _heard(self, site: str, at: int) -> None:
        self._connection.execute(
            "INSERT INTO contact (site, heard_at) VALUES (?, ?)"
            " ON CONFLICT (site) DO UPDATE SET heard_at = excluded.heard_at",
            (site, at),
        )

    def _one(self, query: str, *values: str | int) -> tuple[Any, ...] | None:
        return self._connection.execute(query, values).fetchone()

    def _select(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except apsw.Error as fault:
            raise LinkSettingsError(f"{self._connection.filename} cannot be read as HQ's store: {fault}.") from None


def _migrate(path: Path, connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (applied,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    if applied > len(_MIGRATIONS):
        connection.execute("ROLLBACK")
        raise LinkSettingsError(f"{path} was written by a newer version of outstation; use that one.")
    for migration in _MIGRATIONS[applied:]:
        connection.execute(migration)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
    connection.execute("COMMIT")


def _now_us() -> int:
    return time.time_ns() // 1000
