"""What a play does, measured while anybody may look at any time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bench.uplift import first_of, make, numbers_of, won
from edge.decide.holdouts import is_held_out
from edge.decide.uplift import Always, Augmented, Uplift

KEY = "a site's key"
CHANCES = st.floats(0, 1)


@given(st.text(), st.text(), CHANCES, CHANCES)
def test_who_is_held_out_stays_held_out_at_a_larger_share(trial: str, subject: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert is_held_out(KEY, trial, subject, less) <= is_held_out(KEY, trial, subject, more)
    assert not is_held_out(KEY, trial, subject, 0.0)
    assert is_held_out(KEY, trial, subject, 1.0)


def test_the_share_is_held_and_plays_do_not_go_together() -> None:
    subjects = [f"customer-{number}" for number in range(20_000)]
    out = {play: {s for s in subjects if is_held_out(KEY, play, s, 0.1)} for play in ("calm", "hurry")}
    for held in out.values():
        assert len(held) == pytest.approx(2_000, abs=150)
    assert len(out["calm"] & out["hurry"]) == pytest.approx(200, abs=50)
    assert out["calm"] != {s for s in subjects if is_held_out("another key", "calm", s, 0.1)}


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize(("base", "effect"), [(0.3, 0.1), (0.02, 0.0), (0.98, 0.0)])
def test_the_bounds_hold_at_all_times_at_once(share: float, base: float, effect: float) -> None:
    numbers = numbers_of(make(share, base, effect, 200, 500), share)
    assert (first_of(won(numbers, effect)) < 500).mean() <= 0.05


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), CHANCES, CHANCES), max_size=60), st.sampled_from([0.1, 0.3, 0.5]))
def test_numbers_lie_where_they_were_known_to_lie_and_bounds_never_widen(
    told: list[tuple[bool, float, float]], share: float
) -> None:
    augmented, uplift = Augmented(share), Uplift(share)
    low, high = -1.0, 1.0
    for treated, value, covariate in told:
        number = augmented.number(treated, value, (covariate,))
        assert number.least - 1e-9 <= number.value <= number.most + 1e-9
        assert number.least <= -1 + 1e-9
        assert number.most >= 1 - 1e-9
        uplift.add(treated, value, (covariate,))
        effect = uplift.effect
        assert low <= effect.low
        assert effect.high <= high
        low, high = effect.low, effect.high


def test_what_is_learnt_from_sums_is_the_regression_on_all_rows() -> None:
    draw = np.random.default_rng(0)
    augmented = Augmented(0.5)
    rows, values = draw.random((110, 2)), (draw.random(110) < 0.4).astype(float)
    learnt = 0
    for number, (row, value) in enumerate(zip(rows.tolist(), values.tolist(), strict=True), 1):
        augmented.number(True, value, row)
        learnt = number if number >= 1.1 * learnt else learnt
    design = np.column_stack([np.ones(learnt), rows[:learnt]])
    target = design.T @ values[:learnt] + np.array([0.5, 0, 0])
    weights = np.linalg.solve(design.T @ design + np.eye(3), target)
    assert augmented.done.of((1.0, 0.5, 0.5)) == pytest.approx(weights @ [1, 0.5, 0.5])


def test_bounds_of_numbers_that_do_not_vary_close_in_on_them() -> None:
    always = Always(-1.0, 1.0)
    for _ in range(1_000):
        always.add(0.25, -2.0, 2.0)
    assert always.low < 0.25 < always.high
    assert always.high - always.low < 0.03


def test_bounds_do_not_widen_even_when_numbers_refute_every_mean() -> None:
    always = Always(-1.0, 1.0)
    for number in [1.0] * 100 + [-1.0] * 200:
        low, high = always.low, always.high
        always.add(number, -1.0, 1.0)
        assert low <= always.low
        assert always.high <= high
    assert always.low <= always.high < always.low + 0.01


def an_experiment(effect: float, count: int, seed: int, share: float = 0.3) -> Uplift:
    draw = np.random.default_rng(seed)
    uplift = Uplift(share)
    for _ in range(count):
        covariate, treated = float(draw.random()), bool(draw.random() >= share)
        chance = 0.3 + 0.4 * covariate + (effect if treated else 0.0)
        uplift.add(treated, float(draw.random() < chance), (covariate,))
    return uplift


def test_an_effect_is_found_and_none_is_not_claimed() -> None:
    works = an_experiment(0.25, 2_000, 1).effect
    assert works.low < 0.25 < works.high
    assert works.verdict == "helps"
    assert works.mean == pytest.approx(0.25, abs=0.06)
    assert works.without == pytest.approx(0.5, abs=0.06)
    assert an_experiment(0.0, 2_000, 2).effect.verdict == "unproven"
    assert an_experiment(-0.25, 2_000, 3).effect.verdict == "harms"


def test_nothing_is_claimed_when_outcomes_of_one_arm_are_kept_back() -> None:
    draw = np.random.default_rng(4)
    uplift = Uplift(0.5)
    for _ in range(1_000):
        treated, value = bool(draw.random() < 0.5), float(draw.random() < 0.5)
        if value or not treated:
            uplift.add(treated, value)
    assert uplift.effect.low > 0
    assert uplift.effect.verdict == "suspect"


def test_before_anything_is_known_nothing_is_claimed() -> None:
    effect = Uplift(0.1).effect
    assert (effect.low, effect.high, effect.verdict, effect.treated) == (-1.0, 1.0, "unproven", 0)
    assert effect.without is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        Uplift(0.1).add(True, 3.0)
    with pytest.raises(ValueError, match="leaves nobody alone"):
        Uplift(0.0)
