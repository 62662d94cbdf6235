"""Readings of many sensors to features, one reading after the other: the same code learns on and runs on the device.

A *slot* is one sensor of one device. Everything that is known of it is a row of running figures: no reading is kept.
Its memories are counted in usual intervals between its readings, so that a sensor read every 10 ms and one read every
hour are judged alike:

    FAST    12 intervals    what it does now
    MIDDLE  96 intervals    what it has been doing lately
    SLOW    2,048 intervals what is usual

An exponentially weighted mean with memory τ forgets by exp(-elapsed/τ) per elapsed interval, and a reading that is
worth `t` weighs t/w with w = forgotten w + t, so that early figures are plain means (Finch, Incremental calculation of
weighted mean and variance, 2009). What is usual is estimated robustly: a residual is clipped to a few deviations before
it moves a mean or a deviation (Huber, Robust Statistics, 1981, proposal 2), so one wild reading moves them no more
than a large one; and while a sensor behaves unusually its readings are worth a quarter, so that a fault does not become
the usual while it is being looked at.

The clock is the reading's own. A reading not later than the one before (a clock set back, two with one time) counts as
coming after one usual interval, and the next gap is measured from it. A gap counts as at most 20 intervals: a device
that was switched off, or whose clock leapt forward, has not forgotten what is usual.
"""

import struct
import zlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEATURES = (
    # asinh of residuals in deviations; the sign says the direction
    "value",  # reading − slow mean, in slow deviations
    "shift",  # fast mean − slow mean, in the deviations usual for just this difference
    "drift",  # middle mean − slow mean, likewise
    "slope",  # fast mean − middle mean, likewise
    "shift_size",  # fast mean − slow mean, in slow deviations of the readings
    "drift_size",  # middle mean − slow mean, likewise
    "beyond",  # how far outside its usual range, in tenths of that range, fast mean; no sign
    "peak",  # log1p of the largest |value| lately
    # logarithms; 0 is as usual, 1 is e times as much
    "jump",  # largest step lately against the usual fast mean, over the size that one in 250 exceeds
    "shift_excess",  # |shift| over the size that one in fifty exceeds
    "drift_excess",  # |drift| likewise
    "spread_excess",  # spread likewise
    "spread",  # deviation around the fast mean, fast over slow
    "roughness",  # difference of neighbouring readings, fast over slow
    "texture",  # slow roughness over slow deviation: near 0 for noise, far below for smooth courses
    "usual_jump",  # the size of jump that one in 250 exceeds
    "rarity",  # -log of the share of earlier readings that were near this value
    "rarity_lately",  # its fast mean
    "surprise",  # fast mean − slow mean of rarity
    "stuck",  # how long without any change, over the longest such time so far
    "usual_still",  # log1p of the longest such time, half
    # others
    "late",  # fast mean of log(interval / usual interval), in its usual deviation
    "experience",  # log of the number of readings up to SLOW, 1 at a thousand
)

FAST, MIDDLE, SLOW = 12.0, 96.0, 2048.0
PEAK = 12.0  # intervals for which a peak is remembered
LONGEST_GAP = 20.0  # intervals
FEATURE_LIMIT = 8.0
VALUE_LIMIT = 1e60  # larger readings count as this: their squares must stay finite

BINS = 16  # of asinh(residual in deviations), half a unit wide
CLIP = 3.0  # deviations, for the spread of readings and steps
CLIP_MEAN = 2.0  # deviations, for the slow mean
# For differences of means, whose deviation must not grow while they are large. A clipped Gaussian's variance is less
# than 1 by this share, which puts it right: E[min(z², CLIP_TIGHT²)].
CLIP_TIGHT, CLIP_TIGHT_SHARE = 1.5, 0.7785
# A size is tracked that is exceeded with this chance, by steps up and down in that ratio (Robbins and Monro, 1951).
EXCEEDED = np.array([[0.02], [0.02], [0.02], [0.004]])  # shift, drift, spread, jump
EXCEEDED_STEP = np.array([[0.004], [0.004], [0.004], [0.1]])
EXCEEDED_FIRST = np.array([[2.0], [2.0], [2.0], [4.0]])  # step of the n-th reading, times n
RANGE_STEP = 0.05  # how fast the usual range opens for readings outside it
INTERVAL_MEMORY = 128.0  # readings
AT_ONCE = 4096  # slots that are worked on together: what is between takes about 1 KB each
LEARNING = 64.0  # readings during which everything is taken as usual
FORGOTTEN_AFTER = np.array([[FAST], [MIDDLE], [SLOW], [PEAK], [4 * SLOW]])  # intervals
WARM_AFTER = np.array([[48.0], [96.0], [192.0]])  # readings until a fast, middle, slow feature counts 63 %


@dataclass(slots=True)
class _Known:
    """What is known of slots: a row for each figure, several rows where _HEIGHTS says so, in the order of one batch."""

    seen: Floats  # readings so far
    at_us: Floats  # time of the last
    interval_us: Floats  # usual interval, 0 before there is one
    late: Floats
    late_deviation: Floats
    last: Floats
    before_last: Floats
    smallest_step: Floats  # between unequal neighbours: the sensor's resolution; inf before there is one
    still: Floats  # intervals since the value changed
    longest_still: Floats
    weights: Floats  # of all readings so far in the fast, middle, slow means
    lately: Floats  # fast means of the reading, of beyond, of rarity
    middle: Floats
    slow: Floats
    variance: Floats
    own_variance: Floats  # of shift, drift, slope
    spread_lately: Floats  # fast means of the squared step from the fast mean, and from the reading before
    spread_usual: Floats  # their slow means
    low: Floats
    high: Floats
    peak: Floats
    jump: Floats
    rarity: Floats  # slow mean
    usual_size: Floats  # of shift, drift, spread, jump: that which is rarely exceeded
    bins: Floats  # readings by asinh(value)


_HEIGHTS = {
    "weights": 3,
    "lately": 3,
    "own_variance": 3,
    "spread_lately": 2,
    "spread_usual": 2,
    "usual_size": len(EXCEEDED),
    "bins": BINS,
}


def _places() -> tuple[list[int | slice], int]:
    """Where in a slot's row each field of _Known is, and how long a row is."""
    places: list[int | slice] = []
    end = 0
    for field in fields(_Known):
        begin, end = end, end + _HEIGHTS.get(field.name, 1)
        places.append(slice(begin, end) if field.name in _HEIGHTS else begin)
    return places, end


_PLACES, _ROW = _places()
_HEADER = struct.Struct("<8sII")  # what it is, its layout, rows
_MAGIC = b"OSWINDOW"
_LAYOUT = zlib.crc32(repr([(field.name, _HEIGHTS.get(field.name)) for field in fields(_Known)]).encode())


class SensorWindows:
    """The running figures of many slots."""

    def __init__(self, limit: int = 100_000) -> None:
        """`limit` is the largest number of slots; memory grows with the slots in use, about 400 bytes each."""
        self._limit = limit
        self._rows: Floats = np.zeros((min(limit, 1024), _ROW))

    def update(self, slots: Ints, at_us: Ints, values: Floats) -> tuple[NDArray[np.float32], Floats]:
        """Take readings, and give their features and what was usual for their slots before them.

        `slots` [n] are numbers from 0 below the limit, `at_us` [n] µs since the epoch, `values` [n] finite numbers.
        A slot may come several times: the result is that of giving the readings one by one, in their order. Features
        are float32 [n, len(FEATURES)], each within ±FEATURE_LIMIT; the usual value float64 [n] is the slow mean (for
        a slot's first reading that reading).

        Raises InputInvalid, and takes none of the readings, when an array has another length or a number is out of
        range or not finite.
        """
        if not slots.shape == at_us.shape == values.shape or slots.ndim != 1:
            raise InputInvalid("windows take three rows of one length: slots, times, values; give them so.")
        features = np.empty((len(slots), len(FEATURES)), np.float32)
        usual = np.empty(len(slots))
        if not len(slots):
            return features, usual
        if slots.min() < 0 or slots.max() >= self._limit:
            raise InputInvalid(f"windows have the slots 0 to {self._limit - 1}; {slots.max()} came: raise the limit.")
        if not np.isfinite(values).all():
            raise InputInvalid("windows take finite numbers only; leave out readings that are NaN or infinite.")
        self._reach(int(slots.max()) + 1)
        values = np.clip(values, -VALUE_LIMIT, VALUE_LIMIT)
        times = at_us.astype(np.float64)
        for turn in rounds(slots):
            for begin in range(0, len(turn), AT_ONCE):
                some = turn[begin : begin + AT_ONCE]
                chosen = slots[some]
                rows = np.ascontiguousarray(self._rows[chosen].T)
                features[some], usual[some] = _step(rows, times[some], values[some])
                self._rows[chosen] = rows.T
        return features, usual

    def forget(self, slots: Ints) -> None:
        """Make slots new again."""
        self._reach(int(slots.max(initial=-1)) + 1)
        self._rows[slots] = 0.0

    def snapshot(self, count: int) -> bytes:
        """The first `count` slots as bytes for `restore`."""
        self._reach(count)
        head = _HEADER.pack(_MAGIC, _LAYOUT, count)
        return head + self._rows[:count].astype("<f8").tobytes()

    def restore(self, kept: bytes) -> int:
        """Take over what `snapshot` gave, in place of all that is known; gives the number of slots.

        Raises InputInvalid when `kept` is damaged or of another layout: then build the windows anew from the readings.
        """
        try:
            magic, layout, count = _HEADER.unpack_from(kept)
        except struct.error:
            magic, layout, count = b"", 0, 0
        whole = len(kept) == _HEADER.size + count * _ROW * 8
        if (magic, layout) != (_MAGIC, _LAYOUT) or not whole or count > self._limit:
            raise InputInvalid("these are not windows that this version kept; build them anew from the readings.")
        rows = np.frombuffer(kept, "<f8", offset=_HEADER.size).reshape(count, _ROW)
        self._rows = np.zeros((max(count, min(self._limit, 1024)), _ROW))
        self._rows[:count] = rows
        return int(count)

    def _reach(self, count: int) -> None:
        have = len(self._rows)
        if count > have:
            more = min(max(count, 2 * have), self._limit) - have
            self._rows = np.concatenate([self._rows, np.zeros((more, _ROW))])


def rounds(slots: Ints) -> list[Ints]:
    """Places in the batch such that no slot comes twice in a round, and each slot's readings keep their order."""
    places = np.arange(len(slots))
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    fresh = np.empty(len(slots), bool)
    fresh[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    if fresh.all():
        return [places]
    turn = places - np.maximum.accumulate(np.where(fresh, places, 0))
    by_turn = np.argsort(turn, kind="stable")
    return np.split(order[by_turn], np.cumsum(np.bincount(turn))[:-1])


def _step(rows: Floats, at_us: Floats, x: Floats) -> tuple[Floats, Floats]:
    """One reading of each slot: moves `rows` [_ROW, n] in place; gives features [n, F] and the usual value [n]."""
    known = _Known(*[rows[place] for place in _PLACES])
    seen = known.seen.copy()
    first = seen == 0
    if first.any():
        _begin(known, x, first)
    usual = known.slow.copy()

    elapsed, lateness = _clock(known, at_us, first)
    decays = np.exp(np.concatenate([-elapsed / FORGOTTEN_AFTER, -seen / WARM_AFTER]))
    warm = 1 - decays[5:]
    surprise = known.lately[2] - known.rarity
    worth = np.where(seen < LEARNING, 1.0, 1 / (1 + 3 * _within(surprise - 0.5, 0, 1)))
    known.weights *= decays[:3]
    known.weights[:2] += 1
    known.weights[2] += worth
    fast, middle, slow = 1 / known.weights
    slow *= worth

    # Where the value stands in what is usual, before it is learnt.
    size = np.abs(known.slow)
    floor = np.where(np.isfinite(known.smallest_step), 0.5 * known.smallest_step, 1e-4 * size) + 1e-6 * size + 1e-12
    deviation = np.maximum(np.sqrt(known.variance), floor)
    value = (x - known.slow) / deviation
    steps = np.abs(x - np.stack([known.lately[0], known.last]))
    spreads = np.maximum(np.sqrt(known.spread_usual), floor)
    rarity = _rarity(known.bins, value, worth, decays[2], known.weights[2])
    beyond = _beyond(known, x, floor + 0.1 * deviation, np.maximum(RANGE_STEP, 2 / (seen + 2)) * worth, 1 - decays[4])

    # Learn it. The median of three keeps a single wild reading out of the means of what it does lately.
    middling = np.maximum(np.minimum(x, known.last), np.minimum(np.maximum(x, known.last), known.before_last))
    np.maximum(np.minimum(np.abs(value), 1e6), known.peak * decays[3], out=known.peak)
    known.lately += fast * (np.stack([middling, beyond, rarity]) - known.lately)
    known.middle += middle * _within(middling - known.middle, -FEATURE_LIMIT * deviation, FEATURE_LIMIT * deviation)
    known.slow += slow * _within(value, -CLIP_MEAN, CLIP_MEAN) * deviation
    known.variance += slow * (np.square(_within(value, -CLIP, CLIP) * deviation) - known.variance)
    known.spread_lately += fast * (np.square(np.minimum(steps, FEATURE_LIMIT * spreads)) - known.spread_lately)
    known.spread_usual += slow * (np.square(np.minimum(steps, CLIP * spreads)) - known.spread_usual)
    known.rarity += slow * (np.minimum(rarity, known.rarity + 3) - known.rarity)
    stuck = _stillness(known, steps[1], elapsed, decays[4])
    late = _late(known, lateness, fast, slow)
    known.before_last[:] = known.last
    known.last[:] = x
    known.seen += 1

    fast_mean = known.lately[0]
    apart = np.stack([fast_mean - known.slow, known.middle - known.slow, fast_mean - known.middle])
    own = _own_deviations(known.own_variance, apart, 0.1 * deviation, slow)
    tiny = np.square(floor)
    logs = np.log(
        np.concatenate(
            [
                (known.spread_lately + tiny) / (known.spread_usual + tiny),
                np.minimum(np.abs(own[:2]), 1e6) + 0.1,
                [
                    np.minimum(steps[0] / spreads[0], 1e6) + 0.1,
                    (known.spread_usual[1] + tiny) / (known.variance + tiny),
                    1 + known.peak,
                    1 + known.longest_still,
                    1 + np.minimum(seen, SLOW),
                ],
            ]
        )
    )
    spread, roughness, texture = 0.5 * logs[0], 0.5 * logs[1], 0.5 * logs[5]
    excess = _excess(known.usual_size, np.stack([logs[2], logs[3], spread, logs[4]]), seen, worth, first)
    np.maximum(_within(excess[3], -5, 5), np.where(first, -5, known.jump - elapsed / 4), out=known.jump)

    out = np.empty((len(FEATURES), len(x)))
    out[0], out[1:4], out[4:6], out[6] = value, own, apart[:2] / deviation, 10 * known.lately[1]
    np.arcsinh(out[:7], out=out[:7])
    out[7], out[8], out[9:12] = logs[6], known.jump, _within(excess[:3], -3, 4)
    out[12], out[13], out[14], out[15] = spread, roughness, texture, known.usual_size[3]
    out[16], out[17], out[18] = rarity, known.lately[2], known.lately[2] - known.rarity
    out[19], out[20], out[21] = stuck, 0.5 * logs[7], late
    out[:22] *= warm[0]
    out[1:4] *= warm[[1, 2, 1]]
    out[9:11] *= warm[1:]
    out[22] = logs[8] / np.log(1000.0)
    return np.minimum(np.maximum(out, -FEATURE_LIMIT), FEATURE_LIMIT).T, usual


def _begin(known: _Known, x: Floats, first: NDArray[np.bool_]) -> None:
    """Give new slots their first reading as all that is known."""
    for row in (known.last, known.before_last, known.lately[0], known.middle, known.slow, known.low, known.high):
        np.copyto(row, x, where=first)
    np.copyto(known.smallest_step, np.inf, where=first)


def _within(x: Floats, least: float | Floats, most: float | Floats) -> Floats:
    """np.clip, which takes three times as long on a short row."""
    within: Floats = np.minimum(np.maximum(x, least), most)
    return within


def _clock(known: _Known, at_us: Floats, first: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Usual intervals since the reading before (0.1 to 20), and log(interval / usual interval); moves the clock."""
    gap = at_us - known.at_us
    usual = known.interval_us
    comparable = (gap > 0) & (usual > 0) & ~first
    ratio = _within(np.where(comparable, gap, 1.0) / np.where(comparable, usual, 1.0), 1 / LONGEST_GAP, LONGEST_GAP)
    moved = usual + (_within(gap, 0.25 * usual, 4 * usual) - usual) / _within(known.seen, 1, INTERVAL_MEMORY)
    usual[:] = np.where(comparable, moved, np.where((usual == 0) & (gap > 0) & ~first, gap, usual))
    known.at_us[:] = at_us
    return np.maximum(ratio, 0.1), np.log(ratio)


def _rarity(bins: Floats, value: Floats, worth: Floats, decay: Floats, weight: Floats) -> Floats:
    """-log of the share of what was learnt that lies in the value's bin (and half of its neighbours'), then learns it.

    Half a reading more in each bin keeps it finite (Jeffreys' prior). `weight` counts this reading already.
    """
    place = _within(np.floor(BINS / 2 + 2 * np.arcsinh(value)), 0, BINS - 1).astype(np.int64)
    column = np.arange(len(value))
    bins *= decay
    near = bins[np.maximum(place - 1, 0), column] + bins[np.minimum(place + 1, BINS - 1), column]
    rarity: Floats = -np.log((bins[place, column] + 0.5 * near + 0.5) / (weight - worth + BINS / 4))
    bins[place, column] += worth
    return rarity


def _beyond(known: _Known, x: Floats, margin: Floats, opening: Floats, closing: Floats) -> Floats:
    """How far the value is outside the usual range, in widths of it (0 to 4); the range opens for it, else closes."""
    above, below = x - known.high, known.low - x
    beyond: Floats = _within(np.maximum(above, below) / (known.high - known.low + 2 * margin), 0, 4)
    known.high += np.where(above > 0, opening * above, closing * (known.slow - known.high))
    known.low -= np.where(below > 0, opening * below, closing * (known.low - known.slow))
    return beyond


def _stillness(known: _Known, difference: Floats, elapsed: Floats, decay: Floats) -> Floats:
    """log of the time without change over the longest so far; learns the smallest step and the longest such time."""
    changed = difference > 0
    known.smallest_step[:] = np.where(changed, np.minimum(known.smallest_step * 1.05, difference), known.smallest_step)
    known.longest_still *= decay
    np.maximum(known.longest_still, np.where(changed, known.still, 0.0), out=known.longest_still)
    known.still += elapsed
    known.still[changed] = 0.0
    stuck: Floats = np.log((known.still + 4) / (known.longest_still + 8))
    return stuck


def _late(known: _Known, lateness: Floats, fast: Floats, slow: Floats) -> Floats:
    usual = np.maximum(known.late_deviation, 0.1)
    known.late += fast * (_within(lateness, -3 * usual, 3 * usual) - known.late)
    known.late_deviation += slow * (np.minimum(np.abs(lateness), 3 * usual) - known.late_deviation)
    return known.late / usual


def _own_deviations(variance: Floats, difference: Floats, least: Floats, weight: Floats) -> Floats:
    """Differences of means in their own usual deviations; then learns them."""
    deviation = np.maximum(np.sqrt(variance), least)
    own = difference / deviation
    variance += weight * (np.square(_within(own, -CLIP_TIGHT, CLIP_TIGHT) * deviation) / CLIP_TIGHT_SHARE - variance)
    return own


def _excess(usual: Floats, sizes: Floats, seen: Floats, worth: Floats, first: NDArray[np.bool_]) -> Floats:
    """Logarithmic sizes [4, n] over those rarely exceeded; then learns them."""
    usual[:] = np.where(first, sizes, usual)
    excess: Floats = sizes - usual
    steps = np.maximum(EXCEEDED_FIRST / (seen + 2), EXCEEDED_STEP) * worth
    usual += steps * np.where(excess > 0, 1 - EXCEEDED, -EXCEEDED)
    return excess
