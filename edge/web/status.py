"""The site itself: what it is called and runs, how it is, and what it refused."""

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from edge.health import Health
from edge.store import queries
from edge.store.queries import RefusalRow
from edge.web.parts import Parts


class PackInUse(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that predicts now."""

    name: str
    version: str


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while the gateway runs."""

    name: str
    language: str
    boot_id: str
    started_at: int
    version: str
    packs: tuple[PackInUse, ...]
    plays: tuple[str, ...]


@get("/site")
async def read_site(parts: Parts) -> Site:
    """The site's name and language, and what runs on its gateway."""
    return Site(
        name=parts.site_name,
        language=parts.language,
        boot_id=parts.journal.boot_id,
        started_at=parts.started_at,
        version=parts.version,
        packs=tuple(PackInUse(name=name, version=version) for name, version in parts.packs),
        plays=tuple(parts.titles),
    )


@get("/health", sync_to_thread=True)
def read_health(parts: Parts) -> Health:
    """How the gateway is, and what waits."""
    return parts.health()


@get("/refusals", sync_to_thread=True)
def list_refusals(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50) -> list[RefusalRow]:
    """The inputs that were kept aside, the last first."""
    return queries.refusals(parts.journal.readers.connection(), limit=limit)


router = Router("/api", route_handlers=[read_site, read_health, list_refusals], tags=["site"])
