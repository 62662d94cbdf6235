"""Countdowns run by a clock that nobody can set: nothing fires early, or is held back, whatever happens to the time."""

from collections.abc import Callable

import pytest

from tests.edge.acting import DAY_S, HOUR_S, Acting, Clock

YEAR_S = 365 * DAY_S


@pytest.mark.parametrize("set_by_s", [-HOUR_S, YEAR_S, -20 * YEAR_S], ids=["an hour back", "a year on", "to 2006"])
def test_a_clock_that_is_set_in_the_middle_of_a_countdown_changes_nothing(acting: Acting, set_by_s: float) -> None:
    action = acting.propose(channel="webhook", fires_s=60)
    acting.settle(20)
    acting.clock.is_set(set_by_s)
    acting.settle()
    assert acting.moves(action) == []
    assert acting.left_s(action) == pytest.approx(40)
    assert (acting.card(action).due - acting.clock.wall) / 1e6 == pytest.approx(580)
    acting.settle(39)
    assert acting.moves(action) == []
    acting.settle(1.1)
    assert acting.moves(action) == ["fired", "done"]


@pytest.mark.parametrize("set_by_s", [-HOUR_S, YEAR_S])
def test_a_clock_that_is_set_while_the_gateway_is_down_changes_nothing(acting: Acting, set_by_s: float) -> None:
    action = acting.propose(channel="webhook", fires_s=60)
    acting.settle(20)
    acting.clock.is_set(set_by_s)
    acting.reopen()
    assert acting.left_s(action) == pytest.approx(40)


def test_a_restart_goes_on_where_it_was_and_counts_the_time_in_between(acting: Acting) -> None:
    action = acting.propose(channel="webhook", fires_s=60)
    acting.settle(20)
    acting.clock.passes(15)
    acting.reopen()
    assert acting.left_s(action) == pytest.approx(25)


def test_a_site_that_never_ran_for_long_has_a_clock_that_goes_on(acting: Acting) -> None:
    """`outstation run --once` is over before anything keeps the clock by itself."""
    action = acting.propose(due_s=2 * HOUR_S)
    for _ in range(3):
        acting.clock.passes(HOUR_S)
        acting.reopen()
    acting.settle()
    assert acting.moves(action) == ["expired"]


def test_a_reboot_with_the_right_time_counts_the_time_it_was_off(acting: Acting) -> None:
    action = acting.propose(channel="webhook", fires_s=60)
    acting.clock.reboots(off_s=25)
    acting.reopen()
    assert acting.left_s(action) == pytest.approx(35)


@pytest.mark.parametrize("wall", [0, 4_102_444_800_000_000], ids=["1970", "2100"])
def test_a_reboot_that_lost_the_clock_goes_on_as_if_no_time_had_passed(acting: Acting, wall: int) -> None:
    action = acting.propose(channel="webhook", fires_s=60)
    acting.settle(20)
    acting.journal.write(acting.journal.steady.keep).result()
    acting.clock.reboots(wall=wall)
    acting.reopen()
    assert acting.left_s(action) == pytest.approx(40)
    acting.settle(39)
    assert acting.moves(action) == []
    acting.clock.is_set(YEAR_S)  # the time comes back from the network
    acting.settle()
    assert acting.moves(action) == []
    acting.settle(2)
    assert acting.moves(action) == ["fired", "done"]


def test_the_steady_clock_never_goes_back(acting: Acting, clock: Clock) -> None:
    seen = [acting.journal.steady.now()]
    happenings: list[Callable[[], None]] = [
        lambda: clock.passes(5),
        lambda: clock.is_set(-HOUR_S),
        lambda: clock.reboots(wall=0),
        lambda: clock.reboots(off_s=10 * DAY_S),
        lambda: clock.is_set(-DAY_S),
    ]
    for happens in happenings:
        acting.journal.write(acting.journal.steady.keep).result()
        happens()
        acting.reopen()
        seen.append(acting.journal.steady.now())
    assert seen == sorted(seen)


def test_what_would_have_fired_while_nobody_could_answer_waits_a_little_longer(acting: Acting) -> None:
    soon, long_ago = (acting.propose(channel="webhook", fires_s=seconds) for seconds in (3, 60))
    acting.clock.passes(300)
    acting.reopen()
    acting.countdown.start()  # as the gateway does
    acting.countdown.stop()
    assert acting.moves(soon) == acting.moves(long_ago) == []
    assert acting.left_s(soon) == pytest.approx(3), "the whole of its countdown, as that is short"
    assert acting.left_s(long_ago) == pytest.approx(10)
    acting.settle(11)
    assert acting.moves(soon) == acting.moves(long_ago) == ["fired", "done"]
