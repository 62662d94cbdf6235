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
ENCODER_TARGET_MS = 40.0
TURNS = {
    "en": (
        "that is more than we budgeted for this quarter to be honest",
        "there is a smell of gas near the compressor",
        "okay thank you",
    ),
    "zh": ("我们的绞车从昨天开始一直报警，刹车片也该换了", "这个价格老板那边肯定过不了", "好的，谢谢"),
}
BEFORE = {"en": "what about the offer I sent you | I will have a look", "zh": "报价您看过了吗 | 我看看"}


def measure() -> Iterator[Figure]:
    """p50 and p99 of a batch of one, for each pack that ships."""
    device = DeviceAnomaly(runtime.load(find_pack("device-anomaly", default_packs())))
    features = np.zeros((1, len(FEATURES)), np.float32)
    for language in TURNS:
        yield from _text("call-signals", language, ENCODER_TARGET_MS)
        yield from _text("call-signals-small", language, TARGET_MS)
    yield from _times("device-anomaly", lambda _: device.score(features), TARGET_MS)


def _text(name: str, language: str, target_ms: float) -> Iterator[Figure]:
    pack = TextLabels(find_pack(name, default_packs()))
    pack.open()
    turns, before = TURNS[language], [BEFORE[language]]
    yield from _times(f"{name}, {language}", lambda number: pack.score([turns[number % len(turns)]], before), target_ms)


def _times(pack: str, predict: Callable[[int], object], target_ms: float) -> Iterator[Figure]:
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
            target=f"≤ {target_ms:g} ms" if percentile == 99 else None,
            ok=value <= target_ms if percentile == 99 else None,
        )
