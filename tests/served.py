"""The gateway's real HTTP interface on a free loopback port, for the tests of all that talk to it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.health import Health, Waiting
from edge.store.journal import Journal
from edge.web.app import create_app
from edge.web.parts import WebParts
from edge.web.server import Server
from tests.site_fixture import TITLES

HEALTHY = Health(ready=True, outbox=Waiting(now=3, day=41), refusals=2, calls_waiting=1)


def parts_of(journal: Journal, audio: Path, health: Callable[[], Health] = lambda: HEALTHY) -> WebParts:
    """A site around a journal."""
    return WebParts(
        journal=journal,
        site_name="red-ridge",
        language="en",
        version="0.1.0",
        hosts=("gateway.local",),
        audio=audio,
        packs=(("vosk-model-en", "0.3.70"), ("call-signals", "1.0"), ("device-anomaly", "1.0")),
        titles=TITLES,
        health=health,
    )


@contextmanager
def served(parts: WebParts) -> Iterator[str]:
    """Serve until the block ends; gives the address, such as http://127.0.0.1:40123."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(create_app(parts), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive(), "the server did not stop"
