"""Somebody on a live call, over vosk-server's protocol, both legs paced as they were spoken."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from edge.site import SAMPLE

PIECE_S = 0.06
CHANNELS = ("agent", "customer")


def sample_sound(seconds: float, name: str = "hoist-quote.flac") -> tuple[NDArray[np.int16], int]:
    """The beginning of one of the sample's calls, agent and customer apart, and its rate in Hz."""
    sound, rate_hz = soundfile.read(SAMPLE / "inbox" / name, dtype="int16")
    return sound[: round(seconds * rate_hz)], rate_hz


async def call(
    port: int, name: str, sound: NDArray[np.int16], rate_hz: int, answered: Callable[[float], object] = lambda _: None
) -> None:
    """A call from its first piece to its last result. `answered` hears of each piece how many seconds it took from
    when it was due until it was answered: what the caller had to wait."""

    async def leg(track: int, channel: str) -> None:
        query = f"/?call={name}&channel={channel}&customer={name}&language=en"
        async with connect(f"ws://127.0.0.1:{port}{query}", open_timeout=60, ping_timeout=None) as socket:
            await socket.send(msgspec.json.encode({"config": {"sample_rate": rate_hz}}).decode())
            step = round(PIECE_S * rate_hz)
            began_s = time.monotonic()
            for first in range(0, len(sound), step):
                due_s = began_s + (first + step) / rate_hz
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                await socket.send(sound[first : first + step, track].tobytes())
                await socket.recv()
                answered(time.monotonic() - due_s)
            await socket.send('{"eof" : 1}')
            await socket.recv()

    await asyncio.gather(*(leg(track, channel) for track, channel in enumerate(CHANNELS)))
