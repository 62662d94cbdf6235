"""Which steps together raise the odds most within the time there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bench import chains as bench
from edge.decide.chains import Option, best_chain

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
    assert "send figures" not in [one.name for one in busy.steps]


def test_the_chance_that_a_step_adds_has_to_be_worth_its_cost() -> None:
    cheap = option("ring", "rep", 5, 0.4)
    dear = Option(name="loan", role="warehouse", minutes=5, cost=30, gain=0.4, low=0.2, high=0.6, proven=True)
    assert {one.name for one in best_chain(0.5, [cheap, dear], 17).steps} == {"ring", "loan"}
    assert [one.name for one in best_chain(0.5, [cheap, dear], 17, worth=100).steps] == ["ring"]
    assert len(best_chain(0.5, [cheap, dear], 17, worth=1_000).steps) == 2


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_with_costs_none_of_all_sets_is_worth_more(seed: int, size: int, most: int) -> None:
    steps = bench.options(np.random.default_rng(seed), size)
    best = best_chain(bench.BEFORE, steps, bench.WITHIN_MINUTES, most=most, worth=bench.WORTH)
    sets = itertools.chain.from_iterable(itertools.combinations(steps, number) for number in range(most + 1))
    assert bench.worth_of(best.steps) == pytest.approx(max(map(bench.worth_of, sets)), abs=1e-6)
