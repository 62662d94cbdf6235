"""The threads that hear: whoever speaks now comes before recordings, and nobody is heard by two threads at once."""

import threading
from collections import deque
from typing import Protocol


class Track(Protocol):
    """Sound on its way to words."""

    @property
    def live(self) -> bool:
        """Whether somebody speaks now."""

    def step(self) -> bool:
        """Hear a little; False when there is no more for now."""


class Crew:
    """As many threads as cores. While somebody speaks live, recordings leave one of them free."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._changed = threading.Condition()
        self._live: deque[Track] = deque()
        self._recordings: deque[Track] = deque()
        self._running: set[Track] = set()
        self._again: set[Track] = set()
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"speech-{number}") for number in range(cores)]
        for thread in self._threads:
            thread.start()

    def put(self, track: Track) -> None:
        """Hear a track until its `step` says that there is no more; one that is put meanwhile is heard again."""
        with self._changed:
            if track in self._running:
                self._again.add(track)
                return
            waiting = self._live if track.live else self._recordings
            if track not in waiting:
                waiting.append(track)
                self._changed.notify()

    def stop(self) -> None:
        """End after the steps under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next() is not None)
                waiting = self._next()
                if self._stopping or waiting is None:
                    return
                track = waiting.popleft()
                self._running.add(track)
            more = track.step()
            with self._changed:
                self._running.discard(track)
                if more or track in self._again:
                    self._again.discard(track)
                    (self._live if track.live else self._recordings).append(track)
                    self._changed.notify()

    def _next(self) -> deque[Track] | None:
        """From where the next track comes; None: there is nothing that may be heard now."""
        if self._live:
            return self._live
        live = sum(track.live for track in self._running)
        recordings = len(self._running) - live
        if self._recordings and recordings < max(1, self._cores - (1 if live else 0)):
            return self._recordings
        return None
