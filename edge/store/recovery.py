"""What HQ had and a restored journal has not: taken in at the first start of a new box.

`outstation hq restore` writes it to data/from-hq.jsonl, a line {"kind": …, "record": …} each, in the order in which the
old box gave the numbers. It does not go to HQ again, and nothing is concluded from it again: what was done on the old
box is done.
"""

from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog

from edge.events import (
    Action,
    Decision,
    Event,
    Loss,
    Order,
    Outcome,
    PlayChange,
    Prediction,
    Record,
    Rollup,
    Transition,
)
from edge.store import audit, moves, timers
from edge.store.journal import Journal
from edge.store.rows import TABLES, insert, kind_of, name_of, select, tag_of

KINDS: dict[str, type[Record]] = {
    name_of(kind): kind
    for kind in (Event, Prediction, Decision, Action, Transition, Outcome, Order, PlayChange, Rollup, Loss)
}

log = structlog.get_logger()


class _Line(msgspec.Struct, frozen=True):
    kind: str
    record: msgspec.Raw


def take_in(journal: Journal, path: Path) -> int:
    """Take in the file at `path`, if there is one, and set it aside; gives how many records were new.

    A line that is no record is left out with a word in the log: the start of a gateway does not depend on it. Raises
    JournalError when the journal cannot be written; then the file stays for the next start.
    """
    if not path.exists():
        return 0
    records, unread = _read(path)
    new = journal.write(lambda connection: _insert(connection, records, journal.steady.now())).result()
    path.replace(path.with_name(f"{path.stem}.done{path.suffix}"))
    log.info("took in what HQ had beyond the replica", records=new, known=len(records) - new, unread=unread)
    return new


def _read(path: Path) -> tuple[list[Record], int]:
    records: list[Record] = []
    unread = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                parsed = msgspec.json.decode(line, type=_Line)
                records.append(msgspec.json.decode(parsed.record, type=KINDS[parsed.kind]))
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
                unread += 1
    return records, unread


def _insert(connection: apsw.Connection, records: list[Record], now: int) -> int:
    new = 0
    moved: set[str] = set()
    # From 0 down, where no step looks for what it has to conclude; not from lower, as the next event gets the highest
    # number + 1.
    first: Any = connection.execute("SELECT min(1, coalesce(min(seq), 1)) FROM events").get
    for record in records:
        if connection.execute(f"SELECT 1 FROM {TABLES[type(record)]} WHERE id = ?", (record.id,)).fetchone():
            continue
        insert(connection, [record])
        audit.append(connection, [record])
        new += 1
        match record:
            case Event():
                first -= 1
                connection.execute("UPDATE events SET seq = ? WHERE id = ?", (first, record.id))
                if record.once is not None:  # whoever did not hear that the old box took it offers it again
                    connection.execute("INSERT OR IGNORE INTO offers VALUES (?)", (record.once,))
                if tag_of(record) == "call":  # its sound is not here, and what it said was heard on the old box
                    connection.execute("INSERT INTO transcripts VALUES (?, 1, '{}')", (record.id,))
            case Decision():
                connection.execute(
                    "INSERT INTO episodes VALUES (?, ?, ?) ON CONFLICT (subject, play) "
                    "DO UPDATE SET last_at = max(last_at, excluded.last_at)",
                    (record.subject, record.play, record.at),
                )
            case Action():
                moved.add(record.id)
            case Transition():
                moved.add(record.action_id)
                moves.apply(connection, record)
        connection.execute("INSERT INTO feed (kind, id) VALUES (?, ?)", (kind_of(record), record.id))
    for action_id in moved:
        for action in select(connection, Action, "WHERE id = ?", (action_id,)):
            state: Any = connection.execute("SELECT state FROM actions WHERE id = ?", (action_id,)).get
            timers.resume(connection, action, state, now)
    return new
