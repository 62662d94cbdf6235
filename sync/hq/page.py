"""HQ's page and its JSON: read-only, on loopback, with nothing from outside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from sync.hq.store import Store
from sync.hq.view import Fleet, Language, render

NEWEST_ON_PAGE = 25
NEWEST_REFUSALS_ON_PAGE = 5
MOST_RECORDS = 1000

_STATIC = Path(__file__).with_name("static")
_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build(store_path: Path) -> Litestar:
    """The page over the store at `store_path`, which is opened anew for every request."""

    @contextmanager
    def reading() -> Iterator[Store]:
        store = Store.read(store_path)
        try:
            yield store
        finally:
            store.close()

    @get("/", sync_to_thread=True)
    def show(request: Request[Any, Any, Any], lang: Language | None = None) -> Response[str]:
        with reading() as store:
            fleet = Fleet(
                at=time.time_ns() // 1000,
                sites=store.sites(),
                newest=store.newest(NEWEST_ON_PAGE),
                refused=store.refused(),
                refusals=store.newest_refusals(NEWEST_REFUSALS_ON_PAGE),
            )
        return Response(render(fleet, lang or _preferred(request)), media_type=MediaType.HTML)

    @get("/api/sites", sync_to_thread=True)
    def sites() -> Response[bytes]:
        with reading() as store:
            return _json({"sites": store.sites(), "refused": store.refused()})

    @get("/api/records", sync_to_thread=True)
    def records(limit: Annotated[int, Parameter(ge=1, le=MOST_RECORDS)] = 100) -> Response[bytes]:
        with reading() as store:
            return _json({"records": store.newest(limit)})

    return Litestar(
        [show, sites, records, _asset("page.css", "text/css"), _asset("page.js", "text/javascript")],
        openapi_config=None,
        logging_config=None,
        before_request=_refuse_other_hosts,
        response_headers=[ResponseHeader(name=name, value=value) for name, value in _HEADERS.items()],
    )


def _refuse_other_hosts(request: Request[Any, Any, Any]) -> Response[str] | None:
    # A page elsewhere whose name is made to point here must not read this one. Any port: it may come by a tunnel.
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if host in _HOSTS:
        return None
    return Response("This page answers to 127.0.0.1 and localhost only.", status_code=400, media_type=MediaType.TEXT)


def _preferred(request: Request[Any, Any, Any]) -> Language:
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def _json(content: object) -> Response[bytes]:
    return Response(msgspec.json.encode(content), media_type=MediaType.JSON)


def _asset(name: str, media_type: str) -> HTTPRouteHandler:
    content = (_STATIC / name).read_bytes()

    @get(f"/{name}", name=name, sync_to_thread=False)
    def asset() -> Response[bytes]:
        return Response(content, media_type=media_type)

    return asset
