"""What people write down: a note is an event like any other, accepted once and answered when it is on disk."""

import asyncio
from typing import Annotated

import msgspec
from litestar import HttpMethod, Response, Router, get, post, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter

from edge.events import Event, Note, now_us
from edge.store import queries
from edge.store.journal import Offer
from edge.web.guard import POST_PROBLEMS, only_json
from edge.web.parts import Parts
from edge.web.problems import says

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\S")]


class NewNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note about a customer or a device. The same `key` is accepted once: a client may send it again unharmed."""

    subject: Short
    author: Short
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000, pattern=r"\S")]
    language: Annotated[str, msgspec.Meta(max_length=200)] = ""
    key: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The new note's id; None when a note with this key had been accepted already."""

    id: str | None
    already: bool


FULL = says(_507="The disk is full, or too much waits for HQ: nothing was accepted.")
KNOWN = {200: ResponseSpec(Accepted, description="A note with this key had been accepted.", generate_examples=False)}


@get("/", sync_to_thread=True)
def list_notes(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50) -> list[Event]:
    """The notes, the one accepted last first."""
    return queries.notes(parts.journal.readers.connection(), limit=limit)


@post("/", guards=[only_json], responses=POST_PROBLEMS | FULL | KNOWN)
async def add_note(parts: Parts, data: JSONBody[NewNote]) -> Response[Accepted]:
    """Accept a note; answered when it is on disk."""
    await asyncio.to_thread(parts.room.check)
    now = now_us()
    event = Event(
        at=now,
        source="notes",
        subject=data.subject.strip(),
        received_at=now,
        boot_id=parts.journal.boot_id,
        data=Note(text=data.text, author=data.author.strip(), language=data.language, key=data.key),
    )
    new = await asyncio.wrap_future(parts.journal.accept([Offer(events=[(event.once, event)])]))
    if not new:
        return Response(Accepted(id=None, already=True), status_code=200)
    return Response(Accepted(id=event.id, already=False), status_code=201)


@route("/", http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
def methods() -> Response[None]:
    """Litestar's own answer names only one of the methods of an address that two routes share."""
    return Response(None, headers={"Allow": "GET, OPTIONS, POST"})


router = Router("/api/notes", route_handlers=[methods, list_notes, add_note], tags=["notes"])
