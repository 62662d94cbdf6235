"""Watches the running gateway: looks at its parts when the page asks, and tells systemd that it is alive."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from edge import replica
from edge.children import Child
from edge.health import BusState, ChildState, Health, Measures, Readiness, Waiting
from edge.pipeline import Pipeline
from edge.site import Site
from edge.sources.bus import Bus
from edge.store.database import number
from edge.store.journal import Journal
from edge.store.linkdb import read_link
from edge.store.retention import places
from edge.store.room import Room


class HealthLook:
    """Looks at the parts of the gateway, each time it is asked."""

    def __init__(
        self,
        journal: Journal,
        site: Site,
        room: Room,
        pipeline: Pipeline,
        bus: Bus | None,
        children: Sequence[Child],
    ) -> None:
        self._journal = journal
        self._site = site
        self._room = room
        self._pipeline = pipeline
        self._bus = bus
        self._children = children

    def now(self) -> Health:
        """The gateway at this moment; reads the journal, so call it in a thread."""
        connection = self._journal.readers.connection()
        shut = self._room.shut()
        no_room = shut or self._room.warning()
        told = [*self._stopped(), *([no_room] if no_room else []), *self._pipeline.put_off, *self._missing()]
        return Health(
            ready=self._pipeline.alive,
            accepting=not shut,
            problems=tuple(dict.fromkeys(told)),
            readings_behind=number(
                connection,
                "SELECT count(*) FROM events WHERE kind = 'reading' "
                "AND seq > coalesce((SELECT seq FROM cursors WHERE step = 'reading'), 0)",
            ),
            calls_waiting=number(connection, "SELECT count(*) FROM transcripts WHERE done = 0"),
            writer_waiting=self._journal.waiting_jobs,
            outbox=self._outbox(),
            refusals=number(connection, "SELECT count(*) FROM refusals"),
            replica=replica.look(self._site),
        )

    def readiness(self) -> Readiness:
        """Whether events are accepted and worked on at this moment; reads the journal, so call it in a thread."""
        shut = self._room.shut()
        problems = [*self._stopped(), *([shut] if shut else [])]
        return Readiness(live=self._pipeline.alive, ready=not problems, problems=tuple(problems))

    def measures(self) -> Measures:
        """All that can be measured at this moment; reads the journal, so call it in a thread."""
        word = read_link(self._site.link_db).word
        return Measures(
            health=self.now(),
            readiness=self.readiness(),
            disk_free_bytes=shutil.disk_usage(self._site.data).free,
            journal_bytes=self._site.journal.stat().st_size,
            children=tuple(ChildState(child.name, child.running, max(0, child.starts - 1)) for child in self._children),
            bus=None if self._bus is None else BusState(self._bus.connected, self._bus.let_go),
            hq_heard_at=0 if word is None else word.heard_at,
        )

    def _stopped(self) -> Iterator[str]:
        """Why what was accepted is not worked on, or the journal takes nothing."""
        if not self._pipeline.alive:
            yield "The pipeline has ended, and nothing is concluded any more; see the log, and restart the gateway."
        if self._journal.fault:
            yield self._journal.fault

    def _missing(self) -> Iterator[str]:
        for child in self._children:
            if not child.running:
                yield f"The {child.name} is not running; it is started again by itself, see the log."
        if self._bus is not None and not self._bus.connected:
            bus = self._site.settings.bus
            assert bus is not None
            yield f"The device bus at {bus.host}:{bus.port} does not answer; readings wait at the devices."
        if self._bus is not None and self._bus.let_go:
            yield (
                f"{self._bus.let_go} messages of devices could not wait until there was room, and are lost, as nobody "
                "keeps what is published at QoS 0; let the devices publish at QoS 1."
            )

    def _outbox(self) -> Waiting:
        """The numbers that HQ is not known to have, by lane, in all epochs that still have rows."""
        connection = self._journal.readers.connection()
        known = read_link(self._site.link_db)
        waiting: dict[str, int] = {}
        for place in places(connection):
            newest = number(connection, "SELECT coalesce(max(seq), 0) FROM outbox WHERE epoch = ? AND lane = ?", place)
            runs = known.waiting(place)
            waiting[place[1]] = waiting.get(place[1], 0) + sum(
                max(0, min(last, newest) - first + 1) for first, last in runs
            )
        return Waiting(**waiting)


class Watchdog:
    """Tells systemd that the daemon is ready, and then that it is alive as long as the pipeline is (sd_notify(3))."""

    def __init__(self, look: HealthLook, started: Callable[[], bool]) -> None:
        self._look = look
        self._started = started
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog")

    def start(self) -> None:
        """Begin, if systemd asked for it."""
        if self._address:
            self._thread.start()

    def stop(self) -> None:
        """Say that the daemon is stopping, and end."""
        self._stopping.set()
        if self._address:
            self._thread.join()
            self._tell("STOPPING=1")

    def _run(self) -> None:
        while not self._started() and not self._stopping.wait(0.1):
            pass
        self._tell("READY=1")
        interval_s = int(os.environ.get("WATCHDOG_USEC", "20000000")) / 2e6
        while not self._stopping.wait(interval_s):
            if self._look.now().ready:
                self._tell("WATCHDOG=1")

    def _tell(self, word: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(word.encode(), self._address.replace("@", "\0", 1))
