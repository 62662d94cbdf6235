"""The HTTP interface, asked as its clients ask it: a real server on a loopback port over a real journal."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge.events import Event, Note, now_us
from edge.store.journal import Journal, Offer
from edge.web.stream import CATCH_UP_ROWS
from tests.served import PATIENCE_S, Running, running
from tests.site_fixture import EN_DURATION_S, READINGS, write_sound


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One site for all tests that only read."""
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """A site of its own for a test that changes it."""
    with running(tmp_path) as fresh:
        yield fresh


def note_of(journal: Journal, text: str) -> Event:
    now = now_us()
    data = Note(text=text, author="Li Wei")
    return Event(at=now, source="notes", subject="hoist-7", received_at=now, boot_id=journal.boot_id, data=data)


def write_notes(journal: Journal, count: int, text: str = "n") -> list[str]:
    events = [note_of(journal, text) for _ in range(count)]
    journal.accept([Offer(events=[(None, event) for event in events])]).result()
    return [event.id for event in events]


# ---- what is there -------------------------------------------------------------------------------------------------


def test_the_site_says_what_it_is_and_what_runs_on_it(site: Running) -> None:
    told = site.client.get("/api/site").json()
    assert (told["name"], told["language"], told["boot_id"]) == ("red-ridge", "en", site.journal.boot_id)
    assert "clear-danger" in told["plays"]
    assert now_us() - told["started_at"] < 60_000_000


def test_of_each_pack_in_use_it_says_what_it_is_for_and_how_good_it_is(site: Running) -> None:
    packs = {pack["name"]: pack for pack in site.client.get("/api/packs").json()}
    assert set(packs) == {"call-signals", "device-anomaly"}
    calls = packs["call-signals"]
    assert calls["about"]
    assert calls["about_zh"]
    assert calls["licence"] == "Apache-2.0"
    assert "macro-F1" in {measured["metric"] for measured in calls["metrics"]}
    assert 0 < calls["calibration"]["error"] < 0.2


def test_health_is_what_the_gateway_says_of_itself(site: Running) -> None:
    health = site.client.get("/api/health").json()
    assert health == {
        "ready": True,
        "accepting": True,
        "problems": [],
        "readings_behind": 0,
        "calls_waiting": 1,
        "writer_waiting": 0,
        "outbox": {"now": 3, "day": 41, "bulk": 0},
        "refusals": 2,
        "replica": None,
    }


def test_refusals_come_newest_first_with_their_reason(site: Running) -> None:
    refusals = site.client.get("/api/refusals").json()
    assert [one["name"] for one in refusals] == ["pump-log.csv", "meeting-0412.mp3"]
    assert "line 4021" in refusals[0]["reason"]
    assert len(site.client.get("/api/refusals", params={"limit": 1}).json()) == 1


def test_calls_tell_how_far_they_are_transcribed_and_what_came_of_them(site: Running) -> None:
    under_way, done = site.client.get("/api/calls").json()
    assert (under_way["id"], under_way["done"], under_way["transcribed_s"]) == (site.filled.call_zh, False, 49.5)
    assert (done["id"], done["done"], done["transcribed_s"]) == (site.filled.call_en, True, EN_DURATION_S)
    assert (done["customer"], done["agent"], done["channels"]) == ("Red Ridge mine", "Anna", ["agent", "customer"])
    assert (done["utterances"], done["cards"]) == (16, 5)


def test_a_list_of_calls_goes_on_after_the_last_one(site: Running) -> None:
    first = site.client.get("/api/calls", params={"limit": 1}).json()
    second = site.client.get("/api/calls", params={"limit": 1, "before": first[0]["id"]}).json()
    assert [call["id"] for call in first + second] == [site.filled.call_zh, site.filled.call_en]
    assert site.client.get("/api/calls", params={"before": site.filled.call_en}).json() == []


def test_a_call_has_its_transcript_in_order_with_labels_on_the_lines_they_are_said_of(
    site: Running,
) -> None:
    call = site.client.get(f"/api/calls/{site.filled.call_en}").json()
    assert [line["start_s"] for line in call["transcript"]] == sorted(line["start_s"] for line in call["transcript"])
    told = {line["id"]: line["labels"] for line in call["transcript"] if line["labels"]}
    assert told[site.filled.budget_line] == [{"label": "budget_concern", "probability": 0.912}]
    assert len(told) == 4
    line = next(line for line in call["transcript"] if line["id"] == site.filled.budget_line)
    assert [word["text"] for word in line["words"]] == line["text"].split()
    assert call["talk"]["talk_share"] == {"agent": 0.4712, "customer": 0.5288}
    assert site.filled.budget in {card["id"] for card in call["cards"]}
    assert site.client.get(f"/api/calls/{site.filled.call_zh}").json()["talk"] is None


def test_open_cards_come_with_the_evidence_for_them(site: Running) -> None:
    cards = {card["id"]: card for card in site.client.get("/api/cards").json()}
    budget = cards[site.filled.budget]
    assert budget["title"] == {"en": "Fit the offer to the budget", "zh": "把方案调到预算之内"}
    assert budget["what"]["zh"].startswith("先别降价")
    assert (budget["state"], budget["by"], budget["event_kind"]) == ("proposed", "", "call")
    assert (budget["event_id"], budget["subject"]) == (site.filled.call_en, "Red Ridge mine")
    (spoken,) = budget["evidence"]
    assert (spoken["kind"], spoken["start_s"]) == ("spoken", 87.2)
    assert spoken["weights"][0] == ["more than", 1.84]
    hoist = cards[site.filled.hoist]
    (measured,) = hoist["evidence"]
    assert (hoist["event_kind"], measured["sensor"], measured["usual"]) == ("reading", "vibration_mm_s", 2.12)
    assert site.filled.declined not in cards
    assert cards[site.filled.accepted]["by"] == "Li Wei"


def test_all_cards_hold_the_settled_ones_too_newest_first(site: Running) -> None:
    cards = site.client.get("/api/cards", params={"state": "all"}).json()
    assert {card["id"]: card["state"] for card in cards}[site.filled.declined] == "declined"
    newest = site.client.get("/api/cards", params={"state": "all", "limit": 2}).json()
    assert [card["id"] for card in newest] == [card["id"] for card in cards[:2]]
    assert newest[0]["decision_id"] == next(card["decision_id"] for card in cards if card["id"] == site.filled.danger)


def test_a_card_of_a_reading_that_was_thrown_away_stays(fresh: Running) -> None:
    fresh.journal._writer.submit(
        lambda connection: connection.execute("DELETE FROM events WHERE kind = 'reading'")
    ).result()
    card = next(card for card in fresh.client.get("/api/cards").json() if card["id"] == fresh.filled.hoist)
    assert card["event_kind"] == "reading"


def test_devices_show_newest_values_score_and_open_cards(site: Running) -> None:
    devices = {row["device"]: row for row in site.client.get("/api/devices").json()}
    assert list(devices) == ["compressor-1", "fan-2", "hoist-7"]
    hoist = devices["hoist-7"]
    assert (hoist["score"], hoist["cards"], hoist["readings"]) == (0.94, 2, READINGS)
    assert set(hoist["values"]) == {"vibration_mm_s", "motor_temp_c", "current_a"}


def test_a_devices_series_is_thinned_without_losing_its_peak(site: Running) -> None:
    whole = site.client.get("/api/devices/hoist-7", params={"points": 5000}).json()
    thin = site.client.get("/api/devices/hoist-7", params={"points": 20}).json()
    for sensor, points in whole["series"].items():
        assert len(points) >= READINGS - 1
        few = thin["series"][sensor]
        assert len(few) <= 20
        assert max(value for _, value in few) == max(value for _, value in points)
        assert min(value for _, value in few) == min(value for _, value in points)
        assert [at for at, _ in few] == sorted(at for at, _ in few)


def test_a_devices_range_ends_at_its_newest_reading_and_carries_its_marks(site: Running) -> None:
    hour = site.client.get("/api/devices/hoist-7").json()
    minutes = site.client.get("/api/devices/hoist-7", params={"hours": 0.1}).json()
    first = min(at for points in minutes["series"].values() for at, _ in points)
    assert hour["at"] - 360_000_000 <= first < hour["at"]
    (mark,) = hour["marks"]
    assert (mark["label"], mark["probability"], mark["sensors"]) == ("device_anomaly", 0.94, ["vibration_mm_s"])
    assert len(hour["cards"]) == 2
    assert site.client.get("/api/devices/hoist-7", params={"hours": 0.01}).json()["marks"] == []


# ---- cards are answered --------------------------------------------------------------------------------------------


def test_a_card_is_accepted_and_done_and_says_who_moved_it(fresh: Running) -> None:
    accepted = fresh.client.post(f"/api/cards/{fresh.filled.budget}/accept", json={"by": "Li Wei"})
    assert (accepted.status_code, accepted.json()["state"], accepted.json()["by"]) == (200, "accepted", "Li Wei")
    done = fresh.client.post(f"/api/cards/{fresh.filled.budget}/done", json={"by": "Zhao", "remark": "signed"})
    assert (done.json()["state"], done.json()["by"]) == ("done", "Zhao")
    assert fresh.filled.budget not in {card["id"] for card in fresh.client.get("/api/cards").json()}


def test_a_move_that_comes_too_late_is_a_conflict_and_changes_nothing(fresh: Running) -> None:
    fresh.client.post(f"/api/cards/{fresh.filled.budget}/decline", json={"by": "Li Wei"})
    late = fresh.client.post(f"/api/cards/{fresh.filled.budget}/accept", json={"by": "Zhao"})
    assert late.status_code == 409
    assert "declined already" in late.json()["detail"]
    cards = {card["id"]: card for card in fresh.client.get("/api/cards", params={"state": "all"}).json()}
    assert fresh.client.get(f"/api/cards/{fresh.filled.budget}").json() == cards[fresh.filled.budget]
    assert fresh.client.get("/api/cards/none").status_code == 404
    assert (cards[fresh.filled.budget]["state"], cards[fresh.filled.budget]["by"]) == ("declined", "Li Wei")


# ---- notes ---------------------------------------------------------------------------------------------------------


def test_a_note_is_in_the_journal_when_it_is_answered(fresh: Running) -> None:
    answer = fresh.client.post(
        "/api/notes", json={"subject": "fan-2", "author": "Li Wei", "text": "squeaks", "language": "en"}
    )
    assert answer.status_code == 201
    event = fresh.journal.find(Event, answer.json()["id"])
    assert event is not None
    assert (event.source, event.subject, event.boot_id) == ("notes", "fan-2", fresh.journal.boot_id)
    assert event.data == Note(text="squeaks", author="Li Wei", language="en")
    assert fresh.client.get("/api/notes", params={"limit": 1}).json()[0]["id"] == event.id


def test_a_note_sent_again_under_its_key_is_kept_once(fresh: Running) -> None:
    note = {"subject": "fan-2", "author": "Li Wei", "text": "squeaks", "key": "a1"}
    first, again = fresh.client.post("/api/notes", json=note), fresh.client.post("/api/notes", json=note)
    assert (first.status_code, first.json()["already"]) == (201, False)
    assert (again.status_code, again.json()) == (200, {"id": None, "already": True})
    assert len(fresh.client.get("/api/notes").json()) == 2


# ---- sound ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(site: Running) -> tuple[str, bytes]:
    """The address of a call's sound, and what lies there."""
    write_sound(site.audio)
    return f"/api/calls/{site.filled.call_en}/audio", (site.audio / "hoist-quote.wav").read_bytes()


def test_the_sound_of_a_call_is_its_file(site: Running, sound: tuple[str, bytes]) -> None:
    answer = site.client.get(sound[0])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.content == sound[1]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-99", 0, 100), ("bytes=1000-", 1000, None), ("bytes=-44", -44, None), ("bytes=5-999999999", 5, None)],
)
def test_a_range_of_the_sound_is_just_that_range(
    site: Running, sound: tuple[str, bytes], asked: str, start: int, stop: int | None
) -> None:
    path, whole = sound
    answer = site.client.get(path, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == whole[start:stop]
    first = start % len(whole)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes", "bytes=-"])
def test_a_range_that_means_nothing_is_ignored(site: Running, sound: tuple[str, bytes], asked: str) -> None:
    answer = site.client.get(sound[0], headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(sound[1]))


def test_a_range_beyond_the_end_is_refused_with_the_length(site: Running, sound: tuple[str, bytes]) -> None:
    answer = site.client.get(sound[0], headers={"Range": "bytes=999999999-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(sound[1])}"


def test_sound_that_is_no_longer_kept_is_said_to_be_gone(site: Running) -> None:
    (site.audio / "gas.wav").unlink(missing_ok=True)
    answer = site.client.get(f"/api/calls/{site.filled.call_zh}/audio")
    assert answer.status_code == 404
    assert "no longer kept" in answer.json()["detail"]


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/calls/none", 404),
        ("/api/calls/none/audio", 404),
        ("/api/devices/none", 404),
        ("/nowhere", 404),
        ("/static/nothing.js", 404),
        ("/static/../app.py", 404),
        ("/api/cards?state=some", 400),
        ("/api/cards?limit=0", 400),
        ("/api/calls?limit=100000", 400),
        ("/api/devices/hoist-7?hours=0", 400),
        ("/api/devices/hoist-7?points=1", 400),
    ],
)
def test_a_wrong_question_is_answered_in_a_sentence(site: Running, path: str, status: int) -> None:
    answer = site.client.get(path)
    assert answer.status_code == status
    assert answer.json().keys() == {"status_code", "detail"}
    assert answer.json()["status_code"] == status
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"by": ""},
        {"by": "  "},
        {"by": "x" * 201},
        {"by": 3},
        {"by": "Li Wei", "remark": "x" * 2001},
        {"by": "Li Wei", "remak": "typo"},
        ["by"],
    ],
)
def test_a_move_without_a_person_is_refused(site: Running, body: Any) -> None:
    answer = site.client.post(f"/api/cards/{site.filled.budget}/accept", json=body)
    assert (answer.status_code, answer.json().keys()) == (400, {"status_code", "detail"})
    assert site.filled.budget in {
        card["id"] for card in site.client.get("/api/cards").json() if card["state"] == "proposed"
    }


def test_an_unknown_card_is_not_found(site: Running) -> None:
    assert site.client.post("/api/cards/none/accept", json={"by": "Li Wei"}).status_code == 404


@pytest.mark.parametrize(
    ("field", "value"), [("text", "x" * 10_001), ("text", " \n"), ("subject", ""), ("key", "k" * 201)]
)
def test_a_note_that_is_too_long_or_empty_is_refused_by_its_field(site: Running, field: str, value: str) -> None:
    note = {"subject": "fan-2", "author": "Li Wei", "text": "squeaks"} | {field: value}
    answer = site.client.post("/api/notes", json=note)
    assert answer.status_code == 400
    assert field in answer.json()["detail"]


def test_a_body_that_is_not_json_is_refused(site: Running) -> None:
    broken = site.client.post("/api/notes", content=b'{"subject', headers={"Content-Type": "application/json"})
    assert broken.status_code == 400
    form = site.client.post("/api/notes", data={"subject": "fan-2"})
    assert form.status_code == 415
    plain = site.client.post("/api/notes", content=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415


def test_a_body_that_is_too_large_is_refused_whether_it_tells_its_length_or_not(site: Running) -> None:
    body = json.dumps({"subject": "fan-2", "author": "Li Wei", "text": "x" * 70_000}).encode()
    headers = {"Content-Type": "application/json"}
    assert site.client.post("/api/notes", content=body, headers=headers).status_code == 413
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
    assert site.client.post("/api/notes", content=pieces, headers=headers).status_code == 413


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", ""])
def test_a_page_of_another_name_cannot_read_the_gateway(site: Running, host: str) -> None:
    answer = site.client.get("/api/site", headers={"Host": host})
    assert answer.status_code == 403
    assert "[web] hosts" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:9", "[::1]", "[::1]:9", "gateway.local:8470"])
def test_the_gateway_answers_to_its_own_names(site: Running, host: str) -> None:
    assert site.client.get("/api/site", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_page_of_another_origin_cannot_change_anything(site: Running, origin: str) -> None:
    answer = site.client.post(f"/api/cards/{site.filled.budget}/accept", json={"by": "Eve"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert site.filled.budget in {
        card["id"] for card in site.client.get("/api/cards").json() if card["state"] == "proposed"
    }


def test_the_gateways_own_page_may_change_things(fresh: Running) -> None:
    answer = fresh.client.post(
        f"/api/cards/{fresh.filled.budget}/accept",
        json={"by": "Li Wei"},
        headers={"Origin": str(fresh.client.base_url)},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/site", "/nowhere", "/schema"])
def test_every_answer_tells_the_browser_to_trust_nothing_else(site: Running, path: str) -> None:
    headers = site.client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_interface_is_described_without_outside_assets(site: Running) -> None:
    answer = site.client.get("/schema")
    schema = answer.json()
    assert "http" not in answer.text.replace("http://json-schema.org", "")
    assert set(schema["paths"]) == {
        "/metrics",
        "/healthz",
        "/healthz/live",
        "/healthz/ready",
        "/api/site",
        "/api/packs",
        "/api/health",
        "/api/refusals",
        "/api/live/{uuid}",
        "/api/orders",
        "/api/orders/{order_id}",
        "/api/orders/packs",
        "/api/orders/{order_id}/agree",
        "/api/orders/{order_id}/shadow",
        "/api/orders/{order_id}/roll_back",
        "/api/orders/{order_id}/comparison",
        "/api/orders/{order_id}/decline",
        "/api/calls",
        "/api/calls/{call_id}",
        "/api/calls/{call_id}/audio",
        "/api/devices",
        "/api/devices/{device}",
        "/api/cards",
        "/api/cards/{card_id}",
        "/api/cards/{card_id}/like",
        "/api/cards/{card_id}/accept",
        "/api/cards/{card_id}/decline",
        "/api/cards/{card_id}/done",
        "/api/cards/{card_id}/undo",
        "/api/cards/{card_id}/hand_over",
        "/api/chains",
        "/api/drivers",
        "/api/outcomes",
        "/api/outcomes/wanted",
        "/api/plays",
        "/api/plays/{name}/pause",
        "/api/plays/{name}/resume",
        "/api/notes",
        "/api/stream",
    }
    assert schema["components"]["schemas"]["NewNote"]["additionalProperties"] is False
    assert {"200", "201", "507"} <= schema["paths"]["/api/notes"]["post"]["responses"].keys()
    assert {"200", "404", "409"} <= schema["paths"]["/api/cards/{card_id}/accept"]["post"]["responses"].keys()


# ---- the stream ----------------------------------------------------------------------------------------------------

Told = tuple[str, str, Any]  # id, event, data


@contextmanager
def following(
    client: httpx.Client, after: int | None = None, last_event_id: str | None = None
) -> Iterator[Iterator[Told]]:
    """The messages of a stream, read as they come; fails when the next does not come in time."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    params = {} if after is None else {"after": after}
    with client.stream("GET", "/api/stream", params=params, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield messages(response.iter_lines())


def messages(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}


def until(stream: Iterator[Told], event: str) -> list[Told]:
    """All messages up to the first of a kind, which is the last in the list."""
    heard: list[Told] = []
    deadline = time.monotonic() + PATIENCE_S
    for message in stream:
        heard.append(message)
        if message[1] == event:
            return heard
        assert time.monotonic() < deadline, f"waited in vain for {event}"
    raise AssertionError(f"the stream ended without {event}")


def test_a_stream_begins_with_all_devices_and_a_health_that_tells_the_place(site: Running) -> None:
    with following(site.client) as stream:
        device, health = until(stream, "health")
    assert (device[0], [row["device"] for row in device[2]]) == ("", ["compressor-1", "fan-2", "hoist-7"])
    assert health[0].isdigit()
    assert health[2]["outbox"]["day"] == 41


def test_what_happens_is_told_as_it_happens(fresh: Running) -> None:
    with following(fresh.client) as stream:
        until(stream, "health")
        fresh.client.post(f"/api/cards/{fresh.filled.budget}/accept", json={"by": "Li Wei"})
        card = until(stream, "card")[-1][2]
        (written,) = write_notes(fresh.journal, 1)
        note = until(stream, "note")[-1][2]
    assert (card["id"], card["state"], card["by"]) == (fresh.filled.budget, "accepted", "Li Wei")
    assert card["evidence"][0]["start_s"] == 87.2
    assert note["id"] == written


def test_a_client_that_comes_back_gets_what_it_missed_once_and_in_order(
    fresh: Running,
) -> None:
    with following(fresh.client) as stream:
        place = until(stream, "health")[-1][0]
    fresh.client.post(f"/api/cards/{fresh.filled.budget}/accept", json={"by": "Li Wei"})
    first, second = write_notes(fresh.journal, 2)
    with following(fresh.client, last_event_id=place) as stream:
        missed = until(stream, "health")
    told = [(event, data["id"]) for _, event, data in missed if event in ("card", "note")]
    assert told == [("card", fresh.filled.budget), ("note", first), ("note", second)]
    ids = [int(number) for number, event, _ in missed if event != "device"]
    assert ids == sorted(ids)
    assert ids[0] > int(place)
    with following(fresh.client, last_event_id=str(ids[-1])) as stream:
        assert [event for _, event, _ in until(stream, "health")] == ["device", "health"]


def test_nothing_is_lost_between_catching_up_and_live(fresh: Running) -> None:
    with following(fresh.client) as stream:
        place = int(until(stream, "health")[-1][0])
    expected: list[str] = []
    heard: list[str] = []
    for _ in range(5):
        expected += write_notes(fresh.journal, 20)
        with following(fresh.client, after=place) as stream:
            expected += write_notes(fresh.journal, 1)  # while the stream catches up
            while len(heard) < len(expected):
                number, event, data = next(stream)
                if event == "note":
                    heard.append(data["id"])
                place = int(number or place)
    assert heard == expected


def test_the_whole_feed_shows_every_kind_of_record(site: Running) -> None:
    with following(site.client, after=0) as stream:
        told = until(stream, "health")
    kinds = {event for _, event, _ in told}
    assert kinds == {"call", "utterance", "card", "note", "refusal", "device", "health"}
    line = next(data for _, event, data in told if event == "utterance" and data["id"] == site.filled.budget_line)
    assert (line["call_id"], line["labels"][0]["label"]) == (site.filled.call_en, "budget_concern")
    calls = [data for _, event, data in told if event == "call"]
    assert {call["id"] for call in calls} == {site.filled.call_en, site.filled.call_zh}


@pytest.mark.parametrize("place", ["999999", "-5", "nonsense", "9" * 5000])
def test_a_place_that_the_journal_does_not_know_means_a_snapshot(site: Running, place: str) -> None:
    with following(site.client, last_event_id=place) as stream:
        first, *_ = until(stream, "health")
    assert (first[1], first[2]) == ("snapshot", {})
    assert first[0].isdigit()


def test_who_is_too_far_behind_is_told_to_take_a_snapshot_and_goes_on_from_there(
    fresh: Running,
) -> None:
    write_notes(fresh.journal, CATCH_UP_ROWS + 1)
    with following(fresh.client, after=1) as stream:
        told = until(stream, "health")
        assert [event for _, event, _ in told] == ["snapshot", "device", "health"]
        (written,) = write_notes(fresh.journal, 1)
        assert until(stream, "note")[-1][2]["id"] == written


def test_a_client_that_does_not_read_delays_nobody_and_is_told_to_take_a_snapshot(
    fresh: Running,
) -> None:
    address = fresh.client.base_url
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((address.host, address.port))
    slow.settimeout(PATIENCE_S)
    slow.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with slow, slow.makefile("rb") as file, following(fresh.client) as quick:
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        until(quick, "health")
        for _ in range(4):  # 4 MB each: more than the kernel buffers, and in all more rows than a catch-up may have
            last = write_notes(fresh.journal, CATCH_UP_ROWS // 2, "x" * 8000)[-1]
            while until(quick, "note")[-1][2]["id"] != last:
                pass
        for line in file:
            if line.startswith(b"event: snapshot"):
                break
        else:
            raise AssertionError("the slow fresh.client was not told")


def test_the_server_ends_its_open_streams_when_it_stops(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with running(tmp_path) as stopping:
            client = stack.enter_context(httpx.Client(base_url=stopping.client.base_url, timeout=PATIENCE_S))
            stream = stack.enter_context(following(client))
            until(stream, "health")
        # A stream that is cut off instead of ended raises here.
        assert {event for _, event, _ in stream} <= {"health", "device"}
