"""The outbox as the link reads it: one table of a journal that somebody else writes, opened for reading only."""

from pathlib import Path
from typing import Any

import apsw
import msgspec

from sync.database import open_to_read
from sync.envelope import MAX_ROWS, Row
from sync.errors import LinkSettingsError

BATCH_BYTES = 256 << 10

# One look-up in the primary key for each epoch, however many rows there are.
_EPOCHS = """
WITH RECURSIVE epochs (epoch) AS (
  SELECT min(epoch) FROM outbox
  UNION ALL
  SELECT (SELECT min(epoch) FROM outbox WHERE epoch > epochs.epoch) FROM epochs WHERE epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL
"""


class Batch(msgspec.Struct, frozen=True):
    """Rows that follow one another; `full` says that no more would have fitted."""

    rows: list[Row]
    full: bool


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows wait, and when the oldest was put there (µs; None: none waits)."""

    rows: int
    oldest_at: int | None


class Outbox:
    """The outbox of one journal. Every method raises LinkSettingsError when the journal cannot be read."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Outbox | None":
        """The outbox in the journal at `path`; None while the daemon has not made it yet."""
        if not path.exists():
            return None
        try:
            connection = open_to_read(path)
            there = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'outbox'").get
        except apsw.CantOpenError:
            return None
        except apsw.Error as fault:
            raise _unreadable(path, fault) from None
        return cls(path, connection) if there else None

    def epochs(self) -> list[int]:
        """The epochs that have rows, oldest first."""
        return [int(epoch) for (epoch,) in self._select(_EPOCHS)]

    def batch(self, epoch: int, lane: str, after_seq: int) -> Batch:
        """The rows after `after_seq` that make the next envelope: at most MAX_ROWS and BATCH_BYTES of records, but
        always one if there is one, and none behind a hole in the numbers."""
        rows: list[Row] = []
        room = BATCH_BYTES
        try:
            found = self._connection.execute(
                "SELECT seq, kind, id, record FROM outbox WHERE epoch = ? AND lane = ? AND seq > ? ORDER BY seq",
                (epoch, lane, after_seq),
            )
            for seq, kind, id, record in found:
                room -= len(record)
                if rows and (room < 0 or len(rows) == MAX_ROWS or seq != rows[-1].seq + 1):
                    # An open cursor would hold the journal's WAL from being checkpointed.
                    found.close()
                    return Batch(rows, full=True)
                rows.append(Row(seq, kind, id, msgspec.Raw(record)))
        except apsw.Error as fault:
            raise _unreadable(self._path, fault) from None
        return Batch(rows, full=False)

    def newest(self, epoch: int, lane: str) -> int:
        """The highest number in the lane; 0 if it is empty."""
        ((seq,),) = self._select("SELECT coalesce(max(seq), 0) FROM outbox WHERE epoch = ? AND lane = ?", (epoch, lane))
        return int(seq)

    def waiting(self, epoch: int, lane: str, after_seq: int) -> Waiting:
        """What lies after `after_seq`."""
        ((rows, oldest_at),) = self._select(
            "SELECT count(*), min(at) FROM outbox WHERE epoch = ? AND lane = ? AND seq > ?", (epoch, lane, after_seq)
        )
        return Waiting(rows=rows, oldest_at=oldest_at)

    def close(self) -> None:
        """Release the journal."""
        self._connection.close()

    def _select(self, query: str, values: tuple[int | str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except apsw.Error as fault:
            raise _unreadable(self._path, fault) from None


def _unreadable(path: Path, fault: apsw.Error) -> LinkSettingsError:
    return LinkSettingsError(f"{path} cannot be read as a journal: {fault}.")
