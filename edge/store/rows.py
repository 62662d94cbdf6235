"""Records to rows and back: the one place that knows which column holds which field."""

from collections.abc import Iterable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import apsw
import msgspec

from edge.events import (
    Action,
    Audio,
    Checkpoint,
    Decision,
    Event,
    Loss,
    Order,
    Outcome,
    PlayChange,
    Prediction,
    Record,
    Rollup,
    Signal,
    Transition,
)

R = TypeVar("R", bound=Record)

TABLES: dict[type[Record], str] = {
    Event: "events",
    Signal: "signals",
    Prediction: "predictions",
    Decision: "decisions",
    Action: "actions",
    Transition: "transitions",
    Outcome: "outcomes",
    Order: "orders",
    PlayChange: "play_changes",
    Checkpoint: "checkpoints",
    Rollup: "rollups",
    Loss: "losses",
}
# Fields kept as JSON text; everything else is a column of its own type.
_JSON_FIELDS = frozenset({"data", "evidence", "what", "payload", "terms", "trials", "chain", "sensors", "kinds", "ids"})
# The lane on which each kind of record goes to HQ. Readings and signals stay on the gateway.
_LANES: dict[type[Record], str] = {
    Event: "day",
    Prediction: "day",
    Decision: "day",
    Action: "now",
    Transition: "now",
    Outcome: "day",
    Order: "now",
    PlayChange: "now",
    Checkpoint: "day",
    Audio: "bulk",
    Rollup: "bulk",
    Loss: "day",
}


def kind_of(record: Record) -> str:
    """What a record is called in the feed, the outbox and on pages: event, signal, prediction …"""
    return name_of(type(record))


def name_of(kind: type[Record]) -> str:
    """The same, of all records of a type."""
    return kind.__name__.lower()


def lane_of(record: Record) -> str | None:
    """The lane that takes the record to HQ, or None when it stays here."""
    if isinstance(record, Event) and tag_of(record) == "reading":
        return None
    return _LANES.get(type(record))


def tag_of(record: Event | Signal) -> str:
    """The kind of an event's or a signal's data: call, reading, note; utterance, talk, window."""
    return _tag(type(record.data))


@cache
def _tag(data: type[msgspec.Struct]) -> str:
    return str(data.__struct_config__.tag)


def columns_of(kind: type[Record]) -> list[str]:
    """The columns that hold a record of this type, in the order of its fields."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def insert(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Write records of one type, in order."""
    if records:
        form = _form(type(records[0]))
        connection.executemany(form.sql, map(form.row, records))


def values_of(record: Record) -> list[Any]:
    """What stands in a record's columns, in their order."""
    return _form(type(record)).row(record)


def select(connection: apsw.Connection, kind: type[R], where: str, bindings: Sequence[Any] = ()) -> list[R]:
    """The records of one type that `where` (SQL after the table's name) chooses."""
    columns = columns_of(kind)
    sql = f"SELECT {', '.join(columns)} FROM {TABLES[kind]} {where}"
    return [read(kind, columns, row) for row in connection.execute(sql, bindings)]


def read(kind: type[R], columns: Iterable[str], row: Sequence[Any]) -> R:
    """A record from its row."""
    fields = {
        name: msgspec.json.decode(value) if name in _JSON_FIELDS else value
        for name, value in zip(columns, row, strict=True)
    }
    return msgspec.convert(fields, kind)


class _Form:
    """How a record of one type becomes a row; worked out once, as readings come by the thousand."""

    def __init__(self, kind: type[Record]) -> None:
        columns = columns_of(kind)
        self._json = [place for place, name in enumerate(columns) if name in _JSON_FIELDS]
        self._fields = attrgetter(*columns)
        self._tagged = kind in (Event, Signal)
        names = [*columns, "kind"] if self._tagged else columns
        self.sql = f"INSERT INTO {TABLES[kind]} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"

    def row(self, record: Record) -> list[Any]:
        """The values of its columns."""
        row = list(self._fields(record))
        for place in self._json:
            row[place] = _ENCODER.encode(row[place]).decode()
        if self._tagged:
            row.append(tag_of(record))  # type: ignore[arg-type]
        return row


_form = cache(_Form)
_ENCODER = msgspec.json.Encoder()
