"""Whose turn it is to travel: `now` first, day before bulk, one end of a backlog before the other, and nobody never.

Turns are counted in bytes, so that shares hold whatever the size of an envelope.
"""

from collections.abc import Collection, Hashable
from typing import Generic, Literal, NamedTuple, TypeVar

from sync.protocol import LANES, Lane

End = Literal["newest", "oldest"]
Key = TypeVar("Key", bound=Hashable)

LANE_WEIGHTS: dict[Lane, int] = {"day": 3, "bulk": 1}
PREFERRED_END_WEIGHT = 3
NOW_TO_OTHERS = 7
"""What `now` may send for each byte of the others while they wait too."""
FIRST_GUESS_BYTES = 2048


class Turn(NamedTuple):
    """Rows of this lane, from this end of what waits in it."""

    lane: Lane
    end: End


class Schedule:
    """Chooses lane and end; `backlog` is the end that has the larger share."""

    def __init__(self, backlog: End) -> None:
        weights: dict[End, int] = {"newest": 1, "oldest": 1}
        weights[backlog] = PREFERRED_END_WEIGHT
        self._lanes: _Shares[Lane] = _Shares(LANE_WEIGHTS)
        self._ends: dict[Lane, _Shares[End]] = {lane: _Shares(weights) for lane in LANES}
        self._owed_bytes = 0.0
        self._other_bytes = FIRST_GUESS_BYTES

    def next(self, waiting: Collection[Lane]) -> Turn:
        """The turn among the lanes in which something waits; there is at least one."""
        others = [lane for lane in waiting if lane != "now"]
        if "now" in waiting and not (others and self._owed_bytes >= self._other_bytes):
            lane: Lane = "now"
        else:
            lane = self._lanes.next(others)
        return Turn(lane, self._ends[lane].next(("newest", "oldest")))

    def left(self, turn: Turn, size_bytes: int, waiting: Collection[Lane]) -> None:
        """An envelope left on this turn, while something waited in the lanes `waiting`."""
        self._ends[turn.lane].charge(turn.end, size_bytes)
        if turn.lane == "now":
            others_wait = any(lane != "now" for lane in waiting)
            self._owed_bytes = self._owed_bytes + size_bytes / NOW_TO_OTHERS if others_wait else 0.0
        else:
            self._lanes.charge(turn.lane, size_bytes)
            self._other_bytes = size_bytes
            self._owed_bytes = max(0.0, self._owed_bytes - size_bytes) if "now" in waiting else 0.0


class _Shares(Generic[Key]):
    """Divides among keys by weight (stride scheduling): next is who has had least for its weight. Who comes back after
    it had nothing to send begins level with the others: it has saved up nothing."""

    def __init__(self, weights: dict[Key, int]) -> None:
        self._weights = weights
        self._had = dict.fromkeys(weights, 0.0)
        self._waited: frozenset[Key] = frozenset()

    def next(self, waiting: Collection[Key]) -> Key:
        stayed = [self._had[key] for key in self._waited.intersection(waiting)]
        level = min(stayed) if stayed else max(self._had.values())
        for key in waiting:
            if key not in self._waited:
                self._had[key] = max(self._had[key], level)
        self._waited = frozenset(waiting)
        return min(waiting, key=lambda key: (self._had[key], -self._weights[key]))

    def charge(self, key: Key, size_bytes: int) -> None:
        self._had[key] += size_bytes / self._weights[key]
