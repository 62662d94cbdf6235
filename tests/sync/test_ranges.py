"""Ranges are sets of numbers."""

from hypothesis import given
from hypothesis import strategies as st

from sync.ranges import Ranges

numbers = st.sets(st.integers(1, 40))


def ranges_of(members: set[int]) -> Ranges:
    return Ranges((member, member) for member in members)


@given(one=numbers, other=numbers)
def test_ranges_are_the_sets_that_they_stand_for(one: set[int], other: set[int]) -> None:
    left, right = ranges_of(one), ranges_of(other)
    assert left | right == ranges_of(one | other)
    assert left - right == ranges_of(one - other)
    assert left & right == ranges_of(one & other)
    assert len(left) == len(one)
    assert left.top == max(one, default=0)
    assert left.holes() == ranges_of(set(range(1, left.top)) - one)
    assert all(first <= last for first, last in left.runs)
    assert all(before[1] + 1 < after[0] for before, after in zip(left.runs, left.runs[1:], strict=False))
