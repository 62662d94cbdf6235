"""NAB's way to score alarms (Lavin, Ahmad, Evaluating real-time anomaly detection algorithms, 2015), standard profile.

The first 15 % of a series, at most 750 readings, are not judged. The first alarm in a window gives up to 1 point by how
early it is, a window without one costs 1, an alarm elsewhere up to 0.11 by how far it is past the window before; 0 is
what a detector gets that is silent, 100 one that is perfect.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.train.recorded import Watched
from models.train.series import Floats, Ints

PROBATION, LONGEST_PROBATION = 0.15, 750  # of a series; readings
FALSE_COST = 0.11  # of an alarm outside the windows

Truth = NDArray[np.bool_]


def nab_score(series: Sequence[Watched], said: Sequence[Floats], threshold: float) -> float:
    """The score, 0 for silence and 100 for perfection, of alarms where `said` [n] of each series reaches the threshold.
    The series must have a window at least."""
    points = sum(points_of(one, its >= threshold) for one, its in zip(series, said, strict=True))
    return score_of(points, sum(len(one.windows) for one in series))


def score_of(points: float, windows: int) -> float:
    """The score that points of series with so many windows make."""
    return 50 * (points + windows) / windows


def points_of(one: Watched, alarm: Truth) -> float:
    """The points that alarms [n] in a series are worth; -1 for each window when there is none."""
    worth, window = _worth(one)
    points = float(worth[alarm & (window < 0)].sum())
    for number in np.unique(window[window >= 0]).tolist():
        points += float(worth[alarm & (window == number)].max(initial=-1.0))
    return points


def best_threshold(series: Sequence[Watched], said: Sequence[Floats]) -> float:
    """The threshold at which `nab_score` is best, as NAB chooses it: on the series that are scored."""
    judged = np.concatenate([its[_probation(its) :] for its in said])
    steps = np.unique(judged)[::-1]
    # Where most readings alarm nothing is gained any more.
    return float(max(steps[: max(1, len(steps) // 50)], key=lambda threshold: nab_score(series, said, threshold)))


def _worth(one: Watched) -> tuple[Floats, Ints]:
    """What an alarm at each reading is worth, and the number of the window it is in, -1 outside; 0 in probation."""
    n = len(one.values)
    window = np.full(n, -1)
    place = np.full(n, 3.0)  # in widths of the window before from its end; from 3 on it is far
    for number, (first, last) in enumerate(one.windows):
        width = last - first + 1
        window[first : last + 1] = number
        place[first : last + 1] = -(last - np.arange(first, last + 1) + 1) / width
        place[last + 1 :] = (np.arange(last + 1, n) - last) / max(width - 1, 1)
    within = window >= 0
    worth = np.where(within, _sigmoid(place) / _sigmoid(np.array(-1.0)), FALSE_COST * _sigmoid(place))
    worth[: _probation(worth)] = 0.0
    window[: _probation(worth)] = -1
    return worth, window


def _sigmoid(place: Floats) -> Floats:
    """NAB's scaled sigmoid: near 1 a window's width before its end, 0 there, -1 from three widths after it."""
    value: Floats = np.where(place >= 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(place, 3))) - 1)
    return value


def _probation(series: Floats) -> int:
    return min(int(PROBATION * len(series)), LONGEST_PROBATION)
