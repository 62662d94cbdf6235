"""One prediction at a time, as the daemon makes it: words or a reading in, probability and evidence out."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from edge.bench.figure import Figure
from models import runtime
from models.features.windows import FEATURES
from models.store import default_packs, find_pack
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.text_labels import TextLabels

RUNS = 2000
TARGET_MS = 5.0
TURNS = (
    "that is more than we budgeted for this quarter to be honest",
    "我们的绞车从昨天开始一直报警，刹车片也该换了",
    "there is a smell of gas near the compressor",
    "okay thank you",
)


def measure() -> Iterator[Figure]:
    """p50 and p99 of a batch of one, for each pack that ships."""
    text = TextLabels(runtime.load(find_pack("call-signals", default_packs())))
    device = DeviceAnomaly(runtime.load(find_pack("device-anomaly", default_packs())))
    features = np.zeros((1, len(FEATURES)), np.float32)
    yield from _times("call-signals", lambda number: text.score([TURNS[number % len(TURNS)]]))
    yield from _times("device-anomaly", lambda _: device.score(features))


def _times(pack: str, predict: Callable[[int], object]) -> Iterator[Figure]:
    times_ms = []
    for number in range(RUNS):
        began_ns = time.perf_counter_ns()
        predict(number)
        times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    for metric, percentile in (("p50", 50), ("p99", 99)):
        value = float(np.percentile(times_ms, percentile))
        yield Figure(
            bench="predict",
            case=f"{pack}, batch of 1",
            metric=metric,
            value=value,
            unit="ms",
            target=f"≤ {TARGET_MS} ms" if percentile == 99 else None,
            ok=value <= TARGET_MS if percentile == 99 else None,
        )
