"""What came of decisions: what is asked, and what people tell."""

import asyncio
from typing import Annotated

import msgspec
from litestar import HttpMethod, Response, Router, get, post, route
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter

from edge.errors import Conflict, Refused, Unknown
from edge.events import now_us
from edge.store import told
from edge.store.outcomes import Claim
from edge.store.told import OutcomeRow, Wanted
from edge.web.guard import POST_PROBLEMS, only_json
from edge.web.parts import Parts, Person
from edge.web.problems import says

Name = Annotated[str, msgspec.Meta(max_length=200)]


class NewOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the goal of a decision was reached: 0 (no) to 1 (yes), told by whom. The decision is named, or it is the
    newest of a play about a subject. `at` is when it was so (microseconds since the epoch; None: now)."""

    value: Annotated[float, msgspec.Meta(ge=0, le=1)]
    by: Person
    decision_id: Name = ""
    subject: Name = ""
    play: Name = ""
    at: Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None = None
    remark: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


KNOWN = {200: ResponseSpec(OutcomeRow, description="That was told before.", generate_examples=False)}


@get("/", sync_to_thread=True)
def list_outcomes(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100) -> list[OutcomeRow]:
    """What was told last, newest first."""
    return told.outcomes(parts.journal.readers.connection(), parts.titles, limit=limit)


@get("/wanted", sync_to_thread=True)
def list_wanted(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50) -> list[Wanted]:
    """The decisions of which nobody has told what came, the oldest first."""
    return told.wanted(parts.journal.readers.connection(), parts.titles, now_us(), limit)


@post(
    "/",
    guards=[only_json],
    responses=POST_PROBLEMS | KNOWN | says(_404="There is no such decision.", _409="It cannot be the outcome of that."),
)
async def tell(parts: Parts, data: JSONBody[NewOutcome]) -> Response[OutcomeRow]:
    """Tell what came of a decision. Told again, it changes nothing; told otherwise, it corrects what was told
    before."""
    claim = Claim(
        value=data.value,
        at=data.at if data.at is not None else now_us(),
        by=data.by.strip(),
        source="http",
        decision_id=data.decision_id.strip(),
        subject=data.subject.strip(),
        play=data.play.strip(),
        remark=data.remark,
    )
    try:
        judged = await asyncio.wrap_future(parts.journal.tell(claim))
    except Unknown as error:
        raise NotFoundException(str(error)) from None
    except Refused as error:
        raise Conflict(str(error)) from None
    outcome = judged.outcome
    row = await asyncio.to_thread(lambda: told.outcome(parts.journal.readers.connection(), parts.titles, outcome.id))
    assert row is not None
    return Response(row, status_code=201 if outcome in judged.new else 200)


@route("/", http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
def methods() -> Response[None]:
    """Litestar's own answer names only one of the methods of an address that two routes share."""
    return Response(None, headers={"Allow": "GET, OPTIONS, POST"})


router = Router("/api/outcomes", route_handlers=[methods, list_outcomes, list_wanted, tell], tags=["outcomes"])
