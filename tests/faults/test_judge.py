"""The judge finds what was lost, doubled, altered or named, and a schedule follows from its seed."""

from collections import Counter
from typing import Any

from tests.faults.compare import Held, Place, Truth, judge
from tests.faults.schedule import NAMES, schedule
from tests.faults.tally import Round, Tally, table

NOTE = {"data": {"kind": "note", "text": "hello"}}
PLACE: Place = (7, "day", 1)


def truth() -> Truth:
    known = Truth()
    known.records = {"a": ("event", NOTE)}
    known.places = {"a": PLACE}
    known.notes = Counter(["hello"])
    return known


def held(rows: list[tuple[Place, str, str, Any]], gone: dict[Place, str] | None = None) -> Held:
    found = object.__new__(Held)
    found.rows, found.gone, found.quarantined, found.happened_at = rows, gone or {}, Counter(), {"hello": 1_000_000}
    return found


def test_what_is_there_once_and_unchanged_is_good() -> None:
    verdict = judge(truth(), held([(PLACE, "event", "a", NOTE)]), {"hello": 2_000_000})
    assert verdict.good
    assert verdict.records == 1
    assert not verdict.misdated


def test_what_is_missing_is_lost_unless_the_site_named_it_as_gone() -> None:
    assert len(judge(truth(), held([]), {}).lost) == 1
    assert len(judge(truth(), held([], {PLACE: "quarantined"}), {}).lost) == 1
    named = judge(truth(), held([], {PLACE: "evicted"}), {})
    assert named.good
    assert len(named.named) == 1


def test_what_is_there_twice_is_doubled() -> None:
    rows = [(PLACE, "event", "a", NOTE), ((7, "day", 2), "event", "a", NOTE)]
    assert len(judge(truth(), held(rows), {}).doubled) == 1


def test_what_differs_or_never_was_is_altered() -> None:
    assert len(judge(truth(), held([(PLACE, "event", "a", {"data": {}})]), {}).altered) == 1
    rows = [(PLACE, "event", "a", NOTE), ((7, "day", 2), "event", "b", NOTE)]
    assert len(judge(truth(), held(rows), {}).altered) == 1


def test_a_note_that_was_taken_and_is_not_in_the_journal_once_is_missed() -> None:
    rows = [(PLACE, "event", "a", NOTE)]
    assert len(judge(truth(), held(rows), {"hello": 0, "forgotten": 0}).notes_missing) == 1


def test_a_note_with_another_time_is_misdated() -> None:
    rows = [(PLACE, "event", "a", NOTE)]
    assert len(judge(truth(), held(rows), {"hello": 3_600_000_000}).misdated) == 1


def test_a_schedule_follows_from_its_seed_and_no_part_suffers_twice_at_once() -> None:
    faults = schedule(5, 400)
    assert faults == schedule(5, 400)
    assert faults != schedule(6, 400)
    assert {fault.kind for fault in faults} == set(NAMES)
    ends: dict[str, float] = {}
    for fault in faults:
        assert fault.begin_s >= ends.get(fault.part, 0.0)
        ends[fault.part] = fault.end_s


def test_a_run_that_is_resumed_does_the_rounds_that_are_left() -> None:
    tally = Tally(faults=60, seed=1)
    assert tally.open_rounds() == [(0, 25), (1, 25), (2, 10)]
    done = Round(
        number=1,
        seed=3,
        faults={"cut": 25},
        records=9,
        lost=2,
        doubled=0,
        altered=1,
        named=0,
        misdated=0,
        took_s=1,
        drain_s=1,
    )
    tally = tally.with_round(done)
    assert tally.open_rounds() == [(0, 25), (2, 10)]
    assert tally.line() == "faults 25 lost 2 doubled 0 altered 1"
    assert "| cut | 25 | 2 | 0 | 1 |" in table(tally)
