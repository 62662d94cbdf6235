"""`outstation hq send`, `request`, `orders`, `audio`: what HQ sends to sites, and what came of it."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sync.errors import LinkSettingsError
from sync.hq import orders
from sync.hq.orders import OrderView, Sendable
from sync.hq.pack_file import write_pack_file
from sync.hq.reader import Reader
from sync.hq.store import Store, store_path


class _Moment(click.ParamType[int]):
    """A date and time; without an offset it is UTC, as everything that HQ shows."""

    name = "ISO-TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """µs since the Unix epoch, or click's usage error."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; say e.g. 2027-01-31T06:00+08:00.", param, ctx)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hq"),
    show_default=True,
    help="HQ's folder.",
)
_store = click.option("--store", help="postgresql://…, where HQ's store is not in its folder.")


@click.command()
@click.argument("site")
@click.argument("kind", type=click.Choice(get_args(Sendable)))
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="What people on site see it called; a pack is called what its manifest says.")
@click.option("--at", type=_Moment(), help="When it takes effect; without it a person on site has to agree.")
@_folder
@_store
def send(site: str, kind: str, file: Path, name: str, at: int | None, folder: Path, store: str | None) -> None:
    """Send FILE (for a pack, its folder or a .pack file) to SITE."""
    if len(name) > 64:
        raise LinkSettingsError(f"--name has {len(name)} characters; 64 at most.")
    packed = write_pack_file(file) if file.is_dir() else file
    try:
        with closing(Store.open(store or store_path(folder))) as opened:
            order = orders.send(opened, site, cast(Sendable, kind), packed, name=name, activate_at=at)
    finally:
        if packed is not file:
            packed.unlink()
    when = "when a person there agrees" if at is None else f"at {_utc(at)} UTC"
    click.echo(f"{order} is offered to {site}; it takes effect {when}.")


@click.command()
@click.argument("site")
@click.argument("what", type=click.Choice(["audio"]))
@click.argument("call_id")
@_folder
@_store
def request(site: str, what: str, call_id: str, folder: Path, store: str | None) -> None:
    """Ask SITE for the sound of a call; `outstation hq audio` writes it to a file when it has come."""
    assert what == "audio"
    with closing(Store.open(store or store_path(folder))) as opened:
        order = orders.request_audio(opened, site, call_id)
    click.echo(f"{order} is offered to {site}.")


@click.command("orders")
@click.option("--site", help="Only those of this site.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_folder
@_store
def list_orders(site: str | None, as_json: bool, folder: Path, store: str | None) -> None:
    """What was sent to sites, and how each stands."""
    with closing(Reader.open(store or store_path(folder))) as opened:
        found = orders.orders(opened, site)
    if as_json:
        for order in found:
            click.echo(msgspec.json.encode(order))
    else:
        Console().print(_table(found))


@click.command()
@click.argument("site")
@click.argument("call_id")
@click.option("--to", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@_folder
@_store
def audio(site: str, call_id: str, to: Path, folder: Path, store: str | None) -> None:
    """Write the sound of a call that SITE was asked for to a file."""
    with closing(Reader.open(store or store_path(folder))) as opened:
        size = orders.write_audio(opened, site, call_id, to)
    click.echo(f"{to}: {size} bytes, and their SHA-256 is what {site} read.")


COMMANDS = (send, request, list_orders, audio)


def _table(found: list[OrderView]) -> Table:
    table = Table("order", "site", "what", "sent (UTC)", "state", "by", "", box=None, pad_edge=False)
    for order in found:
        share = f" {100 * order.got // order.size} %" if order.state == "offered" and order.size else ""
        what = f"{order.kind} {order.name}".strip()
        table.add_row(order.order, order.site, what, _utc(order.sent_at), order.state + share, order.by, order.remark)
    return table


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
