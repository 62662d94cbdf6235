"""The terminal's own structs: a gateway that is newer says more, and is understood."""

import msgspec
import pytest

from tests.tui.conftest import Site
from tui.client import Card, Gateway, Move, NewNote, Refused, StreamEvent, Unreachable, decoded

pytestmark = pytest.mark.anyio


def test_fields_and_kinds_of_evidence_that_are_unknown_are_ignored() -> None:
    told = {
        "id": "1",
        "title": {"en": "t", "zh": "t", "kz": "t"},
        "what": {"en": "w"},
        "state": "proposed",
        "at": 1,
        "due": 2,
        "colour": "red",
        "evidence": [{"kind": "seen", "camera": 3}],
    }
    card = decoded(StreamEvent(kind="card", id="1", data=msgspec.json.encode(told)), Card)
    assert card.is_open
    assert card.evidence[0].kind == "seen"


async def test_an_answer_of_no_carries_its_sentence(site: Site) -> None:
    gateway = Gateway(site.url)
    with pytest.raises(Refused, match="There is no card nothing") as refused:
        await gateway.move(Move(card_id="nothing", verb="accept", by="zhang"))
    assert refused.value.status == 404
    await gateway.close()


async def test_nobody_and_somebody_else_are_told_apart(site: Site) -> None:
    elsewhere = Gateway(site.url + "/static")
    with pytest.raises((Refused, Unreachable)):
        await elsewhere.site()
    await elsewhere.close()
    site.stop()
    nobody = Gateway(site.url)
    with pytest.raises(Unreachable) as unreachable:
        await nobody.site()
    assert unreachable.value.reason == "no_answer"
    await nobody.close()


async def test_the_same_note_sent_twice_is_stored_once(site: Site) -> None:
    gateway = Gateway(site.url)
    note = NewNote(subject="hoist-7", author="zhang", text="绞车有异响", language="zh", key="k1")
    await gateway.write(note)
    await gateway.write(note)
    await gateway.close()
    assert len(site.notes()) == 1


async def test_time_is_counted_by_the_gateways_clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(site.url)
    await gateway.site()
    assert abs(gateway.clock_ahead_us) < 2_000_000
    true_ns = __import__("time").time_ns
    monkeypatch.setattr("tui.client.time.time_ns", lambda: true_ns() - 3600 * 10**9)
    await gateway.site()
    assert abs(gateway.clock_ahead_us - 3600 * 10**6) < 2_000_000
    await gateway.close()
