"""Live sound as Asterisk sends it: AudioSocket over TCP (https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/).

A frame is a byte that says what it is, two bytes (big-endian) that say how long its payload is, and the payload. The
first is the UUID under which the leg may have been registered; then comes 16-bit little-endian mono sound until a
hang-up, an error, or the end of the connection.
"""

import asyncio
from uuid import UUID

import structlog

from edge.site import Live
from edge.sources.live import Declined, LiveCalls
from edge.store.sound import SAMPLE_BYTES, Leg

HEADER_BYTES = 3
HANG_UP, NAME, DIGIT, ERROR = 0x00, 0x01, 0x03, 0xFF
RATES_HZ = {0x10: 8_000, 0x11: 12_000, 0x12: 16_000, 0x13: 24_000, 0x14: 32_000, 0x15: 44_100, 0x16: 48_000}
ERRORS = {0x01: "hang-up of the calling party", 0x02: "a frame could not be forwarded", 0x04: "out of memory"}

log = structlog.get_logger()


class AudioSocket:
    """Takes legs over TCP."""

    def __init__(self, calls: LiveCalls, settings: Live) -> None:
        self._calls = calls
        self._settings = settings

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; raises OSError when the port is taken."""
        return await asyncio.start_server(self._serve, host, port, limit=1 << 17)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        leg: Leg | None = None
        try:
            uuid = await self._named(reader)
            while True:
                kind, payload = await self._frame(reader)
                if kind in RATES_HZ:
                    leg = leg or await self._calls.join(self._calls.registered(uuid), RATES_HZ[kind])
                    if RATES_HZ[kind] != leg.info.rate_hz or len(payload) % SAMPLE_BYTES:
                        raise Declined("a leg that changes its sample rate, or sends half a sample")
                    if payload:
                        self._calls.append(leg, payload)
                elif kind == ERROR:
                    reason = ERRORS.get(payload[0] if payload else 0, "it does not say which")
                    log.warning("Asterisk tells of an error", leg=str(uuid), reason=reason)
                elif kind != DIGIT:
                    break
        except Declined as declined:
            log.warning("a leg is not taken", reason=str(declined))
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            pass  # hung up, in the middle of a frame or not
        finally:
            if leg is not None:
                self._calls.leave(leg)
            if not writer.is_closing():
                writer.write(bytes(HEADER_BYTES))  # a hang-up
            writer.close()

    async def _named(self, reader: asyncio.StreamReader) -> UUID:
        kind, payload = await self._frame(reader)
        if kind != NAME or len(payload) != 16:
            raise Declined("what connected does not begin with a UUID; it does not speak AudioSocket")
        return UUID(bytes=payload)

    async def _frame(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        async with asyncio.timeout(self._settings.silent_seconds):
            header = await reader.readexactly(HEADER_BYTES)
            return header[0], await reader.readexactly(int.from_bytes(header[1:], "big"))
