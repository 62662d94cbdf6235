"""What the daemon holds in memory while somebody misbehaves, and what the well-behaved beside him notice of it.

Each case has a daemon of its own that has heard a call already, so that the model is loaded: that is its baseline. A
flood may take `MOST_MB` more, and each leg that is heard `LEG_MB`: with the model and as many legs as are taken that
stays below the 1,200 MB that the shipped unit grants. Environment: BENCH_CASES (names, with commas), BENCH_CHART (a
file: the curves are drawn there).
"""

import asyncio
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import apsw
import msgspec
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from edge.bench.broker import Broker
from edge.bench.bus import PASSWORDS, publishing
from edge.bench.caller import PIECE_S, call, sample_sound
from edge.bench.figure import Figure
from edge.bench.memory import status_mb
from edge.bench.publisher import USER
from edge.bench.site import running, sample_site
from edge.bench.waiting import free_port, until
from edge.site import Live
from edge.store.database import number, open_read_only
from tests.bench.chart import Curve, draw

CHART = os.environ.get("BENCH_CHART", "")
MOST_MB, LEG_MB = 150.0, 35.0
SETTLED_S = 12.0  # a sweep gives back what is free every ten seconds
BESIDE_S = 25.0
SAMPLE_S, LOOK_S = 0.1, 0.005
CALLERS = 500
MESSAGES = 100_000
LARGE_BYTES, LARGE = 20_000_000, 20
AWAY_S = 60.0
BACKLOG_DEVICES, BACKLOG = 1_000, 60_000  # an hour of a thousand devices, a reading a minute
BROKER = "autosave_interval 1000000\nmax_packet_size 100000000\n"


class Course(msgspec.Struct, frozen=True):
    """What a case did: memory before it and in its course, what those beside had to wait (ms), what of theirs or of the
    flood was lost, and the log."""

    before_mb: float
    curve: Curve
    waits_ms: list[float]
    lost: int
    log: Counter[str]
    told: dict[str, float]


class Gateway(msgspec.Struct, frozen=True):
    """A daemon with its ports, its journal, and its broker."""

    live_port: int
    broker: Broker
    journal: apsw.Connection


def measure() -> Iterator[Figure]:
    """By case: memory above the baseline at its highest, what the well-behaved waited and lost, lines in the log."""
    chosen = os.environ.get("BENCH_CASES", ",".join(CASES)).split(",")
    courses = {}
    for name in chosen:
        courses[name] = course = _run(CASES[name])
        yield from _figures(name, course)
    if CHART:
        panels = {f"{name}: MB over {c.before_mb:.0f} before": {"": c.curve} for name, c in courses.items()}
        draw(Path(CHART), panels, " s", columns=2)


def _figures(case: str, course: Course) -> Iterator[Figure]:
    above, most_mb = max(mb for _, mb in course.curve), MOST_MB
    if CASES[case] is five_hundred_calls:
        most_mb += LEG_MB * Live().most_legs
    yield Figure(bench="floods", case=case, metric="memory before", value=course.before_mb, unit="MB")
    yield Figure(
        bench="floods",
        case=case,
        metric="highest above it",
        value=above,
        unit="MB",
        target=f"≤ {most_mb:g} MB",
        ok=above <= most_mb,
    )
    for name, part in {"p50": 50, "p99": 99}.items():
        value = float(np.percentile(course.waits_ms, part))
        yield Figure(
            bench="floods", case=case, metric=f"beside it, {name} of {len(course.waits_ms)}", value=value, unit="ms"
        )
    yield Figure(bench="floods", case=case, metric="lost", value=course.lost, unit="", target="0", ok=not course.lost)
    yield Figure(bench="floods", case=case, metric="log lines", value=course.log.total(), unit=_most(course.log))
    for name, value in course.told.items():
        yield Figure(bench="floods", case=case, metric=name, value=value, unit="")


def _most(log: Counter[str]) -> str:
    return "; ".join(f"{count} × {event}" for event, count in log.most_common(4))


def _run(case: Callable[[Gateway], tuple[list[float], int, dict[str, float]]]) -> Course:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Broker(scratch / "mosquitto", PASSWORDS, site_settings=BROKER))
        folder, page = stack.enter_context(sample_site(inbox=False))
        port = free_port()
        with (folder / "site.toml").open("a") as settings:
            settings.write(f'[bus]\nport = {broker.port}\n[[bus.topics]]\npattern = "mine/{USER}/{{device}}"\n')
            settings.write(f"[live]\nvosk_port = {port}\n")
        secret = folder / "secrets" / "bus.password"
        secret.parent.mkdir(exist_ok=True)
        secret.write_text(PASSWORDS["outstation"])
        log = scratch / "log"
        process, _ = stack.enter_context(running(folder, page, log))
        journal = open_read_only(folder / "data" / "journal.db")
        stack.callback(journal.close)
        asyncio.run(call(port, "first", *sample_sound(8)))
        time.sleep(SETTLED_S)
        before_mb, said = status_mb(process.pid, "VmRSS"), log.stat().st_size
        with _watching(process.pid, before_mb) as curve:
            waits_ms, lost, told = case(Gateway(port, broker, journal))
            time.sleep(SETTLED_S)
        lines = log.read_bytes()[said:].splitlines()
        return Course(before_mb, curve, waits_ms, lost, Counter(map(_event, lines)), told)


def _event(line: bytes) -> str:
    try:
        return str(msgspec.json.decode(line)["event"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "(not a line of the log)"


@contextmanager
def _watching(pid: int, before_mb: float) -> Iterator[list[tuple[float, float]]]:
    """The course of a process's memory above what it was."""
    curve: list[tuple[float, float]] = []
    stopping = threading.Event()

    def watch() -> None:
        began_s = time.monotonic()
        while not stopping.wait(SAMPLE_S):
            curve.append((time.monotonic() - began_s, max(0.0, status_mb(pid, "VmRSS") - before_mb)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield curve
    finally:
        stopping.set()
        thread.join()


# ---- calls -----------------------------------------------------------------------------------------------------------


def a_call_that_floods(gateway: Gateway) -> tuple[list[float], int, dict[str, float]]:
    """A client that sends as fast as it can and reads no answer."""
    return asyncio.run(_beside_a_call(gateway.live_port, lambda: _flood(gateway.live_port)))


def five_hundred_calls(gateway: Gateway) -> tuple[list[float], int, dict[str, float]]:
    """Calls that are opened at once, and speak at the pace of speech if they may."""
    return asyncio.run(_beside_a_call(gateway.live_port, lambda: _crowd(gateway.live_port)))


async def _beside_a_call(
    port: int, flood: Callable[[], Awaitable[dict[str, float]]]
) -> tuple[list[float], int, dict[str, float]]:
    """A call begins, and a second later the flood; lost is what of its pieces was not answered."""
    sound, rate_hz = sample_sound(BESIDE_S)
    waits_s: list[float] = []
    well_behaved = asyncio.create_task(call(port, "beside", sound, rate_hz, waits_s.append))
    await asyncio.sleep(1)
    told = await flood()
    await well_behaved
    pieces = 2 * -(-len(sound) // round(PIECE_S * rate_hz))
    return [1000 * wait_s for wait_s in waits_s], pieces - len(waits_s), told


async def _flood(port: int) -> dict[str, float]:
    sound, _ = sample_sound(30)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /?call=flood HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    payload = sound[:, 1].tobytes()[:60_000]
    frame = b"\x82\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload  # masked by zeros
    sent, until_s = 0, time.monotonic() + BESIDE_S - 5
    try:
        while time.monotonic() < until_s:
            writer.write(frame)
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until_s - time.monotonic()):
                await writer.drain()
            sent += len(frame)
    except (TimeoutError, OSError):
        pass
    writer.transport.abort()
    return {"sent, MB": sent / 2**20}


async def _crowd(port: int) -> dict[str, float]:
    sound, rate_hz = sample_sound(10)
    step = round(PIECE_S * rate_hz)
    outcomes: Counter[str] = Counter()

    async def one(number: int) -> None:
        try:
            async with connect(f"ws://127.0.0.1:{port}/?call=crowd-{number}", open_timeout=60) as socket:
                await socket.send(f'{{"config": {{"sample_rate": {rate_hz}}}}}')
                for first in range(0, len(sound), step):
                    await socket.send(sound[first : first + step, number % 2].tobytes())
                    await socket.recv()
                    await asyncio.sleep(PIECE_S)
                await socket.send('{"eof" : 1}')
                await socket.recv()
            outcomes["heard to their end"] += 1
        except ConnectionClosed as closed:
            outcomes[f"told {closed.rcvd.code if closed.rcvd else 'nothing'}"] += 1
        except (OSError, TimeoutError) as fault:
            outcomes[type(fault).__name__] += 1

    await asyncio.gather(*(one(number) for number in range(CALLERS)))
    return dict(outcomes)


# ---- devices ---------------------------------------------------------------------------------------------------------


def a_device_that_floods(gateway: Gateway) -> tuple[list[float], int, dict[str, float]]:
    """Messages as fast as the broker takes them."""
    with _beside_a_device(gateway) as waits_ms:
        began_s = time.monotonic()
        with publishing(gateway.broker.port, 10, 1) as publisher:
            _let(publisher, MESSAGES)
            until(lambda: _taken(gateway.journal) >= MESSAGES, "all are concluded", 300)
        took_s = time.monotonic() - began_s
    return waits_ms, MESSAGES - _taken(gateway.journal), {"messages/s": MESSAGES / took_s}


def large_payloads(gateway: Gateway) -> tuple[list[float], int, dict[str, float]]:
    """Messages of twenty megabytes, one after the other without a pause."""
    payload = b'{"t":' + b"1" * LARGE_BYTES + b"}"
    with _beside_a_device(gateway) as waits_ms, _client(gateway.broker.port, "large") as client:
        sent = [client.publish(f"mine/{USER}/large", payload, qos=1) for _ in range(LARGE)]
        for message in sent:
            message.wait_for_publish(120)
        time.sleep(BESIDE_S / 2)
    return waits_ms, 0, {"refused": number(gateway.journal, "SELECT count(*) FROM refusals")}


def a_broker_that_vanishes(gateway: Gateway) -> tuple[list[float], int, dict[str, float]]:
    """Killed, away for a while, and back with all that devices kept meanwhile."""

    async def away() -> dict[str, float]:
        gateway.broker.kill()
        await asyncio.sleep(AWAY_S)
        gateway.broker.start()
        return await asyncio.to_thread(backlog)

    def backlog() -> dict[str, float]:
        with closing(open_read_only(Path(gateway.journal.filename))) as journal:
            began_s = time.monotonic()
            with _client(gateway.broker.port, "probe") as client:  # this broker has forgotten who subscribed
                until(lambda: _found(client, journal), "the gateway has found the broker again", 60)
            found_s = time.monotonic()
            with publishing(gateway.broker.port, BACKLOG_DEVICES, 1) as publisher:
                _let(publisher, BACKLOG)
                until(lambda: _taken(journal) >= BACKLOG, "the backlog is concluded", 300)
            rate = BACKLOG / (time.monotonic() - found_s)
            return {"found again after, s": found_s - began_s, "backlog, messages/s": rate}

    waits_ms, unanswered, told = asyncio.run(_beside_a_call(gateway.live_port, away))
    return waits_ms, unanswered + BACKLOG - _taken(gateway.journal), told


@contextmanager
def _beside_a_device(gateway: Gateway) -> Iterator[list[float]]:
    """A device that reports five times a second: how old each report was when it was concluded, ms."""
    waits_ms: list[float] = []
    stopping = threading.Event()

    def look() -> None:
        last_us = 0
        with (
            _client(gateway.broker.port, "beside") as client,
            closing(open_read_only(Path(gateway.journal.filename))) as journal,
        ):
            due_s = time.monotonic()
            while not stopping.wait(LOOK_S):
                if time.monotonic() >= due_s:
                    due_s += 0.2
                    client.publish(f"mine/{USER}/beside", b'{"time":%d,"t":1.5}' % (time.time_ns() // 1000), qos=1)
                at_us = number(journal, "SELECT at FROM devices WHERE device = 'beside'")
                if at_us > last_us:
                    waits_ms.append((time.time_ns() / 1000 - at_us) / 1000)
                    last_us = at_us

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield waits_ms
    finally:
        stopping.set()
        thread.join()


@contextmanager
def _client(port: int, name: str) -> Iterator[mqtt.Client]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.username_pw_set(USER, PASSWORDS[USER])
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def _let(publisher: "subprocess.Popen[bytes]", messages: int) -> None:
    assert publisher.stdin is not None
    publisher.stdin.write(b"%d\n" % messages)
    publisher.stdin.flush()


def _found(client: mqtt.Client, journal: apsw.Connection) -> bool:
    client.publish(f"mine/{USER}/probe", b'{"t":1.5}', qos=1)
    time.sleep(0.2)
    return number(journal, "SELECT count(*) FROM devices WHERE device = 'probe'") > 0


def _taken(journal: apsw.Connection) -> int:
    """How many messages of the flood were concluded."""
    return number(journal, "SELECT coalesce(sum(readings), 0) FROM devices WHERE device LIKE 'device-%'")


CASES = {
    "a call that floods": a_call_that_floods,
    "500 calls at once": five_hundred_calls,
    "a device that floods": a_device_that_floods,
    "payloads of 20 MB": large_payloads,
    "a broker that vanishes": a_broker_that_vanishes,
}
