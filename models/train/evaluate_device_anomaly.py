"""How a device pack does on recorded machines together with what is learnt of each, by the protocols of the data sets.

SKAB (Katser, Kozitsin, 2020): the first 400 readings of a file are there to learn from, the others are judged, one by
one; F1, false and missing alarm rate over all files together, at the pack's own threshold. Nothing is chosen on it.

NAB (models.train.nab): the constants of courses are chosen on NAB itself (models.train.choose_course), so each series
is judged by those that were chosen without it. NAB's protocol chooses the one threshold that is best for the whole
corpus; the score at the pack's own threshold is given beside it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.pack import Pack
from models.runtime import load
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.device_watch import DeviceWatch
from models.train.choose_course import Trials
from models.train.nab import best_threshold, nab_score
from models.train.recorded import SKAB_LEARNT, Bench, Watched, read_nab, read_skab
from models.train.series import Floats, Ints
from models.train.windowed import features_of

TARGET_F1, TARGET_FALSE, TARGET_MISSED = 0.82, 0.1355, 0.2802
TARGET_NAB = 70.0
AT_ONCE = 500  # rows


class Figure(msgspec.Struct, frozen=True):
    """A figure with its target, if it has one, and the number of rows or windows that it stands on."""

    set: str
    metric: str
    value: float
    samples: int
    target: float | None = None
    ok: bool | None = None


def evaluate(pack: Pack, data: Path) -> list[Figure]:
    """Measure a device pack on what of `skab/` and `nab/` is in the folder `data`; nothing when neither is there."""
    anomaly = DeviceAnomaly(load(pack))
    return [*_on_skab(anomaly, read_skab(data / "skab")), *_on_nab(anomaly, read_nab(data / "nab"))]


def _on_skab(anomaly: DeviceAnomaly, benches: Sequence[Bench]) -> Iterator[Figure]:
    if not benches:
        return
    said = [_said(anomaly, bench.at_us, bench.values)[SKAB_LEARNT:] for bench in benches]
    alarm = np.concatenate(said) >= anomaly.threshold
    truth = np.concatenate([one.anomalous[SKAB_LEARNT:] for one in benches])
    right, false, missed = ((alarm & truth).sum(), (alarm & ~truth).sum(), (~alarm & truth).sum())
    f1, false_rate, missed_rate = 2 * right / (2 * right + false + missed), false / (~truth).sum(), missed / truth.sum()
    name, n = f"SKAB, {len(benches)} files", len(truth)
    yield Figure(name, "outlier F1", float(f1), n, TARGET_F1, bool(f1 >= TARGET_F1))
    yield Figure(name, "false alarm rate", float(false_rate), n, TARGET_FALSE, bool(false_rate <= TARGET_FALSE))
    yield Figure(name, "missing alarm rate", float(missed_rate), n, TARGET_MISSED, bool(missed_rate <= TARGET_MISSED))


def _said(anomaly: DeviceAnomaly, at_us: Ints, values: Floats) -> Floats:
    """The probability of each row [n, sensors] of one device, as `outstation score` gives it."""
    sensors = [str(column) for column in range(values.shape[1])]
    said = np.stack([anomaly.score(one) for one in features_of([(at_us, column) for column in values.T])], axis=1)
    watch = DeviceWatch(anomaly.threshold)
    probabilities: list[float] = []
    for first in range(0, len(values), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        rows = [
            ("", at, dict(zip(sensors, row, strict=True)))
            for at, row in zip(at_us[some].tolist(), values[some].tolist(), strict=True)
        ]
        probabilities += [verdict.probability for verdict in watch.update(rows, said[some].ravel())]
    return np.array(probabilities)


def _on_nab(anomaly: DeviceAnomaly, series: Sequence[Watched]) -> Iterator[Figure]:
    windows = sum(len(one.windows) for one in series)
    if not windows:
        return
    said = list(Trials(anomaly, series).out_of_sample())
    name, metric = f"NAB, {len(series)} series, each by constants chosen without it", "standard profile score"
    best = nab_score(series, said, best_threshold(series, said))
    yield Figure(name, metric, best, windows, TARGET_NAB, best >= TARGET_NAB)
    yield Figure(name, f"{metric} at the pack's threshold", nab_score(series, said, 0.0), windows)
