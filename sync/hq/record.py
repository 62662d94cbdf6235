"""A record on its way into the store: from the site's MessagePack to JSON, for people and SQL to read."""

import math
import re
from typing import Any

import msgspec

_decoder = msgspec.msgpack.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()

# A float that is infinite or no number, as MessagePack writes it (or other bytes that look alike).
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]", re.DOTALL)


def to_json(record: bytes) -> tuple[dict[str, Any], str]:
    """The record, and as JSON text; bytes become base64.

    Raises ValueError, saying why, when it is not a MessagePack map or holds what JSON cannot.
    """
    try:
        decoded = _decoder.decode(record)
        text = _encoder.encode(decoded).decode()
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as fault:
        raise ValueError(f"its record is no map that JSON can hold: {fault}") from None
    if _NOT_FINITE.search(record) and not _is_finite(decoded):
        raise ValueError("its record is no map that JSON can hold: a number in it is not finite")
    return decoded, text


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return True
