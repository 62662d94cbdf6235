"""What a play does, measured while anybody may look at any time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.holdouts import is_held_out
from edge.decide.uplift import Always, Uplift

KEY = "a site's key"


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_who_is_held_out_stays_held_out_at_a_larger_share(play: str, subject: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert is_held_out(KEY, play, subject, less) <= is_held_out(KEY, play, subject, more)
    assert not is_held_out(KEY, play, subject, 0.0)
    assert is_held_out(KEY, play, subject, 1.0)


def test_the_share_is_held_and_plays_do_not_go_together() -> None:
    subjects = [f"customer-{number}" for number in range(20_000)]
    out = {play: {s for s in subjects if is_held_out(KEY, play, s, 0.1)} for play in ("calm", "hurry")}
    for held in out.values():
        assert len(held) == pytest.approx(2_000, abs=150)
    assert len(out["calm"] & out["hurry"]) == pytest.approx(200, abs=50)
    assert out["calm"] != {s for s in subjects if is_held_out("another key", "calm", s, 0.1)}


def test_the_bounds_hold_at_all_times_at_once() -> None:
    draw = np.random.default_rng(0)
    always = Always(0.0, 1.0, 400)
    wrong = np.zeros(400, bool)
    for _ in range(600):
        always.add((draw.random(400) < 0.3).astype(float))
        wrong |= (always.low > 0.3) | (always.high < 0.3)
    assert wrong.mean() <= 0.05
    assert (always.high - always.low).mean() < 0.35


def an_experiment(effect: float, count: int, seed: int, share: float = 0.3) -> Uplift:
    draw = np.random.default_rng(seed)
    uplift = Uplift(share)
    for _ in range(count):
        covariate, treated = float(draw.random()), bool(draw.random() >= share)
        chance = 0.2 + 0.5 * covariate + (effect if treated else 0.0)
        uplift.add(treated, float(draw.random() < chance), (covariate,))
    return uplift


def test_an_effect_is_found_and_none_is_not_claimed() -> None:
    works = an_experiment(0.25, 4_000, 1).effect
    assert works.low < 0.25 < works.high
    assert works.verdict == "helps"
    assert works.mean == pytest.approx(0.25, abs=0.06)
    assert an_experiment(0.0, 4_000, 2).effect.verdict == "unproven"
    assert an_experiment(-0.25, 4_000, 3).effect.verdict == "harms"


def test_before_anything_is_known_nothing_is_claimed() -> None:
    effect = Uplift(0.1).effect
    assert (effect.low, effect.high, effect.verdict, effect.treated) == (-1.0, 1.0, "unproven", 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Uplift(0.1).add(True, 3.0)
    with pytest.raises(ValueError, match="leaves nobody alone"):
        Uplift(0.0)


def test_outcomes_that_are_kept_back_of_one_arm_are_noticed_and_nothing_is_claimed() -> None:
    draw = np.random.default_rng(4)
    uplift = Uplift(0.3)
    for _ in range(2_000):
        treated = bool(draw.random() >= 0.3)
        value = float(draw.random() < 0.4)
        if treated and not value and draw.random() < 0.5:
            continue  # half of the failures of those treated are never told
        uplift.add(treated, value)
    assert uplift.effect.mean > 0.1
    assert uplift.effect.verdict == "suspect"
