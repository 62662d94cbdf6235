"""The device bus at speed: MQTT in → windows → score → plays → committed → acknowledged, with the publisher, mosquitto
and the daemon on the same cores.

The publisher sends as fast as readings are concluded: it is told how far the cursor of readings in the journal is, and
keeps a quarter of a second's worth of messages ahead of it. So the rate is what can be kept up, and the age is that of
a bus under full load. mosquitto runs as it ships, but saves its own store less often, as its configuration advises for
a busy bus. Environment: BENCH_CASES (10x1,1000x10 …: devices x readings a message), BENCH_SECONDS.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bench.broker import Broker
from edge.bench.figure import Figure
from edge.bench.memory import status_mb
from edge.bench.processes import Spent
from edge.bench.publisher import USER
from edge.bench.site import running, sample_site
from edge.store.database import number, open_read_only

CASES = os.environ.get("BENCH_CASES", "10x1,10x10,10x50,1000x1,1000x10,1000x50,10000x1,10000x10,10000x50")
SECONDS = float(os.environ.get("BENCH_SECONDS", "12"))
WARM_S = 3.0  # until every device is known, and what is ahead fits the rate
AHEAD_S, AHEAD_LEAST = 0.25, 500
LOOK_S = 0.005
TARGET_AGE_MS = 500.0
PASSWORDS = {"outstation": "the gateway's", USER: "the devices'"}


def measure() -> Iterator[Figure]:
    """For each case the messages and readings a second, their age at commit, what is lost, memory, processor time."""
    for case in CASES.split(","):
        devices, _, readings = case.partition("x")
        yield from measure_case(int(devices), int(readings))


def measure_case(devices: int, readings: int) -> Iterator[Figure]:
    """The figures of so many devices with so many readings in a message; the first is the messages a second."""
    with (
        tempfile.TemporaryDirectory() as broker_folder,
        Broker(Path(broker_folder, "mosquitto"), PASSWORDS, site_settings="autosave_interval 1000000\n") as broker,
        sample_site(inbox=False) as (folder, page),
    ):
        with (folder / "site.toml").open("a") as settings:
            settings.write(f'[bus]\nport = {broker.port}\n[[bus.topics]]\npattern = "mine/{USER}/{{device}}"\n')
        secret = folder / "secrets" / "bus.password"
        secret.parent.mkdir(exist_ok=True)
        secret.write_text(PASSWORDS["outstation"])
        with running(folder, page) as (daemon, _), publishing(broker.port, devices, readings) as publisher:
            journal = open_read_only(folder / "data" / "journal.db")
            parts = {"daemon": [daemon.pid], "broker": [broker.pid], "publisher": [publisher.pid]}
            run = Run(lambda: number(journal, "SELECT seq FROM cursors WHERE step = 'reading'"), publisher)
            run.keep_up(WARM_S)
            first, began_s, spent = run.concluded, time.monotonic(), Spent(parts)
            run.keep_up(SECONDS)
            took_s, cores = time.monotonic() - began_s, spent.seconds()
            last = run.concluded
            sent = run.finish()
            peak_mb = status_mb(daemon.pid, "VmHWM")
        rate = (last - first) / took_s
        ats = journal.execute("SELECT seq, at FROM events WHERE seq > ? AND seq <= ?", (first, last)).fetchall()
        ages_ms = run.ages_ms(np.array(ats, np.int64))
        rows, moments = journal.execute("SELECT count(*), count(DISTINCT at) FROM events").fetchone() or (0, 0)
        journal.close()
    name = f"{devices:,} devices, {readings} a message"
    yield Figure(bench="bus", case=name, metric="messages", value=rate, unit="msg/s")
    yield Figure(bench="bus", case=name, metric="readings", value=rate * readings, unit="readings/s")
    p50, p99 = np.percentile(ages_ms, [50, 99]).tolist()
    yield Figure(bench="bus", case=name, metric="age at commit p50", value=p50, unit="ms")
    yield Figure(
        bench="bus",
        case=name,
        metric="age at commit p99",
        value=p99,
        unit="ms",
        target=f"≤ {TARGET_AGE_MS:g} ms",
        ok=p99 <= TARGET_AGE_MS,
    )
    for metric, count in (("lost", sent - int(moments)), ("doubled", int(rows) - int(moments))):
        yield Figure(bench="bus", case=name, metric=metric, value=count, unit=f"of {sent:,}", target="0", ok=count == 0)
    yield Figure(bench="bus", case=name, metric="peak of the daemon", value=peak_mb, unit="MB")
    a_message = cores["daemon"] / (last - first) * 1e6
    yield Figure(bench="bus", case=name, metric="processor, daemon, a message", value=a_message, unit="µs")
    for part, seconds in cores.items():
        yield Figure(bench="bus", case=name, metric=f"processor, {part}", value=seconds / took_s, unit="cores")


@contextmanager
def publishing(port: int, devices: int, readings: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "edge.bench.publisher", str(port), PASSWORDS[USER], str(devices), str(readings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


class Run:
    """Watches how many messages are concluded and lets the publisher go on."""

    def __init__(self, count: Callable[[], int], publisher: "subprocess.Popen[bytes]") -> None:
        self._count = count
        self._publisher = publisher
        self._seen: list[tuple[int, int]] = []  # µs since 1970, and how many were concluded
        self.allowed = 0
        """How many the publisher may have sent."""
        self.concluded = 0

    def keep_up(self, seconds: float) -> None:
        """Let it publish for so long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._look()
            ahead = max(AHEAD_LEAST, round(self._rate() * AHEAD_S))
            if self.concluded + ahead >= self.allowed + 50:
                self.allowed = self.concluded + ahead
                self._say(b"%d\n" % self.allowed)
            time.sleep(LOOK_S)

    def finish(self, quiet_s: float = 60.0) -> int:
        """End publishing and wait until all that was sent is concluded, or nothing was for so long; how many messages
        were sent."""
        assert self._publisher.stdin is not None
        assert self._publisher.stdout is not None
        self._publisher.stdin.close()
        sent = int(self._publisher.stdout.readline())
        moved_s, before = time.monotonic(), self.concluded
        while self._look() < sent and time.monotonic() - moved_s < quiet_s:
            if self.concluded != before:
                moved_s, before = time.monotonic(), self.concluded
            time.sleep(LOOK_S)
        return sent

    def ages_ms(self, messages: NDArray[np.int64]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """How old messages were when they were seen to be concluded: the how manieth each is, and when it was sent
        (µs since 1970), [n, 2]."""
        seqs, sent_us = messages.T
        seen_us, cursors = np.array(self._seen, np.int64).T
        ages: np.ndarray[tuple[int], np.dtype[np.float64]]
        ages = (seen_us[np.searchsorted(cursors, seqs)] - sent_us) / 1000
        return ages

    def _rate(self) -> float:
        """Messages a second over about the last second."""
        since_us, since = self._seen[max(0, len(self._seen) - round(1 / LOOK_S))]
        now_us, now = self._seen[-1]
        return (now - since) / max(now_us - since_us, 100_000) * 1e6

    def _look(self) -> int:
        self.concluded = self._count()
        self._seen.append((time.time_ns() // 1000, self.concluded))
        return self.concluded

    def _say(self, line: bytes) -> None:
        assert self._publisher.stdin is not None
        self._publisher.stdin.write(line)
        self._publisher.stdin.flush()
