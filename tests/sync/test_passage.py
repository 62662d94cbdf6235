"""A lane's way to HQ: what leaves again, what rests, and what never hinders the rest."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sync.passage import Flight, Passage
from sync.ranges import Ranges, Run


def flight(run: Run, tries: int = 0) -> Flight:
    return Flight(run=run, rows=run[1] - run[0] + 1, size_bytes=100, ahead_bytes=0, left_s=0.0, tries=tries)


def test_both_ends_of_what_waits_are_offered_and_nothing_twice() -> None:
    passage = Passage(Ranges(((5, 6),)))
    passage.grow(10)
    assert (passage.next_run("newest", 0.0), passage.next_run("oldest", 0.0)) == ((7, 10), (1, 4))
    passage.leave(1, flight((8, 10)))
    assert passage.next_run("newest", 0.0) == (7, 7)
    assert [done.run for done in passage.take((8, 10))] == [(8, 10)]
    assert passage.waiting == Ranges(((1, 4), (7, 7)))


def test_only_what_the_broker_has_is_given_up() -> None:
    passage = Passage()
    passage.grow(4)
    passage.leave(1, flight((1, 2)))
    passage.leave(2, flight((3, 4)))
    passage.arrive(1, 5.0)
    assert [late.run for late in passage.expire(100.0)] == [(1, 2)]
    assert passage.next_run("oldest", 100.0) == (1, 2)
    assert passage.tries((1, 2)) == 1


@given(rows=st.integers(1, 200), poison=st.data())
def test_a_row_that_hq_will_not_take_holds_up_no_other(rows: int, poison: st.DataObject) -> None:
    bad = poison.draw(st.integers(1, rows))
    passage, now_s = Passage(), 0.0
    passage.grow(rows)
    for token in range(2000):
        run = passage.next_run("newest", now_s)
        if run is None:
            if passage.waiting == Ranges(((bad, bad),)):
                return
            now_s += 5.0
            continue
        passage.leave(token, flight(run, passage.tries(run)))
        if run[0] <= bad <= run[1]:
            passage.arrive(token, now_s + 2.0)
            now_s += 2.0
            passage.expire(now_s)
        else:
            passage.take(run)
    raise AssertionError(f"{passage.waiting} still wait because of {bad}")


def test_a_lost_connection_is_no_refusal() -> None:
    passage = Passage()
    passage.grow(3)
    passage.leave(1, flight((1, 3)))
    passage.restart()
    assert passage.next_run("newest", 0.0) == (1, 3)
    assert passage.tries((1, 3)) == 0
    assert passage.refused() is None


def test_what_hq_lost_leaves_again() -> None:
    passage = Passage(Ranges(((1, 100),)))
    passage.grow(100)
    passage.believe(Ranges(((1, 40),)))
    assert passage.next_run("newest", math.inf) == (41, 100)
