"""The features of whole series at once, as the device makes them reading by reading."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features.windows import FEATURES, SensorWindows
from models.train.series import Floats, Ints

Rows = NDArray[np.float32]


def features_of(readings: Sequence[tuple[Ints, Floats]]) -> list[Rows]:
    """The features of several sensors' readings, as the device makes them; all sensors are read in step."""
    longest_first = sorted(range(len(readings)), key=lambda place: -len(readings[place][1]))
    lengths = np.array([len(readings[place][1]) for place in longest_first])
    times = np.zeros((lengths.max(initial=0), len(readings)), np.int64)
    values = np.zeros(times.shape)
    for slot, place in enumerate(longest_first):
        times[: lengths[slot], slot], values[: lengths[slot], slot] = readings[place]
    features = np.empty((*times.shape, len(FEATURES)), np.float32)
    windows = SensorWindows(limit=max(len(readings), 1))
    for turn in range(len(times)):
        slots = np.arange(np.count_nonzero(lengths > turn))
        features[turn, slots], _ = windows.update(slots, times[turn, slots], values[turn, slots])
    made_of = {place: features[: lengths[slot], slot].copy() for slot, place in enumerate(longest_first)}
    return [made_of[place] for place in range(len(readings))]
