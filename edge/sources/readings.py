"""Readings as devices write them (JSON objects, table rows) to Events; every fault names its field."""

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from edge.errors import Refused
from edge.events import Event, Reading, now_us
from models.device_log import parse_time

SENSORS_PER_READING = 1_000
NAME_LENGTH = 200


def reading(
    fields: Mapping[str, Any], *, source: str, device: str | None, zone: ZoneInfo, boot_id: str
) -> tuple[bytes | None, Event]:
    """A reading and the key under which it is accepted once (None without a time of its own).

    `fields` holds `time` (optional), `device` (when `device` is None) and the sensors' numbers, flat or in `values`;
    texts and null beside them are ignored. Raises Refused naming the field that does not fit.
    """
    name = device if device is not None else fields.get("device")
    if not isinstance(name, str):
        raise _no_name(name)
    return measured(name, fields.get("time"), _values(fields), source=source, zone=zone, boot_id=boot_id)


def plain_reading(
    values: dict[str, float], *, source: str, device: str, zone: ZoneInfo, boot_id: str
) -> tuple[bytes | None, Event]:
    """What `reading` makes of fields that are all finite numbers, for a fraction of its price; takes `values` over."""
    values.pop("device", None)
    time = values.pop("time", None)
    if len(max(values, key=len, default="")) > NAME_LENGTH:
        values = _values(values)
    return measured(device, time, values, source=source, zone=zone, boot_id=boot_id)


def measured(
    device: str, time: object, values: dict[str, float], *, source: str, zone: ZoneInfo, boot_id: str
) -> tuple[bytes | None, Event]:
    """The same of finite numbers by sensor that are known by name and time (None: now) already; takes `values` over."""
    if not 0 < len(device) <= NAME_LENGTH:
        raise _no_name(device)
    if not values:
        raise Refused("values: there is no number in this reading; give at least one sensor")
    if len(values) > SENSORS_PER_READING:
        raise Refused(f"values: {len(values)} sensors in one reading; at most {SENSORS_PER_READING} are taken")
    at = None
    if time is not None:
        try:
            at = parse_time(time, zone)
        except (ValueError, OverflowError):
            raise Refused(f"time: {_shown(time)} is not a time; write RFC 3339 or Unix seconds") from None
    received_at = now_us()
    event = Event(
        at=received_at if at is None else at,
        source=source,
        subject=device,
        received_at=received_at,
        boot_id=boot_id,
        data=Reading(values=values),
    )
    return (None if at is None else _key(at, device, values)), event


def _no_name(name: object) -> Refused:
    return Refused(f"device: {_shown(name)} is not a device's name; give 1 to {NAME_LENGTH} characters")


def _values(fields: Mapping[str, Any]) -> dict[str, float]:
    nested = fields.get("values")
    source = nested if isinstance(nested, Mapping) else fields
    values: dict[str, float] = {}
    for sensor, value in source.items():
        if sensor in ("time", "device") or isinstance(value, str | bool | None | list | dict):
            continue
        try:
            number = float(value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise Refused(f"{sensor}: {_shown(value)} is not a finite number; leave the field out instead")
        values[sensor[:NAME_LENGTH]] = number
    return values


def _key(at: int, device: str, values: dict[str, float]) -> bytes:
    """Begins with the time, so that keys of one moment lie together in the journal."""
    names, sorted_names, pack = _named(tuple(values))
    numbers = pack(*(values.values() if sorted_names is None else map(values.__getitem__, sorted_names)))
    said = hashlib.blake2b(b"%b\0%b%b" % (device.encode(errors="surrogatepass"), names, numbers), digest_size=8)
    return at.to_bytes(8, "big", signed=True) + said.digest()


@lru_cache(maxsize=1024)
def _named(sensors: tuple[str, ...]) -> tuple[bytes, list[str] | None, Callable[..., bytes]]:
    """What all readings of these sensors have in common: a digest of the names, their order (None: they are in it), and
    what makes bytes of their values."""
    ordered = sorted(sensors)
    digest = hashlib.blake2b(repr(ordered).encode(), digest_size=16).digest()
    return digest, None if ordered == list(sensors) else ordered, struct.Struct(f"<{len(sensors)}d").pack


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…'"
