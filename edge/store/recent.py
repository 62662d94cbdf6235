"""The newest readings, from their commit until they are taken: what saves reading them back from the disk.

The journal remains the queue. Nothing is here before it is committed, all of it is in the journal as well, and whoever
asks for what is not all here is sent there.
"""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

from edge.events import Event, Reading

VALUES_KEPT = 200_000  # numbers in all readings, about 15 MB


class Recent:
    """Readings by their place in the journal, at most about `limit` numbers of them."""

    def __init__(self, limit: int = VALUES_KEPT) -> None:
        self._limit = limit
        self._events: deque[tuple[int, Event]] = deque()
        self._values = 0
        self._since: int | None = None  # every reading after this event is here; None: not known yet
        self._lock = threading.Lock()

    def add(self, readings: Sequence[tuple[int, Event]]) -> None:
        """These were committed, and no other after those before."""
        if not readings:
            return
        with self._lock:
            if self._since is None:
                self._since = readings[0][0] - 1
            self._events.extend(readings)
            self._values += sum(_size(event) for _, event in readings)
            while self._values > self._limit:
                self._drop()

    def after(self, seq: int, limit: int) -> list[tuple[int, Event]] | None:
        """The next readings after an event; None when that is for the journal to say. Those up to it may go."""
        with self._lock:
            if self._since is None or seq < self._since:
                return None
            while self._events and self._events[0][0] <= seq:
                self._drop()
            return list(islice(self._events, limit))

    def _drop(self) -> None:
        self._since, event = self._events.popleft()
        self._values -= _size(event)


def _size(event: Event) -> int:
    return len(event.data.values) if isinstance(event.data, Reading) else 0
