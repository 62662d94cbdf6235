"""When the link asks HQ what it has, and what counts as the answer.

HQ's Have is the truth of a moment; what HQ acknowledged after the question was asked is true beside it. Each question
has a name of its own, so that an answer to another one, perhaps repeated by somebody, is not taken for it.
"""

import math
import random
import uuid
from collections.abc import Iterable

from sync.linkdb import Place
from sync.protocol import Held, Taken
from sync.ranges import Ranges

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 300.0
FRESH_S = 900.0
"""How old HQ's whole word may get."""
MOST_PENDING = 4
"""Questions whose answers are still waited for: an answer may take longer than the first wait."""


class Introduction:
    """The questions of one connection. Times are seconds of a monotonic clock."""

    def __init__(self, wait_s: float = FIRST_WAIT_S) -> None:
        self.name = ""
        self.unanswered = 0
        self._wait_s = wait_s
        self._due_s = -math.inf
        self._pending: dict[str, dict[Place, Ranges]] = {}

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to ask (again)."""
        return now_s >= self._due_s

    def hurry(self) -> None:
        """Ask at the next opportunity."""
        self._wait_s = FIRST_WAIT_S
        self._due_s = -math.inf

    def begin(self, now_s: float) -> str:
        """Ask now; gives the name of the question."""
        self.name = uuid.uuid4().hex
        self.unanswered += 1
        self._pending[self.name] = {}
        while len(self._pending) > MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self._due_s = (
            now_s + random.uniform(self._wait_s / 2, self._wait_s) if self.unanswered > 1 else (now_s + self._wait_s)
        )
        self._wait_s = min(LONGEST_WAIT_S, 2 * self._wait_s)
        return self.name

    def take(self, taken: Taken) -> None:
        """HQ acknowledged these numbers."""
        place, run = (taken.epoch, taken.lane), Ranges(((taken.first_seq, taken.last_seq),))
        for since in self._pending.values():
            since[place] = since.get(place, Ranges()) | run

    def answer(self, name: str, held: Iterable[Held], now_s: float) -> dict[Place, Ranges] | None:
        """What HQ has, if this answers a question of ours that no later answer has overtaken; else None."""
        since = self._pending.get(name)
        if since is None:
            return None
        has = {(lane.epoch, lane.lane): Ranges(lane.runs) for lane in held}
        for place, run in since.items():
            has[place] = has.get(place, Ranges()) | run
        for older in list(self._pending):
            del self._pending[older]
            if older == name:
                break
        self.unanswered = 0
        self._wait_s = FIRST_WAIT_S
        self._due_s = now_s + random.uniform(0.9 * FRESH_S, FRESH_S)
        return has
