"""The site itself: what it is called and runs, how it is, and what it refused."""

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from edge.health import Health
from edge.store import queries
from edge.store.queries import RefusalRow
from edge.web.parts import Parts
from models.pack import Calibration, Metric, Source


class PackInUse(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that predicts now, as its maker describes it (models/pack.py, Manifest)."""

    name: str
    version: str
    task: str
    runtime: str
    languages: tuple[str, ...]
    licence: str
    about: str
    about_zh: str
    thresholds: dict[str, float]
    calibration: Calibration | None
    sources: tuple[Source, ...]
    metrics: tuple[Metric, ...]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What it is called, and what runs on it."""

    name: str
    language: str
    boot_id: str
    started_at: int
    version: str
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
        plays=tuple(parts.titles),
    )


@get("/packs")
async def list_packs(parts: Parts) -> list[PackInUse]:
    """The packs that predict now: what each is for and bad at, and how good it is on what."""
    return [msgspec.convert(manifest, PackInUse, from_attributes=True) for manifest in parts.packs]


@get("/health", sync_to_thread=True)
def read_health(parts: Parts) -> Health:
    """How the gateway is, and what waits."""
    return parts.health()


@get("/refusals", sync_to_thread=True)
def list_refusals(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50) -> list[RefusalRow]:
    """The inputs that were kept aside, the last first."""
    return queries.refusals(parts.journal.readers.connection(), limit=limit)


router = Router("/api", route_handlers=[read_site, list_packs, read_health, list_refusals], tags=["site"])
