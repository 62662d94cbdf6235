"""The disk that a week without a link takes, measured on a day that the daemon writes: a hundred devices, forty calls.

The calls are the sample site's, each of a customer of its own; of every twenty devices one begins to fail, as the
sample's hoist does; and for every card somebody says yes, and then that it is done.
"""

import csv
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import apsw
import msgspec
import numpy as np
import soundfile

from edge.bench.figure import Figure
from edge.bench.site import OUTSTATION, sample_site
from edge.sample.make_devices import hoist, pump
from edge.site import SAMPLE, Site, read_site
from edge.store.journal import Journal

DEVICES, DEVICES_A_FAILING_ONE = 100, 20
CALLS = 40
MINUTES = 24 * 60
DAYS = 7
CASE = f"{DEVICES} devices, a reading a minute, {CALLS} calls a day"


def measure() -> Iterator[Figure]:
    """The rows of a day's outbox, and seven times the bytes that a day is on disk."""
    with sample_site(inbox=False) as (folder, _):
        site = read_site(folder)
        began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=1)
        for number in range(DEVICES):
            _write_log(site, number, began)
        minutes = _write_calls(site, began)
        subprocess.run([*OUTSTATION, "run", "--once", str(folder)], check=True, stdout=subprocess.DEVNULL)
        _answer_cards(site)
        connection = apsw.Connection(str(site.journal))
        for kind, lane, rows in connection.execute(
            "SELECT kind, lane, count(*) FROM outbox GROUP BY 1, 2 ORDER BY 2, 1"
        ):
            yield _figure(f"outbox rows a day: {kind}, lane {lane}", float(rows), "rows")
        budget_mb = site.settings.outbox.total_mb
        outbox_mb = DAYS * _on_disk_mb(connection, "outbox")
        yield _figure("outbox, a week", outbox_mb, "MB", f"≤ {budget_mb} MB", outbox_mb <= budget_mb)
        yield _figure("readings, a week", DAYS * _on_disk_mb(connection, "events", "offers", "offers_before"), "MB")
        yield _figure("journal in all, a week", DAYS * _on_disk_mb(connection), "MB")
        connection.close()
        audio_mb = DAYS * sum(path.stat().st_size for path in site.audio.iterdir()) / 2**20
        yield _figure(f"sound, {minutes / CALLS:.1f} minutes a call, a week", audio_mb, "MB")


def _write_log(site: Site, number: int, began: datetime) -> None:
    """A device's day: the course of the sample's pump or hoist, but a minute between its readings."""
    make = pump if number % DEVICES_A_FAILING_ONE else hoist
    sensors = make(np.random.default_rng(number))
    with (site.inbox / f"device-{number:03}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "device", *sensors])
        for minute, values in zip(range(MINUTES), zip(*sensors.values(), strict=True), strict=False):
            rows.writerow([(began + timedelta(minutes=minute)).isoformat(), f"device-{number:03}", *map(float, values)])


def _write_calls(site: Site, began: datetime) -> float:
    """The sample's calls in turn, over the day, each a sample longer than the one before; gives their minutes."""
    calls = sorted(path for path in (SAMPLE / "inbox").iterdir() if path.suffix in (".wav", ".flac"))
    seconds = 0.0
    for number in range(CALLS):
        path = calls[number % len(calls)]
        sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
        call = site.inbox / f"call-{number:02}{path.suffix}"
        soundfile.write(call, np.pad(sound, ((0, number), (0, 0))), rate, subtype=soundfile.info(path).subtype)
        start = began + timedelta(minutes=number * MINUTES / CALLS)
        about = {"customer": f"customer-{number:02}", "agent": "anna", "start": start.isoformat(), "direction": "in"}
        call.with_suffix(".json").write_bytes(msgspec.json.encode(about))
        seconds += len(sound) / rate
    return seconds / 60


def _answer_cards(site: Site) -> None:
    journal = Journal(site.journal)
    for action, state in journal.open_actions():
        if action.channel == "card" and state == "proposed":
            journal.move(action.id, "accepted", "anna").result()
            journal.move(action.id, "done", "anna").result()
    journal.close()


def _on_disk_mb(connection: apsw.Connection, *tables: str) -> float:
    """The pages of these tables with their indexes; of all where none is named."""
    chosen = f"WHERE tbl_name IN ({', '.join('?' * len(tables))})" if tables else ""
    pages = f"SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema {chosen})"
    return int(connection.execute(pages, tables).get) / 2**20


def _figure(metric: str, value: float, unit: str, target: str | None = None, ok: bool | None = None) -> Figure:
    return Figure(bench="week", case=CASE, metric=metric, value=value, unit=unit, target=target, ok=ok)
