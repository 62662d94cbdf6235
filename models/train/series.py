"""Made series of a sensor: many kinds of normal, and faults put into them, so that a pack can learn what no log labels.

Every series comes from its own seed, whatever else is made beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START_US = 1_772_000_000_000_000
LEAST_BEFORE = 200  # readings before a fault
TOO_EARLY = 150  # readings in which whatever comes is to be taken as normal
LEAST_AFTER = 100
SETTLED_AFTER = 30  # readings after a fault until the series counts as normal again


@dataclass(frozen=True)
class Series:
    """Readings of one sensor. `faulty` marks those under a fault, `judged` those whose label is beyond doubt; `span`
    is the fault's first reading and the first after it."""

    at_us: Ints
    values: Floats
    faulty: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    kind: str
    fault: str = ""
    span: tuple[int, int] = (0, 0)


def made(seed: int, count: int, faulty_share: float = 0.6) -> list[Series]:
    """`count` series of 800 to 3,200 readings, `faulty_share` of them with one fault."""
    series = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        one = _normal(random, int(random.integers(800, 3200)))
        series.append(with_fault(random, one) if random.random() < faulty_share else one)
    return series


# ---- normal ------------------------------------------------------------------------------------------------------


def _normal(r: Generator, n: int) -> Series:
    kind = str(r.choice(list(KINDS)))
    x, noise = KINDS[kind](r, n)
    t = np.arange(n)
    if kind != "counter" and r.random() < 0.35:
        x = x + r.normal() * r.uniform(0, 2) * t / n
    if r.random() < 0.3:
        x = x + r.uniform(0.2, 2) * np.sin(2 * np.pi * t / r.uniform(600, 4000) + _phase(r))
    hiss = r.normal(size=n) if r.random() < 0.7 else r.standard_t(4, size=n)
    if r.random() < 0.2:
        hiss = hiss * (1 + 0.7 * np.sin(2 * np.pi * t / r.uniform(40, 400) + _phase(r)))
    scale = 10 ** r.uniform(-2, 3)
    values = r.normal() * 10 ** r.uniform(0, 2) + scale * (x + noise * hiss)
    if r.random() < 0.35:
        resolution = scale * 10 ** r.uniform(-2.5, -0.7)
        values = np.round(values / resolution) * resolution
    judged = np.ones(n, bool)
    judged[TOO_EARLY : SETTLING.get(kind, 0)] = False
    return Series(at_us=_times(r, n), values=values, faulty=np.zeros(n, bool), judged=judged, kind=kind)


def _times(r: Generator, n: int) -> Ints:
    interval = 10 ** r.uniform(5, 8.5)
    regularity = r.random()
    if regularity < 0.5:
        gaps = np.full(n, interval)
    elif regularity < 0.8:
        gaps = interval * np.clip(1 + 0.1 * r.normal(size=n), 0.3, 3)
    else:
        gaps = interval * (r.exponential(size=n) + 0.02)
    if r.random() < 0.2:  # switched off now and then
        gaps[r.random(n) < 0.003] *= r.uniform(5, 500)
    return START_US + np.cumsum(gaps).astype(np.int64)


def _phase(r: Generator) -> float:
    return float(r.uniform(0, 2 * np.pi))


def _hiss(r: Generator) -> float:
    return float(r.uniform(0.005, 0.3))


def _noise(r: Generator, n: int) -> tuple[Floats, float]:
    return r.normal(size=n), _hiss(r)


def _sine(r: Generator, n: int) -> tuple[Floats, float]:
    return np.sin(2 * np.pi * np.arange(n) / r.uniform(20, 400) + _phase(r)) * r.uniform(0.5, 2), _hiss(r)


def _sines(r: Generator, n: int) -> tuple[Floats, float]:
    period = r.uniform(20, 400)
    t = 2 * np.pi * np.arange(n)
    return np.sin(t / period + _phase(r)) + 0.5 * np.sin(t / (period * r.uniform(0.1, 0.6)) + _phase(r)), _hiss(r)


def _relaxing(r: Generator, n: int, pull: float) -> Floats:
    """Noise that remembers: each value is the one before, less `pull` of it, and a push."""
    return np.asarray(lfilter([np.sqrt(pull * (2 - pull))], [1, pull - 1], r.normal(size=n)))


def _wander(r: Generator, n: int) -> tuple[Floats, float]:
    return _relaxing(r, n, float(r.choice([0.002, 0.005, 0.02]))), _hiss(r)


def _remembering(r: Generator, n: int) -> tuple[Floats, float]:
    return _relaxing(r, n, 1 - r.uniform(0.3, 0.97)), _hiss(r)


def _smooth(r: Generator, n: int) -> tuple[Floats, float]:
    wide = np.convolve(r.normal(size=n + 200), np.hanning(200) / 8, "same")
    return wide[100 : 100 + n], float(r.uniform(0.001, 0.1))


def _switching(r: Generator, n: int, levels: int) -> Floats:
    """Stays at one of several levels for a while; all have been there within the first part."""
    at = r.normal(size=levels) * 2
    stay = r.uniform(6, 50, size=levels)
    x = np.zeros(n)
    place, level = 0, 0
    while place < n:
        length = int(min(r.exponential(stay[level]), 4 * stay[level]) + 3)
        x[place : place + length] = at[level]
        level = (level + 1) % levels if place < 150 else int(level + r.integers(1, levels)) % levels
        place += length
    return _sluggish(r, x)


def _sluggish(r: Generator, x: Floats) -> Floats:
    """A sensor that follows its course with a delay."""
    follow = r.uniform(0.2, 1)
    return np.asarray(lfilter([follow], [1, follow - 1], x, zi=[(1 - follow) * x[0]])[0])


def _regimes(r: Generator, n: int) -> tuple[Floats, float]:
    return _switching(r, n, int(r.integers(2, 6))), _hiss(r)


def _on_off(r: Generator, n: int) -> tuple[Floats, float]:
    return _switching(r, n, 2), _hiss(r)


def _idling(r: Generator, n: int) -> tuple[Floats, Floats]:
    """Works for a while and then rests, now and then for very long; at rest it may not even hiss."""
    level, working = np.zeros(n), np.zeros(n)
    rest, work = r.uniform(3, 40), r.uniform(3, 60)
    place = int(r.integers(0, 20))
    while place < n:
        busy = int(work * r.uniform(0.5, 1.5)) + 1
        level[place : place + busy] = r.normal(1, r.choice([0, 0.1]))
        working[place : place + busy] = 1
        place += busy + int(rest * r.lognormal(0, 0.8)) + 1
    return _sluggish(r, 2 * level), _hiss(r) * np.maximum(working, r.choice([0, 0.02, 1]))


def _duty(r: Generator, n: int) -> tuple[Floats, float]:
    period = r.integers(15, 160)
    on = (np.arange(n) + r.integers(0, period)) % period < period * r.uniform(0.08, 0.7)
    low, high = r.normal(size=2) * 2
    return _sluggish(r, np.where(on, high, low)), _hiss(r)


def _bursts(r: Generator, n: int) -> tuple[Floats, float]:
    x = np.where(r.random(n) < 10 ** r.uniform(-2.5, -1), r.lognormal(0, r.uniform(0.2, 0.6), n), 0.0)
    return 3 * np.asarray(lfilter([1.0], [1, -r.uniform(0, 0.8)], x)), float(r.uniform(0.01, 0.3))


def _chores(r: Generator, n: int) -> tuple[Floats, float]:
    """Something short that comes back after long: a nightly job, a flushing, a test run."""
    every = int(r.integers(80, 500))
    due = np.arange(int(r.integers(0, 100)), n, every)
    if r.random() < 0.5:
        due = due + r.integers(0, every // 4, len(due))
    x = np.zeros(n)
    for begin in due:
        x[begin : begin + r.integers(1, 7)] = r.normal(1, 0.1)
    return float(r.choice([-1, 1])) * r.uniform(0.5, 5) * x, _hiss(r)


def _counter(r: Generator, n: int) -> tuple[Floats, float]:
    x = np.cumsum(r.poisson(r.uniform(0.3, 5), n)).astype(np.float64)
    if r.random() < 0.6:
        x %= r.integers(300, 5000)
    return x / 100, 0.0


def _saw(r: Generator, n: int) -> tuple[Floats, float]:
    period = r.uniform(20, 400)
    t = np.arange(n, dtype=np.float64) + r.uniform(0, 400)
    return 2 * (t % period) / period, _hiss(r)


def _constant(r: Generator, n: int) -> tuple[Floats, float]:
    return np.zeros(n), float(r.choice([0, 1e-3, 1.0]))


def _coarse(r: Generator, n: int) -> tuple[Floats, float]:
    return np.round(r.normal(size=n) * r.uniform(0.3, 2) + r.normal()), 0.0


def _profile(r: Generator, n: int) -> tuple[Floats, float]:
    """The same course over and over, with flat stretches, as of a day or a machine's cycle."""
    period = int(r.integers(60, 300))
    course = np.zeros(period)
    for _ in range(r.integers(1, 4)):
        begin = r.integers(0, period)
        course[np.arange(begin, begin + r.integers(5, period // 2 + 6)) % period] = r.normal() * 2
    if r.random() < 0.5:
        course = np.convolve(np.tile(course, 3), np.ones(9) / 9, "same")[period : 2 * period]
    return course[(np.arange(n) + r.integers(0, period)) % period], float(r.choice([0, 0, 0.01, 0.1, 0.3]))


KINDS: dict[str, Callable[[Generator, int], tuple[Floats, float | Floats]]] = {
    "noise": _noise,
    "sine": _sine,
    "sines": _sines,
    "wander": _wander,
    "remembering": _remembering,
    "smooth": _smooth,
    "regimes": _regimes,
    "on-off": _on_off,
    "duty": _duty,
    "idling": _idling,
    "bursts": _bursts,
    "chores": _chores,
    "counter": _counter,
    "saw": _saw,
    "constant": _constant,
    "coarse": _coarse,
    "profile": _profile,
}
# Readings until the course has been seen once: what is new before cannot be called normal.
SETTLING = {"idling": 200, "profile": 400, "regimes": 200, "on-off": 200, "duty": 200, "chores": 600}


# ---- faults ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Usual:
    """What a fault is measured in: of the readings before it the mean, deviation, range, and typical step."""

    mean: float
    deviation: float
    width: float
    step: float
    wander: float  # deviation of means over 32 readings


def with_fault(r: Generator, series: Series) -> Series:
    """The series with one fault in it, in a random place and of a random kind."""
    n = len(series.values)
    start = int(r.integers(LEAST_BEFORE, n - LEAST_AFTER))
    name = str(r.choice(list(FAULTS), p=OFTEN / OFTEN.sum()))
    fault = FAULTS[name]
    end = min(n, start + int(np.exp(r.uniform(np.log(fault.shortest), np.log(fault.longest)))))
    at_us = _slowed(r, series.at_us, start, end) if name == SLOW else series.at_us
    values = series.values.copy()
    values[start:end] = fault.change(r, values[start:end], _usual(values[max(0, start - 600) : start]))
    faulty = np.zeros(n, bool)
    faulty[start : end + fault.tail] = True
    judged = series.judged.copy()
    judged[start : start + int(fault.hidden * (end - start))] = False
    judged[end + fault.tail : end + fault.tail + SETTLED_AFTER] = False
    return replace(series, at_us=at_us, values=values, faulty=faulty, judged=judged, fault=name, span=(start, end))


def _usual(before: Floats) -> _Usual:
    deviation = float(np.std(before))
    steps = np.abs(np.diff(before))
    wander = float(np.std(np.convolve(before, np.ones(32) / 32, "valid")))
    if not (steps > 0).any() or deviation < 1e-9 * abs(float(before[0])):
        deviation = max(abs(float(before[0])) * 0.05, 1e-3)
        return _Usual(float(before[0]), deviation, deviation, 0.0, 0.0)
    return _Usual(float(np.mean(before)), deviation, float(np.ptp(before)), float(np.median(steps[steps > 0])), wander)


def _side(r: Generator) -> float:
    return float(r.choice([-1, 1]))


def _spike(r: Generator, x: Floats, usual: _Usual) -> Floats:
    return x + _side(r) * (usual.width * r.uniform(0.8, 4) + 2 * usual.deviation)


def _spikes(r: Generator, x: Floats, usual: _Usual) -> Floats:
    hit = r.random(len(x)) < 0.2
    hit[0] = True
    return np.where(hit, x + _side(r) * usual.width * r.uniform(0.7, 2), x)


def _large_shift(r: Generator, x: Floats, usual: _Usual) -> Floats:
    return x + _side(r) * (usual.width * r.uniform(0.35, 2) + 2 * usual.deviation)


def _small_shift(r: Generator, x: Floats, usual: _Usual) -> Floats:
    return x + _side(r) * (usual.wander * r.uniform(3.5, 8) + r.uniform(0.5, 2) * usual.step + 0.3 * usual.deviation)


def _variance(r: Generator, x: Floats, usual: _Usual) -> Floats:
    growing: Floats = np.linspace(r.uniform(0.3, 1), 1, len(x)) * r.uniform(1.2, 6)
    return x + growing * usual.deviation * r.normal(size=len(x))


def _drift(r: Generator, x: Floats, usual: _Usual) -> Floats:
    far = _side(r) * (usual.width * r.uniform(0.8, 3) + 3 * usual.deviation)
    course: Floats = np.linspace(0, 1, len(x)) ** float(r.choice([1, 1, 2]))
    return x + far * course


def _stuck(_: Generator, x: Floats, __: _Usual) -> Floats:
    return np.full(len(x), float(x[0]))


def _muffled(_: Generator, x: Floats, usual: _Usual) -> Floats:
    muffled: Floats = usual.mean + 0.05 * (x - x.mean())
    return muffled


def _oscillation(r: Generator, x: Floats, usual: _Usual) -> Floats:
    swing: Floats = np.sin(2 * np.pi * np.arange(len(x)) / r.uniform(2, 8))
    return x + usual.deviation * r.uniform(1.5, 5) * swing


def _dropout(r: Generator, x: Floats, usual: _Usual) -> Floats:
    zero_is_far = abs(usual.mean) > 3 * usual.deviation
    return np.full(len(x), 0.0 if zero_is_far else usual.mean - _side(r) * 3 * usual.width)


def _slowed(r: Generator, at_us: Ints, start: int, end: int) -> Ints:
    gaps: Floats = np.diff(at_us).astype(np.float64)
    gaps[start - 1 : end - 1] *= r.uniform(4, 12)
    slowed: Ints = at_us[0] + np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    return slowed


def _unchanged(_: Generator, x: Floats, __: _Usual) -> Floats:
    return x


@dataclass(frozen=True)
class _Fault:
    """How a fault changes readings; how often it comes; the share of it at the beginning that nobody could see yet;
    readings after it in which it still shows; its length in readings."""

    change: Callable[[Generator, Floats, _Usual], Floats]
    often: float
    hidden: float = 0.0
    tail: int = 0
    shortest: int = 20
    longest: int = 600


SLOW = "slow"  # changes the times instead
FAULTS = {
    "spike": _Fault(_spike, 2.0, tail=5, shortest=1, longest=4),
    "spikes": _Fault(_spikes, 1.0, tail=3),
    "large shift": _Fault(_large_shift, 1.5),
    "small shift": _Fault(_small_shift, 1.5, hidden=0.05),
    "variance": _Fault(_variance, 2.0, hidden=0.1, tail=2),
    "drift": _Fault(_drift, 2.0, hidden=0.3),
    "stuck": _Fault(_stuck, 1.0, hidden=0.2),
    "muffled": _Fault(_muffled, 0.5, hidden=0.2),
    "oscillation": _Fault(_oscillation, 1.0, tail=2),
    "dropout": _Fault(_dropout, 1.5),
    SLOW: _Fault(_unchanged, 0.7, hidden=0.1, tail=2),
}
OFTEN = np.array([fault.often for fault in FAULTS.values()])
