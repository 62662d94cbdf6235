"""Keeps other sites' pages away from the gateway: the checks on every request and the headers on every answer.

The page has no log-in yet, so a foreign page in the same browser must neither read it (DNS rebinding: Host) nor write
to it (forged posts: Origin and Content-Type).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from edge.web.problems import Problem, says

MAX_BODY_BYTES = 64 * 1024
OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
POST_PROBLEMS = says(
    _403="It comes from another site's page.", _413="The body is larger than 64 KiB.", _415="The body is not JSON."
)
ANSWER_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Guard:
    """Wraps the whole application, so that an unknown address is guarded too."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = OWN_HOSTS | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._refuses(str(scope.get("method", "GET")), headers)
        guarded = _with_headers(send)
        if problem is None:
            await self._app(scope, receive, guarded)
        else:
            await _answer(problem, guarded)

    def _refuses(self, method: str, headers: dict[bytes, str]) -> Problem | None:
        host = headers.get(b"host", "").lower()
        if _without_port(host) not in self._hosts:
            return Problem(403, f"This gateway is not called {host!r}; add the name to [web] hosts in site.toml.")
        if method != "POST":  # no other method changes anything
            return None
        origin = headers.get(b"origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return Problem(403, f"A page of {origin} may not change anything here; open the gateway's own page.")
        return None


def only_bytes(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A route's guard: a foreign page cannot post bytes without asking first."""
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/octet-stream":
        raise HTTPException(
            status_code=415, detail="The body must be a file: send it with Content-Type: application/octet-stream."
        )


def only_json(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A route's guard: what a foreign page can post without asking first (a form) is never JSON."""
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(
            status_code=415, detail="The body must be JSON: send it with Content-Type: application/json."
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *ANSWER_HEADERS]
        await send(message)

    return guarded


async def _answer(problem: Problem, send: Send) -> None:
    body = msgspec.json.encode(problem)
    await send(
        {
            "type": "http.response.start",
            "status": problem.status_code,
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
