"""Device windows: which reading goes where, however the events come in batches."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.events import Event, Note, Reading, new_id
from edge.perceive.windows import DeviceWindows
from models.errors import InputInvalid
from models.features.windows import FEATURES
from tests.records import AT, an_event

SECOND_US = 1_000_000


def reading(device: str, second: int = 0, /, **values: float) -> Event:
    return an_event(Reading(values=values), subject=device, at=AT + second * SECOND_US)


def an_hour(devices: int, sensors: int, count: int) -> list[Event]:
    random = np.random.default_rng(5)
    return [
        reading(f"fan-{number}", second, **{f"s{place}": float(random.normal(number, 1)) for place in range(sensors)})
        for second in range(count)
        for number in range(devices)
    ]


def test_every_reading_is_a_row_with_its_event_sensor_value_and_what_was_usual() -> None:
    windows = DeviceWindows()
    windows.update([reading("hoist-07", second, speed=2.0, temp=50.0) for second in range(10)])
    batch = windows.update([reading("hoist-07", 10, temp=51.0, speed=2.5), reading("pump-03", 10, temp=20.0)])
    assert batch.event.tolist() == [0, 0, 1]
    assert batch.sensor == ["temp", "speed", "temp"]
    assert batch.value.tolist() == [51.0, 2.5, 20.0]
    assert batch.usual.tolist() == pytest.approx([50.0, 2.0, 20.0])
    assert batch.features.shape == (3, len(FEATURES))
    assert batch.of_event(0).features.keys() == {"temp", "speed"}
    assert batch.of_event(1).features["temp"] == dict(zip(FEATURES, batch.features[2].tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 90), max_size=6))
def test_how_events_are_cut_into_batches_changes_nothing(cuts: list[int]) -> None:
    events = an_hour(devices=3, sensors=2, count=30)
    whole, cut = DeviceWindows(), DeviceWindows()
    edges = [0, *sorted(cuts), len(events)]
    pieces = [cut.update(events[begin:end]) for begin, end in pairwise(edges)]
    np.testing.assert_array_equal(whole.update(events).features, np.concatenate([piece.features for piece in pieces]))


def test_sensors_of_one_name_on_two_devices_are_two_sensors() -> None:
    windows = DeviceWindows()
    windows.update([reading("a", second, temp=10.0) for second in range(5)])
    windows.update([reading("b", second, temp=90.0) for second in range(5)])
    assert windows.update([reading("a", 6, temp=10.0), reading("b", 6, temp=90.0)]).usual.tolist() == [10.0, 90.0]
    assert len(windows) == 2


def test_the_loudest_reading_of_an_event_is_its_most_anomalous_one() -> None:
    note = Event(
        at=AT, source="test", subject="x", received_at=AT, boot_id="boot", data=Note(text="noisy", author="li")
    )
    batch = DeviceWindows().update([reading("a", x=1.0, y=2.0), note, reading("b", z=3.0, u=4.0, w=5.0)])
    rows = batch.loudest(np.array([0.1, 0.7, 0.5, 0.2, 0.5], np.float32), events=3)
    assert rows[:2].tolist() == [1, -1]
    assert batch.sensor[rows[2]] in ("z", "w")


def test_numbers_that_are_not_finite_are_passed_over() -> None:
    windows = DeviceWindows()
    batch = windows.update(
        [reading("a", x=float("nan"), y=2.0), reading("a", 1, x=float("inf")), reading("a", 2, x=1.0)]
    )
    assert list(zip(batch.event.tolist(), batch.sensor, batch.value.tolist(), strict=True)) == [
        (0, "y", 2.0),
        (2, "x", 1.0),
    ]
    assert np.isfinite(batch.features).all()


def test_beyond_the_limit_those_silent_for_longest_give_up_their_places() -> None:
    windows = DeviceWindows(sensors=50)
    windows.update([reading("gone", **{f"s{place}": 5.0 for place in range(10)})])
    busy = [reading("busy", second, **{f"s{place}": 7.0 for place in range(40)}) for second in range(3)]
    windows.update(busy)
    fresh = windows.update([*busy, reading("new", 9, x=1.0)])
    assert len(windows) == 50
    assert fresh.usual[:40].tolist() == [7.0] * 40
    back = windows.update([reading("gone", 10, s0=9.0, s9=9.0)])
    assert 9.0 in back.usual, "the place of a silent sensor was taken: it is new"
    assert len(windows) == 50


def test_devices_with_endless_new_names_never_outgrow_the_limit() -> None:
    windows = DeviceWindows(sensors=100)
    for batch in range(20):
        windows.update([reading("honest", batch, temp=20.0), *(reading(new_id(), batch, x=1.0) for _ in range(30))])
    assert len(windows) <= 100
    assert windows.update([reading("honest", 99, temp=25.0)]).usual.tolist() == [20.0]


def test_a_batch_with_more_sensors_than_the_limit_is_taken_in_parts() -> None:
    events = [reading(f"d{number}", **{f"s{place}": float(number) for place in range(6)}) for number in range(7)]
    batch = DeviceWindows(sensors=10).update(events)
    assert batch.event.tolist() == [number for number in range(7) for _ in range(6)]
    assert batch.value.tolist() == [float(number) for number in range(7) for _ in range(6)]
    with pytest.raises(InputInvalid, match="d0"):
        DeviceWindows(sensors=5).update(events)


def test_restored_windows_go_on_as_if_nothing_had_been() -> None:
    events = an_hour(devices=4, sensors=3, count=40)
    straight, stopped, restored = DeviceWindows(), DeviceWindows(), DeviceWindows()
    straight.update(events[:100])
    stopped.update(events[:100])
    restored.restore(stopped.snapshot())
    np.testing.assert_array_equal(restored.update(events[100:]).features, straight.update(events[100:]).features)


def test_a_machine_whose_sensors_part_company_is_said_with_its_sensors_also_after_a_restart() -> None:
    random = np.random.default_rng(3)
    events = []
    for second in range(500):
        load = float(random.normal(10, 1))
        current = 2 * load + float(random.normal(0, 0.1)) + (1.0 if second >= 460 else 0.0)  # half a deviation
        events.append(reading("fan", second, load=load, current=current, humidity=float(random.normal(50, 5))))
    windows, restored = DeviceWindows(), DeviceWindows()
    before = windows.update(events[:450])
    restored.restore(windows.snapshot())
    assert np.isnan(before.of_machines(0.4)[:400]).all()
    assert (before.of_machines(0.4)[400:] < 0.4).all()
    batch = windows.update(events[450:])
    np.testing.assert_allclose(restored.update(events[450:]).machine, batch.machine)
    assert batch.of_machines(0.4)[-1] >= 0.4
    row, weights = batch.of_machine(49)
    assert batch.sensor[row] in ("load", "current")
    assert batch.event[row] == 49
    assert [sensor for sensor, _ in weights][-1] == "humidity"
    silent = restored.update([reading("fan", 500, load=float("nan"), current=float("inf"), humidity=float("nan"))])
    assert np.isnan(silent.of_machines(0.4)).all()


@pytest.mark.parametrize("damaged", [b"", b"\x92\x90\xc4\x00", b"\x92\x91\x92\xa1a\xa1b\xc4\x00"])
def test_what_is_no_snapshot_is_refused_and_changes_nothing(damaged: bytes) -> None:
    windows = DeviceWindows()
    windows.update([reading("a", second, temp=10.0) for second in range(5)])
    for kept in (damaged, windows.snapshot()[:-3]):
        with pytest.raises(InputInvalid):
            windows.restore(kept)
    assert windows.update([reading("a", 6, temp=12.0)]).usual.tolist() == [10.0]


def test_no_events_make_no_rows() -> None:
    batch = DeviceWindows().update([])
    assert batch.features.shape == (0, len(FEATURES))
    assert batch.loudest(np.zeros(0, np.float32), 0).tolist() == []
