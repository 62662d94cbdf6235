"""An hour of everything at once: does the daemon hold, at its end, what it held at its beginning?

A thousand devices publish at half the rate that the box can keep up (found at the start), one live call follows
another, somebody looks at the page, and the link takes records to HQ. The disk is set to be low soon, so that readings
go all the while. Memory, open files and threads of the daemon and of its link are looked at every few seconds.

Memory is flat when, after the first quarter of the time, the Theil–Sen slope through the medians of 45 equal stretches
is below a bound with 95 % confidence, and the last quarter's median is not above that of the second by more than a few
per cent. Environment: BENCH_MINUTES (60), BENCH_CHART (a file: the curves are drawn there).
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import httpx
import msgspec
import numpy as np
from scipy.stats import theilslopes

from edge.bench.broker import Broker
from edge.bench.bus import PASSWORDS, WARM_S, Run, publishing
from edge.bench.caller import call, sample_sound
from edge.bench.figure import Figure
from edge.bench.memory import status_mb
from edge.bench.publisher import USER
from edge.bench.site import OUTSTATION, running, sample_site
from edge.bench.waiting import free_port
from edge.store.database import number, open_read_only
from tests.bench.chart import draw
from tests.bench.hq import Hq

MINUTES = float(os.environ.get("BENCH_MINUTES", "60"))
CHART = os.environ.get("BENCH_CHART", "")
DEVICES, READINGS = 1_000, 10
LOAD = 0.5  # of what the box can keep up
CALIBRATED_S = 30.0
CALL_S, FIRST_CALL_S = 120.0, 15.0
STILL_S = 30.0  # so long without a reading concluded: no more will be
JOURNAL_MB = 500  # the disk is low when the journal has grown by so much
LOOKS = 1_800
SLOPE_MB_PER_H, RISE = 10.0, 0.03
MORE_FILES = MORE_THREADS = 3
TARGET_AGE_MS = 500.0


class Sample(msgspec.Struct, frozen=True):
    """What a process held at a time (s since the start)."""

    at_s: float
    rss_mb: float
    files: int
    threads: int


class Soak(msgspec.Struct, frozen=True):
    """What was seen; `samples` by process, `ages_ms` the oldest message of each look, counts by device."""

    rate: float
    samples: dict[str, list[Sample]]
    ages_ms: list[float]
    sent: int
    kept: Counter[str]
    cleared: int
    clearings: int
    calls: int
    shown: int
    at_hq: int


def measure() -> Iterator[Figure]:
    """Whether memory, files and threads stay as they are, what is lost or doubled, and how old readings get."""
    soak = run(MINUTES, CALL_S)
    if CHART:
        curves = {name: [(s.at_s / 60, s.rss_mb) for s in samples] for name, samples in soak.samples.items()}
        draw(Path(CHART), {f"Resident memory, MB, at {soak.rate:,.0f} messages/s": curves}, " min")
    case = f"{MINUTES:g} minutes"
    for name, value, unit in (
        ("messages", soak.rate, "msg/s"),
        ("readings' messages sent", soak.sent, ""),
        ("of them cleared", soak.cleared, f"in {soak.clearings} runs"),
        ("live calls", soak.calls, ""),
        ("shown to the page", soak.shown, "events"),
        ("records at HQ", soak.at_hq, ""),
    ):
        yield Figure(bench="soak", case=case, metric=name, value=value, unit=unit)
    for process, samples in soak.samples.items():
        yield from _flat(case, process, samples)
    p50, p99 = np.percentile(soak.ages_ms, [50, 99]).tolist()
    yield Figure(bench="soak", case=case, metric="age at commit, oldest of a look, p50", value=p50, unit="ms")
    yield _verdict(case, "age at commit, oldest of a look, p99", p99, "ms", TARGET_AGE_MS)
    lost, doubled = lost_and_doubled(soak)
    yield _verdict(case, "lost", lost, f"of {soak.sent:,}", 0)
    yield _verdict(case, "doubled", doubled, f"of {soak.sent:,}", 0)


def _flat(case: str, process: str, samples: list[Sample]) -> Iterator[Figure]:
    slope, at_most = slope_mb_per_h(samples)
    yield Figure(bench="soak", case=case, metric=f"{process}: slope of memory", value=slope, unit="MB/h")
    yield _verdict(case, f"{process}: slope, 95 % upper bound", at_most, "MB/h", SLOPE_MB_PER_H)
    second, last = quarter(samples, 1), quarter(samples, 3)
    before, after = (float(np.median([s.rss_mb for s in part])) for part in (second, last))
    yield Figure(bench="soak", case=case, metric=f"{process}: memory, 2nd quarter", value=before, unit="MB")
    yield _verdict(case, f"{process}: memory, last quarter", after, "MB", before * (1 + RISE))
    peak = max(s.rss_mb for s in samples)
    yield Figure(bench="soak", case=case, metric=f"{process}: highest sample", value=peak, unit="MB")
    for name, more in (("files", MORE_FILES), ("threads", MORE_THREADS)):
        was, now = (max(getattr(s, name) for s in part) for part in (second, last))
        yield _verdict(case, f"{process}: open {name}, last quarter", now, f"({was} in the 2nd)", was + more)


def _verdict(case: str, metric: str, value: float, unit: str, most: float) -> Figure:
    return Figure(
        bench="soak", case=case, metric=metric, value=value, unit=unit, target=f"≤ {most:.4g}", ok=value <= most
    )


def quarter(samples: list[Sample], which: int) -> list[Sample]:
    """A quarter of the time, 0 to 3."""
    return samples[which * len(samples) // 4 : (which + 1) * len(samples) // 4]


def slope_mb_per_h(samples: list[Sample]) -> tuple[float, float]:
    """The slope of memory after the first quarter, and what it is at most with 95 % confidence."""
    stretches = np.array_split(np.array([(s.at_s, s.rss_mb) for s in samples[len(samples) // 4 :]]), 45)
    times, values = np.array([np.median(stretch, axis=0) for stretch in stretches if len(stretch)]).T
    slope, _, _, most = theilslopes(values, times / 3600, alpha=0.9)  # two-sided: 5 % above
    return float(slope), float(most)


def lost_and_doubled(soak: Soak) -> tuple[int, int]:
    """Messages that are missing, and that are there more than once, by device: the publisher goes round them."""
    whole, rest = divmod(soak.sent, DEVICES)
    differences = [soak.kept[f"device-{device:05}"] - whole - (device < rest) for device in range(DEVICES)]
    return -sum(d for d in differences if d < 0), sum(d for d in differences if d > 0)


# ---- the hour --------------------------------------------------------------------------------------------------------


def run(minutes: float, call_s: float) -> Soak:
    """Soak for so long, with calls of so many seconds."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(
            Broker(scratch / "mosquitto", PASSWORDS, site_settings="autosave_interval 1000000\n")
        )
        hq = Hq(scratch / "hq", None)
        stack.enter_context(hq.running())
        folder, page = stack.enter_context(sample_site(inbox=False))
        port = _settle(folder, broker, hq)
        daemon, _ = stack.enter_context(running(folder, page))
        asyncio.run(call(port, "first", *sample_sound(FIRST_CALL_S)))  # what understands calls is loaded by the first
        publisher = stack.enter_context(publishing(broker.port, DEVICES, READINGS))
        journal = open_read_only(folder / "data" / "journal.db")
        stack.callback(journal.close)
        calibration = Run(lambda: concluded(journal), publisher)
        calibration.keep_up(WARM_S)
        first, began_s = calibration.concluded, time.monotonic()
        calibration.keep_up(min(CALIBRATED_S, minutes * 6))
        rate = LOAD * (calibration.concluded - first) / (time.monotonic() - began_s)
        screen = stack.enter_context(_Screen(page))
        caller = stack.enter_context(_Caller(port, call_s))
        watch = _Watch(journal, {"daemon": daemon.pid, "link": _link_of(daemon.pid)})
        _publish(publisher, calibration.allowed, rate, minutes * 60, watch)
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        publisher.stdin.close()
        sent = int(publisher.stdout.readline())
        _caught_up(journal, sent)
        return Soak(
            rate=rate,
            samples=watch.samples,
            ages_ms=watch.ages_ms,
            sent=sent,
            kept=readings_by_device(journal),
            cleared=number(journal, "SELECT coalesce(sum(kinds ->> 'reading'), 0) FROM losses"),
            clearings=number(journal, "SELECT count(*) FROM losses WHERE kinds ->> 'reading'"),
            calls=caller.calls,
            shown=screen.shown,
            at_hq=hq.held(),
        )


def _settle(folder: Path, broker: Broker, hq: Hq) -> int:
    """Join the site to its broker and HQ, with a disk that is low soon; gives the port of live calls."""
    port = free_port()
    low_mb = shutil.disk_usage(folder).free // 2**20 - JOURNAL_MB
    with (folder / "site.toml").open("a") as settings:
        settings.write(
            f'[bus]\nport = {broker.port}\n[[bus.topics]]\npattern = "mine/{USER}/{{device}}"\n'
            f"[live]\nvosk_port = {port}\n"
            f"[disk]\nlow_mb = {max(low_mb, 512)}\nfloor_mb = 256\nkeep_readings_hours = 0\n"
            "[outbox]\nkeep_delivered_days = 0\n"
            f"[hq]\nport = {hq.mqtt_port}\n"
        )
    secret = folder / "secrets" / "bus.password"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(PASSWORDS["outstation"])
    enrol = [*OUTSTATION, "sync", "enrol", str(folder), hq.invite("bench")]
    subprocess.run(enrol, check=True, capture_output=True)
    return port


def _link_of(daemon: int) -> int:
    children = Path(f"/proc/{daemon}/task").glob("*/children")
    pids = [int(pid) for listed in children for pid in listed.read_text("ascii").split()]
    return next(pid for pid in pids if b"sync.uplink" in Path(f"/proc/{pid}/cmdline").read_bytes())


def concluded(journal: apsw.Connection) -> int:
    """How many readings were concluded since ever."""
    return number(journal, "SELECT coalesce(sum(readings), 0) FROM devices")


def readings_by_device(journal: apsw.Connection) -> Counter[str]:
    """How many readings of each device were accepted: those that are here, and those that roll-ups stand for."""
    kept: Counter[str] = Counter()
    for device, count in journal.execute(
        "SELECT subject, count(*) FROM events WHERE kind = 'reading' AND seq > "
        "coalesce((SELECT seq FROM cursors WHERE step = 'rolled up'), 0) GROUP BY subject "
        "UNION ALL SELECT subject, sum(readings) FROM rollups GROUP BY subject"
    ):
        kept[str(device)] += int(str(count))
    return kept


def _publish(publisher: "subprocess.Popen[bytes]", sent: int, rate: float, seconds: float, watch: "_Watch") -> None:
    """Let it publish at a rate from where it is, and look meanwhile."""
    assert publisher.stdin is not None
    began_s = time.monotonic()
    next_sample_s = 0.0
    while (since_s := time.monotonic() - began_s) < seconds:
        publisher.stdin.write(b"%d\n" % (sent + round(since_s * rate)))
        publisher.stdin.flush()
        watch.look()
        if since_s >= next_sample_s:
            watch.sample(since_s)
            next_sample_s += max(0.25, seconds / LOOKS)
        time.sleep(0.05)


def _caught_up(journal: apsw.Connection, sent: int) -> None:
    """Wait until all that was sent is concluded, or nothing more is: what is missing then is lost."""
    seen, still_since_s = concluded(journal), time.monotonic()
    while seen < sent and time.monotonic() - still_since_s < STILL_S:
        time.sleep(0.5)
        if (now := concluded(journal)) > seen:
            seen, still_since_s = now, time.monotonic()


class _Watch:
    """Looks at the journal's cursor and at the processes."""

    def __init__(self, journal: apsw.Connection, processes: dict[str, int]) -> None:
        self._journal = journal
        self._processes = processes
        self._concluded = self._cursor()
        self.samples: dict[str, list[Sample]] = {name: [] for name in processes}
        self.ages_ms: list[float] = []

    def look(self) -> None:
        """How old the oldest was of what has been concluded since the last look."""
        cursor = self._cursor()
        oldest = "SELECT at FROM events WHERE kind = 'reading' AND seq > ? AND seq <= ? ORDER BY seq LIMIT 1"
        at_us = number(self._journal, oldest, (self._concluded, cursor))
        self._concluded = cursor
        if at_us:
            self.ages_ms.append((time.time_ns() / 1000 - at_us) / 1000)

    def sample(self, at_s: float) -> None:
        """What each process holds."""
        for name, pid in self._processes.items():
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            self.samples[name].append(Sample(at_s, status_mb(pid, "VmRSS"), files, threads))

    def _cursor(self) -> int:
        return number(self._journal, "SELECT seq FROM cursors WHERE step = 'reading'")


class _Screen:
    """Somebody who looks at the page."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._client = httpx.Client(timeout=None)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.shown = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def _look(self) -> None:
        try:
            with self._client.stream("GET", f"{self._page}/api/stream") as stream:
                for line in stream.iter_lines():
                    self.shown += line.startswith("event:")
        except (httpx.HTTPError, RuntimeError):
            return


class _Caller:
    """One live call after another, until the block ends."""

    def __init__(self, port: int, call_s: float) -> None:
        self._port = port
        self._sound, self._rate_hz = sample_sound(call_s)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.calls = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """The call under way goes on to its end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            asyncio.run(call(self._port, f"soak-{self.calls}", self._sound, self._rate_hz))
            self.calls += 1
