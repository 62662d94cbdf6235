"""Serves the application by uvicorn, in a way that ends: also while pages are open."""

import socket

import uvicorn
from litestar import Litestar

# For what is still being sent when the server stops, such as a long sound file to a slow client.
GRACE_S = 3


class Server(uvicorn.Server):
    """uvicorn waits for open streams before it tells the application to stop; this one ends them first.

    Stop it from another thread by `should_exit = True`; in the main thread SIGTERM and SIGINT do the same.
    """

    def __init__(self, app: Litestar, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the server."""
        self._app.state.streams.end()
        await super().shutdown(sockets)
