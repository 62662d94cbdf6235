"""The gateway's real HTTP interface on a free loopback port, for the tests of all that talk to it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge.decide.experiments import Experiments
from edge.decide.playbook import Playbook
from edge.health import Health, Readiness, Waiting
from edge.orders import Orders
from edge.site import Site, SiteSettings
from edge.store.journal import Journal
from edge.store.outcomes import told
from edge.store.room import Room
from edge.web.app import create_app
from edge.web.parts import WebParts
from edge.web.server import Server
from models.store import SHIPPED, find_pack
from tests.site_fixture import TITLES, Filled, fill

PATIENCE_S = 20.0
HEALTHY = Health(ready=True, outbox=Waiting(now=3, day=41), refusals=2, calls_waiting=1)


def parts_of(
    journal: Journal,
    audio: Path,
    health: Callable[[], Health] = lambda: HEALTHY,
    site: Site | None = None,
    room: Room | None = None,
    readiness: Callable[[], Readiness] = lambda: Readiness(live=True, ready=True),
    playbook: Playbook | None = None,
) -> WebParts:
    """A site around a journal; `site` is its folder, where HQ's orders lie. Effects are those of the outcomes that have
    been told."""
    folder = site or Site(folder=audio.parent, settings=SiteSettings(name="red-ridge"))
    plays = playbook or Playbook(path=folder.playbook, plays={})
    return WebParts(
        journal=journal,
        site_name="red-ridge",
        language="en",
        version="0.1.0",
        hosts=("gateway.local",),
        audio=audio,
        packs=[find_pack(name, SHIPPED).manifest for name in ("call-signals", "device-anomaly")],
        titles={**plays.titles, **TITLES},
        health=health,
        readiness=readiness,
        orders=Orders(folder, journal, lambda: None),
        register=lambda _uuid, _about: None,
        playbook=lambda: plays,
        experiments=lambda: Experiments(told(journal.readers.connection())),
        room=room or Room(journal, folder.settings),
    )


@dataclass(frozen=True)
class Running:
    """A site that is served, what is in its journal, and a client that asks it."""

    url: str
    client: httpx.Client
    journal: Journal
    filled: Filled
    audio: Path


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """The site of tests/site_fixture.py in a folder, served until the block ends; its sounds are not written."""
    journal = Journal(folder / "journal.db")
    try:
        filled = fill(journal)
        parts = parts_of(journal, folder / "audio")
        with served(parts) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            yield Running(url, client, journal, filled, parts.audio)
    finally:
        journal.close()


@contextmanager
def served(parts: WebParts, port: int = 0) -> Iterator[str]:
    """Serve until the block ends, on a port (0: a free one); gives the address, such as http://127.0.0.1:40123."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = Server(create_app(parts), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive(), "the server did not stop"
