"""What HQ sent or a person brought: how each order stands, what it would change, and what people here answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get, post
from litestar.exceptions import NotFoundException
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, JSONBody, QueryParameter

from edge.orders import Line, OrderView
from edge.store.comparisons import Comparison
from edge.web.guard import POST_PROBLEMS, only_bytes, only_json
from edge.web.notes import FULL
from edge.web.parts import Parts, Person, WebParts
from edge.web.problems import says
from models.archive import MOST_BYTES

ANSWER_PROBLEMS = POST_PROBLEMS | says(_404="There is no such order.", _409="Its state does not allow this any more.")


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who agrees to an order or declines it, and what they say to it."""

    by: Person
    remark: Annotated[str, msgspec.Meta(max_length=500)] = ""


class OrderPage(msgspec.Struct, frozen=True, kw_only=True):
    """One order, and line by line what it would change (nothing unless it waits or is in the shadow)."""

    order: OrderView
    difference: tuple[Line, ...]


@get("/", sync_to_thread=True)
def list_orders(parts: Parts) -> list[OrderView]:
    """What HQ sent, the last first."""
    return parts.orders.views()


@get("/{order_id:str}", sync_to_thread=True, responses=says(_404="There is no such order."))
def read_order(parts: Parts, order_id: FromPath[str]) -> OrderPage:
    """One order and what it would change."""
    order = _found(parts, order_id)
    lines = parts.orders.difference(order_id) if order.state in ("waiting", "shadow") else []
    return OrderPage(order=order, difference=tuple(lines))


@post("/{order_id:str}/agree", status_code=200, guards=[only_json], responses=ANSWER_PROBLEMS)
async def agree(parts: Parts, order_id: FromPath[str], data: JSONBody[OrderAnswer]) -> OrderView:
    """Put it into force now; answered when it is, or when it was taken back (`state` says which)."""
    return await _answer(parts, order_id, data, parts.orders.agree)


@post("/{order_id:str}/decline", status_code=200, guards=[only_json], responses=ANSWER_PROBLEMS)
async def decline(parts: Parts, order_id: FromPath[str], data: JSONBody[OrderAnswer]) -> OrderView:
    """It is not to come into force here."""
    return await _answer(parts, order_id, data, parts.orders.decline)


@post("/{order_id:str}/shadow", status_code=200, guards=[only_json], responses=ANSWER_PROBLEMS)
async def shadow(parts: Parts, order_id: FromPath[str], data: JSONBody[OrderAnswer]) -> OrderView:
    """Run a pack that waits beside the one in use, without doing anything with what it says."""
    return await _answer(parts, order_id, data, parts.orders.shadow)


@post("/{order_id:str}/roll_back", status_code=200, guards=[only_json], responses=ANSWER_PROBLEMS)
async def roll_back(parts: Parts, order_id: FromPath[str], data: JSONBody[OrderAnswer]) -> OrderView:
    """Go back to what was there before an order that is in force."""
    return await _answer(parts, order_id, data, parts.orders.roll_back)


@get("/{order_id:str}/comparison", sync_to_thread=True, responses=says(_404="No such pack ran in the shadow."))
def read_comparison(parts: Parts, order_id: FromPath[str]) -> Comparison:
    """Where the last pack that ran in the shadow of the one in use differs from that."""
    _found(parts, order_id)
    comparison = parts.orders.comparison(order_id)
    if comparison is None:
        raise NotFoundException("No version of this pack has run in the shadow yet; let one that waits do so.")
    return comparison


@dataclass
class FileTaken(Operation):
    """A route's description: its body is a file."""

    def __post_init__(self) -> None:
        """Say so."""
        anything = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            content={"application/octet-stream": OpenAPIMediaType(schema=anything)}, required=True
        )


@post(
    "/packs",
    guards=[only_bytes],
    request_max_body_size=MOST_BYTES,
    responses=POST_PROBLEMS | FULL | says(_409="It is no pack to be taken, and why."),
    operation_class=FileTaken,
)
async def bring_pack(
    parts: Parts, request: Request[Any, Any, Any], by: Annotated[Person, QueryParameter()]
) -> OrderView:
    """Bring a pack (the .pack file is the body); once it was checked it waits for somebody to agree."""
    with parts.orders.incoming() as folder:
        file = Path(folder, "content")
        with file.open("wb") as written:
            async for piece in request.stream():
                await asyncio.to_thread(parts.room.check, len(piece))
                await asyncio.to_thread(written.write, piece)
        return await asyncio.to_thread(parts.orders.bring_pack, file, by.strip())


async def _answer(
    parts: WebParts, order_id: str, data: OrderAnswer, answer: Callable[[str, str, str], OrderView]
) -> OrderView:
    await asyncio.to_thread(_found, parts, order_id)
    return await asyncio.to_thread(answer, order_id, data.by.strip(), data.remark)


def _found(parts: WebParts, order_id: str) -> OrderView:
    view = parts.orders.view(order_id)
    if view is None:
        raise NotFoundException(f"There is no order {order_id}; reload the list.")
    return view


router = Router(
    "/api/orders",
    route_handlers=[list_orders, read_order, agree, decline, shadow, roll_back, read_comparison, bring_pack],
    tags=["orders"],
)
