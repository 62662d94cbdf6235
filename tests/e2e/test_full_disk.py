"""A gateway whose disk fills: it makes room, stops taking at the floor, lets cards move, and goes on by itself."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edge.bench.waiting import free_port
from edge.bench.waiting import until as until_within
from edge.events import Loss, Rollup
from edge.site import SAMPLE, make_site
from edge.store.database import open_read_only
from edge.store.rows import select
from tests.e2e.conftest import OUTSTATION
from tests.edge.small_disk import FLOOR_MB, LOW_MB, SmallDisk, needs_mount, small_disk

SITE_TOML = """\
name = "mine"
language = "en"

[web]
port = {port}

[disk]
low_mb = {low}
floor_mb = {floor}
keep_readings_hours = 0
"""
NOTE = {"subject": "fan-2", "author": "Lin", "text": "there is smoke behind the cabinet and a strong smell of gas"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


def until(true: Callable[[], object], what: str) -> None:
    until_within(true, what, timeout_s=90)  # the sweep comes every ten seconds


@contextmanager
def daemon(folder: Path, port: int) -> Iterator[httpx.Client]:
    """The real daemon on a site, until the block ends; then it ends in good order."""
    process = subprocess.Popen([*OUTSTATION, "run", str(folder)])
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        try:
            until(lambda: health(client).get("ready"), "the gateway is ready")
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)


def health(client: httpx.Client) -> dict[str, Any]:
    try:
        return dict(client.get("/api/health").json())
    except httpx.HTTPError:
        return {}


@needs_mount
def test_a_gateway_goes_through_a_full_disk(disk: SmallDisk) -> None:
    folder, port = disk.folder, free_port()
    make_site(folder, sample=False)
    (folder / "site.toml").write_text(SITE_TOML.format(port=port, low=LOW_MB, floor=FLOOR_MB), "utf-8")
    shutil.copyfile(SAMPLE / "inbox" / "hoist-07.csv", folder / "inbox" / "hoist-07.csv")
    with daemon(folder, port) as client:
        until(lambda: list((folder / "data" / "logs").iterdir()), "the log is taken")
        assert client.post("/api/notes", json=NOTE).status_code == 201
        until(lambda: client.get("/api/cards").json() and not health(client)["readings_behind"], "cards")

        disk.leave(FLOOR_MB - 1)
        until(lambda: health(client)["accepting"] is False, "the gateway says that it takes nothing")
        assert "free the disk" in health(client)["problems"][0]
        probes = [client.get(f"/healthz/{what}").status_code for what in ("live", "ready")]
        assert probes == [200, 503]
        answer = client.post("/api/notes", json=NOTE)
        assert (answer.status_code, "free the disk" in answer.json()["detail"]) == (507, True)
        shutil.copyfile(SAMPLE / "inbox" / "pump-03.csv", folder / "inbox" / "pump-03.csv")
        cards = [card for card in client.get("/api/cards").json() if card["fires_at"] is None]
        assert cards
        for card in cards:
            moved = client.post(f"/api/cards/{card['id']}/accept", json={"by": "Lin"}).json()
            assert moved["state"] in ("accepted", "done")  # what needs nobody's hands is done at once
        until(lambda: not list((folder / "data" / "logs").iterdir()), "the copy of the log went")
        assert (folder / "inbox" / "pump-03.csv").exists()

        disk.free()
        until(lambda: health(client)["accepting"] and not health(client)["problems"], "it takes again")
        assert client.get("/healthz/ready").status_code == 200
        until(lambda: not (folder / "inbox" / "pump-03.csv").exists(), "the file that waited is taken")
        until(lambda: not health(client)["readings_behind"], "its readings are concluded")
        devices = client.get("/api/devices").json()
    readings = counted(folder)
    disk.leave(LOW_MB - 1)
    with daemon(folder, port) as client:
        until(lambda: counted(folder) == 1, "readings went")
        assert client.get("/api/devices").json() == devices
        assert health(client)["accepting"] is True
        connection = open_read_only(folder / "data" / "journal.db")
        lost = select(connection, Loss, "ORDER BY seq")
        assert [loss.kinds for loss in lost] == [{"log": 1}, {"log": 1}, {"reading": readings - 1}]
        assert sum(rollup.readings for rollup in select(connection, Rollup, "")) == readings - 1
        told = [
            msgspec.msgpack.decode(bytes(record), type=Loss)
            for (record,) in connection.execute("SELECT record FROM outbox WHERE kind = 'loss' ORDER BY seq")
        ]
        assert told == lost


def counted(folder: Path) -> int:
    connection = open_read_only(folder / "data" / "journal.db")
    row: Any = connection.execute("SELECT count(*) FROM events WHERE kind = 'reading'").fetchone()
    return int(row[0])
