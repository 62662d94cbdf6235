"""Logs of machines' lives as files: lines with a unit, a cycle and its sensors' numbers, as `outstation score` reads
them. What is wrong with a line is said of that line; the others stand."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from models.errors import InputInvalid

LARGEST = 1e9  # of a number that a sensor can mean; squares of larger ones leave what the model computes in
_UNIT = ("unit", "unitnumber", "unitnr", "unitid", "engine", "engineid", "machine", "device", "id")
_CYCLE = ("cycle", "cycles", "timecycles", "timeincycles", "timecycle")
_SENSOR = re.compile(r"(?:s|sm|sensor|sensormeasurement|sensormeasure)0*([1-9]\d?)")
# The names of the simulator's own quantities, in the order of its 21 sensors.
_SYMBOLS = (
    *("t2", "t24", "t30", "t50", "p2", "p15", "p30", "nf", "nc", "epr", "ps30", "phi", "nrf", "nrc", "bpr", "farb"),
    *("htbleed", "nfdmd", "pcnfrdmd", "w31", "w32"),
)


class UnitLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: its 1-based number, the unit, its cycle and the sensors asked for; or `problem`, why it has none."""

    line: int
    unit: str
    cycle: float = 0.0
    values: tuple[float, ...] = ()
    problem: str = ""


def read_unit_log(file: Path, sensors: Sequence[str]) -> Iterator[UnitLine]:
    """The lines of a CSV file with a header (*.csv), or of JSON lines: `unit`, `cycle`, and `sensors` as s1 to s21.

    Case, blanks, dashes and underscores in names do not count; sensor_2, sensor_measurement_2 and T24 are s2 too.
    Columns that are not asked for are passed over. Without `unit` all lines are of one, named after the file. Without
    `cycle` it is `time` if that is such a number, else a unit's lines are counted. Raises InputInvalid when the file is
    neither CSV nor JSON lines.
    """
    counted: dict[str, int] = {}
    for number, fields in _rows(file):
        named = {
            _canonical(name): value for name, value in reversed(list(fields.items()))
        }  # of two alike the first counts
        unit = str(named.get("unit") or file.stem).strip()
        counted[unit] = counted.get(unit, 0) + 1
        time = _number(named.get("time"))
        yield _line(number, unit, named.get("cycle", counted[unit] if time is None else time), named, sensors)


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as source:
                rows = csv.DictReader(source, strict=True)
                for row in rows:
                    yield rows.line_num, {name: value for name, value in row.items() if name is not None}
        else:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, msgspec.json.decode(line, type=dict[str, Any])
    except (UnicodeDecodeError, csv.Error, msgspec.MsgspecError) as error:
        kind = "a CSV file in UTF-8" if file.suffix == ".csv" else "a file of JSON lines"
        raise InputInvalid(f"{file} is not {kind}: {error}; save it as one.") from None


def _canonical(name: str) -> str:
    plain = re.sub(r"[\W_]", "", name).lower()
    if plain in _UNIT:
        return "unit"
    if plain in _CYCLE:
        return "cycle"
    if plain in _SYMBOLS:
        return f"s{_SYMBOLS.index(plain) + 1}"
    numbered = _SENSOR.fullmatch(plain)
    return f"s{numbered[1]}" if numbered else plain


def _line(number: int, unit: str, cycle: Any, named: Mapping[str, Any], sensors: Sequence[str]) -> UnitLine:
    if missing := [sensor for sensor in sensors if sensor not in named]:
        return UnitLine(line=number, unit=unit, problem=f"it has no {', '.join(missing)}")
    numbers = {name: _number(value) for name, value in (("cycle", cycle), *((s, named[s]) for s in sensors))}
    for name, value in numbers.items():
        if value is None:
            given = cycle if name == "cycle" else named[name]
            return UnitLine(line=number, unit=unit, problem=f"its {name} is {given!r:.40}, which is no usable number")
    at, *values = (value for value in numbers.values() if value is not None)
    return UnitLine(line=number, unit=unit, cycle=at, values=tuple(values))


def _number(value: Any) -> float | None:
    """A finite number of a sensible size, also written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None
