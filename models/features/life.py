"""Features of a machine's life: where each sensor stands, how it moves, how far it is from the machine's own beginning.

One extractor for training and device. A machine's readings come cycle by cycle; what is kept of it are a few means, so
a machine costs the same after ten thousand cycles as after ten.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SENSORS = ("s2", "s3", "s4", "s7", "s8", "s9", "s11", "s12", "s13", "s14", "s15", "s17", "s20", "s21")
"""The sensors of NASA's turbofans (C-MAPSS) that move at all while the operating condition stays the same."""

SPANS = (4, 12, 36)  # cycles over which the fading means of a sensor forget
BEGINNING = 20  # readings that make a machine's own beginning
ASPECTS = ("level", "late change", "change", "since the beginning")
AGE = "age"

FEATURES = (*(f"{sensor} {aspect}" for aspect in ASPECTS for sensor in SENSORS), AGE)
CAUSES = (*SENSORS, AGE)
"""What evidence is given by: each sensor with all its aspects, and the age."""
CAUSE_OF = tuple(CAUSES.index(feature.split()[0]) for feature in FEATURES)
"""Of each feature the place of its cause."""


class UnitLife:
    """What is kept of one machine. Not to be shared by threads."""

    def __init__(self) -> None:
        self.readings = 0
        self.first_cycle = self.last_cycle = 0.0
        self._beginning = np.zeros(len(SENSORS))
        self._keep = 1 - 1 / np.array(SPANS, np.float64)[:, np.newaxis]
        self._sums = np.zeros((len(SPANS), len(SENSORS)))
        self._weights = np.zeros((len(SPANS), 1))

    def update(self, cycle: float, values: Sequence[float]) -> NDArray[np.float32]:
        """The features [len(FEATURES)] of the machine after one more reading: finite `values` of SENSORS, in their
        order and units, at a cycle later than the last one.

        Of each sensor: the mean over the last cycles, less and less of the old (a span of 4); that less the one of span
        12; that less the one of span 36; and that less the mean of the machine's first 20 readings. Of the age: the
        logarithm of the cycles so far.
        """
        now = np.asarray(values, np.float64)
        self.first_cycle = self.first_cycle if self.readings else cycle
        self.last_cycle = cycle
        self.readings += 1
        if self.readings <= BEGINNING:
            self._beginning += (now - self._beginning) / self.readings
        self._sums = self._sums * self._keep + now
        self._weights = self._weights * self._keep + 1
        short, middle, long = self._sums / self._weights
        aspects = (short, short - middle, middle - long, long - self._beginning)
        return np.concatenate([*aspects, [math.log(max(cycle, 1.0))]]).astype(np.float32)
