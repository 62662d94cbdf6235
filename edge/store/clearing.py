"""What goes when the disk runs low, so that the gateway can go on; nothing goes in silence.

Below [disk] low_mb these go, the oldest first and no more than it takes: copies of device logs, whose readings are in
the journal; the sound of calls that are transcribed; readings that are concluded, of which roll-ups stay. Each time a
Loss says so, in the journal and to HQ. What was made of them never goes, nor what nothing was made of yet.

A file is replaced by an empty one, then written down, then removed. So it can go when not one byte is free, whoever
reads it reads on, and one that was killed in between is found empty and written down then. Readings are written down
a run at a time, together with their roll-ups and the event up to which that is done; up to there they are deleted
afterwards, in small steps.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog

from edge.events import Loss, now_us
from edge.site import Site
from edge.store import outbox
from edge.store.database import number
from edge.store.journal import Journal
from edge.store.rollups import HOUR_US, next_run
from edge.store.room import Room
from edge.store.rows import insert

FILES_PER_STEP = 100
READINGS_PER_STEP = 5_000
ROLLED_UP = "rolled up"  # in the table cursors: the event up to which readings are written down as gone

log = structlog.get_logger()


class _File(msgspec.Struct, frozen=True):
    """A file that may go: `id` is what a Loss calls it, `at` the time that it speaks of (µs)."""

    path: Path
    id: str
    at: int
    bytes: int


class Clearing:
    """Makes room in a site's data, step by step."""

    def __init__(self, site: Site, journal: Journal, room: Room) -> None:
        self._site = site
        self._journal = journal
        self._room = room
        self._keep_us = int(site.settings.disk.keep_readings_hours * HOUR_US)
        self._unfinished = {"log", "call"}
        """Of which kinds an empty file may lie about."""

    def step(self) -> bool:
        """One bounded step; False when there is room, or nothing more may go. Raises JournalError or OSError."""
        return (
            self._clear("log", self._site.logs, self._logs)
            or self._clear("call", self._site.audio, self._calls)
            or self._delete_readings()
            or self._give_up_readings()
        )

    # ---- files ---------------------------------------------------------------------------------------------------

    def _logs(self) -> list[_File]:
        files = [
            _File(path, path.name, path.stat().st_mtime_ns // 1000, path.stat().st_size)
            for path in self._site.logs.iterdir()
            if not path.name.startswith(".")
        ]
        return sorted(files, key=lambda file: file.at)

    def _calls(self) -> list[_File]:
        """The sound of calls whose transcript is complete, the oldest call first."""
        sizes = {path.name: path.stat().st_size for path in self._site.audio.iterdir()}
        rows: Any = self._journal.readers.connection().execute(
            "SELECT e.id, e.at, e.data ->> 'audio' FROM events e JOIN transcripts t ON t.event_id = e.id "
            "WHERE e.kind = 'call' AND e.kind <> 'reading' AND t.done = 1 ORDER BY e.at, e.seq"
        )
        return [_File(self._site.audio / name, call_id, at, sizes[name]) for call_id, at, name in rows if name in sizes]

    def _clear(self, kind: str, folder: Path, find: Callable[[], list[_File]]) -> bool:
        if not folder.is_dir():
            return False
        short = self._room.short_on(folder)
        if short <= 0 and kind not in self._unfinished:
            return False
        chosen = _enough(find(), short)
        if not chosen:
            self._unfinished.discard(kind)
            return False
        self._unfinished.add(kind)
        for file in chosen:
            if file.bytes:
                _empty(file.path)
        self._journal.write(lambda connection: _note(connection, kind, chosen)).result()
        for file in chosen:
            file.path.unlink(missing_ok=True)
        log.warning("went to make room", kind=kind, files=len(chosen), bytes=sum(file.bytes for file in chosen))
        return True

    # ---- readings ------------------------------------------------------------------------------------------------

    def _delete_readings(self) -> bool:
        """Delete some of those that are written down as gone."""
        until = self._journal.cursor(ROLLED_UP)
        some = "SELECT seq FROM events WHERE kind = 'reading' AND seq <= ? ORDER BY seq LIMIT ?"
        if self._journal.readers.connection().execute(some, (until, 1)).fetchone() is None:
            return False

        def job(connection: apsw.Connection) -> None:
            connection.execute(f"DELETE FROM events WHERE seq IN ({some})", (until, READINGS_PER_STEP))

        self._journal.write(job).result()
        return True

    def _give_up_readings(self) -> bool:
        """Write down the next run as gone, of those that the kept windows have in them: a restart asks for the others.

        The last event stays: the next would get its number again, which the steps have behind them.
        """
        if self._room.short() <= 0:
            return False
        connection = self._journal.readers.connection()
        run = next_run(
            connection,
            after=self._journal.cursor(ROLLED_UP),
            until=number(connection, "SELECT min(seq, (SELECT max(seq) FROM events) - 1) FROM window_state"),
            now=now_us(),
            keep_us=self._keep_us,
        )
        if run is None:
            return False
        loss = Loss(at=now_us(), reason="disk", kinds={"reading": run.readings}, bytes=run.bytes, since=run.since)

        def job(connection: apsw.Connection) -> None:
            insert(connection, run.rollups)
            insert(connection, [loss])
            outbox.put(connection, [*run.rollups, loss])
            connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (ROLLED_UP, run.last))

        self._journal.write(job).result()
        log.warning("went to make room", kind="reading", readings=run.readings, rollups=len(run.rollups))
        return True


def _enough(files: Sequence[_File], short: int) -> list[_File]:
    """Those that are empty already, and the first of the others until `short` bytes are free."""
    chosen: list[_File] = []
    for file in files:
        if file.bytes and short <= 0:
            continue
        chosen.append(file)
        short -= file.bytes
        if len(chosen) == FILES_PER_STEP:
            break
    return chosen


def _empty(path: Path) -> None:
    """Put an empty file in the place of this one, whose bytes are free as soon as nobody reads them any more."""
    hollow = path.with_name(f".{path.name}.gone")
    try:
        hollow.touch()
        hollow.replace(path)
    except OSError:  # a disk that is full to the last name
        os.truncate(path, 0)


def _note(connection: apsw.Connection, kind: str, files: Sequence[_File]) -> None:
    """Write down that files went, unless that was done before a kill."""
    rows: Any = connection.execute(
        "SELECT i.value FROM losses l, json_each(l.ids) i WHERE l.reason = 'disk' "
        "AND i.value IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode([file.id for file in files]).decode(),),
    )
    named = {file_id for (file_id,) in rows}
    new = [file for file in files if file.id not in named]
    if not new:
        return
    loss = Loss(
        at=now_us(),
        reason="disk",
        kinds={kind: len(new)},
        bytes=sum(file.bytes for file in new),
        since=min(file.at for file in new),
        ids=tuple(file.id for file in new),
    )
    insert(connection, [loss])
    outbox.put(connection, [loss])
