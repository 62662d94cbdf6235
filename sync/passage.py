"""How far one lane of one epoch has come on its way to HQ: what may be sent next, and when to send again.

It works as TCP does: several envelopes are under way at once, HQ acknowledges the last number up to which it has
everything, and silence means to start again behind that number, with one envelope at a time and ever longer waits,
so that a broker whose HQ is away does not fill up with repeats.
"""

import math
from collections import deque

from sync.protocol import Ack

WINDOW = 16
"""Envelopes under way at once, at most."""
FIRST_TIMEOUT_S = 5.0
LONGEST_TIMEOUT_S = 300.0


class Passage:
    """Numbers up to `acked` are at HQ, those up to `sent` under way. Times are seconds of a monotonic clock."""

    def __init__(self, acked: int = 0) -> None:
        self.acked = acked
        self.sent = acked
        self._under_way: deque[int] = deque()
        self._silences = 0
        self._deadline = math.inf
        self._gap_at = -1

    def has_room(self) -> bool:
        """Whether one more envelope may leave."""
        return len(self._under_way) < (1 if self._silences else WINDOW)

    def leave(self, last_seq: int, now_s: float) -> None:
        """An envelope that ends at `last_seq` left."""
        self.sent = last_seq
        self._under_way.append(last_seq)
        if self._deadline == math.inf:
            self._wait(now_s)

    def hear(self, ack: Ack, now_s: float) -> bool:
        """HQ acknowledged; True if `acked` changed. HQ's word counts, backwards too when it misses rows."""
        if ack.last_seq > self.acked:
            self.acked = ack.last_seq
            self.sent = max(self.sent, self.acked)
            while self._under_way and self._under_way[0] <= self.acked:
                self._under_way.popleft()
            self._silences = 0
            self._gap_at = -1
            self._wait(now_s)
            if ack.resend:
                self._go_back(self.acked)
            return True
        # Every envelope behind a gap makes HQ ask; the first time is enough until something changes.
        if ack.resend and ack.last_seq != self._gap_at:
            changed = ack.last_seq != self.acked
            self._go_back(ack.last_seq)
            return changed
        return False

    def expire(self, now_s: float) -> bool:
        """True if HQ has been silent for too long: then everything after `acked` is to be sent again."""
        if now_s < self._deadline:
            return False
        self._silences += 1
        self.restart()
        return True

    def restart(self) -> None:
        """Forget what is under way: the connection that carried it is lost."""
        self._go_back(self.acked)
        self._gap_at = -1

    def _go_back(self, seq: int) -> None:
        self.acked = self.sent = self._gap_at = seq
        self._under_way.clear()
        self._deadline = math.inf

    def _wait(self, now_s: float) -> None:
        timeout_s = min(LONGEST_TIMEOUT_S, FIRST_TIMEOUT_S * 2 ** min(self._silences, 16))
        self._deadline = now_s + timeout_s if self._under_way else math.inf
