"""What other programs ask of the gateway: its figures, and whether it is alive and ready."""

from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from edge.health import Readiness
from edge.web.parts import Parts

TEXT_FORMAT = "text/plain; version=0.0.4"  # Litestar adds the character set


@get("/metrics", sync_to_thread=True, media_type=TEXT_FORMAT, tags=["probes"])
def metrics(parts: Parts) -> bytes:
    """Figures since the start, in Prometheus' text format; each says in its HELP line what it is."""
    return parts.journal.metrics.exposition()


def _not(meaning: str) -> dict[int, ResponseSpec]:
    return {503: ResponseSpec(Readiness, description=meaning, generate_examples=False)}


@get("/", sync_to_thread=True, responses=_not("It is not alive, or not ready."))
def read_both(parts: Parts) -> Response[Readiness]:
    """Whether the gateway is alive and ready, and if not why."""
    found = parts.readiness()
    return _answer(found, found.live and found.ready)


@get("/live", sync_to_thread=True, responses=_not("It is not alive: only a restart helps."))
def read_live(parts: Parts) -> Response[Readiness]:
    """Whether events are worked on, or at least kept for it: if not, only a restart helps."""
    found = parts.readiness()
    return _answer(found, found.live)


@get("/ready", sync_to_thread=True, responses=_not("It takes nothing now."))
def read_ready(parts: Parts) -> Response[Readiness]:
    """Whether events are accepted and worked on; if not, the problems say why."""
    found = parts.readiness()
    return _answer(found, found.ready)


def _answer(found: Readiness, good: bool) -> Response[Readiness]:
    return Response(found, status_code=200 if good else 503)


router = Router("/healthz", route_handlers=[read_both, read_live, read_ready], tags=["probes"])
