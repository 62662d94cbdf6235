"""Recorded series with known anomalies, read from the data sets' own files: NAB to learn from, SKAB only to measure on.

NAB (Ahmad, Lavin, Purdy, Agha, Unsupervised real-time anomaly detection for streaming data, 2017; MIT) has one sensor a
file and marks windows around what happened. SKAB (Katser, Kozitsin, Skoltech Anomaly Benchmark, 2020; GPL-3.0) has the
eight sensors of a pump a file and marks readings.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.train.series import Floats, Ints, Series

SKAB_LEARNT = 400  # readings of a file that SKAB's protocol gives to learn from


@dataclass(frozen=True)
class Watched:
    """A NAB series: `windows` are the first and last reading of each stretch in which something happened."""

    name: str
    at_us: Ints
    values: Floats
    windows: tuple[tuple[int, int], ...]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which readings lie in a window."""
        inside = np.zeros(len(self.values), bool)
        for first, last in self.windows:
            inside[first : last + 1] = True
        return inside

    def quiet(self, shortest: int) -> list[Series]:
        """Its stretches of at least `shortest` readings outside the windows, as normal series."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (~self.inside).astype(int), [0]])))
        stretches = [(first, end) for first, end in edges.reshape(-1, 2).tolist() if end - first >= shortest]
        return [normal(self.at_us[first:end], self.values[first:end]) for first, end in stretches]

    def whole(self) -> Series:
        """All of it, as a normal series of which the windows are not judged."""
        return normal(self.at_us, self.values, ~self.inside)


@dataclass(frozen=True)
class Bench:
    """A SKAB file: `values` [n, sensors], and which readings are anomalous."""

    name: str
    at_us: Ints
    values: Floats
    anomalous: NDArray[np.bool_]


def normal(at_us: Ints, values: Floats, judged: NDArray[np.bool_] | None = None) -> Series:
    """A recorded series in which nothing is wrong where it is judged (by default everywhere)."""
    n = len(values)
    everywhere = np.ones(n, bool) if judged is None else judged
    return Series(at_us=at_us, values=values, faulty=np.zeros(n, bool), judged=everywhere, kind="recorded")


def read_nab(folder: Path) -> list[Watched]:
    """The series of NAB under `folder` in the order of their names; none when it is not there."""
    labels = folder / "labels" / "combined_windows.json"
    if not labels.is_file():
        return []
    series = []
    for name, windows in sorted(json.loads(labels.read_text("utf-8")).items()):
        path = folder / "data" / name
        if path.is_file():
            rows = _rows(path, ",")
            at_us = _times([row[0] for row in rows])
            spans = [
                tuple(np.flatnonzero((at_us >= a) & (at_us <= b))[[0, -1]].tolist()) for a, b in map(_times, windows)
            ]
            series.append(Watched(name, at_us, np.array([float(row[1]) for row in rows]), tuple(spans)))
    return series


def read_skab(folder: Path) -> list[Bench]:
    """The files of SKAB under `folder` that have labels, in the order of their names; none when it is not there."""
    benches = []
    for path in sorted(folder.glob("data/*/*.csv")):
        rows = _rows(path, ";")
        if path.parent.name != "anomaly-free":
            numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
            name = f"{path.parent.name}/{path.name}"
            benches.append(Bench(name, _times([row[0] for row in rows]), numbers[:, :-2], numbers[:, -2] == 1))
    return benches


def _rows(path: Path, delimiter: str) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))[1:]


def _times(texts: list[str]) -> Ints:
    return np.array([text.replace(" ", "T") for text in texts], "datetime64[us]").astype(np.int64)
