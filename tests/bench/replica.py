"""What the journal's replica costs, how far it is behind, and how long a restore takes."""

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bench.figure import Figure
from edge.bench.processes import cpu_s, resident_mb
from edge.events import Event, Reading, now_us
from edge.store.database import number
from edge.store.journal import Journal, Offer
from sync.litestream import PROGRAM
from sync.restore import restore_journal
from tests.firmware.replica import Replica, folder_url, opened

ROWS_PER_S = 200
KILLS = 8
COST_S = 30.0
JOURNAL_MB = int(os.environ.get("JOURNAL_MB", "1000"))


def measure() -> Iterator[Figure]:
    """At 200 readings a second: how much a power cut takes, and what the copying costs. The replica is a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        site, place = Path(scratch) / "site", Path(scratch) / "replica"
        lost_s = []
        with Replica(site, folder_url(place)) as replica, readings(replica.database, ROWS_PER_S):
            for kill in range(KILLS):
                replica.start_and_copy()
                time.sleep(4 + kill / KILLS)  # litestream copies once a second: at all points between two copies
                killed_at = now_us()
                replica.kill()
                replica.restore(restored := Path(scratch) / "restored.db")
                lost_s.append((killed_at - newest(restored)) / 1e6)
                restored.unlink()
            case = f"{ROWS_PER_S} readings/s"
            yield _figure(case, "behind at a kill, median", statistics.median(lost_s), "s")
            yield _figure(case, "behind at a kill, most", max(lost_s), "s")
            replica.start_and_copy()
            yield from _cost(replica, case)


def measure_restore() -> Iterator[Figure]:
    """A journal of JOURNAL_MB (environment; 1000): its first copy into a folder, and its restore with the check."""
    with tempfile.TemporaryDirectory() as scratch:
        journal, place = Path(scratch) / "journal.db", Path(scratch) / "replica"
        fill(journal, JOURNAL_MB << 20)
        size_mb = journal.stat().st_size / 2**20
        url = folder_url(place)
        began_s = time.monotonic()
        subprocess.run([str(PROGRAM), "replicate", "-once", str(journal), url], check=True, capture_output=True)
        case = f"{size_mb:.0f} MB journal"
        yield _figure(case, "whole copy", time.monotonic() - began_s, "s")
        yield _figure(case, "replica", sum(path.stat().st_size for path in place.rglob("*.ltx")) / 2**20, "MB")
        began_s = time.monotonic()
        restore_journal(url, Path(scratch), Path(scratch) / "restored.db")
        yield _figure(case, "restore with full check", time.monotonic() - began_s, "s")


def _cost(replica: Replica, case: str) -> Iterator[Figure]:
    processes = {"litestream": replica.litestream_pid(), "who keeps it": replica.pid}
    before = {name: cpu_s(pid) for name, pid in processes.items() if pid is not None}
    time.sleep(COST_S)
    for name, pid in processes.items():
        assert pid is not None
        yield _figure(case, f"{name}, of one core", 100 * (cpu_s(pid) - before[name]) / COST_S, "%")
        yield _figure(case, f"{name}, resident", resident_mb(pid), "MB")


def _figure(case: str, metric: str, value: float, unit: str) -> Figure:
    return Figure(bench="replica", case=case, metric=metric, value=value, unit=unit)


@contextmanager
def readings(path: Path, per_s: int) -> Iterator[None]:
    """A journal that takes so many readings a second, ten transactions of them, until the block ends."""
    journal = Journal(path)
    stopping = threading.Event()

    def write() -> None:
        due_s = time.monotonic()
        while not stopping.is_set():
            journal.accept([an_offer() for _ in range(per_s // 10)]).result()
            due_s += 0.1
            stopping.wait(max(0.0, due_s - time.monotonic()))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stopping.set()
        writer.join()
        journal.close()


def fill(path: Path, size: int) -> None:
    """A journal of readings, at least so many bytes long."""
    journal = Journal(path)
    while path.stat().st_size < size:
        journal.accept([an_offer() for _ in range(2_000)]).result()
    journal.close()


def an_offer() -> Offer:
    """A reading of eight sensors."""
    at = now_us()
    values = {f"sensor_{n}": (at * (n + 7)) % 100_003 / 997 for n in range(8)}
    event = Event(
        at=at, source="bench", subject="hoist-07", received_at=at, boot_id="bench", data=Reading(values=values)
    )
    return Offer(events=[(None, event)])


def newest(journal: Path) -> int:
    """When the last reading in a journal was taken, µs."""
    with opened(journal) as connection:
        return number(connection, "SELECT max(at) FROM events")
