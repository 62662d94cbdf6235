"""The recorded calls: the list, one with its transcript, and its sound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from litestar import Router, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream

from edge.events import Call, Event
from edge.store import queries
from edge.store.queries import CallPage, CallRow
from edge.web.parts import Parts, WebParts
from edge.web.problems import says

CONTENT_TYPES = {".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav"}
SOUND = {
    200: ResponseSpec(bytes, description="The whole file.", media_type="audio/*", generate_examples=False),
    206: ResponseSpec(bytes, description="A part of it.", media_type="audio/*", generate_examples=False),
}
CHUNK_BYTES = 64 * 1024


@get("/", sync_to_thread=True)
def list_calls(
    parts: Parts,
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50,
    before: Annotated[
        str | None, QueryParameter(description="The id of a call: only those accepted before it.")
    ] = None,
) -> list[CallRow]:
    """The calls, the one accepted last first."""
    return queries.calls(parts.journal.readers.connection(), limit=limit, before=before)


@get("/{call_id:str}", sync_to_thread=True, responses=says(_404="There is no such call."))
def read_call(parts: Parts, call_id: FromPath[str]) -> CallPage:
    """One call with its transcript (oldest line first), its talk figures and its cards."""
    call = queries.call_page(parts.journal.readers.connection(), parts.wall, call_id)
    if call is None:
        raise NotFoundException(f"There is no call {call_id}; reload the list.")
    return call


@get(
    "/{call_id:str}/audio",
    sync_to_thread=True,
    responses=SOUND | says(_404="There is no such call, or its sound is no longer kept.", _416="It is not that long."),
)
def read_audio(
    parts: Parts,
    call_id: FromPath[str],
    wanted: Annotated[str | None, HeaderParameter(name="Range", description="One range of bytes (RFC 9110).")] = None,
) -> Stream:
    """The call's sound file, or one range of its bytes (206)."""
    path = _audio_file(parts, call_id)
    size = path.stat().st_size
    span = _span(wanted, size)
    start, end = span or (0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start), "Cache-Control": "private, max-age=86400"}
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Stream(
        _chunks(path, start, end),
        media_type=CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream"),
        headers=headers,
        status_code=200 if span is None else 206,
    )


def _audio_file(parts: WebParts, call_id: str) -> Path:
    event = parts.journal.find(Event, call_id)
    if event is None or not isinstance(event.data, Call):
        raise NotFoundException(f"There is no call {call_id}; reload the list.")
    path = parts.audio / Path(event.data.audio).name
    if not path.is_file() or not path.stat().st_size:  # an empty one is on its way out (edge/store/clearing.py)
        raise NotFoundException("The sound of this call is no longer kept on the gateway; its transcript is.")
    return path


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    """The first and the last-but-one byte that a Range header asks for (RFC 9110, 14.1.2).

    None stands for the whole file: no header, or one that may be ignored (several ranges, another unit).
    """
    unit, _, span = (wanted or "").partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or not f"{first}{last}".isascii() or not f"{first}{last}".isdigit():
        return None
    if first and last and int(last) < int(first):
        return None
    start, end = (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
    if start >= size:
        raise HTTPException(
            status_code=416,
            detail=f"The sound has {size} bytes only.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, min(end, size)


def _chunks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk


router = Router("/api/calls", route_handlers=[list_calls, read_call, read_audio], tags=["calls"])
