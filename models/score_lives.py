"""What a pack for machines' lives says of every line of a file, for `outstation score`."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from models.features.life import FEATURES, SENSORS, UnitLife
from models.pack import Pack
from models.runtime import load
from models.tasks.device_rul import DeviceRul, Life, refuses, too_young
from models.unit_log import UnitLine, read_unit_log

LINES_AT_ONCE = 1_000
SENSORS_SHOWN = 4


def life_rows(pack: Pack, file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every line what is printed of its unit after it: as an object, and for people."""
    rul = DeviceRul(load(pack))
    units: dict[str, UnitLife] = {}
    lines = read_unit_log(file, SENSORS)
    while some := list(islice(lines, LINES_AT_ONCE)):
        features = np.zeros((len(some), len(FEATURES)), np.float32)
        reasons = [_take(units.setdefault(line.unit, UnitLife()), line, features[row]) for row, line in enumerate(some)]
        for line, reason, life in zip(some, reasons, rul.predict(features), strict=True):
            yield _row(rul, line, Life(abstains=reason) if reason else life)


def _take(unit: UnitLife, line: UnitLine, features: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    """Put the features of a unit after a line into `features`; gives why nothing is to be said of it, or ""."""
    if problem := line.problem or refuses(unit, line.cycle):
        return problem
    features[:] = unit.update(line.cycle, line.values)
    return too_young(unit)


def _row(rul: DeviceRul, line: UnitLine, life: Life) -> tuple[dict[str, Any], str]:
    row: dict[str, Any] = {"line": line.line, "pack": rul.name, "version": rul.version, "unit": line.unit}
    where = f"{line.line}: {line.unit}"
    if line.values:
        row["cycle"] = line.cycle
        where = f"{where} cycle {line.cycle:g}"
    if life.abstains:
        return row | {"abstain": life.abstains}, f"{where}: abstains: {life.abstains}"
    row |= {
        "rul": round(life.cycles, 3),
        "low": round(life.low, 3),
        "high": round(life.high, 3),
        "usual": round(life.usual, 3),
        "weights": [(name, round(weight, 3)) for name, weight in life.weights],
    }
    why = ", ".join(f"{name} {weight:+.0f}" for name, weight in life.weights[:SENSORS_SHOWN])
    return row, f"{where}: {life.cycles:.0f} cycles left ({life.low:.0f} to {life.high:.0f}); {why}"
