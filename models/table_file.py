"""Tables as files: rows with a cell for each column, as `outstation score` reads them and packs for odds learn them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.errors import InputInvalid
from models.json_lines import json_lines


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
            for number, fields in json_lines(file):
                yield number, _cells(file, number, fields)
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


def _cells(file: Path, number: int, fields: dict[str, Any]) -> dict[str, str]:
    try:
        return {name: str(value) if isinstance(value, str | int | float) else "" for name, value in fields.items()}
    except ValueError as error:  # a number of more digits than Python writes
        raise InputInvalid(f"{file}, line {number}: not a JSON object: {error}.") from None
