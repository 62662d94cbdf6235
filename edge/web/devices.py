"""The devices: how each stands now, and its readings over a range of hours."""

from typing import Annotated

from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from edge.store import queries
from edge.store.queries import DevicePage, DeviceRow
from edge.web.parts import Parts
from edge.web.problems import says


@get("/", sync_to_thread=True)
def list_devices(parts: Parts) -> list[DeviceRow]:
    """All devices by name, each with its newest reading and score."""
    return queries.devices(parts.journal.readers.connection())


@get("/{device:path}", sync_to_thread=True, responses=says(_404="There is no such device."))
def read_device(
    parts: Parts,
    device: FromPath[str],
    hours: Annotated[float, QueryParameter(gt=0, le=168)] = 1.0,
    points: Annotated[int, QueryParameter(ge=2, le=5_000)] = 600,
) -> DevicePage:
    """One device over the hours before its newest reading; the name may hold slashes."""
    name = device.lstrip("/")
    page = queries.device_page(parts.journal.readers.connection(), parts.wall, name, hours=hours, points=points)
    if page is None:
        raise NotFoundException(f"No reading of a device {name} was accepted yet; look at the list of devices.")
    return page


router = Router("/api/devices", route_handlers=[list_devices, read_device], tags=["devices"])
