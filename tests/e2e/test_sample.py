"""The main job, end to end, as a user sees it: the sample's calls and readings become cards, and HQ has them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest

from edge.bench.waiting import free_port, until
from edge.site import read_site
from edge.store.database import open_read_only
from tests.e2e.conftest import OUTSTATION


def plays(folder: Path) -> set[tuple[str, str]]:
    rows = open_read_only(folder / "data" / "journal.db").execute("SELECT subject, play FROM decisions").fetchall()
    return {(str(subject), str(play)) for subject, play in rows}


@pytest.mark.speech
def test_the_sample_site_is_understood_once_with_and_without_a_network(make_site: Callable[..., Path]) -> None:
    online, offline = make_site("online"), make_site("offline")
    command = [*OUTSTATION, "run", "--once", "--json"]
    first = subprocess.run([*command, str(online)], check=True, capture_output=True)
    cut_off = subprocess.run(["unshare", "-rn", *command, str(offline)], check=True, capture_output=True)
    summary = msgspec.json.decode(first.stdout, type=dict[str, object])
    without = msgspec.json.decode(cut_off.stdout, type=dict[str, object])
    assert {name: summary[name] for name in summary if name != "rtf"} == {
        name: without[name] for name in without if name != "rtf"
    }
    assert summary["refused"] == 0
    assert plays(online) == plays(offline)
    assert {
        ("red-hill", "budget"),
        ("red-hill", "rival"),
        ("red-hill", "spare_part"),
        ("red-hill", "callback"),
        ("east-river", "complaint"),
        ("east-river", "safety"),
        ("east-river", "fault"),
        ("east-river", "part_missing"),
        ("hoist-07", "device_anomaly"),
    } <= plays(online)
    again = subprocess.run([*command, str(online)], check=True, capture_output=True)
    assert msgspec.json.decode(again.stdout, type=dict[str, object])["events"] == 0


@pytest.mark.speech
def test_headquarters_has_every_record_and_the_page_its_evidence(
    make_site: Callable[..., Path], tmp_path: Path
) -> None:
    mqtt_port, page_port = free_port(), free_port()
    site = make_site("site", bus=True, hq_port=mqtt_port)
    hq_folder = tmp_path / "hq"
    hq_command = ["hq", "run", "--dir", str(hq_folder), "--port", str(page_port), "--mqtt-port", str(mqtt_port)]
    hq = subprocess.Popen([*OUTSTATION, *hq_command, "--enrol-port", "0"], stdout=subprocess.PIPE)
    assert hq.stdout is not None
    assert b"http://" in hq.stdout.readline()
    invite = [*OUTSTATION, "hq", "invite", "sample-mine", "--dir", str(hq_folder)]
    code = subprocess.run(invite, check=True, capture_output=True, text=True).stdout.split()[-1]
    subprocess.run([*OUTSTATION, "sync", "enrol", str(site), code], check=True, capture_output=True)
    daemon = subprocess.Popen([*OUTSTATION, "run", str(site)])
    page = f"http://127.0.0.1:{read_site(site).settings.web.port}"

    def health() -> dict[str, object]:
        try:
            return dict(httpx.get(f"{page}/api/health", timeout=10).json())
        except httpx.HTTPError:
            return {}

    try:
        until(lambda: health().get("ready"), "the daemon is ready", timeout_s=60)
        notes = [sys.executable, "-m", "edge.sample.post_notes", page]
        subprocess.run(notes, check=True, capture_output=True)
        until(lambda: not [path for path in (site / "inbox").iterdir() if path.is_file()], "the inbox is empty", 120)
        until(lambda: health()["calls_waiting"] == 0, "the calls are transcribed", timeout_s=300)
        cards = httpx.get(f"{page}/api/cards", params={"state": "all", "limit": 500}).json()
        budget = [card for card in cards if card["play"] == "budget" and card["subject"] == "red-hill"]
        spoken = budget[0]["evidence"][0]
        assert "budget" in spoken["text"]
        assert 75 < spoken["start_s"] < 95
        measured = next(card for card in cards if card["subject"] == "hoist-07")["evidence"][0]
        assert measured["sensor"] in {
            "bearing_temp_c",
            "vibration_mm_s",
            "motor_current_a",
            "speed_m_s",
            "rope_tension_kn",
        }
        moved = httpx.post(f"{page}/api/cards/{budget[0]['id']}/accept", json={"by": "lin"})
        assert moved.json()["state"] == "accepted"
        until(lambda: at_hq(hq_folder) == in_outbox(site), "HQ has every record of the outbox", timeout_s=60)
        assert len(at_hq(hq_folder)) > 50
    finally:
        for process in (daemon, hq):
            process.terminate()
        assert [process.wait(30) for process in (daemon, hq)] == [0, 0]
        hq.stdout.close()


def in_outbox(site: Path) -> list[tuple[object, ...]]:
    connection = open_read_only(site / "data" / "journal.db")
    return connection.execute("SELECT lane, seq, kind, id FROM outbox ORDER BY lane, seq").fetchall()


def at_hq(folder: Path) -> list[tuple[object, ...]]:
    (store,) = folder.glob("*.db")
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    return connection.execute("SELECT lane, seq, kind, id FROM received ORDER BY lane, seq").fetchall()
