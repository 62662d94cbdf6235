"""Measures every answer, also the guard's, by the route's template: never by the address, which names records."""

import time

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from edge.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})  # a client may send any word


class Counted:
    """Wraps the whole application. It measures until an answer begins: when a stream ends is up to the client."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = str(scope.get("method"))
                self._metrics.answers.labels(
                    method if method in METHODS else "other", scope.get("path_template", ""), str(message["status"])
                ).observe(time.perf_counter() - began_s)
            await send(message)

        await self._app(scope, receive, counted)
