"""The link: how fast a backlog drains into HQ, what a record costs on the wire, and how long a card waits beside it."""

import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from edge.bench.figure import Figure
from edge.bench.processes import Spent
from edge.bench.waiting import free_port, until
from tests.bench import backlog
from tests.bench.hq import OUTSTATION, Hq
from tests.faults.proxy import Line, Proxy
from tests.hq.cluster import cluster

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
TARGET_ROWS_PER_S = 20_000
TARGET_BYTES = 1 / 5
THIN_BYTES_PER_S = 25_000.0
THIN_ROWS = 200_000
CARDS, CARD_EVERY_S = 120, 1.0
TARGET_CARD_S = 2.0
LONGEST_DRAIN_S = 900.0


def measure() -> Iterator[Figure]:
    """A million records into SQLite and into PostgreSQL; then cards beside a backlog on a line of 200 kbit/s."""
    yield from _drain("SQLite", None)
    with cluster(durable=True) as dsn:
        yield from _drain("PostgreSQL", dsn)
    yield from _cards_on_a_thin_line()


class _World:
    """An enrolled site with a backlog, a line that counts, and HQ; the link is not started."""

    def __init__(self, folder: Path, dsn: str | None, rows: int, stack: ExitStack) -> None:
        self.site = folder / "site"
        self.hq = Hq(folder / "hq", dsn)
        self.line = Proxy(free_port(), self.hq.mqtt_port)
        self.line.start()
        stack.callback(self.line.stop)
        (self.site / "data").mkdir(parents=True)
        (self.site / "site.toml").write_text(f'name = "bench"\n[hq]\nhosts = ["127.0.0.1"]\nport = {self.line.port}\n')
        backlog.fill(self.site / "data" / "journal.db", rows)
        stack.enter_context(self.hq.running())
        code = self.hq.invite("bench")
        subprocess.run([*OUTSTATION, "sync", "enrol", str(self.site), code], check=True, capture_output=True)

    @contextmanager
    def link(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The site's link, while it runs."""
        with (self.site / "link.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "sync.uplink", str(self.site)], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _drain(case: str, dsn: str | None) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        world = _World(Path(folder), dsn, ROWS, stack)
        began_s = time.monotonic()
        with world.link() as link:
            spent = Spent({"link": [link.pid], **world.hq.parts()})
            until(lambda: _wait(0.2) or world.hq.held() >= ROWS, "all is at HQ", LONGEST_DRAIN_S)
            took_s = time.monotonic() - began_s
            seconds = spent.seconds()
        rate = ROWS / took_s
        yield _figure(
            case, f"{ROWS:,} records drained", rate, "records/s", f"≥ {TARGET_ROWS_PER_S}", rate >= TARGET_ROWS_PER_S
        )
        for name, used_s in seconds.items():
            yield _figure(case, f"CPU of {name}", 100 * used_s / took_s, "% of a core")
        if dsn is None:
            yield from _bytes(world.line.passed["up"] / ROWS)


def _bytes(on_the_wire: float) -> Iterator[Figure]:
    """Per record: what went up, TLS and MQTT included, against JSON as it is and gzipped in batches of 500."""
    sample = list(backlog.json_of(20_000))
    plain = sum(len(line) + 1 for line in sample) / len(sample)
    batches = (sample[first : first + 500] for first in range(0, len(sample), 500))
    zipped = sum(len(gzip.compress(b"\n".join(lines))) for lines in batches) / len(sample)
    yield Figure(
        bench="sync",
        case="on the wire",
        metric="bytes a record",
        value=on_the_wire,
        unit="bytes",
        peer=f"plain JSON ({plain:.0f})",
        ratio=on_the_wire / plain,
        target="≤ 1/5",
        ok=on_the_wire / plain <= TARGET_BYTES,
    )
    yield Figure(
        bench="sync",
        case="on the wire",
        metric="bytes a record",
        value=on_the_wire,
        unit="bytes",
        peer=f"JSON, gzip by 500 ({zipped:.0f})",
        ratio=on_the_wire / zipped,
    )


def _cards_on_a_thin_line() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        world = _World(Path(folder), None, THIN_ROWS, stack)
        world.line.set(Line(bytes_per_s=THIN_BYTES_PER_S, delay_s=0.02))
        journal = apsw.Connection(str(world.site / "data" / "journal.db"))
        journal.set_busy_timeout(10_000)
        with world.link():
            until(lambda: world.hq.held() > 1000, "the backlog drains", 60)
            until(lambda: _wait(0.2) or world.hq.held("now") >= THIN_ROWS // 20, "the old cards are at HQ", 600)
            put_s: dict[str, float] = {}
            took_s: list[float] = []
            next_s = time.monotonic()
            while len(took_s) < CARDS:
                if len(put_s) + len(took_s) < CARDS and time.monotonic() >= next_s:
                    id = backlog.add_card(journal)
                    put_s[id] = time.monotonic()
                    next_s += CARD_EVERY_S
                took_s += [time.monotonic() - put_s.pop(id) for id in world.hq.has(list(put_s))]
                time.sleep(0.02)
            left = THIN_ROWS - world.hq.held("day")
        p50, p99 = statistics.median(took_s), sorted(took_s)[int(0.99 * len(took_s))]
        assert left > 0, "the backlog ended before the cards did"
        yield _figure("200 kbit/s, a backlog draining", "a card to HQ's store, p50", p50, "s")
        yield _figure(
            "200 kbit/s, a backlog draining",
            "a card to HQ's store, p99",
            p99,
            "s",
            f"≤ {TARGET_CARD_S} s",
            p99 <= TARGET_CARD_S,
        )
        journal.close()


def _figure(
    case: str, metric: str, value: float, unit: str, target: str | None = None, ok: bool | None = None
) -> Figure:
    return Figure(bench="sync", case=case, metric=metric, value=value, unit=unit, target=target, ok=ok)


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False
