"""How a device pack does on recorded machines, by the published protocols of the data sets.

SKAB (Katser, Kozitsin, 2020): the first 400 readings of a file are there to learn from, the others are judged, one by
one; F1, false and missing alarm rate over all files together. The alarm is that of `outstation score`, at the pack's
own threshold. The constants of models.features.machine were chosen on the files of valve1, so the others are also given
alone.

NAB (Lavin, Ahmad, Evaluating real-time anomaly detection algorithms, 2015): the first 15 % of a series, at most 750
readings, are not judged. The first alarm in a window gives up to 1 point by how early it is, a window without one costs
1, an alarm elsewhere up to 0.11 by how far it is past the window before; 0 is what a detector gets that is silent, 100
one that is perfect. NAB's protocol chooses the one threshold that is best for the whole corpus; the score at the pack's
own threshold is given beside it, and that of the half of the series that no constant was chosen on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.windows import FEATURES, SensorWindows
from models.pack import Pack
from models.runtime import load
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.device_watch import DeviceWatch
from models.train.recorded import SKAB_LEARNT, Bench, Watched, read_nab, read_skab
from models.train.series import Floats, Ints

TARGET_F1, TARGET_FALSE, TARGET_MISSED = 0.82, 0.1355, 0.2802
TARGET_NAB = 70.0
PROBATION, LONGEST_PROBATION = 0.15, 750  # of a NAB series; readings
FALSE_COST = 0.11  # of an alarm outside the windows, in NAB's standard profile

Rows = NDArray[np.float32]
Truth = NDArray[np.bool_]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as `outstation models eval` prints it. `target` is none where it is only for comparison; `samples` is
    how many readings or windows it stands on."""

    pack: str
    set: str
    metric: str
    value: float
    target: float | None
    ok: bool
    samples: int


def evaluate(pack: Pack, data: Path) -> list[Figure]:
    """Measure a device pack on what of `skab/` and `nab/` is in the folder `data`; nothing when neither is there."""
    anomaly = DeviceAnomaly(load(pack))
    return [*_on_skab(anomaly, read_skab(data / "skab")), *_on_nab(anomaly, read_nab(data / "nab"))]


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


# ---- SKAB --------------------------------------------------------------------------------------------------------


def _on_skab(anomaly: DeviceAnomaly, benches: Sequence[Bench]) -> Iterator[Figure]:
    said = [_said(anomaly, bench.at_us, bench.values)[SKAB_LEARNT:] for bench in benches]
    for name, chosen in (("SKAB", benches), ("SKAB without valve1", [one for one in benches if not one.chosen_on])):
        if chosen:
            alarm = np.concatenate([said[benches.index(one)] for one in chosen]) >= anomaly.threshold
            truth = np.concatenate([one.anomalous[SKAB_LEARNT:] for one in chosen])
            right = np.count_nonzero(alarm & truth)
            false, missed = np.count_nonzero(alarm & ~truth), np.count_nonzero(truth & ~alarm)
            n = len(truth)
            f1 = 2 * right / (2 * right + false + missed)
            yield _at_least(anomaly, name, "outlier F1", f1, TARGET_F1, n)
            yield _at_most(anomaly, name, "false alarm rate", false / np.count_nonzero(~truth), TARGET_FALSE, n)
            yield _at_most(anomaly, name, "missing alarm rate", missed / np.count_nonzero(truth), TARGET_MISSED, n)


def _said(anomaly: DeviceAnomaly, at_us: Ints, values: Floats) -> Floats:
    """The probability of each row [n, sensors] of one device, as `outstation score` gives it."""
    sensors = [str(column) for column in range(values.shape[1])]
    of_sensors = np.stack([anomaly.score(one) for one in features_of([(at_us, column) for column in values.T])], axis=1)
    watch = DeviceWatch(anomaly.threshold)
    rows = zip(at_us.tolist(), values.tolist(), of_sensors.tolist(), strict=True)
    return np.array(
        [watch.update("", at, dict(zip(sensors, row, strict=True)), said).probability for at, row, said in rows]
    )


# ---- NAB ---------------------------------------------------------------------------------------------------------


def _on_nab(anomaly: DeviceAnomaly, series: Sequence[Watched]) -> Iterator[Figure]:
    if not series:
        return
    said = [_said(anomaly, one.at_us, one.values[:, np.newaxis]) for one in series]
    best = best_threshold(series, said)
    own = anomaly.threshold
    windows = sum(len(one.windows) for one in series)
    metric = "standard profile score"
    yield _at_least(anomaly, "NAB", f"{metric}", nab_score(series, said, best), TARGET_NAB, windows)
    yield _at_least(anomaly, "NAB", f"{metric} at the pack's threshold", nab_score(series, said, own), None, windows)
    others = [(one, its) for one, its in zip(series, said, strict=True) if not one.may_teach]
    if any(one.windows for one, _ in others):
        held_out, its = [one for one, _ in others], [its for _, its in others]
        windows = sum(len(one.windows) for one in held_out)
        name = "NAB, the half never chosen on"
        score = nab_score(held_out, its, best_threshold(held_out, its))
        yield _at_least(anomaly, name, f"{metric}", score, TARGET_NAB, windows)
        score = nab_score(held_out, its, own)
        yield _at_least(anomaly, name, f"{metric} at the pack's threshold", score, None, windows)


def nab_score(series: Sequence[Watched], said: Sequence[Floats], threshold: float) -> float:
    """NAB's score by its standard profile, 0 for silence and 100 for perfection, of alarms where `said` [n] of each
    series reaches the threshold. The series must have a window at least."""
    points, windows = 0.0, 0
    for one, its in zip(series, said, strict=True):
        worth, window = _worth(one)
        alarm = np.asarray(its) >= threshold
        points += float(worth[alarm & (window < 0)].sum())
        for number in np.unique(window[window >= 0]).tolist():
            windows += 1
            points += float(worth[alarm & (window == number)].max(initial=-1.0))
    return 50 * (points + windows) / windows


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
    within = np.zeros(n, bool)
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


# ---- figures -----------------------------------------------------------------------------------------------------


def _at_least(
    anomaly: DeviceAnomaly, data: str, metric: str, value: float, target: float | None, samples: int
) -> Figure:
    return _figure(anomaly, data, metric, value, target, target is None or value >= target, samples)


def _at_most(anomaly: DeviceAnomaly, data: str, metric: str, value: float, target: float, samples: int) -> Figure:
    return _figure(anomaly, data, metric, value, target, value <= target, samples)


def _figure(
    anomaly: DeviceAnomaly, data: str, metric: str, value: float, target: float | None, ok: bool, samples: int
) -> Figure:
    return Figure(
        pack=anomaly.name, set=data, metric=metric, value=round(float(value), 4), target=target, ok=ok, samples=samples
    )
