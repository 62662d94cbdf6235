"""Lets happen what happens to actions by itself: asks again, escalates, fires, expires, carries out and takes back.

What is to happen is a timer in the journal (edge/store/timers.py). An action first moves to `fired` or `accepted` in
the journal, then is performed, then moves to `done`: killed in between, it is performed after the restart, under the
same id. What is carried out within TOGETHER_S shares a commit.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import structlog

from edge.act.channels import Channels
from edge.errors import Conflict, JournalError
from edge.store import timers
from edge.store.journal import Journal
from edge.store.timers import Due

RETRY_S, LONGEST_RETRY_S = 5.0, 300.0
LOOK_S = 0.5
BREATH_S = 0.05  # between two looks: readings are committed a hundred times a second
AT_ONCE = 1_000
TOGETHER_S = 0.05
KEPT_EVERY_S = 10.0
GRACE_US = 10_000_000

log = structlog.get_logger()


class Countdown:
    """The thread that acts."""

    def __init__(self, journal: Journal, channels: Channels) -> None:
        self._journal = journal
        self._channels = channels
        self._faults: dict[str, tuple[str, float]] = {}  # by action why its channel did not take it; the last wait
        self._running = True
        self._kept_s = 0.0
        self._thread = threading.Thread(target=self._run, name="countdown")

    def start(self) -> None:
        """Begin to act. What would have fired while nobody could answer waits a little longer."""
        steady = self._journal.steady
        self._journal.write(lambda connection: timers.grant(connection, steady.now(), GRACE_US)).result()
        self._thread.start()

    def stop(self) -> None:
        """End after the action under way."""
        self._running = False
        self._journal.wake()
        self._thread.join()

    def settle(self) -> None:
        """Act on everything whose time has come."""
        before: list[Due] = []
        while (due := self._journal.due_timers(AT_ONCE)) and due != before:
            before = due
            passing = [
                timer for timer in due if timer.what not in ("perform", "take_back") and not timer.fails_in(timer.state)
            ]
            elapsed = [self._journal.elapse(timer) for timer in passing]  # together: one commit for many
            for one in elapsed:
                try:
                    one.result()
                except Conflict as conflict:
                    log.info("somebody was quicker", reason=str(conflict))
            for written in self._see_to(due):
                written.result()

    def _see_to(self, due: Sequence[Due]) -> list[Future[Any]]:
        """Carry out what is to be carried out, and give up what was not in its time; what is being written of it."""
        written: list[Future[Any]] = []
        carried_out: list[Due] = []
        since_s = time.monotonic()
        for timer in due:
            if timer.what in ("perform", "take_back"):
                put_off = self._carry_out(timer)
                if put_off is None:
                    carried_out.append(timer)
                else:
                    written.append(put_off)
            if time.monotonic() - since_s >= TOGETHER_S:
                written += map(self._journal.carried_out, carried_out)
                carried_out, since_s = [], time.monotonic()
        written += map(self._journal.carried_out, carried_out)
        for timer in due:  # only now: what was carried out at the last moment has not failed
            if timer.fails_in(timer.state):
                why, _ = self._faults.pop(timer.action.id, ("its channel was not reached in time", 0.0))
                written.append(self._journal.fail(timer, why))
        return written

    def _run(self) -> None:
        while self._running:
            seen = self._journal.commits
            try:
                self.settle()
                self._keep_clock()
            except JournalError as error:  # the disk is full: what is due waits, and is done when there is room again
                log.error("actions wait", reason=str(error))
                time.sleep(LOOK_S)
            time.sleep(BREATH_S)
            self._journal.wait(seen, LOOK_S)

    def _keep_clock(self) -> None:
        """While nothing runs by it, the clock need not be kept: an idle gateway writes nothing."""
        if time.monotonic() - self._kept_s >= KEPT_EVERY_S and self._journal.has_timers:
            self._kept_s = time.monotonic()
            self._journal.write(self._journal.steady.keep).result()

    def _carry_out(self, timer: Due) -> Future[None] | None:
        """Carry out what a timer says; when its channel does not take it, the word that it is put off."""
        action = timer.action
        try:
            if timer.what == "perform":
                self._channels.perform(action)
            else:
                self._channels.take_back(action)
        except OSError as error:  # ConnectionError is one of them
            _, waited_s = self._faults.get(action.id, ("", 0.0))
            wait_s = min(max(RETRY_S, 2 * waited_s), LONGEST_RETRY_S)
            if not waited_s:
                log.warning("a channel does not take an action", action=action.id, reason=str(error))
            self._faults[action.id] = (str(error), wait_s)
            return self._journal.put_off(timer, wait_s)
        self._faults.pop(action.id, None)
        return None
