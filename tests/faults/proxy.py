"""The bad line: a TCP proxy between a site and HQ's broker that can be cut, slowed, blocked and garbled while it runs.

It runs in a thread of its own with an event loop; everything that a test calls is safe from any thread. Bytes that
were read are either passed on in order, or their connection is dead: the proxy never lets a stream go on with a hole
in it, because TCP does not either.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["up", "down"]
"""up: from the site to HQ."""

CHUNK_BYTES = 16 << 10
QUEUED_CHUNKS = 64


@dataclass
class Line:
    """How the line is now. `bytes_per_s` 0: no limit. What is held is passed on once the line is itself again; what is
    swallowed kills its connection without a word to either end."""

    refusing: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    held: frozenset[Direction] = frozenset()
    swallowed: frozenset[Direction] = frozenset()
    garbled: frozenset[Direction] = frozenset()
    cut_inside: frozenset[Direction] = frozenset()


@dataclass(eq=False)
class _Connection:
    """Both ends of one connection, and the directions in which nothing passes any more."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    dead: set[Direction] = field(default_factory=set)

    def reset(self) -> None:
        """End both ends with RST."""
        for writer in (self.near, self.far):
            taken = writer.get_extra_info("socket")
            if taken is not None:
                with contextlib.suppress(OSError):
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target_port` there."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self.line = Line()
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        """Bytes that came from either end."""
        self.target_port = target_port
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Cut everything and end."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def set(self, line: Line) -> None:
        """Make the line like this from now on."""
        self.line = line

    def heal(self) -> None:
        """Make the line good again. Connections that lost bytes stay dead until their ends notice."""
        self.line = Line()

    def cut(self) -> None:
        """End every connection with RST; new ones are taken unless the line refuses them."""
        self._call(self._cut())

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return len(self._connections)

    # ---- in the loop -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        ours = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not ours]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # an aborted transport closes its socket one turn of the loop later

    async def _cut(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _serve(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            if self.line.refusing:
                raise ConnectionRefusedError
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            near.transport.abort()
            return
        connection = _Connection(near, far)
        self._connections.add(connection)
        ways = (
            asyncio.ensure_future(self._pass(connection, near_reader, far, "up")),
            asyncio.ensure_future(self._pass(connection, far_reader, near, "down")),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            connection.reset()
            self._connections.discard(connection)

    async def _pass(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction
    ) -> None:
        """Pass bytes on in one direction until an end closes."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        writing = asyncio.ensure_future(self._write(connection, queue, writer, way))
        try:
            while data := await reader.read(CHUNK_BYTES):
                self.passed[way] += len(data)
                await queue.put((self._loop.time() + self.line.delay_s, data))
            await queue.put((self._loop.time(), b""))
            await writing
        except OSError:
            return
        finally:
            writing.cancel()

    async def _write(
        self,
        connection: _Connection,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
        way: Direction,
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due_s, data = await queue.get()
                await asyncio.sleep(max(0.0, due_s - self._loop.time()))
                while way in self.line.held:
                    await asyncio.sleep(0.05)
                if not data:
                    return
                if way in self.line.swallowed:
                    connection.dead.add(way)
                if way in connection.dead:
                    continue
                if way in self.line.garbled:
                    data = _garble(data)
                if way in self.line.cut_inside:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    connection.reset()
                    return
                if self.line.bytes_per_s:
                    await self._trickle(writer, data)
                else:
                    writer.write(data)
                await writer.drain()

    async def _trickle(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Write at the line's rate, which may change meanwhile."""
        while data and self.line.bytes_per_s:
            size = max(1, int(self.line.bytes_per_s / 20))
            writer.write(data[:size])
            data = data[size:]
            await asyncio.sleep(0.05)
        writer.write(data)


def _garble(data: bytes) -> bytes:
    """The same bytes with one bit flipped in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]
