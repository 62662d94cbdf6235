"""What is learnt of a device as a whole, of a slow sensor's rhythm, and how both are chosen and measured."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputInvalid
from models.features.course import CHOSEN as OF_COURSES
from models.features.course import STEEPNESS, Course
from models.features.machine import CHOSEN as OF_MACHINES
from models.features.machine import LEARNT, RELEARN, Machines
from models.features.machine import STEEPNESS as OF_EVIDENCE
from models.tasks import device_machines
from models.tasks.device_machines import DeviceMachines
from models.tasks.device_watch import DeviceWatch
from models.train.choose_course import distances, means, odd
from models.train.choose_machine import episodes, judged, rates_of
from models.train.machines import made_machines
from models.train.nab import best_threshold, nab_score
from models.train.recorded import Watched

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
ONE = np.zeros(1, np.int64)
SENSORS = ("flow", "pressure", "current")


def rows(count: int, seed: int = 4) -> Array:
    """A machine whose current follows its flow."""
    random = np.random.default_rng(seed)
    made = random.normal([30.0, 2.0, 1.3], [0.5, 0.1, 0.01], (count, 3))
    made[:, 2] += 0.1 * (made[:, 0] - 30)
    return made


def each(machines: Machines, readings: Array) -> tuple[Array, Array]:
    said = [machines.update(ONE, row[np.newaxis]) for row in readings]
    return np.array([odds[0] for odds, _ in said]), np.array([parts[0] for _, parts in said])


def test_a_shift_within_the_usual_range_is_found_and_explained() -> None:
    readings = rows(900)
    readings[700:, 0] -= 1.0  # two deviations
    odds, parts = each(Machines(3), readings)
    assert np.isneginf(odds[:LEARNT]).all()
    assert (odds[LEARNT:700] < 0).mean() > 0.95
    assert (odds[740:] >= 0).mean() > 0.95
    base = OF_EVIDENCE * math.log1p(OF_MACHINES.above)
    np.testing.assert_allclose(parts[LEARNT:].sum(axis=1) - base, odds[LEARNT:])
    assert np.argmax(parts[-1]) == 0


def test_a_load_that_wanders_is_no_fault_and_one_that_the_current_does_not_follow_is() -> None:
    random = np.random.default_rng(1)
    load = np.cumsum(random.normal(0, 0.03, 1400))
    readings = np.stack([load, 2 * load, -load], axis=1) + random.normal(0, 0.1, (1400, 3))
    readings[1200:, 1] += 0.5
    odds, _ = each(Machines(3), readings)
    assert (odds[LEARNT:1200] >= 0).mean() < 0.05
    assert (odds[1250:] >= 0).mean() > 0.9


def test_a_machine_that_runs_otherwise_for_good_is_learnt_anew() -> None:
    readings = rows(700 + RELEARN + 2 * LEARNT)
    readings[700:] += [5.0, 1.0, 0.5]
    odds, _ = each(Machines(3), readings)
    assert (odds[730 : 690 + RELEARN] >= 0).all()
    assert np.isfinite(odds[-1])
    assert odds[-1] < 0


def test_a_missing_reading_stands_where_it_stood_and_a_wrong_row_is_refused() -> None:
    machines = Machines(3)
    each(machines, rows(LEARNT))
    for missing in (math.nan, math.inf, 1e300):
        odds, _ = machines.update(ONE, np.array([[missing, 2.0, 1.3]]))
        assert math.isfinite(odds[0])
    with pytest.raises(InputInvalid, match="3 numbers"):
        machines.update(ONE, np.zeros((1, 2)))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 4 * 600), max_size=5), seed=st.integers(0, 3))
def test_machines_are_judged_alike_in_batches_one_by_one_and_over_a_restart(cuts: list[int], seed: int) -> None:
    several = [rows(600, seed + number) for number in range(4)]
    slots = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), 600))
    taken = [iter(one) for one in several]
    given = np.array([next(taken[slot]) for slot in slots])
    alone = [each(Machines(3), one)[0] for one in several]
    batched, said = Machines(3), []
    for first, end in itertools.pairwise(sorted({0, *cuts, len(slots)})):
        said.append(batched.update(slots[first:end], given[first:end])[0])
        restored = Machines(3)
        restored.restore(batched.snapshot())
        batched = restored
    together = np.concatenate(said)
    for slot, one in enumerate(alone):
        np.testing.assert_allclose(together[slots == slot], one, rtol=1e-9)


def test_what_was_kept_by_another_version_or_is_damaged_is_refused() -> None:
    kept = Machines(3).snapshot()
    for wrong in (b"", kept[:-1], Machines(4).snapshot()):
        with pytest.raises(InputInvalid, match="build them"):
            Machines(3).restore(wrong)
    with pytest.raises(InputInvalid, match="build them"):
        DeviceMachines().restore(b"x")


def test_devices_are_machines_of_their_own_and_those_silent_for_long_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [(f"pump-{number}", SENSORS) for number in range(5)]
    machines = DeviceMachines(sensors=12)
    for turn in range(LEARNT + 1):
        for name in names[:3]:
            odds, parts = machines.update([name, ("scale", ("weight",))], np.array([*rows(1, turn)[0], 7.0]))
    assert np.isfinite(odds[0])
    assert np.isneginf(odds[1]), "one sensor is no machine"
    assert parts[3] == 0
    machines.update(names[3:], rows(2).ravel())
    assert np.isfinite(machines.update([names[0]], rows(1)[0])[0][0]), "those that speak keep their places"
    monkeypatch.setattr(device_machines, "SILENT", 1)
    for name in names[1:4]:
        machines.update([name], rows(1)[0])
    machines.update(names[3:], rows(2).ravel())
    assert len(machines) == 4
    restored = DeviceMachines(sensors=12)
    restored.restore(machines.snapshot())
    for one in (machines, restored):
        assert np.isneginf(one.update([names[0]], rows(1)[0])[0][0]), "it gave up its place and is new"
        assert np.isfinite(one.update([names[2]], rows(1)[0])[0][0])


def test_a_day_without_its_peak_is_odd_and_explained() -> None:
    at = np.arange(288 * 12)
    values = np.sin(2 * np.pi * at / 288) + np.random.default_rng(2).normal(0, 0.05, len(at))
    values[288 * 10 : 288 * 10 + 144] = 0.0
    course, loudest = Course(), -math.inf
    for place, value in enumerate(values):
        odds = course.update(float(value))
        if odds > loudest and place >= 288 * 4:
            loudest, when = odds, place
            added = sum(part for _, part in course.explain())
    assert loudest > 0
    assert 288 * 10 <= when <= 288 * 11 + 100
    assert added >= loudest + STEEPNESS * OF_COURSES.beyond - 1e-9


def test_the_constants_of_courses_are_chosen_by_what_runs_on_the_device() -> None:
    values = np.cumsum(np.random.default_rng(7).normal(size=1500))
    course = Course()
    one_by_one = np.array([course.update(value) for value in values.tolist()])
    of_readings = distances(values, OF_COURSES.length)
    of_means = distances(means(values, OF_COURSES.block), OF_COURSES.length)
    np.testing.assert_allclose(odd(of_readings, of_means, values, OF_COURSES), one_by_one)


def test_the_row_is_as_anomalous_as_the_loudest_says() -> None:
    watch = DeviceWatch(0.4)
    (said,) = watch.update([("pump", 0, {"flow": 1.0, "level": 2.0})], np.array([0.1, 0.7]))
    assert (said.probability, said.by, said.sensor) == (0.7, "sensor", "level")


def test_a_machine_says_so_at_the_packs_threshold_and_names_its_sensors() -> None:
    watch, readings = DeviceWatch(0.4), rows(800)
    readings[600:, 0] -= 2.0
    verdicts = []
    for turn, row in enumerate(readings.tolist()):
        verdicts += watch.update([("pump", turn * 1_000_000, dict(zip(SENSORS, row, strict=True)))], np.full(3, 0.01))
    said = verdicts[-1]
    assert said.by == "machine"
    assert said.probability >= 0.4
    assert {sensor for sensor, _ in said.weights} == set(SENSORS)
    assert said.sensor in ("flow", "current")
    assert verdicts[LEARNT + 100].probability < 0.4


def test_made_machines_are_the_same_each_time_and_their_faults_show() -> None:
    machines = made_machines(5, 12)
    assert [one.kind for one in machines] == [one.kind for one in made_machines(5, 12)]
    np.testing.assert_array_equal(machines[3].values, made_machines(5, 4)[3].values)
    assert all(np.isfinite(one.values).all() for one in machines)
    assert {bool(one.fault) for one in machines} == {True, False}
    assert all(one.faulty.any() == bool(one.fault) for one in machines)
    f1, false, missed = rates_of(list(judged(machines, OF_MACHINES)))
    assert f1 > 0.4
    assert false < 0.2
    assert missed < 0.7


def test_alarms_close_to_each_other_are_one_episode() -> None:
    odds = np.full(300, -1.0)
    odds[[5, 6, 20, 100, 250]] = 1.0
    assert episodes(odds) == 3
    assert episodes(np.full(9, -np.inf)) == 0


def test_nab_gives_nothing_for_silence_and_most_for_the_first_moment() -> None:
    series = [Watched("a.csv", np.arange(1000), np.zeros(1000), ((500, 599),))]
    silent, early, late, false = (np.zeros(1000) for _ in range(4))
    early[500], late[598], false[300] = 1, 1, 1
    assert nab_score(series, [silent], 0.5) == 0
    assert nab_score(series, [early], 0.5) == pytest.approx(100)
    assert 50 < nab_score(series, [late], 0.5) < 60
    assert nab_score(series, [false], 0.5) == pytest.approx(-5.5)
    assert best_threshold(series, [early]) == 1
