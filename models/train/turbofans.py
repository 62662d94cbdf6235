"""NASA's simulated turbofans (C-MAPSS, set FD001; Saxena, Goebel, Simon and Eklund, 2008): engines run until they fail,
and engines cut at some moment before, with the cycles that they had left."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.features.life import FEATURES, SENSORS, UnitLife

SET = "C-MAPSS FD001"
FIRST_SENSOR = 4  # of the columns after the unit and its cycle come three settings, then s1


@dataclass(frozen=True)
class Engine:
    """An engine's cycles [n], its readings of SENSORS [n, len(SENSORS)], and the cycles left after the last of them."""

    unit: int
    cycles: NDArray[np.float64]
    readings: NDArray[np.float64]
    left: int

    def features(self) -> NDArray[np.float32]:
        """Its features [n, len(FEATURES)] after each reading, as the device makes them."""
        life = UnitLife()
        rows = [life.update(cycle, values) for cycle, values in zip(self.cycles, self.readings.tolist(), strict=True)]
        return np.array(rows, np.float32).reshape(-1, len(FEATURES))

    def life(self) -> NDArray[np.float32]:
        """The cycles left [n] after each reading."""
        life: NDArray[np.float32] = (self.cycles[-1] - self.cycles + self.left).astype(np.float32)
        return life


def read_failed(data: Path) -> list[Engine]:
    """The engines that ran until they failed, from `data`/cmapss. Raises InputInvalid when they are not there."""
    return [_engine(rows, 0) for rows in _units(_one(data, "train_FD001*.txt"))]


def read_cut(data: Path) -> list[Engine]:
    """The engines cut before they failed, from `data`/cmapss. Raises InputInvalid when they are not there."""
    units = _units(_one(data, "test_FD001*.txt"))
    left = np.loadtxt(_one(data, "RUL_FD001*.txt"), dtype=np.int64, ndmin=1)
    return [_engine(rows, int(cycles)) for rows, cycles in zip(units, left, strict=True)]


def _one(data: Path, pattern: str) -> Path:
    found = sorted((data / "cmapss").glob(pattern))
    if not found:
        raise InputInvalid(f"{data / 'cmapss'} holds no {pattern}; put NASA's turbofan set there.")
    return found[0]


def _units(file: Path) -> list[NDArray[np.float64]]:
    rows = np.loadtxt(file, ndmin=2)
    return [rows[rows[:, 0] == unit] for unit in np.unique(rows[:, 0])]


def _engine(rows: NDArray[np.float64], left: int) -> Engine:
    columns = [FIRST_SENSOR + int(sensor[1:]) for sensor in SENSORS]
    return Engine(unit=int(rows[0, 0]), cycles=rows[:, 1], readings=rows[:, columns], left=left)
