"""What is normal for a machine: all its sensors together, judged row by row against its own first rows.

A fault often shows in how far several sensors stand from where they were, while none of them is outside its range. So
the smoothed deviations of all sensors enter Hotelling's T² (Hotelling, Multivariate quality control, 1947). Its
covariance is that of the rows learnt from, and along each of its principal components wider where they wander: a load
that crept through the rows, and took the sensors with it, has shown few independent levels (Geyer, Practical Markov
chain Monte Carlo, 1992, initial positive sums), so that it may well creep on to where it has not been proves little.
What does not wander is how the sensors hang together, and there little counts.

Machines in order change too, so normal follows where the sensors stand while there is no alarm, and stays during one.
When an alarm has lasted for RELEARN rows the machine runs otherwise for good, and the rows from then on are its normal.
Memory is constant: the rows to learn from, then a few matrices.
"""

import math
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.features.windows import rounds

LEARNT = 400  # rows
SETTLED = 40  # of them, until the smoothed deviations count
LONGEST_LAG = 60  # rows, over which a sensor's readings are looked at for how alike they stay
RELEARN = 4 * LEARNT  # rows of alarm
LARGEST = 1e30  # larger readings count as this: their squares must stay finite
LEAST = 1e-9
STEEPNESS = 6.0  # log-odds for each e-fold of the evidence


class Constants(msgspec.Struct, frozen=True):
    """What decides how machines are judged; `python -m models.train.choose_machine` chooses them on made machines."""

    smooth: float  # rows, of the deviations
    lasting: float  # rows, of the evidence: a fault is not over in a moment
    furthest: float  # deviations, to which a reading is clipped
    few: float  # independent levels among the rows learnt from, at which a direction's variance counts twice
    least: float  # variance of a direction, where each sensor's is 1: nothing hangs together more exactly
    rare: float  # of the rows learnt from are below the limit …
    above: float  # … and an alarm is that many limits
    followed: float  # rows, in which normal follows the machine while there is no alarm


CHOSEN = Constants(smooth=12.0, lasting=5.0, furthest=6.0, few=100.0, least=1e-2, rare=0.99, above=3.0, followed=200.0)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Machines:
    """Machines that have the same number of sensors: their running figures, an entry for each."""

    def __init__(self, sensors: int, constants: Constants = CHOSEN) -> None:
        self._by = constants
        self._sensors = sensors
        self._learning: dict[int, list[Floats]] = {}  # rows of those that are not known yet
        self._all = np.zeros(
            0,
            [
                ("known", "?"),
                ("centre", "<f8", sensors),
                ("narrow", "<f8", sensors),  # 1 / deviation
                ("precision", "<f8", (sensors, sensors)),
                ("limit", "<f8"),
                ("last", "<f8", sensors),
                ("smoothed", "<f8", sensors),
                ("usual", "<f8", sensors),
                ("evidence", "<f8", sensors),
                ("alarmed", "<i8"),  # rows
            ],
        )

    def update(self, slots: Ints, rows: Floats) -> tuple[Floats, Floats]:
        """Take rows [n, sensors] of readings of the machines `slots` [n], numbers from 0; nan or infinite where there
        is no reading: that sensor stands where it stood.

        A machine may come several times: the result is that of giving the rows one by one, in their order. Gives the
        log-odds [n] that the machine does not run as usual less those at which it should be said (it should at 0 and
        above; -inf while it learns), and what each sensor added to them [n, sensors]: a part is below 0 where a sensor
        stands as the others let one expect, and they add up to the log-odds less those of a machine that stands just
        where it usually does. Raises InputInvalid when the rows have another shape.
        """
        if rows.shape != (len(slots), self._sensors):
            raise InputInvalid(f"a row of these machines is {self._sensors} numbers; give it so.")
        log_odds, parts = np.full(len(slots), -np.inf), np.zeros(rows.shape)
        if not len(slots):
            return log_odds, parts
        self._reach(int(slots.max()) + 1)
        bounded = np.minimum(np.maximum(np.where(np.isfinite(rows), rows, np.nan), -LARGEST), LARGEST)
        for turn in rounds(slots):
            chosen, stands = slots[turn], bounded[turn]
            stands = np.where(np.isnan(stands), self._all["last"][chosen], stands)
            self._all["last"][chosen] = stands
            known = self._all["known"][chosen]
            if not known.all():
                for slot, row in zip(chosen[~known].tolist(), stands[~known], strict=True):
                    self._learn(slot, row)
                turn, chosen, stands = turn[known], chosen[known], stands[known]
            log_odds[turn], parts[turn] = self._judge(chosen, stands)
        return log_odds, parts

    def forget(self, slot: int) -> None:
        """Make a machine new again."""
        self._learning.pop(slot, None)
        self._reach(slot + 1)
        self._all["known"][slot], self._all["last"][slot] = False, np.nan

    def snapshot(self) -> bytes:
        """Everything that is known, as bytes for `restore`."""
        learning = {slot: np.array(rows).tobytes() for slot, rows in self._learning.items()}
        return msgspec.msgpack.encode(_Kept(str(self._all.dtype), self._by, self._all.tobytes(), learning))

    def restore(self, kept: bytes) -> int:
        """Take over what `snapshot` gave, in place of all that is known; gives the number of machines.

        Raises InputInvalid when `kept` is damaged, of another layout or of other constants: then build the machines
        anew from the readings.
        """
        try:
            found = msgspec.msgpack.decode(kept, type=_Kept)
            if (found.layout, found.constants) != (str(self._all.dtype), self._by):
                raise ValueError("of another version")
            figures = np.frombuffer(found.figures, self._all.dtype).copy()
            rows = {slot: np.frombuffer(one).reshape(-1, self._sensors) for slot, one in found.learning.items()}
        except (msgspec.MsgspecError, ValueError):
            raise InputInvalid("these are no machines that this version kept; build them from the readings.") from None
        self._all, self._learning = figures, {slot: list(one) for slot, one in rows.items()}
        return len(figures)

    def _judge(self, slots: Ints, rows: Floats) -> tuple[Floats, Floats]:
        by, every = self._by, self._all
        deviations = _within((rows - every["centre"][slots]) * every["narrow"][slots], by.furthest)
        smoothed, usual, evidence = every["smoothed"][slots], every["usual"][slots], every["evidence"][slots]
        smoothed += (deviations - smoothed) * _share(by.smooth)
        apart = smoothed - usual
        parts = _parts(apart, every["precision"][slots], every["limit"][slots])
        evidence += (parts - evidence) * _share(by.lasting)
        log_odds = STEEPNESS * (evidence.sum(axis=1) - math.log1p(by.above))
        alarm = log_odds >= 0
        usual += apart * np.where(alarm, 0.0, 1 / by.followed)[:, np.newaxis]
        every["smoothed"][slots], every["usual"][slots], every["evidence"][slots] = smoothed, usual, evidence
        alarmed = np.where(alarm, every["alarmed"][slots] + 1, 0)
        every["alarmed"][slots], every["known"][slots] = alarmed, alarmed < RELEARN
        return log_odds, STEEPNESS * evidence

    def _learn(self, slot: int, row: Floats) -> None:
        if np.isnan(row).any():
            return
        rows = self._learning.setdefault(slot, [])
        rows.append(row)
        if len(rows) == LEARNT:
            self._settle(slot, np.array(self._learning.pop(slot)))

    def _settle(self, slot: int, rows: Floats) -> None:
        """Begin to judge a machine by the rows [LEARNT, sensors] that it was learnt from."""
        by, one = self._by, self._all[slot : slot + 1]
        low, centre, high = np.percentile(rows, [25, 50, 75], axis=0)
        scale = np.maximum((high - low) / 1.35, rows.std(axis=0) / 2) + LEAST * (1 + np.abs(centre))
        deviations = _within((rows - centre) / scale, by.furthest)
        smoothed = _smoothing(by.smooth) @ deviations
        usual = smoothed[SETTLED:].mean(axis=0)
        precision = _precision(smoothed[SETTLED:], by)
        apart = smoothed[SETTLED:] - usual
        squares = (apart @ precision * apart).sum(axis=1)
        one["centre"], one["narrow"], one["precision"] = centre, 1 / scale, precision
        one["limit"] = max(float(np.quantile(squares, by.rare)), LEAST)
        one["smoothed"], one["usual"], one["evidence"] = smoothed[-1], usual, 0.0
        one["alarmed"], one["known"] = 0, True

    def _reach(self, count: int) -> None:
        have = len(self._all)
        if count > have:
            more = np.zeros(max(count - have, have), self._all.dtype)
            more["last"] = np.nan
            self._all = np.concatenate([self._all, more])


class _Kept(msgspec.Struct, array_like=True):
    layout: str
    constants: Constants
    figures: bytes
    learning: dict[int, bytes]


def _within(deviations: Floats, furthest: float) -> Floats:
    bounded: Floats = np.minimum(np.maximum(deviations, -furthest), furthest)
    return bounded


def _share(rows: float) -> float:
    """Of the newest in a mean that forgets over so many rows."""
    return 1 - math.exp(-1 / rows)


@lru_cache(8)
def _smoothing(rows: float) -> Floats:
    """The matrix [LEARNT, LEARNT] that makes means that forget over so many rows, beginning at the first."""
    age = np.arange(LEARNT)[:, np.newaxis] - np.arange(LEARNT)
    weights = np.where(age >= 0, _share(rows) * np.exp(-np.maximum(age, 0) / rows), 0.0)
    weights[:, 0] = np.exp(-np.arange(LEARNT) / rows)
    return weights


def _parts(apart: Floats, precision: Floats, limit: Floats) -> Floats:
    """log(1 + T² / limit) [n], divided among the sensors as T² is: T² = apart' precision apart."""
    parts = apart * np.matmul(precision, apart[:, :, np.newaxis])[:, :, 0]
    square = np.maximum(parts.sum(axis=1), LEAST)
    shared: Floats = parts * (np.log1p(square / limit) / square)[:, np.newaxis]
    return shared


def _levels(rows: Floats) -> Floats:
    """How many independent levels each column of rows [n, sensors] has shown."""
    apart = rows - rows.mean(axis=0)
    spectrum = np.fft.rfft(apart, 2 * len(rows), axis=0)
    products = np.fft.irfft(np.square(np.abs(spectrum)), axis=0)[: LONGEST_LAG + 1]
    alike = (
        products[1:] * (len(rows) / (len(rows) - np.arange(1, LONGEST_LAG + 1)))[:, np.newaxis] / (products[0] + LEAST)
    )
    levels: Floats = len(rows) / (1 + 2 * np.maximum(alike, 0).sum(axis=0))
    return levels


def _precision(smoothed: Floats, by: Constants) -> Floats:
    """The inverse of the covariance of where the sensors, smoothed [n, sensors], may stand without a fault."""
    own = smoothed.std(axis=0) + LEAST
    normed = (smoothed - smoothed.mean(axis=0)) / own
    variances, directions = np.linalg.eigh(normed.T @ normed / len(normed))
    may = np.maximum(variances, by.least) * (1 + by.few / _levels(normed @ directions))
    # Not less than independent readings of deviation 1 would leave.
    wide = np.maximum(own, np.sqrt(1 / (2 * by.smooth)))
    precision: Floats = (directions / may) @ directions.T / np.outer(wide, wide)
    return precision
