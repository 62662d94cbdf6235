"""What is known of a leg before it comes: telephone systems that send a UUID with the sound say the rest here."""

from uuid import UUID

from litestar import Router, put
from litestar.params import FromPath, JSONBody

from edge.sources.live import About
from edge.web.guard import POST_PROBLEMS, only_json
from edge.web.parts import Parts


@put("/{uuid:uuid}", status_code=204, guards=[only_json], responses=POST_PROBLEMS, sync_to_thread=False)
def register(parts: Parts, uuid: FromPath[UUID], data: JSONBody[About]) -> None:
    """Say which call a leg belongs to, who speaks on it, and who the customer is."""
    parts.register(uuid, data)


router = Router(path="/api/live", route_handlers=[register], tags=["live"])
