"""Shares of the link: `now` first, nobody never."""

from collections import Counter

import pytest

from sync.protocol import Lane
from sync.schedule import Schedule, Turn


def run_on(schedule: Schedule, waiting: list[Lane], turns: int) -> Counter[Turn]:
    had: Counter[Turn] = Counter()
    for _ in range(turns):
        turn = schedule.next(waiting)
        schedule.left(turn, 2048, waiting)
        had[turn] += 1
    return had


def by_lane(had: Counter[Turn]) -> Counter[str]:
    lanes: Counter[str] = Counter()
    for turn, count in had.items():
        lanes[turn.lane] += count
    return lanes


def test_a_fresh_now_is_always_first() -> None:
    schedule = Schedule("newest")
    run_on(schedule, ["day", "bulk"], 100)
    assert schedule.next(["now", "day", "bulk"]).lane == "now"


def test_day_has_three_times_what_bulk_has() -> None:
    lanes = by_lane(run_on(Schedule("newest"), ["day", "bulk"], 400))
    assert abs(lanes["day"] - 300) <= 2


def test_a_now_that_never_ends_leaves_the_others_an_eighth() -> None:
    lanes = by_lane(run_on(Schedule("newest"), ["now", "day", "bulk"], 800))
    assert lanes["day"] + lanes["bulk"] >= 98
    assert lanes["bulk"] >= 24


@pytest.mark.parametrize(("backlog", "newest"), [("newest", 300), ("oldest", 100)])
def test_the_chosen_end_has_three_quarters(backlog: str, newest: int) -> None:
    schedule = Schedule("newest" if backlog == "newest" else "oldest")
    had = run_on(schedule, ["day"], 400)
    assert abs(had[Turn("day", "newest")] - newest) <= 2


def test_who_had_nothing_to_send_has_saved_nothing_up() -> None:
    schedule = Schedule("newest")
    run_on(schedule, ["bulk"], 1000)
    run_on(schedule, ["day"], 10)
    assert by_lane(run_on(schedule, ["day", "bulk"], 40))["bulk"] >= 8
