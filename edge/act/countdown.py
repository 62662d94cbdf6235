"""Fires the actions whose countdown has ended, performs those that were accepted, expires those nobody answered.

An action first moves to `fired` or `accepted` in the journal, then is performed, then moves to `done`: killed in
between, it is performed after the restart, under the same id.
"""

import threading
import time

import structlog

from edge.act.channels import Channels
from edge.errors import Conflict, JournalError
from edge.events import GATEWAY, Action, State, now_us
from edge.store.journal import Journal

RETRY_S = 5.0
LOOK_S = 0.5
BREATH_S = 0.05  # between two looks: readings are committed a hundred times a second

log = structlog.get_logger()


class Countdown:
    """The thread that acts."""

    def __init__(self, journal: Journal, channels: Channels) -> None:
        self._journal = journal
        self._channels = channels
        self._retry_at: dict[str, float] = {}
        self._running = True
        self._thread = threading.Thread(target=self._run, name="countdown")

    def start(self) -> None:
        """Begin to act."""
        self._thread.start()

    def stop(self) -> None:
        """End after the action under way."""
        self._running = False
        self._journal.wake()
        self._thread.join()

    def settle(self) -> None:
        """Act on everything that is due now."""
        for action, state in self._journal.pressing_actions(now_us()):
            try:
                self._attend(action, state)
            except Conflict as conflict:
                log.info("somebody was quicker", action=action.id, reason=str(conflict))

    def _run(self) -> None:
        while self._running:
            seen = self._journal.commits
            try:
                self.settle()
            except JournalError as error:  # the disk is full: what is due waits, and is done when there is room again
                log.error("actions wait", reason=str(error))
                time.sleep(LOOK_S)
            time.sleep(BREATH_S)
            self._journal.wait(seen, LOOK_S)

    def _attend(self, action: Action, state: State) -> None:
        now = now_us()
        if state == "proposed":
            if action.fires_at is not None and action.fires_at <= now:
                self._journal.move(action.id, "fired", GATEWAY).result()
                self._perform(action)
            elif action.due <= now:
                self._journal.move(action.id, "expired", GATEWAY, "nobody answered in time").result()
        elif action.channel != "card":
            self._perform(action)

    def _perform(self, action: Action) -> None:
        if self._retry_at.get(action.id, 0.0) > time.monotonic():
            return
        try:
            self._channels.perform(action)
        except OSError as error:  # ConnectionError is one of them
            if action.due <= now_us():
                self._journal.move(action.id, "failed", GATEWAY, str(error)).result()
            else:
                self._retry_at[action.id] = time.monotonic() + RETRY_S
            return
        self._retry_at.pop(action.id, None)
        self._journal.move(action.id, "done", GATEWAY).result()
