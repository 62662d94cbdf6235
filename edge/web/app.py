"""Joins the routes to one application. The page and the terminal use nothing else."""

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute

from edge.errors import Conflict, JournalError, NoRoom
from edge.web import calls, cards, devices, live, notes, orders, outcomes, page, plays, probes, problems, status
from edge.web.counted import Counted
from edge.web.guard import MAX_BODY_BYTES, Guard
from edge.web.parts import WebParts
from edge.web.stream import Streams, stream


def create_app(parts: WebParts) -> Litestar:
    """The gateway's HTTP interface and its page, to be served by `edge.web.server`."""
    streams = Streams(parts)
    app = Litestar(
        route_handlers=[
            cards.router,
            calls.router,
            devices.router,
            live.router,
            notes.router,
            orders.router,
            outcomes.router,
            plays.router,
            plays.chains,
            plays.drivers,
            status.router,
            stream,
            probes.metrics,
            probes.router,
            page.index,
            page.static_files,
        ],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        state=State({"streams": streams}),
        on_startup=[streams.start],
        exception_handlers={
            HTTPException: problems.answer_http,
            Conflict: problems.answer_conflict,
            NoRoom: problems.answer_no_room,
            JournalError: problems.answer_journal,
            Exception: problems.answer_fault,
        },
        openapi_config=OpenAPIConfig(
            title="Outstation",
            version=parts.version,
            path="/schema",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
    _close_inputs(app)
    app.asgi_handler = Counted(Guard(app.asgi_handler, parts.hosts), parts.journal.metrics)
    return app


def _close_inputs(app: Litestar) -> None:
    """Say in the OpenAPI description what the decoders do: a field that is not known is refused."""
    schemas = app.openapi_schema.components.schemas
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            body = handler.parsed_data_field
            if body is not None and body.annotation.__name__ in schemas:
                schemas[body.annotation.__name__].additional_properties = False
