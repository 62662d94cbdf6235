"""One prediction at a time, as the daemon makes it, and many at once: what each costs."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bench.figure import Figure
from models import runtime
from models.compose.library import Library
from models.pack import Pack, read_pack
from models.selftest import given_of
from models.store import SHIPPED
from models.tasks.device_machines import DeviceMachines
from models.tasks.labelling import Labeller

RUNS, BATCHES = 2000, 5
MANY = 256
TARGET_MS, ENCODER_TARGET_MS = 5.0, 40.0
CHEAPER = 10.0  # an item of a batch of many should be so many times cheaper than one alone
SMALL_BYTES = 2 << 20
DEVICES, SENSORS, LEARNT_AFTER = 1000, tuple("abcdefgh"), 401  # rows
TARGET_ROW_US = 3.0
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
    """Every pack that ships."""
    for folder in sorted(SHIPPED.iterdir()):
        yield from measure_pack(read_pack(folder))
    yield measure_machines()


def measure_pack(pack: Pack, packs: Path = SHIPPED) -> Iterator[Figure]:
    """p50 and p99 (ms) of one prediction on one core, and how much cheaper an item of a batch of MANY is.

    Of a pack for text: from turns to labels with evidence; of others: the model on the inputs of its self-test. `packs`
    is the folder that has the parts of a composed pack.
    """
    small = pack.manifest.model and pack.model_path.stat().st_size <= SMALL_BYTES
    target_ms = TARGET_MS if small else ENCODER_TARGET_MS
    if pack.manifest.task in ("text-labels", "mood"):
        labels = Library(packs).ready(pack)
        labels.open()
        for language in pack.manifest.languages:
            yield from _of_text(labels, language, target_ms)
    else:
        model, given = runtime.load(pack), given_of(pack)
        one, many = _rows(given, 1), _rows(given, MANY)
        yield from _times(pack.manifest.name, lambda _: model.run(one), lambda: model.run(many), target_ms)


def measure_machines() -> Figure:
    """What a row of a device costs (µs) to judge as that of a machine, in a batch with a row of each of DEVICES."""
    machines, random = DeviceMachines(), np.random.default_rng(0)
    names = [(f"device-{number}", SENSORS) for number in range(DEVICES)]
    readings = random.normal(size=(LEARNT_AFTER, DEVICES * len(SENSORS)))
    for batch in readings:
        machines.update(names, batch)
    value = min(_ms(partial(machines.update, names, batch)) for batch in readings[:MANY]) * 1e3 / DEVICES
    return Figure(
        bench="predict",
        case=f"machines of {len(SENSORS)} sensors, batch of {DEVICES:,} devices",
        metric="a row",
        value=value,
        unit="µs",
        target=f"≤ {TARGET_ROW_US:g} µs",
        ok=value <= TARGET_ROW_US,
    )


def _of_text(labels: Labeller, language: str, target_ms: float) -> Iterator[Figure]:
    turns = [TURNS[language][number % len(TURNS[language])] for number in range(MANY)]
    before = [BEFORE[language]] * MANY
    others = count()  # a composed pack remembers what its parts said of the last batch
    yield from _times(
        f"{labels.name}, {language}",
        lambda number: labels.score([turns[number % MANY]], before[:1]),
        lambda: labels.score(_turned(turns, next(others)), before),
        target_ms,
    )


def _turned(turns: list[str], first: int) -> list[str]:
    return turns[first % MANY :] + turns[: first % MANY]


def _rows(given: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    return {name: np.resize(values, (count, *values.shape[1:])) for name, values in given.items()}


def _times(pack: str, one: Callable[[int], object], many: Callable[[], object], target_ms: float) -> Iterator[Figure]:
    times_ms = [_ms(partial(one, number)) for number in range(RUNS)]
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
    an_item_ms = min(_ms(many) for _ in range(BATCHES)) / MANY
    ratio = float(np.median(times_ms)) / an_item_ms
    yield Figure(
        bench="predict",
        case=f"{pack}, batch of {MANY}",
        metric="an item",
        value=an_item_ms,
        unit="ms",
        peer="cheaper than alone",
        ratio=ratio,
        target=f"≥ {CHEAPER:g} ×",
        ok=ratio >= CHEAPER,
    )


def _ms(run: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - began_ns) / 1e6
