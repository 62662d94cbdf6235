"""How long it takes to go through the audit of a journal with a million entries."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from edge.bench.figure import Figure
from edge.bench.journals import an_action, fresh_journal
from edge.events import GATEWAY, Action, Record, State, Transition, now_us
from edge.store import audit
from edge.store.database import open_writer
from edge.store.rows import insert

ENTRIES, AT_ONCE = 1_000_000, 20_000
MOVES: tuple[State, ...] = ("accepted", "done")
TARGET_S = 30.0


def measure() -> Iterator[Figure]:
    """A million of them."""
    yield from measure_entries(ENTRIES)


def measure_entries(count: int) -> Iterator[Figure]:
    """How long `audit.verify` takes for so many entries, actions and their moves, beside only reading the same rows and
    hashing each once. Raises ArithmeticError when something does not fit."""
    with fresh_journal() as (journal, _):
        connection = open_writer(journal.path)
        for first in range(0, count, AT_ONCE):
            _enter(connection, min(AT_ONCE, count - first))
        connection.close()
        reader = journal.readers.connection()
        began_s = time.perf_counter()
        verified = audit.verify(reader, "")
        took_s = time.perf_counter() - began_s
        bare_s = _bare_s(reader)
    if verified.misfit is not None or verified.entries < count:
        raise ArithmeticError(f"of {count} entries {verified.entries} fit: {verified.misfit}")
    case = f"{verified.entries:,} entries"
    yield Figure(
        bench="audit",
        case=case,
        metric="verified in",
        value=took_s,
        unit="s",
        peer="reading the rows and a SHA-256 of each",
        ratio=took_s / bare_s,
        target=f"≤ {TARGET_S:g} s",
        ok=took_s <= TARGET_S,
    )
    yield Figure(bench="audit", case=case, metric="entries", value=verified.entries / took_s, unit="/s")


def _enter(connection: apsw.Connection, count: int) -> None:
    """Write so many actions and moves, and enter them, in the order in which it happens."""
    actions: list[Action] = []
    moves: list[Transition] = []
    entered: list[Record] = []
    while len(entered) < count:
        action = an_action()
        moved = [Transition(at=now_us(), action_id=action.id, state=state, by=GATEWAY) for state in MOVES]
        actions.append(action)
        moves += moved
        entered += [action, *moved]
    with connection:
        insert(connection, actions)
        insert(connection, moves)
        connection.execute("UPDATE actions SET state = ? WHERE state = 'proposed'", (MOVES[-1],))
        audit.append(connection, entered)


def _bare_s(connection: apsw.Connection) -> float:
    began_s = time.perf_counter()
    for table in ("audit", "actions", "transitions"):
        rows: Any = connection.execute(f"SELECT * FROM {table} ORDER BY seq")
        for row in rows:
            hashlib.sha256(msgspec.msgpack.encode(row)).digest()
    return time.perf_counter() - began_s
