"""A real gateway as those see it who watch it from outside: its figures, its probes and its log."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from edge.bench.waiting import free_port, until
from edge.site import SAMPLE, make_site
from tests.e2e.conftest import OUTSTATION
from tests.figures import figure

# HQ is not there, and this site has no key for it: the link ends again and again, and says why.
SITE_TOML = """\
name = "mine"
language = "en"
[web]
port = {web}
[bus]
embedded = true
port = {bus}
[[bus.topics]]
pattern = "mine/{{device}}/telemetry"
[hq]
hosts = ["127.0.0.1"]
port = {hq}
[disk]
low_mb = {low}
floor_mb = {floor}
"""
NOTE = {"subject": "fan-2", "author": "Lin", "text": "there is smoke behind the cabinet and a strong smell of gas"}


@contextmanager
def gateway(folder: Path, floor_mb: int) -> Iterator[httpx.Client]:
    """The daemon on a new site, as soon as its page answers; what it writes is in the file `log` beside the site."""
    port = free_port()
    make_site(folder, sample=False)
    ports = {"web": port, "bus": free_port(), "hq": free_port()}
    text = SITE_TOML.format(**ports, low=floor_mb + 1, floor=floor_mb)
    (folder / "site.toml").write_text(text, "utf-8")
    with (
        folder.with_name("log").open("wb") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as one,
    ):
        process = subprocess.Popen([*OUTSTATION, "run", str(folder)], stderr=log, stdout=log)
        try:
            until(lambda: answers(one), "the gateway answers")
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz/live").status_code == 200
    except httpx.HTTPError:
        return False


def value(client: httpx.Client, name: str, **labels: str) -> float:
    return figure(client.get("/metrics").text, name, **labels) or 0


def test_what_goes_through_a_gateway_is_seen_in_its_figures_and_its_log_is_json(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with gateway(folder, floor_mb=1) as client:
        assert client.get("/healthz").json() == {"live": True, "ready": True, "problems": []}
        assert value(client, "outstation_conclusion_seconds_count") == 0
        assert client.post("/api/notes", json=NOTE).status_code == 201
        shutil.copyfile(SAMPLE / "inbox" / "hoist-07.csv", folder / "inbox" / "hoist-07.csv")
        (folder / "inbox" / "call.mp3").write_bytes(b"no recording")
        readings = len((SAMPLE / "inbox" / "hoist-07.csv").read_text("utf-8").splitlines()) - 1
        until(
            lambda: value(client, "outstation_events_total", kind="reading", source="inbox") == readings, "readings", 60
        )
        until(lambda: value(client, "outstation_refusals_total", source="inbox") == 1, "a refusal", 60)
        until(lambda: value(client, "outstation_readings_behind") == 0, "the readings are concluded", 60)
        until(lambda: value(client, "outstation_child_restarts_total", child="link") >= 1, "the link is started again")
        until(lambda: value(client, "outstation_bus_connected") == 1, "the bus answers")
        text = client.get("/metrics").text
        assert list(text_string_to_metric_families(text))

        assert figure(text, "outstation_events_total", kind="note", source="notes") == 1
        for track, steps in {"reading": ("perceive", "infer", "decide", "commit"), "note": ("infer", "decide")}.items():
            assert (figure(text, "outstation_conclusion_seconds_count", track=track) or 0) >= 1
            assert 0 < (figure(text, "outstation_conclusion_seconds_sum", track=track) or 0) < 600
            for step in steps:
                assert (figure(text, "outstation_step_seconds_count", step=step, track=track) or 0) >= 1
        assert (figure(text, "outstation_predictions_total", pack="call-signals") or 0) >= 1
        assert (figure(text, "outstation_decisions_total") or 0) >= 2
        assert (figure(text, "outstation_actions_total", state="proposed") or 0) >= 1
        assert (figure(text, "outstation_outbox_rows", lane="now") or 0) >= 1
        assert (figure(text, "outstation_commit_jobs_sum") or 0) >= readings / 1000
        assert figure(text, "outstation_child_running", child="broker") == 1
        assert figure(text, "outstation_ready") == figure(text, "outstation_live") == 1
        assert (figure(text, "outstation_disk_free_bytes") or 0) > 2**20
        assert (figure(text, "process_resident_memory_bytes") or 0) > 2**20
        assert figure(text, "outstation_replica_running") is None
        # None of the figures names a device, a customer or a record.
        assert not any(name in text for name in ("hoist", "fan-2", "Lin"))

    lines = [json.loads(line) for line in folder.with_name("log").read_bytes().splitlines()]
    assert all(list(line)[:3] == ["at", "level", "event"] for line in lines)
    assert any(line["event"] == "refused" and line["name"] == "call.mp3" for line in lines)
    assert any(line["event"] == "the link cannot run" and "enrol" in line["reason"] for line in lines)
    assert any(line.get("logger") == "uvicorn.error" for line in lines)


def test_a_gateway_without_room_is_alive_and_not_ready_and_says_why(tmp_path: Path) -> None:
    with gateway(tmp_path / "site", floor_mb=10**8) as client:
        ready, both = client.get("/healthz/ready"), client.get("/healthz")
        assert (ready.status_code, both.status_code, client.get("/healthz/live").status_code) == (503, 503, 200)
        assert ready.json() == both.json()
        (problem,) = ready.json()["problems"]
        assert (ready.json()["live"], ready.json()["ready"]) == (True, False)
        assert "floor_mb" in problem
        assert problem in client.get("/api/health").json()["problems"]
        assert (value(client, "outstation_live"), value(client, "outstation_ready")) == (1, 0)
