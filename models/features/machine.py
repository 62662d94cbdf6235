"""What is normal for a machine: all its sensors together, judged row by row against its own first rows.

A fault often shows in how far several sensors stand from where they were, while none of them is outside its range. So
the smoothed deviations of all sensors enter Hotelling's T² (Hotelling, Multivariate quality control, 1947). Its
covariance is that of the rows learnt from, and wider for a sensor that wanders: a temperature that crept through them
has shown few independent levels (Geyer, Practical Markov chain Monte Carlo, 1992, initial positive sums), so that it
may well creep on to where it has not been proves little.

Machines in order change too, so normal follows where the sensors stand while there is no alarm, and stays during one.
When an alarm has lasted for RELEARN rows the machine runs otherwise for good, and the rows from then on are its normal.
Memory is constant: the rows to learn from, then a few matrices.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid

LEARNT = 400  # rows
SETTLED = 40  # of them, until the smoothed deviations count
SMOOTH = 7.0  # rows, of the deviations
LASTING = 20.0  # rows, of the evidence: a fault is not over in a moment
FURTHEST = 6.0  # deviations, to which a reading is clipped
LONGEST_LAG = 60  # rows, over which a sensor's readings are looked at for how alike they stay
FEW = 30.0  # independent levels among the rows learnt from, at which a sensor's variance counts twice …
WANDERING = 3  # … and the power with which it grows when there are fewer
SHRUNK = 0.5  # of the correlations, because 400 rows tell them badly (Ledoit and Wolf, 2004, shrink likewise)
RARE = 0.99  # of the rows learnt from are below the limit …
ABOVE = 1.3  # … and an alarm is that many limits
FOLLOWED = 100.0  # rows, in which normal follows the machine while there is no alarm
STEEPNESS = 6.0  # log-odds for each e-fold of the evidence
RELEARN = 4 * LEARNT  # rows of alarm
LEAST = 1e-9

Floats = NDArray[np.float64]


class Machine:
    """The sensors of one device, which are read together."""

    def __init__(self, sensors: Sequence[str]) -> None:
        """`sensors` names the columns of the rows that `update` takes."""
        self.sensors = tuple(sensors)
        self._rows: list[Floats] = []
        self._last: Floats = np.full(len(self.sensors), np.nan)
        self._alarmed = 0

    @property
    def learning(self) -> bool:
        """Whether nothing is said yet, because normal is still being learnt."""
        return len(self._rows) < LEARNT

    def update(self, row: Floats) -> float:
        """Take a row [sensors] of readings, nan where there is none: that sensor stands where it stood.

        Gives the log-odds that the machine does not run as usual less those at which it should be said: it should at
        0 and above. -inf while it learns. Raises InputInvalid when the row has another length or an infinite number.
        """
        if row.shape != self._last.shape or np.isinf(row).any():
            raise InputInvalid(f"a row of this machine is {len(self.sensors)} finite numbers; give it so.")
        self._last = np.where(np.isnan(row), self._last, row)
        if self._alarmed >= RELEARN:
            self._rows, self._alarmed = [], 0
        if self.learning:
            if not np.isnan(self._last).any():
                self._rows.append(self._last)
                if not self.learning:
                    self._learn(np.array(self._rows))
            return -np.inf
        apart = self._smooth(self._last) - self._usual
        self._evidence += (self._parts(apart) - self._evidence) * (1 - np.exp(-1 / LASTING))
        log_odds = STEEPNESS * (float(self._evidence.sum()) - float(np.log1p(ABOVE)))
        if log_odds >= 0:
            self._alarmed += 1
        else:
            self._alarmed = 0
            self._usual += apart / FOLLOWED
        return log_odds

    def explain(self) -> tuple[tuple[str, float], ...]:
        """Each sensor with what it added to the last row's log-odds, the largest part first; nothing while it learns.

        They add up to the log-odds less those of a machine that stands just where it usually does. A part is below 0
        where a sensor stands as the others let one expect.
        """
        if self.learning:
            return ()
        parts = STEEPNESS * self._evidence
        return tuple((self.sensors[place], float(parts[place])) for place in np.argsort(-np.abs(parts), kind="stable"))

    def _learn(self, rows: Floats) -> None:
        low, high = np.percentile(rows, [25, 75], axis=0)
        self._centre = np.median(rows, axis=0)
        self._scale = np.maximum((high - low) / 1.35, rows.std(axis=0) / 2) + LEAST * (1 + np.abs(self._centre))
        self._smoothed = self._deviations(rows[0])
        self._usual = np.zeros(len(self.sensors))
        smoothed = np.array([self._smooth(row) for row in rows])[SETTLED:]
        self._usual = smoothed.mean(axis=0)
        self._precision = _precision(smoothed, _levels(self._deviations(rows)))
        squares = [_square(row - self._usual, self._precision).sum() for row in smoothed]
        self._limit = max(float(np.quantile(squares, RARE)), LEAST)
        self._evidence = np.zeros(len(self.sensors))

    def _deviations(self, rows: Floats) -> Floats:
        bounded: Floats = np.minimum(np.maximum((rows - self._centre) / self._scale, -FURTHEST), FURTHEST)
        return bounded

    def _smooth(self, row: Floats) -> Floats:
        self._smoothed = self._smoothed + (self._deviations(row) - self._smoothed) * (1 - np.exp(-1 / SMOOTH))
        return self._smoothed

    def _parts(self, apart: Floats) -> Floats:
        """log(1 + T² / limit), divided among the sensors as T² is."""
        parts = _square(apart, self._precision)
        square = max(float(parts.sum()), LEAST)
        shared: Floats = parts * (np.log1p(square / self._limit) / square)
        return shared


def _square(apart: Floats, precision: Floats) -> Floats:
    """T² = apart' precision apart, as the sum of a part for each sensor."""
    parts: Floats = apart * (precision @ apart)
    return parts


def _levels(rows: Floats) -> Floats:
    """How many independent levels each column of rows [n, sensors] has shown."""
    apart = rows - rows.mean(axis=0)
    variance = np.square(apart).mean(axis=0) + LEAST
    alike = [(apart[lag:] * apart[:-lag]).mean(axis=0) / variance for lag in range(1, LONGEST_LAG + 1)]
    levels: Floats = len(rows) / (1 + 2 * np.maximum(alike, 0).sum(axis=0))
    return levels


def _precision(smoothed: Floats, levels: Floats) -> Floats:
    """The inverse of the covariance of where the sensors, smoothed, may stand without a fault."""
    covariance = np.atleast_2d(np.cov(smoothed.T))
    own = np.sqrt(np.diag(covariance)) + LEAST
    correlation = (1 - SHRUNK) * covariance / np.outer(own, own)
    np.fill_diagonal(correlation, 1.0)
    # Not less than independent readings of deviation 1 would leave.
    wide = np.maximum(own, np.sqrt(1 / (2 * SMOOTH)))
    wandering = np.diag(wide**2 * (FEW / levels) ** WANDERING)
    precision: Floats = np.linalg.inv(np.outer(wide, wide) * correlation + wandering).astype(np.float64)
    return precision
