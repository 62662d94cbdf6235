"""Live calls: how long after a telling word its card is on somebody's screen, with 1, 2, 4 and 8 calls at once."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bench.caller import call, sample_sound
from edge.bench.figure import Figure
from edge.bench.site import running, sample_site
from edge.bench.waiting import free_port

CALLS = tuple(map(int, os.environ.get("BENCH_CALLS", "1 2 4 8").split()))
SECONDS = int(os.environ.get("BENCH_SECONDS", "120"))
RATE_HZ = 8_000
CALLS_SPOKEN = ("hoist-quote.flac", "gas-complaint.wav")
TARGETS_S = {"p95": 0.380, "p99": 0.500}
TARGET_CALLS = 4


def measure() -> Iterator[Figure]:
    """The sample's two calls, both legs, paced as they were spoken, by so many callers at once who begin one by one."""
    sounds = [sample_sound(SECONDS, name)[0] for name in CALLS_SPOKEN]
    for calls in CALLS:
        with sample_site(inbox=False) as (folder, page):
            port = free_port()
            with (folder / "site.toml").open("a") as settings:
                settings.write(f"[live]\nvosk_port = {port}\n")
            with running(folder, page) as (gateway, _):
                asyncio.run(_calls(port, 1, [sounds[0][: 12 * RATE_HZ]]))  # so that the model is loaded
                began_s, cpu_s = time.time(), _cpu_s(gateway.pid)
                with _Screen(page) as screen:
                    asyncio.run(_calls(port, calls, sounds))
                    share = (_cpu_s(gateway.pid) - cpu_s) / (time.time() - began_s)
                    late_s = screen.late_s(began_s)
                    withdrawn = screen.withdrawn
        yield from _figures(calls, np.array(late_s), share, withdrawn)


def _figures(calls: int, late_s: NDArray[np.float64], share: float, withdrawn: int) -> Iterator[Figure]:
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
    yield Figure(
        bench="live", case=case, metric="cards that the end of the sentence withdrew", value=withdrawn, unit="cards"
    )


def _cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _calls(port: int, calls: int, sounds: Sequence[NDArray[np.int16]]) -> None:
    """So many calls, each a little later than the one before."""
    name = time.time_ns()

    async def one(number: int) -> None:
        await asyncio.sleep(0.7 * number)
        await call(port, f"{name}-{number}", sounds[number % len(sounds)], RATE_HZ)

    await asyncio.gather(*map(one, range(calls)))


class _Screen:
    """Somebody who looks at the cards as they come."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: dict[str, tuple[float, str, dict[str, Any]]] = {}
        self._withdrawn: set[str] = set()
        self._client = httpx.Client(timeout=None)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Screen":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def late_s(self, since_s: float) -> list[float]:
        """By decision, how long after the end of its last word its first card was there: the word's end as the finished
        transcript has it, because of what is still being said the times are not known so well."""
        calls = {call["id"]: call for call in httpx.get(f"{self._url}/api/calls?limit=100").json()}
        late_s = []
        for seen_s, event_id, evidence in self._seen.values():
            if event_id in calls and calls[event_id]["at"] / 1e6 >= since_s:
                page = httpx.get(f"{self._url}/api/calls/{event_id}").json()
                late_s.append(seen_s - page["at"] / 1e6 - _end_s(evidence, page["transcript"]))
        return late_s

    @property
    def withdrawn(self) -> int:
        """How many cards were withdrawn."""
        return len(self._withdrawn)

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
            self._seen.setdefault(str(card["decision_id"]), (time.time(), str(evidence[0]["event_id"]), evidence[0]))
        if card["state"] == "withdrawn":
            self._withdrawn.add(str(card["decision_id"]))


def _end_s(evidence: dict[str, Any], transcript: list[dict[str, Any]]) -> float:
    """When the last word of what a card rests on ended, in seconds of the call."""
    said = (line for line in transcript if line["channel"] == evidence["channel"])
    words = next((line["words"] for line in said if line["end_s"] >= evidence["start_s"] + 0.1 and line["words"]), None)
    if words is None:  # nothing was said after all
        return float(evidence["end_s"])
    return float(words[min(len(words), len(evidence["text"].split())) - 1]["end_s"])
