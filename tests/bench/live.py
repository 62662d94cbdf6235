"""Live calls: how long after a telling word its card is on somebody's screen, with 1, 2, 4 and 8 calls at once."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from edge.site import SAMPLE
from tests.bench.figure import Figure
from tests.bench.site import running, sample_site
from tests.waiting import free_port

CALLS = tuple(map(int, os.environ.get("BENCH_CALLS", "1 2 4 8").split()))
SECONDS = int(os.environ.get("BENCH_SECONDS", "120"))
PIECE_S = 0.06
TARGETS_S = {"p95": 0.380, "p99": 0.500}
TARGET_CALLS = 4


def measure() -> Iterator[Figure]:
    """The sample's call, both legs, paced as it was spoken, by so many callers at once who begin one by one."""
    sound, rate_hz = soundfile.read(SAMPLE / "inbox" / "hoist-quote.flac", dtype="int16")
    for calls in CALLS:
        with sample_site(inbox=False) as (folder, page):
            port = free_port()
            with (folder / "site.toml").open("a") as settings:
                settings.write(f"[live]\nvosk_port = {port}\n")
            with running(folder, page) as (gateway, _):
                asyncio.run(_call(port, 1, sound[: 12 * rate_hz], rate_hz))  # so that the model is loaded
                began_s, cpu_s = time.time(), _cpu_s(gateway.pid)
                with _Screen(page) as screen:
                    asyncio.run(_call(port, calls, sound[: SECONDS * rate_hz], rate_hz))
                    share = (_cpu_s(gateway.pid) - cpu_s) / (time.time() - began_s)
                    late_s = screen.late_s(began_s)
        yield from _figures(calls, np.array(late_s), share)


def _figures(calls: int, late_s: NDArray[np.float64], share: float) -> Iterator[Figure]:
    case = f"{calls} live calls, 2 legs each"
    for name, part in {"p50": 50, "p95": 95, "p99": 99}.items():
        value = float(np.percentile(late_s, part)) if len(late_s) else float("nan")
        target = TARGETS_S.get(name) if calls == TARGET_CALLS else None
        yield Figure(
            bench="live",
            case=case,
            metric=f"end of the word → card, {name} of {len(late_s)}",
            value=1000 * value,
            unit="ms",
            target=None if target is None else f"≤ {1000 * target:.0f} ms",
            ok=None if target is None else value <= target,
        )
    yield Figure(bench="live", case=case, metric="CPU of the daemon", value=100 * share, unit="% of a core")


def _cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _call(port: int, calls: int, sound: NDArray[np.int16], rate_hz: int) -> None:
    """So many calls with both legs, each a little later than the one before."""

    name = time.time_ns()

    async def leg(number: int, track: int) -> None:
        await asyncio.sleep(0.7 * number)
        channel = ("agent", "customer")[track]
        query = f"/?call={name}-{number}&channel={channel}&customer={name}-{number}&language=en"
        async with connect(f"ws://127.0.0.1:{port}{query}") as socket:
            await socket.send(msgspec.json.encode({"config": {"sample_rate": rate_hz}}).decode())
            step = round(PIECE_S * rate_hz)
            began_s = time.monotonic()
            for first in range(0, len(sound), step):
                due_s = began_s + (first + step) / rate_hz
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                await socket.send(sound[first : first + step, track].tobytes())
                await socket.recv()
            await socket.send('{"eof" : 1}')
            await socket.recv()

    await asyncio.gather(*(leg(number, track) for number in range(calls) for track in (0, 1)))


class _Screen:
    """Somebody who looks at the cards as they come."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: dict[str, tuple[float, str, float]] = {}
        self._client = httpx.Client(timeout=None)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Screen":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def late_s(self, since_s: float) -> list[float]:
        """By decision, how long after the end of its last word its first card was there."""
        calls = {call["id"]: call["at"] / 1e6 for call in httpx.get(f"{self._url}/api/calls?limit=100").json()}
        return [
            seen_s - calls[event_id] - end_s
            for seen_s, event_id, end_s in self._seen.values()
            if event_id in calls and calls[event_id] >= since_s
        ]

    def _look(self) -> None:
        kind = ""
        try:
            with self._client.stream("GET", f"{self._url}/api/stream") as stream:
                for line in stream.iter_lines():
                    if line.startswith("event:"):
                        kind = line[6:].strip()
                    elif line.startswith("data:") and kind == "card":
                        self._card(msgspec.json.decode(line[5:]))
        except (httpx.HTTPError, RuntimeError):
            return

    def _card(self, card: dict[str, object]) -> None:
        evidence = card["evidence"]
        assert isinstance(evidence, list)
        if card["state"] == "proposed" and evidence and evidence[0].get("kind") == "spoken":
            self._seen.setdefault(
                str(card["decision_id"]), (time.time(), str(evidence[0]["event_id"]), float(evidence[0]["end_s"]))
            )
