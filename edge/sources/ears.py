"""The thread that listens for live calls: an event loop with the servers that site.toml names."""

import asyncio
import threading
from uuid import UUID

from websockets.asyncio.server import Server

from edge.errors import MissingPart
from edge.site import Live
from edge.sources.audiosocket import AudioSocket
from edge.sources.live import About, LiveCalls
from edge.sources.vosk_server import VoskServer


class Ears:
    """Listens for live calls until `stop`."""

    def __init__(self, calls: LiveCalls, settings: Live) -> None:
        self._calls = calls
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="ears")

    def start(self) -> None:
        """Begin to listen. Raises MissingPart when a port is taken."""
        self._thread.start()
        self._started.wait()
        if self._problem:
            self._thread.join()
            raise MissingPart(self._problem)

    def stop(self) -> None:
        """End every leg, and listen no more."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def register(self, uuid: UUID, about: About) -> None:
        """What is known of the leg that will come with this UUID."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._calls.register, uuid, about)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        settings = self._settings
        servers: list[asyncio.Server | Server] = []
        try:
            if settings.vosk_port is not None:
                servers.append(await VoskServer(self._calls, settings).start(settings.host, settings.vosk_port))
            if settings.audiosocket_port is not None:
                servers.append(await AudioSocket(self._calls, settings).start(settings.host, settings.audiosocket_port))
        except OSError as fault:
            self._problem = f"{settings.host}: a port of [live] cannot be used ({fault}); set another, or end its user."
            for server in servers:
                server.close()
            self._started.set()
            return
        self._started.set()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._calls.keep_on_disk())
            await self._stopping.wait()
            keeping.cancel()
        self._calls.end()
        for server in servers:
            server.close()
            await server.wait_closed()
