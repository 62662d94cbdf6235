"""Up to where HQ has committed each lane: the link's only memory, in a small database of its own."""

import time
from pathlib import Path
from typing import Any

import apsw
import msgspec

from sync.database import open_to_read, open_to_write
from sync.errors import LinkSettingsError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS watermark (
  epoch INTEGER NOT NULL,
  lane TEXT NOT NULL,
  last_seq INTEGER NOT NULL,   -- acknowledged by HQ
  at INTEGER NOT NULL,         -- when that was heard, µs
  PRIMARY KEY (epoch, lane)
) STRICT, WITHOUT ROWID
"""


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """HQ has everything up to `last_seq`, as was heard at `at` (µs)."""

    last_seq: int
    at: int


class Watermarks:
    """The watermarks in one link.db; its methods raise LinkSettingsError when it cannot be read or written."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Watermarks":
        """For the link, which writes them."""
        try:
            connection = open_to_write(path)
            # A watermark that a power cut takes back makes the link send rows again, and HQ drops repeats.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
        except (OSError, apsw.Error) as fault:
            raise _faulty(path, fault) from None
        return cls(path, connection)

    @classmethod
    def read(cls, path: Path) -> "dict[tuple[int, str], Watermark]":
        """The watermarks by (epoch, lane), for whoever is not the link; none if there never was one."""
        if not path.exists():
            return {}
        try:
            connection = open_to_read(path)
        except apsw.Error as fault:
            raise _faulty(path, fault) from None
        return cls(path, connection).all()

    def all(self) -> "dict[tuple[int, str], Watermark]":
        """The watermarks by (epoch, lane)."""
        try:
            found: list[tuple[Any, ...]] = self._connection.execute(
                "SELECT epoch, lane, last_seq, at FROM watermark"
            ).fetchall()
        except apsw.Error as fault:
            raise _faulty(self._path, fault) from None
        return {(epoch, lane): Watermark(last_seq=last_seq, at=at) for epoch, lane, last_seq, at in found}

    def put(self, epoch: int, lane: str, last_seq: int) -> None:
        """Remember what HQ acknowledged."""
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO watermark VALUES (?, ?, ?, ?)",
                (epoch, lane, last_seq, time.time_ns() // 1000),
            )
        except apsw.Error as fault:
            raise _faulty(self._path, fault) from None


def _faulty(path: Path, fault: Exception) -> LinkSettingsError:
    return LinkSettingsError(f"{path} cannot hold the link's watermarks: {fault}.")
