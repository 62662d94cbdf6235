"""Device logs (CSV with a header, JSON lines) as rows, with the line and the fault of each row that does not fit."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from edge.errors import Refused

LINE_BYTES = 64 * 1024
REQUIRED = ("time", "device")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a device log: its 1-based line, its text, and its fields. Without fields it is the header of a table,
    or a row that cannot be read: then `fault` says why."""

    line: int
    text: str
    fields: dict[str, Any] | None
    fault: str = ""


def read_log(path: Path) -> Iterator[Row]:
    """The rows of a `.csv` or `.jsonl` file, one after the other, however long the file is.

    Raises Refused when the whole file cannot be a device log: no header, a required column missing, a line beyond
    64 KiB, not UTF-8.
    """
    with path.open("rb") as file:
        lines = lines_of(path.name, file)
        yield from _csv_rows(path.name, lines) if path.suffix == ".csv" else json_rows(path.name, lines)


def lines_of(name: str, file: IO[bytes]) -> Iterator[str]:
    """The lines of a text file. Raises Refused when one is too long or not UTF-8."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise Refused(f"{name} line {number} is longer than {LINE_BYTES:,} bytes; write one reading a line.")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise Refused(f"{name} line {number} is not UTF-8 text; save the file as UTF-8.") from None


def _csv_rows(name: str, lines: Iterator[str]) -> Iterator[Row]:
    header_line = next(lines, "")
    header = [column.strip() for column in cells_of(header_line)]
    for column in REQUIRED:
        if column not in header:
            raise Refused(f"{name} line 1: the column {column!r} is missing; begin the file with time,device,…")
    if len(header) == len(REQUIRED):
        raise Refused(f"{name} line 1: there is no sensor's column beside time and device; add one.")
    for row in table_rows(header_line, header, lines):
        yield row if row.fields is None else _csv_row(row.line, row.text, row.fields)


def table_rows(header_line: str, header: list[str], lines: Iterator[str]) -> Iterator[Row]:
    """The header of a CSV table and its rows, each with its cells by column."""
    yield Row(line=1, text=header_line, fields=None)
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        cells = cells_of(line)
        if len(cells) != len(header):
            fault = f"{len(cells)} fields where the header has {len(header)}"
            yield Row(line=number, text=line, fields=None, fault=fault)
            continue
        yield Row(line=number, text=line, fields=dict(zip(header, cells, strict=True)))


def cells_of(line: str) -> list[str]:
    """The cells of one line; none when it is not a line of a table."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _csv_row(number: int, line: str, cells: dict[str, str]) -> Row:
    fields: dict[str, Any] = {name: cells[name] for name in REQUIRED}
    for column, cell in cells.items():
        if column in REQUIRED or not cell.strip():
            continue  # an empty cell is a sensor that said nothing
        try:
            fields[column] = float(cell)
        except ValueError:
            return Row(line=number, text=line, fields=None, fault=f"{column}: {cell[:40]!r} is not a number")
    return Row(line=number, text=line, fields=fields)


def json_rows(name: str, lines: Iterator[str]) -> Iterator[Row]:
    """A JSON object a line. Raises Refused when there is none."""
    any_row = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        any_row = True
        try:
            yield Row(line=number, text=line, fields=msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            yield Row(line=number, text=line, fields=None, fault=f"this is not a JSON object ({error})")
    if not any_row:
        raise Refused(f"{name} is empty; write one JSON object a line.")
