"""The site's tables as plays use them: a cell in a subject's row for a text, a whole table as a sheet beside a step.

A table is a CSV file in the folder `tables` of the site, read again when it changes. Its first column is the key.
"""

import csv
from pathlib import Path

from edge.events import Sheet

MOST_BYTES, MOST_ROWS = 4 << 20, 20_000
SHEET_ROWS, SHEET_COLUMNS, CELL = 20, 8, 200


class Tables:
    """Reads tables by name. One that is not there, or cannot be read, has no cells."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], list[list[str]]]] = {}

    def cell(self, table: str, key: str, column: str) -> str | None:
        """What stands in a column of the row whose key this is; None: there is none, or it is empty."""
        head, *rows = self._rows(table) or [[]]
        for row in rows:
            if row and row[0] == key and column in head:
                place = head.index(column)
                return row[place].strip() or None if place < len(row) else None
        return None

    def sheet(self, table: str, text: str) -> Sheet | None:
        """A table to be looked at: the rows whose key comes up in `text`, or, where none does, its first ones."""
        head, *rows = self._rows(table) or [[]]
        if not rows:
            return None
        said = text.casefold()
        chosen = [row for row in rows if row and row[0].casefold() in said] or rows
        return Sheet(
            name=table,
            columns=tuple(cell[:CELL] for cell in head[:SHEET_COLUMNS]),
            rows=tuple(tuple(cell[:CELL] for cell in row[:SHEET_COLUMNS]) for row in chosen[:SHEET_ROWS]),
        )

    def _rows(self, table: str) -> list[list[str]]:
        path = self._folder / f"{Path(table).name}.csv"
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if self._read.get(table, ((0, 0), []))[0] != stamp:
                self._read[table] = (stamp, _read(path) if status.st_size <= MOST_BYTES else [])
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
        return self._read[table][1]


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark before UTF-8
        return [row for _, row in zip(range(MOST_ROWS + 1), csv.reader(file, strict=True), strict=False)]
