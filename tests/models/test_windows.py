"""Windows over readings: what their features say, and that nothing about batches or clocks changes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.features.windows import FEATURE_LIMIT, FEATURES, LONGEST_GAP, SensorWindows

BEGIN_US = 1_772_000_000_000_000
SECOND_US = 1_000_000
YEAR_US = 365 * 86_400 * SECOND_US

Floats = NDArray[np.float64]


def course(
    values: Floats, interval_us: int = 2 * SECOND_US, windows: SensorWindows | None = None
) -> NDArray[np.float32]:
    """The features of one sensor's readings at a steady interval."""
    windows = windows or SensorWindows()
    slots = np.zeros(len(values), np.int64)
    return windows.update(slots, BEGIN_US + interval_us * np.arange(len(values)), values)[0]


def feature(features: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return features[..., FEATURES.index(name)]


def noise(seed: int, count: int) -> Floats:
    return 20 + np.random.default_rng(seed).normal(size=count)


def steady(seed: int = 0, count: int = 400) -> SensorWindows:
    """Windows of slot 0 that have seen noise every two seconds."""
    windows = SensorWindows()
    course(noise(seed, count), windows=windows)
    return windows


# ---- batches -----------------------------------------------------------------------------------------------------

READINGS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([0, 1, SECOND_US, 2 * SECOND_US, 90 * SECOND_US, YEAR_US, -SECOND_US, -YEAR_US]),
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(-100, 100),
            st.sampled_from([0.0, -0.0, 1.0, 20.5]),
        ),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(READINGS, st.integers(1, 60))
def test_a_batch_gives_to_the_bit_what_its_readings_give_one_by_one(
    readings: list[tuple[int, int, float]], size: int
) -> None:
    slots = np.array([slot for slot, _, _ in readings])
    at_us = BEGIN_US + np.cumsum([gap for _, gap, _ in readings])
    values = np.array([value for _, _, value in readings])
    one_by_one, in_batches = SensorWindows(), SensorWindows()
    single = [one_by_one.update(slots[i : i + 1], at_us[i : i + 1], values[i : i + 1]) for i in range(len(readings))]
    for begin in range(0, len(readings), size):
        some = slice(begin, begin + size)
        features, usual = in_batches.update(slots[some], at_us[some], values[some])
        np.testing.assert_array_equal(features, np.concatenate([row for row, _ in single[some]]))
        np.testing.assert_array_equal(usual, np.concatenate([row for _, row in single[some]]))
    assert in_batches.snapshot(4) == one_by_one.snapshot(4)


@settings(max_examples=60, deadline=None)
@given(READINGS)
def test_whatever_comes_features_are_finite_and_within_their_limit(readings: list[tuple[int, int, float]]) -> None:
    windows = SensorWindows()
    features, usual = windows.update(
        np.array([slot for slot, _, _ in readings]),
        BEGIN_US + np.cumsum([gap for _, gap, _ in readings]),
        np.array([value for _, _, value in readings]),
    )
    assert np.isfinite(usual).all()
    assert (np.abs(features) <= FEATURE_LIMIT).all()


def test_ten_thousand_sensors_do_not_touch_one_another() -> None:
    random = np.random.default_rng(3)
    count, times = 10_000, 40
    values = random.normal(size=(times, count)) * random.uniform(0.1, 1000, count)
    crowd = SensorWindows()
    for turn in range(times):
        order = random.permutation(count)
        features, _ = crowd.update(order, np.full(count, BEGIN_US + turn * SECOND_US), values[turn, order])
        last = features[np.argsort(order)]
    for slot in (0, 17, 9_999):
        np.testing.assert_array_equal(last[slot], course(values[:, slot].copy(), SECOND_US)[-1])


# ---- clocks ------------------------------------------------------------------------------------------------------


def test_the_same_course_is_judged_alike_read_fast_or_slowly() -> None:
    values = noise(1, 300)
    np.testing.assert_allclose(course(values, 10_000), course(values, 3600 * SECOND_US), atol=1e-4)


@pytest.mark.parametrize("leap_us", [YEAR_US, -YEAR_US, 0], ids=["forward", "backward", "twice the same time"])
def test_a_leap_of_the_clock_leaves_what_is_usual_as_it_was(leap_us: int) -> None:
    values = noise(2, 460)
    times = BEGIN_US + 2 * SECOND_US * np.arange(460)
    times[400:] += leap_us
    if leap_us == 0:
        times[400] = times[399]
    slots = np.zeros(460, np.int64)
    leapt, usual = SensorWindows().update(slots, times, values)
    straight = course(values)
    assert usual[-1] == pytest.approx(20, abs=0.3)
    assert np.abs(feature(leapt, "late")[400:]).max() < 4
    calm = ("value", "shift_size", "spread", "stuck", "beyond", "rarity_lately")
    for name in calm:
        np.testing.assert_allclose(feature(leapt, name)[420:], feature(straight, name)[420:], atol=0.5)


def test_a_gap_of_a_year_counts_as_the_longest_gap() -> None:
    after_a_year, after_the_longest = steady(), steady()
    at_us = BEGIN_US + 2 * SECOND_US * 399
    for windows, gap_us in ((after_a_year, YEAR_US), (after_the_longest, int(LONGEST_GAP * 2 * SECOND_US))):
        features, _ = windows.update(np.array([0]), np.array([at_us + gap_us]), np.array([20.0]))
        assert feature(features, "shift")[0] == pytest.approx(0, abs=1.5)
    later = [
        w.update(np.array([0]), np.array([at_us + 2 * YEAR_US]), np.array([21.0]))[1]
        for w in (after_a_year, after_the_longest)
    ]
    assert later[0] == later[1]


def test_readings_that_come_later_and_later_show() -> None:
    windows = steady()
    times = BEGIN_US + 2 * SECOND_US * 399 + np.cumsum(np.full(30, 10 * SECOND_US))
    features, _ = windows.update(np.zeros(30, np.int64), times, noise(5, 30))
    assert feature(features, "late")[-1] > 1.5


# ---- what the features say ---------------------------------------------------------------------------------------


def test_a_wild_reading_moves_what_is_usual_no_more_than_a_large_one() -> None:
    usual = []
    for wild in (30.0, 1e9):
        windows = steady()
        times = BEGIN_US + 2 * SECOND_US * np.array([400, 401])
        usual.append(windows.update(np.array([0, 0]), times, np.array([wild, 20.0]))[1][1])
    assert usual[0] == usual[1] == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("value", 20 + 12 * np.ones(20)),
        ("shift", 20 + 12 * np.ones(20)),
        ("beyond", 20 + 12 * np.ones(20)),
        ("rarity_lately", 20 + 12 * np.ones(20)),
        ("spread", 20 + 12 * np.resize([1, 1, -1, -1], 20)),
        ("roughness", 20 + 12 * np.resize([1, -1], 20)),
        ("jump", 20 + 12 * np.resize([0, 0, 0, 1], 20)),
        ("stuck", np.full(20, 20.123)),
    ],
)
def test_what_changes_shows_in_its_feature(name: str, after: Floats) -> None:
    features = feature(course(np.concatenate([noise(6, 400), after])), name)
    assert features[-1] > features[200:400].max()


def test_features_know_up_from_down() -> None:
    fallen = course(np.concatenate([noise(6, 400), 20 - 12 * np.ones(20)]))
    for name in ("value", "shift", "slope", "shift_size"):
        assert feature(fallen, name)[-1] < -1


def test_what_lasts_becomes_usual() -> None:
    moved = course(np.concatenate([noise(7, 400), noise(8, 3000) + 12]))
    assert feature(moved, "rarity_lately")[420] > 3
    assert feature(moved, "rarity_lately")[-1] < 1.5
    assert feature(moved, "beyond")[-1] < 0.5


def test_the_first_reading_says_nothing_but_that_it_is_the_first() -> None:
    first = course(np.array([1234.5]))[0]
    assert not first.any()


# ---- keeping -----------------------------------------------------------------------------------------------------


def test_restored_windows_go_on_as_if_nothing_had_been() -> None:
    windows = steady()
    restored = SensorWindows()
    assert restored.restore(windows.snapshot(1)) == 1
    more = noise(9, 50)
    np.testing.assert_array_equal(course(more, windows=restored), course(more, windows=windows))


def test_a_forgotten_slot_is_new() -> None:
    windows = steady()
    windows.forget(np.array([0]))
    np.testing.assert_array_equal(course(noise(9, 50), windows=windows), course(noise(9, 50)))


@pytest.mark.parametrize("kept", [b"", b"OSWINDOW", bytes(64), b"\xff" * 500])
def test_what_is_no_snapshot_is_refused_and_changes_nothing(kept: bytes) -> None:
    windows = steady()
    before = windows.snapshot(1)
    for damaged in (kept, before[:-1], before + b"\0"):
        with pytest.raises(InputInvalid):
            windows.restore(damaged)
    assert windows.snapshot(1) == before


@pytest.mark.parametrize(
    ("slots", "values"),
    [
        ([0, 0], [1.0, float("nan")]),
        ([0, 0], [1.0, float("inf")]),
        ([0, 5], [1.0, 1.0]),
        ([0, -1], [1.0, 1.0]),
        ([0], [1.0, 2.0]),
    ],
    ids=["NaN", "infinite", "slot beyond the limit", "negative slot", "lengths that differ"],
)
def test_what_is_no_reading_is_refused_and_none_of_its_batch_is_taken(slots: list[int], values: list[float]) -> None:
    windows = SensorWindows(limit=5)
    before = windows.snapshot(1)
    with pytest.raises(InputInvalid):
        windows.update(np.array(slots), np.full(len(slots), BEGIN_US), np.array(values))
    assert windows.snapshot(1) == before
