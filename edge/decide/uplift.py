"""What a play does: the difference between those it was done for and those left alone, and how sure that is.

Each outcome lies between 0 and 1 and belongs to a subject that a keyed hash treated with a known probability (1 -
share). An outcome becomes one number whose mean is the effect, whatever the covariates are (augmented inverse
propensity weighting, Robins et al., 1994); what is augmented is foreseen from earlier outcomes only, so the numbers are
as good as if there were no covariates, and closer together where covariates tell something. Over them runs a
confidence sequence by betting (hedged capital; Waudby-Smith and Ramdas, 2024, section 4): it holds at all times at
once, so one may look after every outcome and stop when one likes.

Outcomes that are told of one arm and kept back of the other would lie in any interval. So how many of those told were
treated is held against the share that was drawn, by a test that may be looked at after every outcome, too (the mixture
of likelihood ratios of Robbins, 1970; for sample ratios Lindon and Malek, 2022): when it fails, nothing is claimed.
"""

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

SURE = 0.95
STEADY = 0.5  # the largest part of what one has that is bet
GRID = 401
RIDGE = 1.0
LEAST, GROWN = 10, 1.1  # outcomes of an arm before anything is foreseen, and growth after which it is learnt anew
SUSPECT = 0.001  # how rarely outcomes may seem to be kept back that are not, as many plays are looked at
SUPPOSED = 50.0  # how many outcomes the share that is supposed, if it is not the one drawn, is worth

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


class Always:
    """Confidence sequences of the means of numbers between `least` and `most`: `count` of them side by side, one number
    of each after the other. The bounds hold for each at all times with probability `sure`, and never widen.

    For every mean that is thought possible (a grid over `means`, by default all) somebody bets on higher numbers and
    somebody on lower ones. As long as it is the true mean neither becomes rich but with probability 1 - sure (Ville,
    1939); so what makes one of them rich is not the mean. How much is bet follows from the spread of the numbers
    before."""

    def __init__(
        self, least: float, most: float, count: int = 1, sure: float = SURE, means: tuple[float, float] | None = None
    ) -> None:
        lowest, highest = means or (least, most)
        self._means = np.linspace(lowest, highest, GRID)
        self._least, self._width = least, most - least
        self._possible = (self._means - least) / self._width
        self._most_up = STEADY / np.maximum(self._possible, 1e-9)
        self._most_down = STEADY / np.maximum(1 - self._possible, 1e-9)
        self._rich = np.log(2 / (1.0 - sure))
        self._taken = 0
        self._sum, self._squares = np.zeros((2, count))
        self._up, self._down = np.zeros((2, count, GRID))
        self._left = np.ones((count, GRID), bool)
        self.low, self.high = np.full(count, lowest), np.full(count, highest)

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Take the next number of each."""
        x = (numbers - self._least) / self._width
        variance = (0.25 + self._squares) / (self._taken + 1)
        self._taken += 1
        bet = np.sqrt(2 * self._rich / (variance * self._taken * np.log1p(self._taken)))[:, None]
        apart = x[:, None] - self._possible
        self._up += np.log1p(np.minimum(bet, self._most_up) * apart)
        self._down += np.log1p(-np.minimum(bet, self._most_down) * apart)
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self._taken + 1)) ** 2
        self._left &= np.maximum(self._up, self._down) < self._rich
        self._bound()

    def _bound(self) -> None:
        """Between two means of the grid anything may be true: the bounds are those next to what is left."""
        some = self._left.any(axis=1)
        first, last = self._left.argmax(axis=1), GRID - 1 - self._left[:, ::-1].argmax(axis=1)
        low, high = self._means[np.maximum(first - 1, 0)], self._means[np.minimum(last + 1, GRID - 1)]
        self.low = np.where(some, np.maximum(self.low, low), self.low)
        self.high = np.where(some, np.minimum(self.high, high), self.high)


class Uplift:
    """The effect of one play, outcome after outcome; `share` of the subjects is left alone."""

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise ValueError("Nothing is told of a play that leaves nobody alone, or everybody.")
        self.share = share
        farthest = 1 / min(share, 1 - share)
        self._always = Always(-farthest, farthest, means=(-1.0, 1.0))
        self._arms = {True: Foresight(), False: Foresight()}
        self._sum = 0.0

    def add(self, treated: bool, value: float, covariates: tuple[float, ...] = ()) -> None:
        """Take what came of the next subject: whether it was treated, its outcome (0 to 1), and what was known before,
        each between 0 and 1 and always as many. Raises ValueError when the outcome is none."""
        if not 0 <= value <= 1:
            raise ValueError(f"An outcome lies between 0 and 1; this one is {value}.")
        x = np.array([1.0, *covariates])
        done, left = self._arms[True].of(x), self._arms[False].of(x)
        weight = -1 / self.share if not treated else 1 / (1 - self.share)
        number = done - left + weight * (value - (done if treated else left))
        self._always.add(np.array([number]))
        self._sum += number
        self._arms[treated].learn(x, value)

    @property
    def left_alone(self) -> "Foresight":
        """What is known of those left alone."""
        return self._arms[False]

    @property
    def effect(self) -> Effect:
        """What is known of it now."""
        treated, held_out = self._arms[True].count, self._arms[False].count
        count = treated + held_out
        low, high = max(float(self._always.low[0]), -1.0), min(float(self._always.high[0]), 1.0)
        return Effect(
            mean=min(max(self._sum / count if count else 0.0, -1.0), 1.0),
            low=low,
            high=high,
            treated=treated,
            held_out=held_out,
            without=self._arms[False].mean,
            verdict="suspect" if _is_kept_back(treated, held_out, self.share) else _verdict(low, high),
        )


def _verdict(low: float, high: float) -> Verdict:
    if low > 0:
        return "helps"
    return "harms" if high < 0 else "unproven"


def _is_kept_back(treated: int, held_out: int, share: float) -> bool:
    """Whether so many outcomes of either arm cannot be what was drawn."""
    of_treated, of_held_out = SUPPOSED * (1 - share), SUPPOSED * share
    supposed = _log_beta(of_treated + treated, of_held_out + held_out) - _log_beta(of_treated, of_held_out)
    drawn = treated * math.log(1 - share) + held_out * math.log(share)
    return supposed - drawn > -math.log(SUSPECT)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


class Foresight:
    """What outcomes of an arm are foreseen to be: a ridge regression (Hoerl and Kennard, 1970) on those before."""

    def __init__(self) -> None:
        self._seen: list[tuple[NDArray[np.float64], float]] = []
        self._weights: NDArray[np.float64] | None = None
        self._learnt = 0
        self._sum = 0.0

    @property
    def count(self) -> int:
        """How many outcomes were learnt from."""
        return len(self._seen)

    @property
    def mean(self) -> float | None:
        """Their mean; None: there are none."""
        return self._sum / len(self._seen) if self._seen else None

    def of(self, x: NDArray[np.float64]) -> float:
        """The outcome (0 to 1) that is foreseen for a subject with these covariates, after a 1."""
        return float(np.clip(x @ self._weights, 0.0, 1.0)) if self._weights is not None else 0.5

    def learn(self, x: NDArray[np.float64], value: float) -> None:
        """Learn from an outcome."""
        self._seen.append((x, value))
        self._sum += value
        if len(self._seen) >= max(self._learnt * GROWN, LEAST):
            self._learnt = len(self._seen)
            design = np.stack([one for one, _ in self._seen])
            values = np.array([value for _, value in self._seen])
            penalty = RIDGE * np.eye(design.shape[1])
            penalty[0, 0] = 1e-6
            self._weights = np.linalg.solve(design.T @ design + penalty, design.T @ values)
