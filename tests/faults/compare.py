"""The judge: what the journal accepted against what HQ holds, record by record.

The truth is read from the journal's own tables, not from the outbox, so that a record which never got a place in a lane
is found missing too. The outbox only tells which number a record had, to know it again in a row of kind `gone`.
"""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import msgspec

from edge.events import Event
from edge.store.rows import TABLES, kind_of, lane_of, select

Place = tuple[int, str, int]
"""Epoch, lane, number."""
NOWHERE: Place = (0, "", 0)
MISDATED_US = 10_000_000
"""A note waits for the gateway while that restarts; beyond this it is HQ that found the wrong time."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a round ended with. `named` are records that HQ does not hold and knows by a row of kind `gone`, or that the
    restore of the site named; each list has one sentence a record."""

    records: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    notes_missing: tuple[str, ...] = ()
    misdated: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or altered."""
        return not (self.lost or self.doubled or self.altered or self.notes_missing)


class Truth:
    """All that a site's journal was ever seen to hold for HQ, by id."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, Any]] = {}
        self.places: dict[str, Place] = {}
        self.notes: Counter[str] = Counter()
        self.readings = 0
        self.unseen = 0
        """Records of a box that was destroyed, which neither HQ nor the replica had heard of."""

    def look(self, journal: Path) -> None:
        """Learn what is there now. A journal that is not there yet says nothing."""
        if not journal.exists():
            return
        with contextlib.closing(apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(10_000)
            with contextlib.suppress(apsw.SQLError), connection:  # before its schema is made
                self._look(connection)

    def _look(self, connection: apsw.Connection) -> None:
        for record in (
            record for kind in TABLES for record in select(connection, kind, _WITHOUT_READINGS.get(kind, ""))
        ):
            if lane_of(record) is not None:
                self.records[record.id] = (kind_of(record), plain(record))
        rows: list[tuple[Any, ...]] = connection.execute("SELECT epoch, lane, seq, id FROM outbox").fetchall()
        self.places.update({id: (epoch, lane, seq) for epoch, lane, seq, id in rows})
        self.notes = Counter(_column(connection, "SELECT data ->> 'text' FROM events WHERE kind = 'note'"))
        self.readings = _column(connection, "SELECT count(*) FROM events WHERE kind = 'reading'")[0]

    def mourn(self, restored: Path, held: "Held", reported: dict[tuple[int, str], int]) -> set[str]:
        """The box is gone, and the one that took its place has the journal `restored`.

        Forget what nobody could know of: what neither that journal nor HQ has, and whose number is above the newest
        that the site had `reported`, by epoch and lane. Gives the texts of the notes that are in neither, whether HQ
        can name them or not.
        """
        there = Truth()
        there.look(restored)
        at_hq = {id for _, _, id, _ in held.rows}
        gone = self.records.keys() - there.records.keys() - at_hq
        notes = {text for id in gone if (text := _note_of(self.records[id]))}
        for id in gone:
            epoch, lane, seq = self.places.get(id, NOWHERE)
            if seq > reported.get((epoch, lane), 0):
                del self.records[id]
                self.unseen += 1
        self.readings = there.readings
        return notes


def _note_of(record: tuple[str, Any]) -> str:
    kind, content = record
    return str(content["data"]["text"]) if kind == "event" and content["data"]["kind"] == "note" else ""


_WITHOUT_READINGS: dict[Any, str] = {Event: "WHERE kind <> 'reading'"}


class Held:
    """What HQ's store holds of a site: its records, and the numbers whose records it knows to be gone."""

    def __init__(self, store: Path, site: str) -> None:
        with contextlib.closing(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(10_000)
            with connection:
                rows: list[tuple[Any, ...]] = connection.execute(
                    "SELECT epoch, lane, seq, kind, id, record, happened_at FROM history WHERE site = ?", (site,)
                ).fetchall()
                gone: list[tuple[Any, ...]] = connection.execute(
                    "SELECT epoch, lane, first_seq, last_seq, reason FROM gone WHERE site = ?", (site,)
                ).fetchall()
                self.quarantined = Counter(_column(connection, "SELECT reason FROM quarantine"))
        self.rows = [
            ((epoch, lane, seq), kind, id, msgspec.json.decode(record))
            for epoch, lane, seq, kind, id, record, _ in rows
        ]
        self.happened_at = {
            record["data"]["text"]: happened_at
            for (_, kind, _, record), (*_, happened_at) in zip(self.rows, rows, strict=True)
            if kind == "event" and record["data"]["kind"] == "note"
        }
        self.gone: dict[Place, str] = {
            (epoch, lane, seq): reason for epoch, lane, first, last, reason in gone for seq in range(first, last + 1)
        }


def judge(truth: Truth, held: Held, taken: dict[str, int]) -> Verdict:
    """Whether HQ holds what was accepted. `taken` are the notes that the site said it took: text, and when (µs)."""
    altered: list[str] = []
    times: Counter[str] = Counter()
    for place, kind, id, record in held.rows:
        times[id] += 1
        accepted = truth.records.get(id)
        if accepted is None:
            altered.append(f"{kind} {id} {place} is at HQ and was never in the journal")
        elif accepted != (kind, record):
            altered.append(f"{kind} {id} {place} is {record} at HQ and {accepted[1]} in the journal")
    missing = [id for id in truth.records if id not in times]
    # A record that HQ set aside because it did not fit is lost all the same: every record of this site fits.
    why = {id: held.gone.get(truth.places.get(id, NOWHERE), "") for id in missing}
    named = [id for id in missing if why[id] in ("evicted", "pruned", "lost")]
    return Verdict(
        records=len(truth.records),
        lost=tuple(
            f"{truth.records[id][0]} {id} {truth.places.get(id)} {why[id]}" for id in missing if id not in named
        ),
        doubled=tuple(f"{id} {count} times" for id, count in times.items() if count > 1),
        altered=tuple(altered),
        named=tuple(f"{truth.records[id][0]} {id} {why[id]}" for id in named),
        notes_missing=tuple(
            f"{text!r} was taken and is {truth.notes[text]} times in the journal"
            for text in taken
            if truth.notes[text] != 1
        ),
        misdated=tuple(
            f"{text!r} happened {(happened_at - taken[text]) / 1e6:+.1f} s from when it did, says HQ"
            for text, happened_at in held.happened_at.items()
            if text in taken and abs(happened_at - taken[text]) > MISDATED_US
        ),
    )


def plain(record: Any) -> Any:
    """A record as JSON would give it back."""
    return msgspec.json.decode(msgspec.json.encode(record))


def _column(connection: apsw.Connection, sql: str) -> list[Any]:
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return [value for (value,) in rows]
