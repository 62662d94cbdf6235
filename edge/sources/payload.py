"""What is in a device's message: one JSON object of numbers, or a list of them, to readings.

Most messages hold nothing but numbers. Those are decoded into the dictionary that the reading keeps, in one go; all
others are looked at field by field.
"""

from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from edge.errors import Refused
from edge.events import Event
from edge.sources.readings import plain_reading, reading

T = TypeVar("T")

PAYLOAD_BYTES = 1024 * 1024
READINGS_PER_MESSAGE = 10_000

_NUMBERS = msgspec.json.Decoder(dict[str, float] | list[dict[str, float]])
_ANYTHING = msgspec.json.Decoder(dict[str, Any] | list[dict[str, Any]])


def readings(
    payload: bytes, *, source: str, device: str | None, zone: ZoneInfo, boot_id: str
) -> list[tuple[bytes | None, Event]]:
    """The readings in a message, each with its key (see `reading`); `device` is None when the payload names it.

    Raises Refused when it is too large, is not JSON, or one of its readings does not fit.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise Refused(f"payload: {len(payload):,} bytes; at most {PAYLOAD_BYTES:,} are taken")
    if device is not None:
        try:
            numbers = _NUMBERS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return [
                plain_reading(values, source=source, device=device, zone=zone, boot_id=boot_id)
                for values in _few(numbers)
            ]
    try:
        decoded = _ANYTHING.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"payload: not a JSON object of readings ({error})") from None
    return [reading(fields, source=source, device=device, zone=zone, boot_id=boot_id) for fields in _few(decoded)]


def _few(decoded: T | list[T]) -> list[T]:
    found = decoded if isinstance(decoded, list) else [decoded]
    if len(found) > READINGS_PER_MESSAGE:
        raise Refused(f"payload: {len(found):,} readings; at most {READINGS_PER_MESSAGE:,} are taken")
    return found
