"""When records happened: boxes wake up in 1970, or a year ahead, and HQ orders their records rightly all the same."""

import itertools
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.envelope import Row
from sync.hq.clock import PLAUSIBLE_FROM, Boot, Stretch, place
from sync.hq.store import Store
from tests.hq.sent import DAY, NOW, SITE, row, say, send

SECOND = 1_000_000


def history(store: Store) -> list[tuple[int, int, str]]:
    """(number, when it happened, how that is known) of lane now, in the order of happening."""
    return store.database.select("SELECT seq, happened_at, clock FROM history ORDER BY happened_at")


def woke_in_1970() -> list[list[Row]]:
    """Three boots of a box: right clock; 1970, then right in mid-boot; 1970 for good. One row each 10 s of truth."""
    first = [row(n, boot="a", mono=n * 10 * SECOND, at=NOW + n * 10 * SECOND) for n in (1, 2, 3)]
    second = [row(n, boot="b", mono=n * 10 * SECOND - 30 * SECOND, at=n * 10 * SECOND) for n in (4, 5)]
    second += [row(n, boot="b", mono=n * 10 * SECOND - 30 * SECOND, at=NOW + n * 10 * SECOND) for n in (6, 7)]
    third = [row(n, boot="c", mono=n * SECOND, at=n * SECOND) for n in (8, 9)]
    return [first, second[:2], second[2:], third]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_boots_without_a_clock_take_their_place_in_whatever_order_they_arrive(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    store = Store.open(tmp_path / "hq.db")
    parts = woke_in_1970()
    for n in order:
        send(store, parts[n], at=NOW + DAY)
    found = history(store)
    assert [seq for seq, _, _ in found] == list(range(1, 10))
    # Those before the clock was set in mid-boot are as exact as those after it.
    assert [at for _, at, _ in found][:7] == [NOW + n * 10 * SECOND for n in range(1, 8)]
    assert [clock for _, _, clock in found] == ["row"] * 7 + ["order"] * 2
    assert [record.seq for record in store.newest(100)] == list(range(9, 0, -1))
    store.close()


def test_what_hq_heard_while_the_boot_ran_is_exact_and_the_least_delayed_counts(store: Store) -> None:
    send(store, [row(1, mono=5 * SECOND, at=5 * SECOND)], at=NOW + DAY)
    say(store, at=0, mono=20 * SECOND, heard_at=NOW + 20 * SECOND + 700, introduction="late")
    say(store, at=0, mono=60 * SECOND, heard_at=NOW + 60 * SECOND, introduction="at once")
    say(store, at=0, mono=90 * SECOND, heard_at=NOW + 99 * SECOND, introduction="very late")
    assert history(store) == [(1, NOW + 5 * SECOND, "heard")]


def test_a_clock_a_year_ahead_is_set_right_by_what_follows(store: Store) -> None:
    ahead = [row(n, boot="ahead", mono=n, at=NOW + 365 * DAY + n) for n in (1, 2)]
    right = [row(n, boot="right", mono=n, at=NOW + n * SECOND) for n in (3, 4)]
    say(store, boot="right", mono=10, at=NOW, heard_at=NOW + 10)
    for rows in (right, ahead):
        send(store, rows, at=NOW + DAY)
    assert [seq for seq, _, _ in history(store)] == [1, 2, 3, 4]
    assert all(at < NOW + DAY for _, at, _ in history(store))


def test_a_clock_that_stood_still_while_the_box_was_off_does_not_turn_the_order_round(store: Store) -> None:
    send(store, [row(1, boot="a", mono=50 * SECOND, at=NOW)], at=NOW + DAY)
    send(store, [row(2, boot="b", mono=1 * SECOND, at=NOW - 3000 * SECOND)], at=NOW + DAY)
    assert [seq for seq, _, _ in history(store)] == [1, 2]


def test_the_newest_records_of_many_sites_and_boots_are_found(store: Store) -> None:
    for n in range(1, 40):
        send(store, [row(n, boot=f"b{n // 10}", mono=n * SECOND, at=NOW + n * SECOND)], site=f"s{n % 3}", at=NOW + DAY)
    assert [record.seq for record in store.newest(12)] == list(range(39, 27, -1))
    assert [record.seq for record in store.newest(3, "s0")] == [39, 36, 33]
    assert store.newest(3, "nobody") == []


def test_nothing_is_refused_for_its_date(store: Store) -> None:
    far = 2**62 - 1
    rows = [
        row(1, boot="a", at=-(2**62), mono=far),
        row(2, boot="b", at=far, mono=0),
        row(3, boot="c\0", at=far, mono=far),
        row(4, boot="d", at=0, mono=far),
        row(5, boot="e", at=-(2**62), mono=0),
    ]
    send(store, rows)
    assert len(history(store)) == 5
    assert len(store.newest(10)) == 5
    assert store.held(SITE, 1, "now").top == 5


@given(
    st.lists(
        st.tuples(st.sampled_from(["heard", "row", "none"]), st.integers(0, 10**9), st.integers(0, 10**9)),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_boots_follow_one_another_and_nothing_happened_after_hq_had_it(
    lived: list[tuple[str, int, int]], random: Random
) -> None:
    boots, stretches, at, truth = [], [], PLAUSIBLE_FROM, {}
    for number, (known, first_mono, lasted) in enumerate(lived, 1):
        truth[number] = at - first_mono
        boots.append(
            Boot(
                number=number,
                bound_us=at - first_mono + (0 if known == "heard" else 10**15),
                heard=known == "heard",
                row_mono=first_mono if known == "row" else None,
                row_offset_us=at - first_mono if known == "row" else None,
                first_mono=first_mono,
                newest_mono=first_mono + lasted,
            )
        )
        stretches.append(Stretch(number, 1, "now", number))
        at += lasted + 1
    shuffled = random.sample(boots, len(boots))
    placed = place(shuffled, random.sample(stretches, len(stretches)))
    for earlier, later in itertools.pairwise(boots):
        end = placed[earlier.number].offset_us + (earlier.newest_mono or 0)
        assert end < placed[later.number].offset_us + (later.first_mono or 0)
    for boot in boots:
        assert placed[boot.number].offset_us <= boot.bound_us
        if boot.row_mono is not None or boot.heard:
            assert placed[boot.number].offset_us == truth[boot.number]


def test_two_boxes_with_one_identity_have_some_order_all_the_same() -> None:
    boots = [Boot(number=n, bound_us=NOW, heard=False, first_mono=0, newest_mono=9) for n in (1, 2)]
    stretches = [
        Stretch(1, 1, "now", 1),
        Stretch(2, 1, "now", 5),
        Stretch(2, 1, "day", 1),
        Stretch(1, 1, "day", 5),
    ]
    assert set(place(boots, stretches)) == {1, 2}
