"""What a play does: the difference between those it was done for and those left alone, and how sure that is.

Each outcome lies between 0 and 1 and belongs to a subject that a keyed hash treated with a known probability
(1 - share). An outcome becomes one number whose mean is the effect, whatever the covariates are (augmented inverse
propensity weighting, Robins et al., 1994); what is augmented is foreseen from earlier outcomes only, so the numbers are
as good as if there were no covariates, and closer together where covariates tell something. On them is bet against
every value that the effect could have (Waudby-Smith and Ramdas, Estimating means of bounded random variables by
betting, JRSS B 86, 2024, section 4: a capital process for each side; the mean of several is one, too, their diversified
Kelly bettor). Who bets against the true value gains nothing on average, so by Ville's inequality his capital reaches
1 / error at any time only with the probability of that error: one may look after every outcome and stop when one likes.

Outcomes that are told of one arm and kept back of the other would lie in any interval. So it is bet, too, against those
told of having been treated as often as was drawn: when that cannot be, nothing is claimed.
"""

import math
from collections.abc import Sequence
from operator import mul
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

SURE = 0.95
SUSPECT = 0.999  # so sure must be that outcomes of one arm are kept back, as many plays are looked at
BETS = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
"""The parts of the capital that are staked: the large ones tell something after tens of outcomes, the small ones after
tens of thousands."""
STEPS = 2_000
"""The bounds of an effect are told to 1/1000."""
DECIMALS = 9
LEAST_STAKE = 1e-9
RIDGE = 1.0
GROWN = 1.1  # growth of an arm after which it is learnt anew what is foreseen
DEVIATIONS = 2.0
"""Nothing is foreseen that is further from the mean: the numbers stay in a narrower range, so more can be bet."""

Verdict = Literal["unproven", "helps", "harms", "suspect"]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A difference in the mean outcome (-1 to 1), with bounds that hold at all times with probability SURE, and the
    mean outcome of those left alone (None: there are none). `unproven` while the bounds hold 0; `suspect` when outcomes
    of one arm seem to be kept back."""

    mean: float
    low: float
    high: float
    treated: int
    held_out: int
    without: float | None
    verdict: Verdict


class Bettor:
    """Bets against means of numbers: `count` of them side by side, one number of each after the other, and each against
    all `points`, the means that are put to the test."""

    def __init__(self, points: NDArray[np.float64], count: int = 1, sure: float = SURE) -> None:
        self.points = points
        self._enough = 2 / (1 - sure)  # half of the error for each side
        self._parts = np.array(BETS)[:, None, None]
        self._above, self._below = np.ones((2, len(BETS), count, len(points)))

    def add(
        self, numbers: NDArray[np.float64], least: NDArray[np.float64], most: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the next number of each, of which it was known before that it would lie between `least` and `most`. By
        count and point: whether the mean is above it for sure, and whether it is below it for sure."""
        over = numbers[:, None] - self.points
        with np.errstate(over="ignore"):  # what is refuted stays so
            self._above *= 1 + self._parts * (over / np.maximum(self.points - least[:, None], LEAST_STAKE))
            self._below *= 1 - self._parts * (over / np.maximum(most[:, None] - self.points, LEAST_STAKE))
            return self._above.mean(0) >= self._enough, self._below.mean(0) >= self._enough

    def keep(self, first: int, end: int) -> None:
        """Go on with the points from `first` to before `end` only."""
        self.points = self.points[first:end].copy()
        self._above, self._below = (capital[:, :, first:end].copy() for capital in (self._above, self._below))


class Always:
    """Bounds of the mean of numbers, itself between `least` and `most`, that hold at all times at once with probability
    `sure` and never widen."""

    def __init__(self, least: float, most: float, sure: float = SURE, steps: int = STEPS) -> None:
        self._bettor = Bettor(np.linspace(least, most, steps + 1).round(DECIMALS), sure=sure)
        self.low, self.high = least, most

    def add(self, number: float, least: float, most: float) -> None:
        """Take the next number, of which it was known before that it would lie between `least` and `most`."""
        (above,), (below,) = self._bettor.add(np.array([number]), np.array([least]), np.array([most]))
        points = self._bettor.points
        first, end = int(above.sum()), len(points) - int(below.sum())  # who is above a point is above all before it
        if first:
            self.low = max(self.low, float(points[first - 1]))
        if end < len(points):
            self.high = min(self.high, float(points[end]))
        if (first or end < len(points)) and first < end:
            self._bettor.keep(first, end)


class Number(NamedTuple):
    """What an outcome says of the effect, and between which bounds it was known to lie before the outcome was."""

    value: float
    least: float
    most: float


class Augmented:
    """Turns the outcomes of a play into numbers whose mean is its effect; `share` of the subjects is left alone."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.done, self.left = Foresight(), Foresight()

    def number(self, treated: bool, value: float, covariates: Sequence[float]) -> Number:
        """What the next outcome says; it is learnt from."""
        done, left, share = self.done, self.left, self.share
        least = min(done.least + left.least * (1 / share - 1) - 1 / share, -done.most * share / (1 - share) - left.most)
        most = max(done.most + left.most * (1 / share - 1), (1 - done.least * share) / (1 - share) - left.least)
        x = (1.0, *covariates)
        if_done, if_left = done.of(x), left.of(x)
        over = (value - if_done) / (1 - share) if treated else (if_left - value) / share
        (done if treated else left).learn(x, value)
        return Number(if_done - if_left + over, least, most)


class Uplift:
    """The effect of one play, outcome after outcome; `share` of the subjects is left alone."""

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise ValueError("Nothing is told of a play that leaves nobody alone, or everybody.")
        self.share = share
        self._augmented = Augmented(share)
        self._always = Always(-1.0, 1.0)
        self._drawn = Bettor(np.array([1 - share]), sure=SUSPECT)
        self._suspect = False
        self._sum = 0.0

    def add(self, treated: bool, value: float, covariates: Sequence[float] = ()) -> None:
        """Take what came of the next subject: whether it was treated, its outcome (0 to 1), and what was known before,
        each between 0 and 1 and always as many. Raises ValueError when the outcome is none."""
        if not 0 <= value <= 1:
            raise ValueError(f"An outcome lies between 0 and 1; this one is {value}.")
        number = self._augmented.number(treated, value, covariates)
        self._always.add(*number)
        self._sum += number.value
        more, fewer = self._drawn.add(np.array([float(treated)]), np.zeros(1), np.ones(1))
        self._suspect = self._suspect or bool(more.any() or fewer.any())

    @property
    def left_alone(self) -> "Foresight":
        """What is known of those left alone."""
        return self._augmented.left

    @property
    def effect(self) -> Effect:
        """What is known of it now."""
        treated, held_out = self._augmented.done.count, self._augmented.left.count
        count = treated + held_out
        low, high = self._always.low, self._always.high
        return Effect(
            mean=min(max(self._sum / count if count else 0.0, -1.0), 1.0),
            low=low,
            high=high,
            treated=treated,
            held_out=held_out,
            without=self._augmented.left.mean,
            verdict=self._verdict(low, high),
        )

    def _verdict(self, low: float, high: float) -> Verdict:
        if self._suspect:
            return "suspect"
        if low > 0:
            return "helps"
        return "harms" if high < 0 else "unproven"


class Foresight:
    """What outcomes of an arm are foreseen to be: a ridge regression (Hoerl and Kennard, 1970) on those before, and on
    one outcome of 1/2. It is learnt from sums, so nothing is kept for each outcome for long."""

    def __init__(self) -> None:
        self.count = 0
        """How many outcomes were learnt from."""
        self.least = self.most = 0.5
        """Between these lies what is foreseen next."""
        self._sum = 0.0
        self._weights: list[float] = []
        self._learnt = 0
        self._new: list[tuple[float, ...]] = []
        self._products: NDArray[np.float64] | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the outcomes; None: there are none."""
        return self._sum / self.count if self.count else None

    def of(self, x: tuple[float, ...]) -> float:
        """The outcome (0 to 1) that is foreseen for a subject with these covariates, after a 1."""
        return min(max(math.fsum(map(mul, self._weights, x)), self.least), self.most)

    def learn(self, x: tuple[float, ...], value: float) -> None:
        """Learn from an outcome."""
        self._new.append((*x, value))
        self._sum += value
        self.count += 1
        if self.count >= self._learnt * GROWN:
            self._learn()

    def _learn(self) -> None:
        rows = np.array(self._new)
        self._new.clear()
        self._learnt = self.count
        products = rows.T @ rows
        self._products = products = products if self._products is None else self._products + products
        squares, with_values = products[:-1, :-1], products[:-1, -1].copy()
        with_values[0] += RIDGE / 2
        weights = np.linalg.solve(squares + RIDGE * np.eye(len(squares)), with_values)
        mean = float(squares[0] @ weights) / self.count
        spread = DEVIATIONS * max(float(weights @ squares @ weights) / self.count - mean**2, 0.0) ** 0.5
        self._weights = weights.tolist()
        self.least, self.most = min(max(0.0, mean - spread), 1.0), max(min(1.0, mean + spread), 0.0)
