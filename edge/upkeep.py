"""Keeps the outbox within its budget and makes room on the disk while the gateway runs (edge/store/retention.py and
edge/store/clearing.py say what goes), forgets what was offered long ago (edge/store/known.py), makes recordings of live
calls that have ended, gives other numbers to what HQ cannot take under its own, and keeps the journal's copy of the
site's files as they are, and signs the audit (edge/checkpoints.py). After a fault of the disk it tries whether that is
over. Memory that is free goes back to the system after each sweep."""

import threading
from contextlib import suppress

import apsw
import structlog

from edge.archive import archive
from edge.checkpoints import Checkpoints
from edge.errors import JournalError
from edge.events import now_us
from edge.memory import give_back
from edge.site import Site
from edge.store.belongings import keep_files
from edge.store.clearing import Clearing
from edge.store.journal import Journal
from edge.store.known import forget
from edge.store.linkdb import read_link
from edge.store.outbox import renumber
from edge.store.retention import budget_of, over, trim
from edge.store.room import Room
from edge.store.sound import LiveSound

SWEEP_S = 10.0
PAUSE_S = 0.05  # between two steps, so that the sources and the pipeline are not held up

log = structlog.get_logger()


class Upkeep:
    """The thread that sweeps; it tells `room` when the outbox is full of what may not go."""

    def __init__(self, site: Site, journal: Journal, room: Room, sound: LiveSound) -> None:
        self._site = site
        self._journal = journal
        self._room = room
        self._sound = sound
        self._clearing = Clearing(site, journal, room)
        self._checkpoints = Checkpoints(journal, site.audit_key)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep")

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping.set()
        self._thread.join()
        with suppress(JournalError):  # the disk is full: the next start signs
            self._checkpoints.sign()

    def step(self) -> bool:
        """One bounded step; False when nothing was left to do. Raises JournalError or OSError."""
        # The disk first: where it is full, nothing can be written before something went.
        steps = [self._clearing.step(), archive(self._journal, self._sound, self._site.audio)]
        steps += [self._renumber(), self._trim(), self._journal.write(forget).result()]
        if self._journal.fault:
            self._journal.try_again().result()
        return any(steps)

    def _renumber(self) -> bool:
        contested = read_link(self._site.link_db).contested
        if not contested:
            return False
        rows = self._journal.write(lambda connection: renumber(connection, contested)).result()
        if rows:
            log.warning("HQ holds records of another box under numbers of this one; they got others", records=rows)
        return bool(rows)

    def _trim(self) -> bool:
        known = read_link(self._site.link_db)
        settings = self._site.settings.outbox
        budget = budget_of(settings)

        def job(connection: apsw.Connection) -> tuple[bool, int]:
            more = trim(connection, known, budget, settings.keep_delivered_days, now_us())
            return more, 0 if more else over(connection, budget).get("total", 0)

        more, self._room.outbox_excess = self._journal.write(job).result()
        return more

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                wait_s = PAUSE_S if self.step() else SWEEP_S
                self._checkpoints.step()
                keep_files(self._journal, self._site.folder)
                give_back()
            except (JournalError, OSError) as error:  # the disk is full: what is to go waits too
                log.error("the outbox cannot be swept, or no room be made", reason=str(error))
                wait_s = SWEEP_S
