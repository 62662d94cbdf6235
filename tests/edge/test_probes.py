"""What other programs ask of the gateway, asked of a real server: its figures, and whether it is alive and ready."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.bench.waiting import until
from edge.errors import JournalError
from edge.health import Readiness
from edge.store.journal import Journal
from edge.store.room import Room
from edge.store.sound import LiveSound
from edge.upkeep import Upkeep
from tests.edge.small_disk import needs_mount, small_disk, small_site
from tests.figures import figure
from tests.served import PATIENCE_S, Running, parts_of, running, served

NOTE = {"subject": "fan-2", "author": "Li Wei", "text": "squeaks", "key": "a1"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as gateway:
        yield gateway


def scraped(gateway: Running) -> str:
    answer = gateway.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].lower() == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def test_every_figure_is_ours_or_the_processs_and_says_what_it_is(gateway: Running) -> None:
    families = list(text_string_to_metric_families(scraped(gateway)))
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(r"(outstation|process)_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not family.name.endswith("_created")


def test_what_happens_at_the_gateway_is_counted(gateway: Running) -> None:
    before = scraped(gateway)
    gateway.client.post("/api/notes", json=NOTE)
    gateway.client.post("/api/notes", json=NOTE)  # known already
    gateway.client.post(f"/api/cards/{gateway.filled.budget}/accept", json={"by": "Li Wei"})
    after = scraped(gateway)

    def more(name: str, **labels: str) -> float:
        return (figure(after, name, **labels) or 0) - (figure(before, name, **labels) or 0)

    assert more("outstation_events_total", kind="note", source="notes") == 1
    assert more("outstation_actions_total", state="accepted") == 1
    assert more("outstation_commit_seconds_count") == more("outstation_commit_jobs_sum") == 3
    assert figure(after, "outstation_commit_failures_total") == 0
    # What the site's own records were made of when it was filled.
    assert (figure(before, "outstation_refusals_total", source="inbox") or 0) >= 1
    assert figure(before, "outstation_predictions_total", pack="call-signals", label="budget_concern")
    assert figure(before, "outstation_decisions_total", play="fit-the-budget")
    assert figure(before, "outstation_actions_total", state="proposed")


def test_an_answer_is_counted_by_its_routes_template_and_never_by_what_a_client_makes_up(gateway: Running) -> None:
    gateway.client.get(f"/api/calls/{gateway.filled.call_en}")
    gateway.client.get("/api/calls/none")
    gateway.client.get("/nowhere/1")
    gateway.client.get("/nowhere/2", headers={"Host": "evil.example"})
    gateway.client.request("MAKEUP", "/api/calls")
    text = scraped(gateway)
    name = "outstation_http_answer_seconds_count"
    assert figure(text, name, method="GET", route="/api/calls/{call_id}", status="200") == 1
    assert figure(text, name, method="GET", route="/api/calls/{call_id}", status="404") == 1
    assert figure(text, name, route="", status="404") == 1
    assert figure(text, name, route="", status="403") == 1
    assert figure(text, name, method="other", status="405") == 1
    assert not any(made_up in text for made_up in ("nowhere", "none", "evil", "MAKEUP", gateway.filled.call_en))


def test_an_open_stream_is_seen_until_it_ends(gateway: Running) -> None:
    with gateway.client.stream("GET", "/api/stream") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert figure(scraped(gateway), "outstation_streams_open") == 1
        # It is measured until it begins: when it ends is up to the client.
        assert figure(scraped(gateway), "outstation_http_answer_seconds_count", route="/api/stream", status="200") == 1
    until(lambda: figure(scraped(gateway), "outstation_streams_open") == 0, "the stream is seen to end")


def test_two_gateways_in_one_process_count_apart(tmp_path: Path) -> None:
    with running(tmp_path / "a") as one, running(tmp_path / "b") as other:
        one.client.post("/api/notes", json=NOTE)
        counts = [figure(scraped(gateway), "outstation_events_total", source="notes") or 0 for gateway in (one, other)]
    assert counts[0] == counts[1] + 1


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (Readiness(live=True, ready=True), {"": 200, "/live": 200, "/ready": 200}),
        (Readiness(live=True, ready=False, problems=("The disk is full.",)), {"": 503, "/live": 200, "/ready": 503}),
        (Readiness(live=False, ready=False, problems=("It ended.",)), {"": 503, "/live": 503, "/ready": 503}),
    ],
)
def test_the_probes_say_whether_it_is_alive_and_ready_and_why_not(
    journal: Journal, tmp_path: Path, found: Readiness, codes: dict[str, int]
) -> None:
    parts = parts_of(journal, tmp_path / "audio", readiness=lambda: found)
    with served(parts) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for path, code in codes.items():
            answer = client.get(f"/healthz{path}")
            assert (answer.status_code, answer.json()) == (
                code,
                msgspec.to_builtins(found) | {"problems": [*found.problems]},
            )
        schema = client.get("/schema").json()
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
    for path in codes:
        responses = schema["paths"][f"/healthz{path}"]["get"]["responses"]
        assert {"200", "503"} <= responses.keys()
        assert responses["503"]["content"] == responses["200"]["content"]


@needs_mount
def test_a_disk_that_takes_nothing_is_said_and_that_it_takes_again_is_noticed_without_anybody_writing(
    tmp_path: Path, empty_journal: Path
) -> None:
    with small_disk(tmp_path / "small") as disk:
        site = small_site(disk.folder)
        shutil.copyfile(empty_journal, site.journal)
        journal = Journal(site.journal)
        assert journal.fault == ""
        disk.leave(0)
        with pytest.raises(JournalError):
            fill_up(journal)
        assert "cannot be written" in journal.fault
        assert (figure(journal.metrics.exposition().decode(), "outstation_commit_failures_total") or 0) >= 1
        disk.free()
        assert "cannot be written" in journal.fault
        Upkeep(site, journal, Room(journal, site.settings), LiveSound(site.live, lambda _: None)).step()
        assert journal.fault == ""
        journal.close()


def fill_up(journal: Journal) -> None:
    """Write until the disk takes no more."""
    for number in range(1_000):

        def insert(connection: apsw.Connection, name: str = f"row {number}") -> None:
            connection.execute("INSERT INTO meta VALUES (?, ?)", (name, "x" * 65_536))

        journal.write(insert).result()
