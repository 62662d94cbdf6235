"""Which steps together raise the odds most within the time there is."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert chain.after >= before
    assert chain.minutes <= within
    assert len(chain.steps) <= most
    assert chain.low <= chain.after <= chain.high
    for size in range(most + 1):
        for some in itertools.combinations(options, size):
            by_role = {role: sum(one.minutes for one in some if one.role == role) for role in ROLES}
            if max(by_role.values()) <= within:
                assert sum(one.gain for one in some) <= sum(o.gain for o in options if o.name in chain.steps) + 1e-6


def test_three_within_seventeen_minutes() -> None:
    options = [
        option("ring", "rep", 5, 0.4),
        option("visit", "manager", 90, 2.0),
        option("send figures", "finance", 15, 0.3),
        option("loan a pump", "warehouse", 10, 0.2, proven=False),
        option("say sorry", "rep", 14, 0.35),
    ]
    chain = best_chain(0.83, options, 17)
    assert set(chain.steps) == {"ring", "send figures", "loan a pump"}
    assert chain.after == pytest.approx(0.923, abs=0.001)
    assert chain.minutes == 15
    assert chain.unproven == ("loan a pump",)
    busy = best_chain(0.83, options, 17, free_in={"finance": 10})
    assert "send figures" not in busy.steps
