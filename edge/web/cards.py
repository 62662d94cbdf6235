"""What to do now: the cards, and what people answer to them."""

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import Router, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody, QueryParameter

from edge.errors import Conflict
from edge.events import State
from edge.store import queries
from edge.store.cases import Case, cases_like
from edge.store.queries import Card
from edge.web.guard import POST_PROBLEMS, only_json
from edge.web.parts import Parts, Person, WebParts
from edge.web.problems import says

MOVE_PROBLEMS = POST_PROBLEMS | says(_404="There is no such card.", _409="Its state does not allow this any more.")


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who moves a card, and what they say to it."""

    by: Person
    remark: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class HandOver(Move, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who hands a card to which role ('': the one that the play names), and what they say to it."""

    role: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Undo(Move, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who takes a move back, and whose it is (`mover`, the card's `by`; '': whoever moved last): when somebody else has
    moved meanwhile, that is not taken back unseen."""

    mover: Annotated[str, msgspec.Meta(max_length=200)] = ""


@get("/", sync_to_thread=True)
def list_cards(
    parts: Parts,
    card_state: Annotated[Literal["open", "all"], QueryParameter(name="state")] = "open",
    limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 200,
) -> list[Card]:
    """The cards, newest first: those that still ask for something (proposed, accepted, fired), or all."""
    connection = parts.journal.readers.connection()
    return queries.cards(connection, parts.wall, only_open=card_state == "open", limit=limit)


@get("/{card_id:str}", sync_to_thread=True, responses=says(_404="There is no such card."))
def one(parts: Parts, card_id: FromPath[str]) -> Card:
    """A card as it is now, also one that is over."""
    return _read(parts, card_id)


@get("/{card_id:str}/like", sync_to_thread=True)
def like(parts: Parts, card_id: FromPath[str]) -> list[Case]:
    """The cases before it that were most like it, and what was done about them."""
    return cases_like(parts.journal.readers.connection(), card_id)


@post("/{card_id:str}/accept", status_code=200, guards=[only_json], responses=MOVE_PROBLEMS)
async def accept(parts: Parts, card_id: FromPath[str], data: JSONBody[Move]) -> Card:
    """Somebody does it."""
    return await _move(parts, card_id, "accepted", data)


@post("/{card_id:str}/decline", status_code=200, guards=[only_json], responses=MOVE_PROBLEMS)
async def decline(parts: Parts, card_id: FromPath[str], data: JSONBody[Move]) -> Card:
    """It is not to be done."""
    return await _move(parts, card_id, "declined", data)


@post("/{card_id:str}/done", status_code=200, guards=[only_json], responses=MOVE_PROBLEMS)
async def done(parts: Parts, card_id: FromPath[str], data: JSONBody[Move]) -> Card:
    """It was done."""
    return await _move(parts, card_id, "done", data)


@post("/{card_id:str}/undo", status_code=200, guards=[only_json], responses=MOVE_PROBLEMS)
async def undo(parts: Parts, card_id: FromPath[str], data: JSONBody[Undo]) -> Card:
    """Take back the last move, within its window; what was carried out is taken back where the play says how."""
    await asyncio.to_thread(_read, parts, card_id)
    await asyncio.wrap_future(parts.journal.undo(card_id, data.by, data.remark, data.mover))
    return await asyncio.to_thread(_read, parts, card_id)


@post("/{card_id:str}/hand_over", status_code=200, guards=[only_json], responses=MOVE_PROBLEMS)
async def hand_over(parts: Parts, card_id: FromPath[str], data: JSONBody[HandOver]) -> Card:
    """Give it to another role, which is then asked."""
    card = await asyncio.to_thread(_read, parts, card_id)
    role = data.role.strip() or card.hand_over
    if not role:
        raise Conflict("The play names no role to hand this to; say which.")
    await asyncio.wrap_future(parts.journal.hand_over(card_id, role, data.by, data.remark))
    return await asyncio.to_thread(_read, parts, card_id)


async def _move(parts: WebParts, card_id: str, state: State, move: Move) -> Card:
    await asyncio.to_thread(_read, parts, card_id)
    await asyncio.wrap_future(parts.journal.move(card_id, state, move.by, move.remark))
    return await asyncio.to_thread(_read, parts, card_id)


def _read(parts: WebParts, card_id: str) -> Card:
    card = queries.card(parts.journal.readers.connection(), parts.wall, card_id)
    if card is None:
        raise NotFoundException(f"There is no card {card_id}; reload the list.")
    return card


router = Router(
    "/api/cards", route_handlers=[list_cards, one, like, accept, decline, done, undo, hand_over], tags=["cards"]
)
