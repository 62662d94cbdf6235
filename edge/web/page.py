"""The local page: static files that talk to the HTTP interface like any other client."""

from pathlib import Path

from litestar import get
from litestar.response import File
from litestar.static_files import create_static_files_router

STATIC = Path(__file__).parent / "static"


@get("/", include_in_schema=False, sync_to_thread=False)
def index() -> File:
    """The page itself."""
    return File(STATIC / "index.html", media_type="text/html; charset=utf-8", content_disposition_type="inline")


static_files = create_static_files_router("/static", directories=[STATIC], include_in_schema=False)
