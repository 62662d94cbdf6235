"""Tables of composed packs: CSV and SQLite files, read whole, typed cell by cell, and read again when they change.

A table that changes into one that cannot be read has no rows until it can be read again: what it said before is not
passed off as what it says now.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import apsw

from models.compose.manifest import Table, Type
from models.compose.values import Truth, Unknown, Value
from models.errors import PackInvalid

SQLITE = (".db", ".sqlite", ".sqlite3")
MOST_BYTES, MOST_ROWS = 32 << 20, 200_000
BUSY_MS = 2000
_TRUTHS = {"yes": 1.0, "true": 1.0, "1": 1.0, "是": 1.0, "no": 0.0, "false": 0.0, "0": 0.0, "否": 0.0}

Row = Mapping[str, Value]
Rows = Mapping[str, Row]
"""Rows by their key; a row has the declared columns, an empty cell is Unknown."""


class TableFile:
    """A table on the disk. May be shared by threads."""

    def __init__(self, name: str, table: Table, path: Path) -> None:
        """Raises PackInvalid when the file, a column or a cell is missing or wrong."""
        self._name, self._table, self._path = name, table, path
        self._read: tuple[tuple[object, ...], Rows | Unknown] = (_state(path), read_table(table, path))

    def rows(self) -> Rows | Unknown:
        """What the table says now; Unknown when it cannot be read."""
        state = _state(self._path)
        if state != self._read[0]:
            try:
                self._read = (state, read_table(self._table, self._path))
            except PackInvalid:
                self._read = (state, Unknown(f"the table {self._name} cannot be read any more"))
        return self._read[1]


def read_table(table: Table, path: Path) -> Rows:
    """All rows of a table. Raises PackInvalid naming file, row and column, and what to do."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PackInvalid(f"{path} is longer than {MOST_BYTES} bytes; keep only the rows that are needed.")
        cells = _of_sqlite(table, path) if path.suffix in SQLITE else _of_csv(table, path)
        return typed_rows(table, cells, str(path))
    except FileNotFoundError:
        raise PackInvalid(f"{path} is not there; put the table there or correct `file`.") from None
    except (OSError, UnicodeDecodeError, csv.Error, apsw.Error) as error:
        kind = "an SQLite file" if path.suffix in SQLITE else "a CSV file in UTF-8"
        raise PackInvalid(f"{path} cannot be read as {kind} ({error}); save it as one.") from None


def typed_rows(table: Table, cells: Iterable[tuple[str, Mapping[str, Any]]], where: str) -> Rows:
    """Rows by key, each cell of the type that its column declares; `cells` are rows with the place each stands in.
    Raises PackInvalid."""
    rows: dict[str, Row] = {}
    for place, row in cells:
        absent = {table.key, *table.columns} - row.keys()
        if absent:
            raise PackInvalid(f"{where}, {place}: there is no column {min(absent)!r}; add it or declare another.")
        key = str(row[table.key] or "").strip()
        if not key:
            raise PackInvalid(f"{where}, {place}: the key {table.key!r} is empty; fill it in or delete the row.")
        if key in rows:
            raise PackInvalid(f"{where}, {place}: there is a row with the key {key!r} already; keep one of them.")
        if len(rows) == MOST_ROWS:
            raise PackInvalid(f"{where} has more than {MOST_ROWS} rows; keep only those that are needed.")
        typed = {}
        for column, kind in table.columns.items():
            try:
                typed[column] = _cell(row[column], kind, f"{column} of {key} is empty")
            except ValueError:
                raise PackInvalid(
                    f"{where}, {place}: {column!r} is {row[column]!r}, which is no {kind}; write {_FORMS[kind]}."
                ) from None
        rows[key] = typed
    return rows


_FORMS = {"number": "a number such as 4.5", "date": "a day as 2027-03-01", "truth": "yes or no", "text": "a text"}


def _cell(cell: Any, kind: Type, empty: str) -> Value:
    """Raises ValueError when a cell is not of a type."""
    text = "" if cell is None else str(cell).strip()
    if not text:
        return Unknown(empty)
    match kind:
        case "number":
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            return number
        case "date":
            return date.fromisoformat(text[:10])
        case "truth":
            if text.casefold() not in _TRUTHS:
                raise ValueError
            return Truth(_TRUTHS[text.casefold()])
    return text


def _of_csv(table: Table, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark before UTF-8
        rows = csv.DictReader(file, strict=True)
        _check_columns(table, path, rows.fieldnames or ())
        for row in rows:
            yield f"line {rows.line_num}", {column: cell for column, cell in row.items() if column is not None}


def _of_sqlite(table: Table, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with closing(connection):
        connection.set_busy_timeout(BUSY_MS)
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({_quoted(table.rows)})")]
        if not columns:
            raise PackInvalid(f"{path} has no table {table.rows!r}; name one of its tables with `rows`.")
        _check_columns(table, path, columns)
        wanted = ", ".join(map(_quoted, (table.key, *table.columns)))
        for number, row in enumerate(connection.execute(f"SELECT {wanted} FROM {_quoted(table.rows)}"), 1):
            yield f"row {number}", dict(zip((table.key, *table.columns), row, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_columns(table: Table, path: Path, there: Sequence[str]) -> None:
    for column in (table.key, *table.columns):
        if column not in there:
            raise PackInvalid(f"{path} has no column {column!r}; it has {', '.join(there)}: name one of these.")


def _state(path: Path) -> tuple[object, ...]:
    """What differs when the file was written to. SQLite writes into its log (-wal) before it writes into the file."""
    state: list[object] = []
    for file in (path, path.with_name(path.name + "-wal")):
        try:
            found = file.stat()
            state += [found.st_mtime_ns, found.st_size, found.st_ino]
        except OSError:
            state.append(None)
    return tuple(state)
