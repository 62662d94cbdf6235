"""The outbox as the link reads it: one table of a journal that somebody else writes, opened for reading only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec

from sync.database import open_to_read
from sync.envelope import MAX_ROWS, Row
from sync.errors import LinkSettingsError
from sync.ranges import Ranges, Run
from sync.schedule import End

# One look-up in the primary key for each epoch, however many rows there are.
_EPOCHS = """
WITH RECURSIVE epochs (epoch) AS (
  SELECT min(epoch) FROM outbox
  UNION ALL
  SELECT (SELECT min(epoch) FROM outbox WHERE epoch > epochs.epoch) FROM epochs WHERE epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL
"""

_COLUMNS = "seq, kind, id, at, boot, mono, record, span"
_FROM_OLDEST = f"SELECT {_COLUMNS} FROM outbox WHERE epoch = ?1 AND lane = ?2 AND seq >= ?3 ORDER BY seq"
# A row of kind gone may reach down to ?3 from above it, so it begins with the first row that is not below.
_FROM_NEWEST = f"""
SELECT {_COLUMNS} FROM outbox
WHERE epoch = ?1 AND lane = ?2 AND seq <= coalesce(
  (SELECT min(seq) FROM outbox WHERE epoch = ?1 AND lane = ?2 AND seq >= ?3), ?3)
ORDER BY seq DESC
"""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits: rows, bytes of their records, and when the oldest was put there (µs; None: none waits)."""

    rows: int
    bytes: int
    oldest_at: int | None


class Outbox:
    """The outbox of one journal. Every method raises LinkSettingsError when the journal cannot be read."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        self._version: int | None = None

    @classmethod
    def open(cls, path: Path) -> "Outbox | None":
        """The outbox in the journal at `path`; None while the daemon has not made it, or brought it up to date, yet."""
        if not path.exists():
            return None
        try:
            connection = open_to_read(path)
            there = connection.execute("SELECT 1 FROM pragma_table_info('outbox') WHERE name = 'span'").get
        except apsw.CantOpenError:
            return None
        except apsw.Error as fault:
            raise _unreadable(path, fault) from None
        if not there:
            connection.close()
            return None
        return cls(path, connection)

    def changed(self) -> bool:
        """Whether anybody has written to the journal since this was last asked; True the first time."""
        ((version,),) = self._select("PRAGMA data_version")
        before, self._version = self._version, version
        return bool(version != before)

    def epochs(self) -> list[int]:
        """The epochs that have rows, oldest first."""
        return [int(epoch) for (epoch,) in self._select(_EPOCHS)]

    def newest(self, epoch: int, lane: str) -> int:
        """The highest number in the lane; 0 if it is empty."""
        ((seq,),) = self._select("SELECT coalesce(max(seq), 0) FROM outbox WHERE epoch = ? AND lane = ?", (epoch, lane))
        return int(seq)

    def rows(self, epoch: int, lane: str, run: Run, end: End, most_bytes: int, most_rows: int = MAX_ROWS) -> list[Row]:
        """Rows that cover numbers at this end of `run`, ascending and without a gap between them: so many that they
        make an envelope, but one at least if there is one. The outermost may be a row of kind gone that covers more
        than `run`. Empty if no row covers that end."""
        first, last = run
        from_newest = end == "newest"
        rows: list[Row] = []
        room = most_bytes
        for row in self._rows(
            _FROM_NEWEST if from_newest else _FROM_OLDEST, (epoch, lane, last if from_newest else first)
        ):
            room -= len(row.record)
            if rows and (room < 0 or len(rows) == most_rows):
                break
            if from_newest:
                follows = row.seq == rows[-1].first_seq - 1 if rows else row.first_seq <= last <= row.seq
                inside = row.seq >= first
            else:
                follows = row.first_seq == rows[-1].seq + 1 if rows else row.first_seq <= first
                inside = row.first_seq <= last
            if not (follows and inside):
                break
            rows.append(row)
        return rows[::-1] if from_newest else rows

    def records(self, epoch: int, lane: str, run: Run, end: End) -> tuple[Run, list[str]] | None:
        """The records at this end of `run`, without a gap and no row of kind gone among them, at most MAX_ROWS: their
        numbers and their ids. None if there is none at that end. Nothing of the records themselves is read."""
        first, last = run
        first, last = (
            (max(first, last - MAX_ROWS + 1), last) if end == "newest" else (first, min(last, first + MAX_ROWS - 1))
        )
        found = self._select(
            "SELECT seq, id FROM outbox WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? AND kind <> 'gone'"
            f" ORDER BY seq {'DESC' if end == 'newest' else ''}",
            (epoch, lane, first, last),
        )
        step = -1 if end == "newest" else 1
        begin = last if end == "newest" else first
        ids = [id for number, (seq, id) in enumerate(found) if seq == begin + step * number]
        if not ids:
            return None
        ends = (begin, begin + step * (len(ids) - 1))
        return (min(ends), max(ends)), ids[::step]

    def gap(self, epoch: int, lane: str, run: Run, end: End) -> Run:
        """The numbers at this end of `run` for which there is no row, given that `rows` found none there."""
        first, last = run
        if end == "oldest":
            ((above,),) = self._select(
                "SELECT min(seq) FROM outbox WHERE epoch = ? AND lane = ? AND seq >= ?", (epoch, lane, first)
            )
            if above is None:
                return run
            ((span,),) = self._select(
                "SELECT span FROM outbox WHERE epoch = ? AND lane = ? AND seq = ?", (epoch, lane, above)
            )
            return first, max(first, min(last, above - span))
        ((below,),) = self._select(
            "SELECT max(seq) FROM outbox WHERE epoch = ? AND lane = ? AND seq < ?", (epoch, lane, last)
        )
        return (first if below is None else max(first, min(last, below + 1))), last

    def oldest_at(self, epoch: int, lane: str, numbers: Ranges) -> int | None:
        """When the first row of these numbers was put there, µs; None if there is none."""
        for first, last in numbers.runs:
            found = self._select(
                "SELECT at, seq - span FROM outbox WHERE epoch = ? AND lane = ? AND seq >= ? ORDER BY seq LIMIT 1",
                (epoch, lane, first),
            )
            if found and found[0][1] < last:
                return int(found[0][0])
        return None

    def waiting(self, epoch: int, lane: str, numbers: Ranges) -> Waiting:
        """How much waits of these numbers. It reads as many index entries as there are rows."""
        rows = size_bytes = 0
        for run in numbers.runs:
            ((count, length),) = self._select(
                "SELECT count(*), coalesce(sum(length(record)), 0) FROM outbox "
                "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
                (epoch, lane, *run),
            )
            rows += count
            size_bytes += length
        return Waiting(rows=rows, bytes=size_bytes, oldest_at=self.oldest_at(epoch, lane, numbers))

    def close(self) -> None:
        """Release the journal."""
        self._connection.close()

    def _rows(self, query: str, values: tuple[int | str, ...]) -> Iterator[Row]:
        try:
            found = self._connection.execute(query, values)
            try:
                for seq, kind, id, at, boot, mono, record, span in found:
                    yield Row(seq, kind, id, at, boot, mono, msgspec.Raw(record), span)
            finally:
                # An open cursor would hold the journal's WAL from being checkpointed.
                found.close()
        except apsw.Error as fault:
            raise _unreadable(self._path, fault) from None

    def _select(self, query: str, values: tuple[int | str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except apsw.Error as fault:
            raise _unreadable(self._path, fault) from None


def _unreadable(path: Path, fault: apsw.Error) -> LinkSettingsError:
    return LinkSettingsError(f"{path} cannot be read as a journal: {fault}.")
