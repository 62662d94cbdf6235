"""Tables as files: rows with a cell for each column, as `outstation score` reads them and packs for odds learn them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.errors import InputInvalid


def read_table(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header (*.csv) or of JSON lines, with their 1-based line numbers: cells by the name
    of their column, as they were written.

    Cells are parted by commas, or by semicolons where the header has more of these. In JSON, null and what is neither
    text nor a number or a truth value make an empty cell. Raises InputInvalid at the first line that does not fit.
    """
    try:
        if file.suffix == ".csv":
            yield from _csv_rows(file)
        else:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _json_row(file, number, line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"{file} is not a CSV file in UTF-8: {error}; save it as one.") from None


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with file.open(encoding="utf-8-sig", newline="") as source:
        header = source.readline()
        source.seek(0)
        rows = csv.DictReader(source, strict=True, delimiter=max(",;", key=header.count))
        for row in rows:
            if None in row or None in row.values():
                raise InputInvalid(f"{file}, line {rows.line_num}: has not as many cells as the header; mend it.")
            yield rows.line_num, row


def _json_row(file: Path, number: int, line: bytes) -> dict[str, str]:
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        return {name: str(value) if isinstance(value, str | int | float) else "" for name, value in fields.items()}
    except (msgspec.MsgspecError, ValueError) as error:
        raise InputInvalid(f"{file}, line {number}: not a JSON object: {error}.") from None
