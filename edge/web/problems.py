"""Every answer that is not the one asked for: a status code and one sentence."""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from edge.errors import Conflict, JournalError, NoRoom

log = structlog.get_logger()


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not done: one sentence, with what to do."""

    status_code: int
    detail: str


def says(**meanings: str) -> dict[int, ResponseSpec]:
    """The problems a route may answer with, for its OpenAPI description: `_404="no such call"`."""
    return {
        int(code.lstrip("_")): ResponseSpec(data_container=Problem, description=meaning, generate_examples=False)
        for code, meaning in meanings.items()
    }


def answer_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Ours, which are sentences, and Litestar's own, made one."""
    fields = error.extra if isinstance(error.extra, list) else []
    wrong = "; ".join(f"{field.get('key', 'body')}: {field['message']}" for field in fields if "message" in field)
    if error.status_code == 400:
        detail = f"The request is not valid: {wrong or error.detail}."
    elif error.detail.endswith("."):
        detail = error.detail
    else:
        phrase = HTTPStatus(error.status_code).phrase
        detail = f"{phrase}: {request.method} {request.url.path}; /schema lists what there is and what it takes."
    return _answer(error.status_code, detail, error.headers)


def answer_conflict(_: Request[Any, Any, Any], error: Conflict) -> Response[Problem]:
    """The record is no longer in the state that the request supposed."""
    return _answer(409, str(error))


def answer_no_room(_: Request[Any, Any, Any], error: NoRoom) -> Response[Problem]:
    """Nothing more is accepted until there is room (RFC 4918, 11.5)."""
    return _answer(507, str(error))


def answer_journal(_: Request[Any, Any, Any], error: JournalError) -> Response[Problem]:
    """The journal could not take it: nothing was accepted."""
    return _answer(503, str(error))


def answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A fault of the gateway's own: its traceback is for the log, not for the client."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return _answer(500, "The gateway failed on this request; its log says why.")


def _answer(status_code: int, detail: str, headers: dict[str, str] | None = None) -> Response[Problem]:
    return Response(
        Problem(status_code, detail), status_code=status_code, media_type="application/json", headers=headers
    )
