"""What is learnt of a device as a whole, of a slow sensor's rhythm, and how both are measured."""

import math

import numpy as np
import pytest

from models.errors import InputInvalid
from models.features.course import BEYOND, Course
from models.features.machine import ABOVE, LEARNT, STEEPNESS, Machine
from models.tasks.device_watch import DeviceWatch
from models.train.evaluate_device_anomaly import best_threshold, nab_score
from models.train.recorded import Watched

SENSORS = ("flow", "pressure", "current")


def rows(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(4).normal([30.0, 2.0, 1.3], [0.5, 0.1, 0.05], (count, 3))


def test_a_shift_within_the_usual_range_is_found_and_explained() -> None:
    machine, readings = Machine(SENSORS), rows(900)
    readings[700:, 0] -= 1.0  # two deviations
    said = np.array([machine.update(row) for row in readings])
    assert np.isneginf(said[:LEARNT]).all()
    assert (said[LEARNT:700] < 0).mean() > 0.95
    assert (said[740:] >= 0).mean() > 0.95
    parts = machine.explain()
    assert parts[0][0] == "flow"
    assert sum(part for _, part in parts) - STEEPNESS * math.log1p(ABOVE) == pytest.approx(said[-1])


def test_a_missing_reading_stands_where_it_stood_and_a_wrong_row_is_refused() -> None:
    machine = Machine(SENSORS)
    for row in rows(LEARNT):
        machine.update(row)
    assert math.isfinite(machine.update(np.array([math.nan, 2.0, 1.3])))
    with pytest.raises(InputInvalid, match="3 finite numbers"):
        machine.update(np.zeros(2))


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
    assert added >= loudest + STEEPNESS * BEYOND - 1e-9


def test_the_row_is_as_anomalous_as_the_loudest_says() -> None:
    watch = DeviceWatch(0.4)
    said = watch.update("pump", 0, {"flow": 1.0, "level": 2.0}, [0.1, 0.7])
    assert (said.probability, said.by, said.sensor) == (0.7, "sensor", "level")


def test_nab_gives_nothing_for_silence_and_most_for_the_first_moment() -> None:
    series = [Watched("a.csv", np.arange(1000), np.zeros(1000), ((500, 599),))]
    silent, early, late, false = (np.zeros(1000) for _ in range(4))
    early[500], late[598], false[300] = 1, 1, 1
    assert nab_score(series, [silent], 0.5) == 0
    assert nab_score(series, [early], 0.5) == pytest.approx(100)
    assert 50 < nab_score(series, [late], 0.5) < 60
    assert nab_score(series, [false], 0.5) == pytest.approx(-5.5)
    assert best_threshold(series, [early]) == 1
