"""HQ's process: broker, receiver and page, started in this order, watched, and ended together."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from sync import log
from sync.broker import Broker
from sync.errors import LinkPartMissing
from sync.hq import page, receiver
from sync.hq.store import Store, store_path
from sync.link import Link

WATCH_S = 0.2
GRACE_S = 3


def run(
    folder: Path,
    page_port: int,
    broker: Broker | tuple[str, int],
    stopping: threading.Event,
    ready: Callable[[str], None],
) -> None:
    """Work until `stopping`; `ready` is told the page's address. `broker` is one to start and watch here, or the host
    and port of one that runs elsewhere. `page_port` 0 takes any free port.

    Raises LinkPartMissing when the broker does not come up or the page's port is taken, and LinkSettingsError when
    the store cannot be used.
    """
    with ExitStack() as parts:
        if isinstance(broker, Broker):
            parts.callback(broker.stop)
            broker.start()
        host, port = ("127.0.0.1", broker.port) if isinstance(broker, Broker) else broker
        store = Store.open(store_path(folder))
        parts.callback(store.close)
        link = Link(receiver.plan(host, port))
        parts.callback(link.close)
        link.start()
        listener = parts.enter_context(_listen(page_port))
        server = _server(folder)
        workers = parts.enter_context(ThreadPoolExecutor(2))
        ending = threading.Event()
        parts.callback(setattr, server, "should_exit", True)
        parts.callback(ending.set)
        working = (
            workers.submit(receiver.receive, link, store, ending),
            workers.submit(server.run, [listener]),
        )
        ready(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        while not stopping.wait(WATCH_S):
            for work in working:
                if work.done():
                    work.result()
                    raise LinkPartMissing("a part of HQ ended by itself; its last lines above say more.")
            if isinstance(broker, Broker) and broker.pid is None:
                log.warning("the broker ended and is started again")
                broker.start()


def _server(folder: Path) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            page.build(store_path(folder)),
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        raise LinkPartMissing(f"port {port} on 127.0.0.1 is taken; choose another for the page with --port.") from None
