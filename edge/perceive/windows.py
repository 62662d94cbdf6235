"""Readings to features: which sensor of which device has which slot in the windows, what is known of each device's
machine, and a batch as columns.

This is the hot path: a batch of events becomes a few arrays, and nothing is made for a single reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.events import Event, Reading, Window
from models.errors import InputInvalid
from models.features.windows import FEATURES, SensorWindows
from models.tasks.device_machines import DeviceMachines, Weights, logistic, why

SENSORS = 100_000
GIVEN_UP = 0.02  # of the slots at once, so that making room is rare

Sensor = tuple[str, str]  # its device and its name
Group = tuple[str, tuple[str, ...]]  # a device and sensors of it
NOBODY: Sensor = ("", "")
NOTHING: Group = ("", ())
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The readings of a batch of events, a row for each sensor of each event, in the events' order."""

    event: Ints  # [n] place of the event in the batch
    sensor: list[str]  # [n]
    value: Floats  # [n]
    usual: Floats  # [n] what was usual for the sensor before this reading
    features: NDArray[np.float32]  # [n, len(FEATURES)]
    part: Floats  # [n] what the reading added to the log-odds of its machine
    machine: Floats  # [events] log-odds that the machine does not run as usual, less those at which it is said; or -inf

    def loudest(self, probability: NDArray[np.float32], events: int) -> Ints:
        """For each of the batch's `events` the row of its most anomalous reading; -1 where it has no reading.

        The probability of an event is that of this reading, or of its machine where that is higher: a device is as
        anomalous as its worst sensor.
        """
        rows = np.full(events, -1, np.int64)
        # Written from the least to the most anomalous, so that the last one written stays.
        order = np.argsort(probability, kind="stable")
        rows[self.event[order]] = order
        return rows

    def of_machines(self, threshold: float) -> Floats:
        """For each event the probability that its machine does not run as usual, which reaches `threshold` where it
        should be said; nan where nothing is known of the machine."""
        return np.where(np.isneginf(self.machine), np.nan, logistic(self.machine, threshold))

    def of_machine(self, event: int) -> tuple[int, Weights]:
        """The row of the reading that makes an event's machine unusual, and what each sensor added to it."""
        rows = self._rows(event)
        parts = self.part[rows.start : rows.stop]
        return rows.start + int(np.argmax(parts)), why(self.sensor[rows.start : rows.stop], parts)

    def of_event(self, event: int) -> Window:
        """The windows of one event, for the record."""
        return Window(
            features={
                self.sensor[row]: dict(zip(FEATURES, self.features[row].tolist(), strict=True))
                for row in self._rows(event)
            }
        )

    def _rows(self, event: int) -> range:
        return range(*np.searchsorted(self.event, [event, event + 1]).tolist())


class DeviceWindows:
    """The windows of all sensors of all devices, and the machines that they make.

    At most `sensors` are watched. When more come, those that have been silent for longest give up their places; should
    one of them speak again, it is new.
    """

    def __init__(self, sensors: int = SENSORS) -> None:
        self._limit = sensors
        self._windows = SensorWindows(limit=sensors)
        self._machines = DeviceMachines()
        self._names: list[Sensor] = []  # by slot; NOBODY where a sensor gave up its place
        self._slots: dict[Sensor, int] = {}
        self._free: list[int] = []
        # By device and all the sensors of an event, their slots: most events of a device bring the same.
        self._groups: dict[Group, list[int]] = {}
        self._spoke: Ints = np.zeros(0, np.int64)  # by slot, the batch in which it last had a reading
        self._batch = 0

    def __len__(self) -> int:
        """Sensors that are watched."""
        return len(self._slots)

    def update(self, events: Sequence[Event]) -> Windows:
        """Take the readings of a batch; events of other kinds and numbers that are not finite are passed over.

        Raises InputInvalid when one event brings more sensors than are watched.
        """
        groups = [_group(event) for event in events]
        if not all(group in self._groups for group in groups):
            named = {(device, sensor): None for device, sensors in groups for sensor in sensors}
            if len(named) > self._limit:
                return self._in_halves(events)
            self._admit(named)
            for group in groups:
                self._groups[group] = [self._slots[group[0], sensor] for sensor in group[1]]
        slots: list[int] = []
        sensors: list[str] = []
        values: list[float] = []
        for group, event in zip(groups, events, strict=True):
            slots += self._groups[group]
            sensors += group[1]
            if group[1]:
                values += event.data.values.values()  # type: ignore[union-attr]  # only readings bring sensors
        at_us = np.array([event.at for event in events], np.int64)
        place = np.repeat(np.arange(len(events)), [len(sensors) for _, sensors in groups])
        return self._windows_of(groups, np.array(slots, np.int64), sensors, np.array(values), place, at_us[place])

    def snapshot(self) -> bytes:
        """Everything that is known, as bytes for `restore`."""
        windows = self._windows.snapshot(len(self._names))
        return msgspec.msgpack.encode((self._names, windows, self._machines.snapshot()))

    def restore(self, kept: bytes) -> None:
        """Take over what `snapshot` gave, in place of all that is known.

        Raises InputInvalid when `kept` is damaged or of another version: then let the readings pass through `update`.
        """
        try:
            names, figures, of_machines = msgspec.msgpack.decode(kept, type=tuple[list[Sensor], bytes, bytes])
        except msgspec.MsgspecError:
            raise InputInvalid("these are not device windows; build them anew from the journal's readings.") from None
        windows = SensorWindows(limit=self._limit)
        if windows.restore(figures) != len(names):
            raise InputInvalid("these device windows are incomplete; build them anew from the journal's readings.")
        machines = DeviceMachines()
        machines.restore(of_machines)
        self._windows, self._machines, self._names, self._groups, self._batch = windows, machines, names, {}, 0
        self._slots = {name: slot for slot, name in enumerate(names) if name != NOBODY}
        self._free = [slot for slot, name in enumerate(names) if name == NOBODY]
        self._spoke = np.zeros(len(names), np.int64)

    def _windows_of(
        self, groups: list[Group], slots: Ints, sensors: list[str], values: Floats, place: Ints, at_us: Ints
    ) -> Windows:
        self._batch += 1
        self._spoke[slots] = self._batch
        machine, part = self._machines.update(groups, values)
        finite = np.isfinite(values)
        if not finite.all():
            slots, values, place, at_us = slots[finite], values[finite], place[finite], at_us[finite]
            sensors, part = [sensor for sensor, taken in zip(sensors, finite, strict=True) if taken], part[finite]
            machine[np.bincount(place, minlength=len(groups)) == 0] = -np.inf  # an event without a row says nothing
        features, usual = self._windows.update(slots, at_us, values)
        return Windows(place, sensors, values, usual, features, part, machine)

    def _in_halves(self, events: Sequence[Event]) -> Windows:
        middle = len(events) // 2
        if not middle:
            raise InputInvalid(
                f"{events[0].subject} brings more sensors at once than the {self._limit:,} that are watched; let it "
                "send fewer."
            )
        one, other = self.update(events[:middle]), self.update(events[middle:])
        return Windows(
            event=np.concatenate([one.event, other.event + middle]),
            sensor=one.sensor + other.sensor,
            value=np.concatenate([one.value, other.value]),
            usual=np.concatenate([one.usual, other.usual]),
            features=np.concatenate([one.features, other.features]),
            part=np.concatenate([one.part, other.part]),
            machine=np.concatenate([one.machine, other.machine]),
        )

    def _admit(self, named: Mapping[Sensor, None]) -> None:
        """Give slots to those of these sensors that have none."""
        fresh = [name for name in named if name not in self._slots]
        lacking = len(fresh) - (self._limit - len(self._slots))
        if lacking > 0:
            self._make_room(lacking, named)
        if len(self._groups) > self._limit:  # devices whose events bring other sensors every time
            self._groups.clear()
        for name in fresh:
            if self._free:
                slot = self._free.pop()
                self._names[slot] = name
            else:
                slot = len(self._names)
                self._names.append(name)
            self._slots[name] = slot
        grown = len(self._names) - len(self._spoke)
        self._spoke = np.concatenate([self._spoke, np.zeros(grown, np.int64)])

    def _make_room(self, lacking: int, needed: Mapping[Sensor, None]) -> None:
        silent = [slot for name, slot in self._slots.items() if name not in needed]
        silent.sort(key=self._spoke.__getitem__)
        gone = silent[: max(lacking, int(GIVEN_UP * self._limit))]
        for slot in gone:
            del self._slots[self._names[slot]]
            self._names[slot] = NOBODY
        self._free += gone
        self._windows.forget(np.array(gone, np.int64))
        self._groups.clear()


def _group(event: Event) -> Group:
    data = event.data
    return (event.subject, tuple(data.values)) if isinstance(data, Reading) else NOTHING
