"""`outstation sync`: what waits for HQ, and sending it now."""

import sys
import time
from datetime import timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sync.linkdb import WAKE
from sync.settings import LinkSettings, read_settings
from sync.status import LaneStatus, LinkStatus, age_s, lane_statuses, link_status, waiting_numbers

POLL_S = 0.2

_site_folder = click.argument("site_dir", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def sync() -> None:
    """The link to HQ."""


@sync.command()
@_site_folder
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def status(site_dir: Path, as_json: bool) -> None:
    """What waits for HQ, how long it will take, and why it is not going."""
    settings = read_settings(site_dir)
    link = link_status(settings)
    lanes = lane_statuses(settings, link.rows_per_s)
    if as_json:
        for line in (*lanes, link):
            click.echo(msgspec.json.encode(line))
    else:
        console = Console()
        console.print(_table(lanes))
        console.print(_sentence(link), highlight=False)
        for row in link.stuck:
            console.print(f"Cannot travel: {row.reason}", highlight=False)


@sync.command()
@_site_folder
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, metavar="S", help="Seconds to wait at most.")
def flush(site_dir: Path, timeout_s: float) -> None:
    """Have the link try at once, and wait until HQ has everything."""
    settings = read_settings(site_dir)
    deadline_s = time.monotonic() + timeout_s
    if settings.link_db.parent.is_dir():
        settings.link_db.with_name(WAKE).touch()
    while (waiting := waiting_numbers(settings)) > 0:
        if time.monotonic() > deadline_s or not link_status(settings).running:
            click.echo(f"{waiting} records still wait. {_why(settings)}", err=True)
            sys.exit(1)
        time.sleep(POLL_S)
    stuck = link_status(settings).stuck
    if stuck:
        click.echo(f"All others are at HQ, but {len(stuck)} can never travel: {stuck[0].reason}", err=True)
        sys.exit(1)


@sync.command()
@_site_folder
@click.argument("code")
def enrol(site_dir: Path, code: str) -> None:
    """Enrol the site at HQ with the CODE that `outstation hq invite` printed."""
    from sync.enrol import enrol, parse_code

    click.echo(f"{enrol(site_dir, parse_code(code))} is enrolled; start its gateway anew if it runs.")


def _why(settings: LinkSettings) -> str:
    link = link_status(settings)
    return link.reason or f"The link carries {link.rows_per_s:.0f} a second; give it more time with --timeout."


def _table(lanes: list[LaneStatus]) -> Table:
    table = Table("epoch", "lane", "waiting", "bytes", "oldest", "done in", box=None, pad_edge=False)
    for lane in lanes:
        since = "" if lane.since is None else _length(age_s(lane.since))
        done_in = "?" if lane.eta_s is None else _length(lane.eta_s) if lane.waiting else ""
        table.add_row(str(lane.epoch), lane.lane, str(lane.waiting), str(lane.waiting_bytes), since, done_in)
    return table


def _sentence(link: LinkStatus) -> str:
    if link.reason:
        return link.reason
    heard = f"{_length(age_s(link.heard_at))} ago" if link.heard_at else "never"
    return (
        f"The link goes: {link.rows_per_s:.0f} records/s, {link.bytes_per_s / 1000:.1f} kB/s, round trip "
        f"{link.rtt_ms:.0f} ms; HQ last spoke {heard}."
    )


def _length(duration_s: float) -> str:
    return str(timedelta(seconds=round(duration_s)))
