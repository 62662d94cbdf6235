"""Device logs as files: lines with a time, a device and its sensors' numbers, as `outstation score` reads them."""

import csv
import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from models.errors import InputInvalid
from models.json_lines import json_lines

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST_US = 253_402_300_799_999_999  # the largest moment that is taken for a time: the end of the year 9999


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line: its 1-based number, the time as it was written and in µs since the Unix epoch, the finite numbers."""

    line: int
    time: str
    at: int
    device: str
    values: dict[str, float]


def parse_time(value: object, zone: dt.tzinfo) -> int:
    """A moment in µs since the Unix epoch from RFC 3339 / ISO 8601 text (in `zone` when it has no offset), or from a
    number of seconds, milliseconds or microseconds since the epoch, told apart by its size.

    Raises ValueError when it is neither. No moment is refused for being long ago: a clock without a battery wakes up
    in 1970.
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            number = float(text)
        except ValueError:
            moment = dt.datetime.fromisoformat(text)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
            return (aware - _EPOCH) // dt.timedelta(microseconds=1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError("not a time")  # noqa: TRY004 - one exception for all that is no time
    for limit, factor in ((1e11, 1_000_000), (1e14, 1_000), (_LAST_US, 1)):
        if 0 <= number < limit:
            return round(number * factor)
    raise ValueError("not a time")


def read_device_log(file: Path) -> Iterator[Line]:
    """The lines of a CSV file with the columns `time`, `device` and one for each sensor (*.csv), or of JSON lines with
    those keys, the sensors flat or in `values`.

    A time is RFC 3339 (UTC where it has no offset) or a number of seconds, milliseconds or microseconds since the Unix
    epoch. Without `device` all lines are of one, named after the file. Empty cells and texts in JSON are passed over.
    Raises InputInvalid at the first line that does not fit.
    """
    try:
        if file.suffix == ".csv":
            yield from _csv_lines(file)
        else:
            for number, fields in json_lines(file):
                yield _line(file, number, fields)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"{file} is not a CSV file in UTF-8: {error}; save it as one.") from None


def _csv_lines(file: Path) -> Iterator[Line]:
    with file.open(encoding="utf-8-sig", newline="") as source:
        rows = csv.DictReader(source, strict=True)
        if "time" not in (rows.fieldnames or ()):
            raise InputInvalid(f"{file}: the header has no column `time`; add it.")
        for row in rows:
            if None in row or None in row.values():
                raise InputInvalid(f"{file}, line {rows.line_num}: has not as many cells as the header; mend it.")
            yield _line(file, rows.line_num, {name: _cell(file, rows.line_num, name, row[name]) for name in row})


def _cell(file: Path, number: int, name: str, text: str) -> object:
    if name in ("time", "device") or not text.strip():
        return text
    try:
        return float(text)
    except ValueError:
        raise InputInvalid(f"{file}, line {number}: {name} is {text!r}, which is no number; leave it empty.") from None


def _line(file: Path, number: int, fields: Mapping[str, Any]) -> Line:
    try:
        at = parse_time(fields.get("time"), dt.UTC)
    except (ValueError, OverflowError):
        raise InputInvalid(f"{file}, line {number}: time is {fields.get('time')!r}; write RFC 3339.") from None
    nested = fields.get("values")
    sensors = nested if isinstance(nested, dict) else {k: v for k, v in fields.items() if k not in ("time", "device")}
    values = {
        name: _finite(file, number, name, value)
        for name, value in sensors.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    device = fields.get("device") or file.stem
    return Line(line=number, time=str(fields["time"]), at=at, device=str(device), values=values)


def _finite(file: Path, number: int, name: str, value: float) -> float:
    try:
        finite = float(value)
    except OverflowError:
        raise InputInvalid(f"{file}, line {number}: {name} is larger than any number here; leave it out.") from None
    if not math.isfinite(finite):
        raise InputInvalid(f"{file}, line {number}: {name} is {finite}, which is not finite; leave it out.")
    return finite
