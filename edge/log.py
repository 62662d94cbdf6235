"""How the daemon tells what happens: one JSON object a line on stderr, or a line for people where that is a terminal.

The keys are the link's (sync/log.py): at, level, event, and what belongs to it. What libraries say, and a fault that
nobody caught, comes the same way: `logger` names the library, `thread` where the fault was.
"""

import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType

import msgspec
import structlog
from structlog.typing import EventDict

log = structlog.get_logger()


def configure() -> None:
    """Have all that this process logs from now on go to stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _for_people if sys.stderr.isatty() else _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
    )
    logging.basicConfig(handlers=[_Library()], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn").setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _fault
    threading.excepthook = lambda ended: _fault(ended.exc_type, ended.exc_value, ended.exc_traceback)


class _Library(logging.Handler):
    """Passes on what libraries say, which only know Python's own logging."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _fault(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    log.error("fault", thread=threading.current_thread().name, exc_info=(kind, error or kind(), trace))


def _as_json(_logger: object, _method: str, fields: EventDict) -> bytes:
    told = {"at": datetime.now(UTC), "level": fields.pop("level"), "event": fields.pop("event"), **fields}
    return msgspec.json.encode(told, enc_hook=str)


def _for_people(_logger: object, _method: str, fields: EventDict) -> bytes:
    level, event, exception = fields.pop("level"), fields.pop("event"), fields.pop("exception", "")
    told = "".join(f" {name}={msgspec.json.encode(value, enc_hook=str).decode()}" for name, value in fields.items())
    line = f"{datetime.now():%H:%M:%S} {level:7} {event}{told}"
    return "\n".join(filter(None, (line, exception))).encode()
