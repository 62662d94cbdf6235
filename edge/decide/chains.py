"""Which steps together, within the time there is: not "0.83" but "do these three within 17 minutes and it is 0.91".

A step adds to the log-odds of the goal what it is known to add. Each role does one step at a time, so the minutes of a
role's steps add up; roles work beside each other. The search is exact: it goes through the sets of at most `most`
steps, the strongest steps first, and leaves out a set and all that grow from it when even the strongest steps that are
left could not make it better than the best one found. At worst that is n^most / most! sets.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

LEAST_BETTER = 1e-9  # a longer chain must be better, not as good


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A step that could be done: who does it, how many minutes it takes, what it costs, what it adds to the log-odds of
    the goal, between which bounds, whether that is proven by hold-outs."""

    name: str
    role: str
    minutes: float
    cost: float = 0.0
    gain: float
    low: float
    high: float
    proven: bool


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The steps chosen, the probability of the goal after them, when (minutes) the last is done, and how many sets were
    looked at to find them."""

    steps: tuple[Option, ...]
    after: float
    low: float
    high: float
    minutes: float
    looked_at: int


def best_chain(
    before: float,
    options: Sequence[Option],
    within_minutes: float,
    *,
    most: int = 3,
    free_in: Mapping[str, float] = {},
    worth: float = 0.0,
) -> Best:
    """The steps that raise the probability `before` (0 to 1) of the goal most; none when none helps. `free_in` is in
    how many minutes a role can begin (absent: now). With `worth`, what reaching the goal is worth in the unit of the
    costs, the chance that a step adds has to be worth its cost.

    The bounds take each step at its worst, or at its best: they are wider than they would have to be.
    """
    helpful = sorted((one for one in options if one.gain > 0), key=lambda one: -one.gain)
    search = _Search(log_odds(before), helpful, within_minutes, most, free_in, worth)
    search.grow((), 0, 0.0, 0.0, {})
    chosen = search.best
    start = log_odds(before)
    return Best(
        steps=chosen,
        after=odds(start + sum(one.gain for one in chosen)),
        low=odds(start + sum(one.low for one in chosen)),
        high=odds(start + sum(one.high for one in chosen)),
        minutes=max((free_in.get(one.role, 0.0) + _of_role(one.role, chosen) for one in chosen), default=0.0),
        looked_at=search.looked_at,
    )


class _Search:
    """The best set so far, and what it is worth."""

    def __init__(
        self,
        start: float,
        options: Sequence[Option],
        within_minutes: float,
        most: int,
        free_in: Mapping[str, float],
        worth: float,
    ) -> None:
        self._start = start
        self._options = options
        self._within_minutes = within_minutes
        self._most = most
        self._free_in = free_in
        self._worth = worth
        self._reach = _reach([one.gain for one in options], most)
        self.best: tuple[Option, ...] = ()
        self._best_value = odds(start)
        self.looked_at = 0

    def grow(self, chosen: tuple[Option, ...], first: int, gain: float, cost: float, busy: Mapping[str, float]) -> None:
        """Try every larger set that begins with `chosen` and goes on with options from `first` on; `busy` is how many
        minutes each role has to do already."""
        room = self._most - len(chosen)
        for place in range(first, len(self._options)):
            if self._value(gain + self._reach[place][room], cost) <= self._best_value + LEAST_BETTER:
                return  # the options are in order: none that follows reaches further
            self.looked_at += 1
            one = self._options[place]
            minutes = busy.get(one.role, self._free_in.get(one.role, 0.0)) + one.minutes
            if minutes > self._within_minutes:
                continue
            larger = (*chosen, one)
            value = self._value(gain + one.gain, cost + one.cost)
            if value > self._best_value + LEAST_BETTER:
                self.best, self._best_value = larger, value
            if room > 1:
                self.grow(larger, place + 1, gain + one.gain, cost + one.cost, {**busy, one.role: minutes})

    def _value(self, gain: float, cost: float) -> float:
        return odds(self._start + gain) - (cost / self._worth if self._worth else 0.0)


def _reach(gains: Sequence[float], most: int) -> list[list[float]]:
    """By place and number: the sum of so many gains from that place on."""
    return [[sum(gains[place : place + number]) for number in range(most + 1)] for place in range(len(gains))]


def _of_role(role: str, chosen: Sequence[Option]) -> float:
    return sum(one.minutes for one in chosen if one.role == role)


def odds(log_odds_: float) -> float:
    """The probability with these log-odds."""
    return 1 / (1 + math.exp(-log_odds_)) if log_odds_ >= 0 else 1 - 1 / (1 + math.exp(log_odds_))


def log_odds(probability: float) -> float:
    """The log-odds of a probability; of 0 and 1 those of a chance in a thousand."""
    within = min(max(probability, 0.001), 0.999)
    return math.log(within / (1 - within))
