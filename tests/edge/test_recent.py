"""Readings handed on from memory are those that the journal would give, whoever is how far behind."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import JournalError
from edge.events import Call, Event, Reading
from edge.store.journal import Journal, Offer
from edge.store.recent import Recent
from tests.records import SAMPLES, an_event

CALL = next(record.data for record in SAMPLES if isinstance(record, Event) and isinstance(record.data, Call))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(1, 4), max_size=5), st.integers(0, 4))),
    st.integers(1, 12),
    st.integers(1, 4),
)
def test_what_is_not_here_is_never_said_not_to_be(
    steps: Sequence[tuple[int, list[int], int]], limit: int, at_once: int
) -> None:
    """Commits of some readings of some size, with other events between them, and a reader who takes some of them."""
    recent = Recent(limit)
    journal: list[tuple[int, Event]] = []
    cursor = last = 0
    for others, sizes, taken in steps:
        last += others
        new = [
            (seq, an_event(Reading(values={str(sensor): 1.0 for sensor in range(size)})))
            for seq, size in enumerate(sizes, last + 1)
        ]
        last += len(new)
        journal += new
        recent.add(new)
        for _ in range(taken):
            truth = [(seq, event) for seq, event in journal if seq > cursor][:at_once]
            found = recent.after(cursor, at_once)
            assert found is None or found == truth
            cursor = truth[-1][0] if truth else cursor
        kept = sum(len(event.data.values) for _, event in recent._events if isinstance(event.data, Reading))
        assert kept == recent._values <= limit


def test_a_reader_right_behind_never_goes_to_the_disk() -> None:
    recent = Recent()
    for seq in range(1, 100):
        recent.add([(seq, an_event())])
        found = recent.after(seq - 1, 10)
        assert found is not None
        assert [place for place, _ in found] == [seq]


def test_readings_are_the_same_from_memory_and_from_the_disk(journal: Journal) -> None:
    offers = [
        Offer(events=[(None, an_event(Reading(values={"a": -0.0, "ä": 1e300, "b": 5e-324}))), (None, an_event(CALL))]),
        Offer(events=[(b"1", an_event()), (b"1", an_event()), (b"2", an_event(subject="pump-03"))]),
    ]
    journal.accept(offers).result()
    journal.accept([Offer(events=[(None, an_event(CALL))])]).result()
    journal.accept([Offer(events=[(b"2", an_event()), (b"3", an_event())])]).result()
    there = Journal(journal.path)
    for cursor in range(8):
        assert journal.events_after("reading", cursor, 3) == there.events_after("reading", cursor, 3)
    there.close()


def test_what_was_not_committed_is_not_handed_on(journal: Journal) -> None:
    journal.accept([Offer(events=[(None, an_event())])]).result()
    pages = journal.write(lambda connection: connection.pragma("page_count")).result()
    journal.write(lambda connection: connection.pragma("max_page_count", pages)).result()
    large = Reading(values={f"sensor-{number}": float(number) for number in range(900)})
    with pytest.raises(JournalError):
        journal.accept([Offer(events=[(None, an_event(large)) for _ in range(50)])]).result()
    assert len(journal.events_after("reading", 0, 100)) == 1
    journal.write(lambda connection: connection.pragma("max_page_count", 1_000_000)).result()
    journal.accept([Offer(events=[(None, an_event(large))])]).result()
    assert [seq for seq, _ in journal.events_after("reading", 0, 100)] == [1, 2]


def test_a_kill_before_they_are_concluded_leaves_them_to_the_next_start(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.db")
    first.accept([Offer(events=[(None, an_event())]) for _ in range(3)]).result()
    first.close()
    second = Journal(tmp_path / "journal.db")
    second.accept([Offer(events=[(None, an_event())])]).result()
    assert [seq for seq, _ in second.events_after("reading", 0, 10)] == [1, 2, 3, 4]
    second.close()
