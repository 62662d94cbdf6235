"""Keeps the outbox within its budget while the gateway runs (edge/store/retention.py says what goes), and the journal's
copy of the site's files as they are."""

import threading

import structlog

from edge.errors import JournalError
from edge.events import now_us
from edge.site import Site
from edge.store.belongings import keep_files
from edge.store.journal import Journal
from edge.store.linkdb import read_link
from edge.store.retention import budget_of, trim

SWEEP_S = 10.0
PAUSE_S = 0.05  # between two steps, so that the sources and the pipeline are not held up

log = structlog.get_logger()


class Upkeep:
    """The thread that sweeps."""

    def __init__(self, site: Site, journal: Journal) -> None:
        self._site = site
        self._journal = journal
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep")

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping.set()
        self._thread.join()

    def step(self) -> bool:
        """One bounded step; False when nothing was left to do. Raises JournalError when it cannot be written."""
        known = read_link(self._site.link_db)
        settings = self._site.settings.outbox
        budget = budget_of(settings)
        return self._journal.write(
            lambda connection: trim(connection, known, budget, settings.keep_delivered_days, now_us())
        ).result()

    def _run(self) -> None:
        wait_s = SWEEP_S
        while not self._stopping.wait(wait_s):
            try:
                wait_s = PAUSE_S if self.step() else SWEEP_S
                keep_files(self._journal, self._site.folder)
            except JournalError as error:  # the disk is full: what is to go waits too
                log.error("the outbox cannot be swept", reason=str(error))
                wait_s = SWEEP_S
