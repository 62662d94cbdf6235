"""link.db: what the link remembers and lets others see. All of it can be lost: HQ says again what it has.

The link writes it, the daemon and `outstation sync status` read it.
"""

import contextlib
import fcntl
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import apsw
import msgspec

from sync.database import open_to_read, open_to_write
from sync.errors import LinkSettingsError
from sync.protocol import Lane
from sync.ranges import Ranges
from sync.settings import LinkSettings

Place = tuple[int, Lane]
"""An epoch and a lane."""

WAKE = "link.wake"
"""The file beside link.db that is touched to make the link try at once whatever it waits for."""
LOCK = "link.lock"
LOCK_WAIT_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivered (      -- the numbers that HQ's store has, as runs
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  PRIMARY KEY (epoch, lane, first_seq)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS link (           -- one row: how the link stands
  id INTEGER PRIMARY KEY CHECK (id = 1), connected INTEGER NOT NULL, since INTEGER NOT NULL, reason TEXT NOT NULL,
  rows_per_s REAL NOT NULL, bytes_per_s REAL NOT NULL, rtt_ms REAL NOT NULL, heard_at INTEGER NOT NULL,
  at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS stuck (          -- rows that can never travel
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contested (      -- numbers that HQ holds with other records than this site has
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  PRIMARY KEY (epoch, lane, first_seq)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key (            -- one row: what the site signs with, and what speaks against it
  id INTEGER PRIMARY KEY CHECK (id = 1), key_id TEXT NOT NULL, former_epoch INTEGER NOT NULL, doubt TEXT NOT NULL
  ) STRICT;
CREATE TABLE IF NOT EXISTS dictionary (id TEXT PRIMARY KEY, content BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
DROP TABLE IF EXISTS watermark;
"""


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """How the link stands at `at`: whether it is connected to a broker, since when, and in `reason` one sentence why
    it is not going ('': all is well). The rates are of what HQ acknowledged lately, `rtt_ms` is the time from an
    envelope's leaving to HQ's word (0: not known), `heard_at` is when HQ last said anything (0: never).
    """

    connected: bool = False
    since: int = 0
    reason: str = ""
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    rtt_ms: float = 0.0
    heard_at: int = 0
    at: int = 0


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A row that can never travel, and why."""

    epoch: int
    lane: Lane
    seq: int
    reason: str


class ContestedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers under which HQ holds other records than this site has, because another box had its identity. The daemon
    gives the site's records other numbers."""

    epoch: int
    lane: Lane
    first_seq: int
    last_seq: int


class KeyInUse(msgspec.Struct, frozen=True, kw_only=True):
    """The key that the site signs with. Whoever had one of its keys before may have used numbers up to `former_epoch`
    (0: there was none). `doubt` is one sentence on why somebody else seems to have this one, too ('': nobody has)."""

    key_id: str
    former_epoch: int = 0
    doubt: str = ""


class SiteDictionary(msgspec.Struct, frozen=True, kw_only=True):
    """The site's zstd dictionary and when it was trained (µs)."""

    id: str
    content: bytes
    at: int


class LinkDb:
    """One link.db. Every method raises LinkSettingsError when it cannot be read or written."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "LinkDb":
        """For the link, which writes it. What is no database (any more) is made anew: HQ knows the truth."""
        try:
            return cls._opened(path)
        except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError):
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                with contextlib.suppress(OSError):
                    path.with_name(name).unlink()
        except (OSError, apsw.Error) as fault:
            raise _faulty(path, fault) from None
        try:
            return cls._opened(path)
        except (OSError, apsw.Error) as fault:
            raise _faulty(path, fault) from None

    @classmethod
    def read(cls, path: Path) -> "LinkDb | None":
        """For whoever is not the link; None if there never was one."""
        if not path.exists():
            return None
        try:
            connection = open_to_read(path)
            there = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'contested'").get
        except apsw.Error as fault:
            raise _faulty(path, fault) from None
        return cls(path, connection) if there else None

    @classmethod
    def _opened(cls, path: Path) -> "LinkDb":
        connection = open_to_write(path)
        try:
            # What a power cut takes back is said again by HQ.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            connection.execute("SELECT epoch, lane, first_seq, last_seq FROM delivered LIMIT 1").fetchall()
        except apsw.Error:
            connection.close()
            raise
        return cls(path, connection)

    def delivered(self) -> dict[Place, Ranges]:
        """The numbers that HQ has, by epoch and lane."""
        runs: dict[Place, list[tuple[int, int]]] = {}
        for epoch, lane, first_seq, last_seq in self._select("SELECT epoch, lane, first_seq, last_seq FROM delivered"):
            runs.setdefault((epoch, lane), []).append((first_seq, last_seq))
        return {place: Ranges(found) for place, found in runs.items()}

    def state(self) -> LinkState:
        """How the link stood when it last said so."""
        found = self._select(
            "SELECT connected, since, reason, rows_per_s, bytes_per_s, rtt_ms, heard_at, at FROM link WHERE id = 1"
        )
        if not found:
            return LinkState()
        connected, *rest = found[0]
        return LinkState(**dict(zip(LinkState.__struct_fields__, (bool(connected), *rest), strict=True)))

    def stuck(self) -> list[Stuck]:
        """The rows that can never travel."""
        return [
            Stuck(epoch=epoch, lane=lane, seq=seq, reason=reason)
            for epoch, lane, seq, reason in self._select("SELECT epoch, lane, seq, reason FROM stuck")
        ]

    def contested(self) -> list[ContestedRun]:
        """The numbers that HQ ever said it holds with other records."""
        return [
            ContestedRun(epoch=epoch, lane=lane, first_seq=first_seq, last_seq=last_seq)
            for epoch, lane, first_seq, last_seq in self._select(
                "SELECT epoch, lane, first_seq, last_seq FROM contested"
            )
        ]

    def key(self) -> KeyInUse | None:
        """What was kept of the site's key; None if nothing was."""
        found = self._select("SELECT key_id, former_epoch, doubt FROM key")
        return KeyInUse(key_id=found[0][0], former_epoch=found[0][1], doubt=found[0][2]) if found else None

    def dictionary(self) -> SiteDictionary | None:
        """The newest dictionary; None if there is none."""
        found = self._select("SELECT id, content, at FROM dictionary ORDER BY at DESC LIMIT 1")
        return SiteDictionary(id=found[0][0], content=found[0][1], at=found[0][2]) if found else None

    def keep(
        self,
        delivered: Mapping[Place, Ranges],
        state: LinkState,
        stuck: Collection[Stuck],
        contested: Collection[ContestedRun] = (),
        key: KeyInUse | None = None,
    ) -> None:
        """Replace what is known of these places, how the link stands, what can never travel, and what is known of the
        site's key; add what is contested."""
        try:
            with self._connection:
                for (epoch, lane), ranges in delivered.items():
                    self._connection.execute("DELETE FROM delivered WHERE epoch = ? AND lane = ?", (epoch, lane))
                    self._connection.executemany(
                        "INSERT INTO delivered VALUES (?, ?, ?, ?)", ((epoch, lane, *run) for run in ranges.runs)
                    )
                self._connection.execute(
                    "INSERT OR REPLACE INTO link VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(state)
                )
                self._connection.execute("DELETE FROM stuck")
                self._connection.executemany(
                    "INSERT OR REPLACE INTO stuck VALUES (?, ?, ?, ?)", (msgspec.structs.astuple(row) for row in stuck)
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO contested VALUES (?, ?, ?, ?)",
                    (msgspec.structs.astuple(run) for run in contested),
                )
                if key is not None:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO key VALUES (1, ?, ?, ?)", msgspec.structs.astuple(key)
                    )
        except apsw.Error as fault:
            raise _faulty(self._path, fault) from None

    def keep_dictionary(self, id: str, content: bytes) -> SiteDictionary:
        """Have this dictionary from now on, and no other."""
        made = SiteDictionary(id=id, content=content, at=time.time_ns() // 1000)
        try:
            with self._connection:
                self._connection.execute("DELETE FROM dictionary")
                self._connection.execute("INSERT INTO dictionary VALUES (?, ?, ?)", (made.id, made.content, made.at))
        except apsw.Error as fault:
            raise _faulty(self._path, fault) from None
        return made

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query).fetchall()
        except apsw.Error as fault:
            raise _faulty(self._path, fault) from None


def _faulty(path: Path, fault: Exception) -> LinkSettingsError:
    return LinkSettingsError(f"{path} cannot hold what the link remembers: {fault}.")


@contextlib.contextmanager
def only_one(settings: LinkSettings) -> Iterator[None]:
    """Be the site's link: a second one would undo what the first writes. Raises LinkSettingsError if one runs."""
    path = settings.link_db.with_name(LOCK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as fault:
        raise _faulty(path, fault) from None
    with file:
        deadline_s = time.monotonic() + LOCK_WAIT_S  # a predecessor may be on its way out
        while not _locks(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                raise LinkSettingsError(f"{path.parent}: the site's link runs already; end that one first.")
            time.sleep(0.05)
        yield


def is_running(settings: LinkSettings) -> bool:
    """Whether the site's link runs."""
    try:
        with settings.link_db.with_name(LOCK).open("rb") as file:
            return not _locks(file.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
