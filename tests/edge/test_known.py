"""What was offered is known again for long enough, and not for ever."""

from functools import partial
from itertools import pairwise

import pytest

from edge.events import Event, Note, Reading
from edge.store import known
from edge.store.database import number
from edge.store.journal import Journal, Offer
from edge.store.known import forget
from tests.records import AT, an_event

KEPT = 20


def offered(journal: Journal, *numbers: int) -> int:
    """Offer the readings of these numbers, with keys whose order has nothing to do with theirs; how many were new."""
    events = [
        ((number * 7919 % 1009).to_bytes(8, "big") + number.to_bytes(8, "big"), an_event(Reading(values={"t": 1.0})))
        for number in numbers
    ]
    return len(journal.accept([Offer(events=events)]).result())


def sweep(journal: Journal) -> None:
    while journal.write(partial(forget, kept=KEPT)).result():
        pass


def keys(journal: Journal) -> int:
    return number(
        journal.readers.connection(), "SELECT (SELECT count(*) FROM offers) + (SELECT count(*) FROM offers_before)"
    )


def test_each_of_the_newest_is_known_and_the_others_do_not_pile_up(journal: Journal) -> None:
    for newest in range(300):
        assert offered(journal, newest) == 1
        sweep(journal)
        assert offered(journal, *range(max(0, newest - KEPT + 1), newest + 1)) == 0
        assert keys(journal) <= 2 * KEPT
    assert offered(journal, 0) == 1, "what came long ago is new"


def test_what_a_clock_said_that_was_wrong_is_known_as_long(journal: Journal) -> None:
    old = [((number + 1).to_bytes(16, "big"), an_event(Reading(values={"t": 1.0}), at=number)) for number in range(3)]
    journal.accept([Offer(events=old)]).result()
    offered(journal, *range(KEPT))
    sweep(journal)
    assert journal.accept([Offer(events=old)]).result() == []


@pytest.mark.parametrize("key", ["k", "elevenchars", "a" * 200])
def test_a_note_is_known_for_good(journal: Journal, key: str) -> None:
    note = Event(
        at=AT,
        source="notes",
        subject="fan",
        received_at=AT,
        boot_id="b",
        data=Note(text="t", author="a", key=key, language="en"),
    )
    assert note.once is not None
    journal.accept([Offer(events=[(note.once, note)])]).result()
    for start in range(0, 10 * KEPT, KEPT):
        offered(journal, *range(start, start + KEPT))
        sweep(journal)
    assert journal.accept([Offer(events=[(note.once, note)])]).result() == []


def test_many_go_in_small_steps(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KEYS_PER_STEP", 5)
    offered(journal, *range(KEPT))
    sweep(journal)
    offered(journal, *range(KEPT, 2 * KEPT))
    steps = [keys(journal)]
    while journal.write(partial(forget, kept=KEPT)).result():
        steps.append(keys(journal))
    assert [before - after for before, after in pairwise(steps)] == [5] * (KEPT // 5) + [0]
