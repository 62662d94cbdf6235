"""The newest readings, from their commit until they are taken: what saves reading them back from the disk.

The journal remains the queue. Nothing is here before it is committed, all of it is in the journal as well, and whoever
asks for what is not all here is sent there.
"""

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter

import msgspec

from edge.events import Event, Reading

Numbered = tuple[int, Event]  # its place in the journal, and a reading

VALUES_KEPT = 200_000  # numbers in all readings, about 15 MB


class _Commit(msgspec.Struct, frozen=True):
    """Readings that were committed together, and how many numbers they hold."""

    readings: Sequence[Numbered]
    values: int


class Recent:
    """The newest commits with at most `limit` numbers in their readings."""

    def __init__(self, limit: int = VALUES_KEPT) -> None:
        self._limit = limit
        self._commits: deque[_Commit] = deque()
        self._values = 0
        self._since: int | None = None  # every reading after this event is here; None: not known yet
        self._lock = threading.Lock()

    def add(self, readings: Sequence[Numbered]) -> None:
        """These were committed, and no other after those before."""
        if not readings:
            return
        commit = _Commit(readings, sum([_size(event) for _, event in readings]))
        with self._lock:
            if self._since is None:
                self._since = readings[0][0] - 1
            self._commits.append(commit)
            self._values += commit.values
            while self._values > self._limit:
                self._drop()

    def after(self, seq: int, limit: int) -> list[Numbered] | None:
        """The next readings after an event; None when that is for the journal to say. Those up to it may go."""
        with self._lock:
            if self._since is None or seq < self._since:
                return None
            while self._commits and self._commits[0].readings[-1][0] <= seq:
                self._drop()
            found: list[Numbered] = []
            for commit in self._commits:
                begin = bisect_right(commit.readings, seq, key=itemgetter(0))
                found += commit.readings[begin : begin + limit - len(found)]
                if len(found) == limit:
                    break
            return found

    def _drop(self) -> None:
        commit = self._commits.popleft()
        self._since = commit.readings[-1][0]
        self._values -= commit.values


def _size(event: Event) -> int:
    return len(event.data.values) if isinstance(event.data, Reading) else 0
