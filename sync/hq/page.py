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
from litestar.params import FromPath, FromQuery, QueryParameter

from sync.hq.orders import orders
from sync.hq.reader import Reader
from sync.hq.view import Filter, Fleet, SitePage, matches, render_fleet, render_missing, render_site
from sync.hq.words import Language

NEWEST_ON_PAGE = 25
ORDERS_ON_PAGE = 10
REFUSALS_ON_PAGE = 10
MOST_RECORDS = 1000

_STATIC = Path(__file__).with_name("static")
_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Limit = Annotated[int, QueryParameter(ge=1, le=MOST_RECORDS)]
Name = Annotated[str, QueryParameter(max_length=64)]


def build(where: str | Path) -> Litestar:
    """The page over the store at `where` (a path or postgresql://…), which is opened anew for every request."""

    @contextmanager
    def reading() -> Iterator[Reader]:
        reader = Reader.open(where)
        try:
            yield reader
        finally:
            reader.close()

    @get("/", sync_to_thread=True)
    def show(
        request: Request[Any, Any, Any],
        lang: FromQuery[Language | None] = None,
        only: FromQuery[Filter] = "all",
        name: Name = "",
        page: Annotated[int, QueryParameter(ge=1)] = 1,
    ) -> Response[str]:
        with reading() as reader:
            fleet = Fleet(
                at=_now_us(),
                sites=reader.sites(),
                only=only,
                name=name,
                page=page,
                plays=reader.plays(),
                orders=orders(reader, limit=ORDERS_ON_PAGE),
                newest=reader.newest(NEWEST_ON_PAGE),
                refused=reader.refused(),
                refusals=reader.newest_refusals(REFUSALS_ON_PAGE),
            )
        return Response(render_fleet(fleet, lang or _preferred(request)), media_type=MediaType.HTML)

    @get("/sites/{name:str}", sync_to_thread=True)
    def show_site(
        request: Request[Any, Any, Any], name: FromPath[str], lang: FromQuery[Language | None] = None
    ) -> Response[str]:
        language = lang or _preferred(request)
        with reading() as reader:
            detail = reader.site(name)
            if detail is None:
                return Response(render_missing(language), status_code=404, media_type=MediaType.HTML)
            site = SitePage(
                at=_now_us(),
                detail=detail,
                orders=orders(reader, name, ORDERS_ON_PAGE),
                newest=reader.newest(NEWEST_ON_PAGE, name),
                refusals=reader.newest_refusals(REFUSALS_ON_PAGE, name),
            )
        return Response(render_site(site, language), media_type=MediaType.HTML)

    @get("/api/sites", sync_to_thread=True)
    def sites(only: FromQuery[Filter] = "all") -> Response[bytes]:
        with reading() as reader:
            found = [site for site in reader.sites() if matches(site, only)]
            return _json({"sites": found, "refused": reader.refused()})

    @get("/api/sites/{name:str}", sync_to_thread=True)
    def site(name: FromPath[str]) -> Response[bytes]:
        with reading() as reader:
            detail = reader.site(name)
        return _json(detail) if detail is not None else _json({"error": "there is no such site"}, 404)

    @get("/api/records", sync_to_thread=True)
    def records(limit: Limit = 100, site: FromQuery[str | None] = None) -> Response[bytes]:
        with reading() as reader:
            return _json({"records": reader.newest(limit, site)})

    @get("/api/plays", sync_to_thread=True)
    def plays() -> Response[bytes]:
        with reading() as reader:
            found = [
                {**msgspec.structs.asdict(play), "actions": play.actions, "share_done": play.share_done}
                for play in reader.plays()
            ]
        return _json({"plays": found})

    @get("/api/orders", sync_to_thread=True)
    def sent(limit: Limit = 100, site: FromQuery[str | None] = None) -> Response[bytes]:
        with reading() as reader:
            return _json({"orders": orders(reader, site, limit)})

    @get("/api/quarantine", sync_to_thread=True)
    def quarantine(limit: Limit = 100, site: FromQuery[str | None] = None) -> Response[bytes]:
        with reading() as reader:
            return _json({"refused": reader.refused(), "refusals": reader.newest_refusals(limit, site)})

    assets = [_asset("page.css", "text/css"), _asset("page.js", "text/javascript")]
    return Litestar(
        [show, show_site, sites, site, records, plays, sent, quarantine, *assets],
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


def _json(content: object, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(content), status_code=status, media_type=MediaType.JSON)


def _asset(name: str, media_type: str) -> HTTPRouteHandler:
    content = (_STATIC / name).read_bytes()

    @get(f"/{name}", name=name, sync_to_thread=False)
    def asset() -> Response[bytes]:
        return Response(content, media_type=media_type)

    return asset


def _now_us() -> int:
    return time.time_ns() // 1000
