"""Which steps together raise the odds most within the time there is."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.decide.chains import Option, best_chain, log_odds, odds

ROLES = ("rep", "engineer", "manager")


def option(name: str, role: str, minutes: float, gain: float, *, proven: bool = True) -> Option:
    return Option(name=name, role=role, minutes=minutes, gain=gain, low=gain - 0.2, high=gain + 0.2, proven=proven)


OPTIONS = st.lists(
    st.builds(
        option, st.uuids().map(str), st.sampled_from(ROLES), st.floats(1, 20), st.floats(-1, 1), proven=st.booleans()
    ),
    max_size=7,
)


@settings(deadline=None)
@given(st.floats(0.05, 0.95), OPTIONS, st.floats(0, 40), st.integers(0, 3))
def test_no_set_that_fits_is_better(before: float, options: list[Option], within: float, most: int) -> None:
    chain = best_chain(before, options, within, most=most)
    assert chain.after >= before - 1e-9
    assert chain.minutes <= within
    assert len(chain.steps) <= most
    assert chain.low <= chain.after <= chain.high
    for size in range(most + 1):
        for some in itertools.combinations(options, size):
            by_role = {role: sum(one.minutes for one in some if one.role == role) for role in ROLES}
            if max(by_role.values()) <= within:
                assert sum(one.gain for one in some) <= sum(one.gain for one in chain.steps) + 1e-6


def test_three_within_seventeen_minutes() -> None:
    options = [
        option("ring", "rep", 5, 0.4),
        option("visit", "manager", 90, 2.0),
        option("send figures", "finance", 15, 0.3),
        option("loan a pump", "warehouse", 10, 0.2, proven=False),
        option("say sorry", "rep", 14, 0.35),
    ]
    chain = best_chain(0.83, options, 17)
    assert {one.name for one in chain.steps} == {"ring", "send figures", "loan a pump"}
    assert chain.after == pytest.approx(0.923, abs=0.001)
    assert chain.minutes == 15
    assert [one.name for one in chain.steps if not one.proven] == ["loan a pump"]
    busy = best_chain(0.83, options, 17, free_in={"finance": 10})
    assert "send figures" not in {one.name for one in busy.steps}


@settings(deadline=None, max_examples=200)
@given(OPTIONS, st.floats(0.05, 0.95), st.floats(0, 40), st.lists(st.floats(0, 50), min_size=7, max_size=7))
def test_with_costs_no_set_that_fits_is_worth_more(
    options: list[Option], before: float, within: float, costs: list[float]
) -> None:
    priced = [msgspec.structs.replace(one, cost=cost) for one, cost in zip(options, costs, strict=False)]
    chain = best_chain(before, priced, within, most=3, worth=100.0)

    def value(some: Sequence[Option]) -> float:
        return odds(log_odds(before) + sum(one.gain for one in some)) - sum(one.cost for one in some) / 100

    for size in range(4):
        for some in itertools.combinations(priced, size):
            by_role = {role: sum(one.minutes for one in some if one.role == role) for role in ROLES}
            if max(by_role.values()) <= within:
                assert value(some) <= value(chain.steps) + 1e-6
