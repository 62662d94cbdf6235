"""How the link's processes tell what happened: one JSON object a line on stderr, for whoever started them to keep, or a
line for people where stderr is a terminal; the daemon's lines are the same (edge/log.py).

Of our own, because structlog would add 7 MB (it loads asyncio) to a process of 35.
"""

import sys
from datetime import UTC, datetime

import msgspec


def info(event: str, **fields: object) -> None:
    """Something that is as it should be."""
    _write("info", event, fields)


def warning(event: str, **fields: object) -> None:
    """Something that may mend itself."""
    _write("warning", event, fields)


def error(event: str, **fields: object) -> None:
    """Something that a person has to look at."""
    _write("error", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    if sys.stderr.isatty():
        told = "".join(f" {name}={msgspec.json.encode(value).decode()}" for name, value in fields.items())
        line = f"{datetime.now():%H:%M:%S} {level:7} {event}{told}".encode()
    else:
        line = msgspec.json.encode({"at": datetime.now(UTC), "level": level, "event": event, **fields})
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.buffer.flush()
