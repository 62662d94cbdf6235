"""`outstation sync`: what waits for HQ, and the site's key."""

import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sync import keys
from sync.outbox import Outbox
from sync.protocol import LANES, Lane
from sync.settings import LinkSettings, read_settings
from sync.watermarks import Watermarks

_site_folder = click.argument("site_dir", type=click.Path(file_okay=False, path_type=Path))


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a lane of one epoch stands: HQ has all up to `acked_seq`, `waiting` more rows lie here, and the oldest has
    waited for `oldest_s` seconds (None: none waits). `acked_at` is when HQ last acknowledged (µs; None: never)."""

    epoch: int
    lane: Lane
    acked_seq: int
    acked_at: int | None
    waiting: int
    oldest_s: float | None


@click.group()
def sync() -> None:
    """The link to HQ."""


@sync.command()
@_site_folder
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def status(site_dir: Path, as_json: bool) -> None:
    """What waits for HQ, by lane."""
    found = lane_statuses(read_settings(site_dir))
    if as_json:
        for lane in found:
            click.echo(msgspec.json.encode(lane))
    else:
        Console().print(_table(found))


@sync.command()
@_site_folder
def keygen(site_dir: Path) -> None:
    """Make the site's key, and print its public half for `outstation hq enrol`."""
    click.echo(keys.create(read_settings(site_dir).key))


def lane_statuses(settings: LinkSettings) -> list[LaneStatus]:
    """How every lane stands, oldest epoch first; nothing while the journal has no outbox rows."""
    outbox = Outbox.open(settings.journal)
    if outbox is None:
        return []
    marks = Watermarks.read(settings.link_db)
    statuses = []
    for epoch in outbox.epochs():
        for lane in LANES:
            mark = marks.get((epoch, lane))
            acked_seq = mark.last_seq if mark else 0
            waiting = outbox.waiting(epoch, lane, acked_seq)
            statuses.append(
                LaneStatus(
                    epoch=epoch,
                    lane=lane,
                    acked_seq=acked_seq,
                    acked_at=mark.at if mark else None,
                    waiting=waiting.rows,
                    oldest_s=None if waiting.oldest_at is None else round(time.time() - waiting.oldest_at / 1e6, 1),
                )
            )
    outbox.close()
    return statuses


def _table(found: list[LaneStatus]) -> Table:
    table = Table("epoch", "lane", "at HQ up to", "waiting", "oldest", box=None, pad_edge=False)
    for lane in found:
        oldest = "" if lane.oldest_s is None else f"{lane.oldest_s:.0f} s"
        table.add_row(str(lane.epoch), lane.lane, str(lane.acked_seq), str(lane.waiting), oldest)
    return table
