"""What a pack in the shadow said is kept once for each thing, and no more of it than there is room for."""

import pytest

from edge.store import comparisons
from edge.store.comparisons import Said, Shadowed, compare
from edge.store.journal import Conclusions, Journal


def said(place: str, *, active: float, shadow: float) -> Said:
    return Said(
        place=place,
        at=1,
        subject="hoist-07",
        label="device_anomaly",
        active=active,
        shadow=shadow,
        by_active=active >= 0.5,
        by_shadow=shadow >= 0.5,
        text="current 7",
    )


def keep(journal: Journal, *what: Said, shadow_version: str = "2") -> None:
    batch = Shadowed(pack="p", active_version="1", shadow_version=shadow_version, judged=len(what), said=what)
    journal.conclude(Conclusions(shadowed=[batch])).result()


def only_shadow(journal: Journal) -> int:
    found = compare(journal.readers.connection(), "p")
    assert found is not None
    return sum(row.only_shadow for row in found.labels)


def test_what_is_said_again_of_the_same_minute_is_one_thing(journal: Journal) -> None:
    for active in (0.1, 0.7, 0.2):
        keep(journal, said("hoist-07 1", active=active, shadow=0.6))
    found = compare(journal.readers.connection(), "p")
    assert found is not None
    assert found.judged == 3
    assert [(row.both, row.only_active, row.only_shadow) for row in found.labels] == [(1, 0, 0)]


def test_a_thing_that_goes_on_takes_no_room_from_others(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "MOST_ROWS", 3)
    for _ in range(10):
        keep(journal, said("hoist-07 1", active=0.1, shadow=0.6))
    for minute in range(2, 9):
        keep(journal, said(f"hoist-07 {minute}", active=0.1, shadow=0.6))
    assert only_shadow(journal) == 3


def test_another_version_begins_anew(journal: Journal) -> None:
    keep(journal, said("hoist-07 1", active=0.1, shadow=0.6))
    keep(journal, said("hoist-07 2", active=0.1, shadow=0.6), shadow_version="3")
    assert only_shadow(journal) == 1
    assert compare(journal.readers.connection(), "none") is None
