"""Roll-ups of readings: what is left of them when they go."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import apsw
import msgspec

from edge.events import Rollup, Summary

HOUR_US = 3_600_000_000
WIDTHS_US = (HOUR_US, 24 * HOUR_US, 2**62)
PAYS = 8  # how many readings a roll-up stands for on average, or wider ones are made
BYTES_PER_RUN = 4 * 2**20  # of the readings' JSON
SENSORS_PER_ROLLUP = 1_000


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Readings that lie one after the other in the journal, up to the event `last`: how many, their bytes, the oldest's
    time, and the roll-ups that stand for them."""

    last: int
    readings: int
    bytes: int
    since: int
    rollups: tuple[Rollup, ...]


class _Reading(msgspec.Struct, frozen=True):
    device: str
    at: int
    values: dict[str, float]


class _Data(msgspec.Struct, frozen=True):
    values: dict[str, float]


_DATA = msgspec.json.Decoder(_Data)


def next_run(connection: apsw.Connection, *, after: int, until: int, now: int, keep_us: int) -> Run | None:
    """The readings after an event, at most up to the event `until`, that did not come within `keep_us` of `now` (those
    from the future came while the clock was wrong); None when there are none."""
    readings: list[_Reading] = []
    last = size = 0
    rows: Any = connection.execute(
        "SELECT seq, subject, at, received_at, data FROM events WHERE kind = 'reading' AND seq > ? AND seq <= ? "
        "ORDER BY seq",
        (after, until),
    )
    for seq, device, at, received_at, data in rows:
        if size >= BYTES_PER_RUN or abs(now - received_at) < keep_us:
            break
        readings.append(_Reading(device, at, _DATA.decode(data).values))
        last, size = seq, size + len(data)
    if not readings:
        return None
    since = min(reading.at for reading in readings)
    return Run(last=last, readings=len(readings), bytes=size, since=since, rollups=tuple(roll_up(readings)))


def roll_up(readings: Sequence[_Reading]) -> list[Rollup]:
    """A roll-up for each device and hour of its clock; where devices report so seldom that these would be larger than
    the readings, for each day, or for all of a device's."""
    rollups: list[Rollup] = []
    for width_us in WIDTHS_US:
        groups: dict[tuple[str, int], list[_Reading]] = {}
        for reading in readings:
            groups.setdefault((reading.device, reading.at // width_us), []).append(reading)
        if len(groups) * PAYS <= len(readings):
            break
    for of_device in groups.values():
        rollups.extend(_rollups(of_device))
    return rollups


def _rollups(readings: list[_Reading]) -> Iterator[Rollup]:
    readings.sort(key=lambda reading: reading.at)
    values: dict[str, list[float]] = {}
    for reading in readings:
        for sensor, value in reading.values.items():
            values.setdefault(sensor, []).append(value)
    sensors = iter(values.items())
    while some := dict(islice(sensors, SENSORS_PER_ROLLUP)):
        yield Rollup(
            at=readings[-1].at,
            subject=readings[0].device,
            since=readings[0].at,
            readings=len(readings),
            sensors={sensor: _summary(of_sensor) for sensor, of_sensor in some.items()},
        )


def _summary(values: list[float]) -> Summary:
    low, high = min(values), max(values)
    mean = min(max(low, sum(values) / len(values)), high)  # also where the sum is beyond what a number can be
    return Summary(count=len(values), min=low, mean=mean, max=high, last=values[-1])
