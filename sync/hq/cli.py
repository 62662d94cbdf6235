"""`outstation hq`: HQ's receiver and page, and which sites it takes records from."""

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sync import keys
from sync.broker import Broker
from sync.errors import LinkSettingsError
from sync.hq.store import SiteView, Store, store_path
from sync.protocol import SiteName

DEFAULT_FOLDER = Path("hq")
DEFAULT_PAGE_PORT = 8480
DEFAULT_MQTT_PORT = 8481

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="HQ's folder: its store and its broker's.",
)


class _Broker(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The host and the port, or click's usage error."""
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT, like broker.example:1883.", param, ctx)
        return host.strip("[]"), int(port)


@click.group()
def hq() -> None:
    """Headquarters: receive what the sites send, and show it."""


@hq.command("run")
@_folder
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PAGE_PORT,
    show_default=True,
    help="The page's port; 0 takes any.",
)
@click.option(
    "--mqtt-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_MQTT_PORT,
    show_default=True,
    help="The port of HQ's own broker.",
)
@click.option("--broker", type=_Broker(), help="Use this MQTT broker instead of one of HQ's own.")
def run_command(folder: Path, port: int, mqtt_port: int, broker: tuple[str, int] | None) -> None:
    """Receive records and show them, until SIGTERM or Ctrl-C."""
    from sync.hq.run import run  # the web server, which no other command needs

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    run(
        folder,
        port,
        broker or Broker(folder / "broker", mqtt_port),
        stopping,
        lambda address: click.echo(f"HQ's page: {address}"),
    )


@hq.command()
@click.argument("site")
@click.argument("public_key")
@_folder
def enrol(site: str, public_key: str, folder: Path) -> None:
    """Take records of SITE that are signed with PUBLIC_KEY (as `outstation sync keygen` printed it)."""
    try:
        msgspec.convert(site, SiteName)
    except msgspec.ValidationError:
        raise LinkSettingsError(f"site name {site!r} may only hold letters, digits, - and _, 64 at most.") from None
    key = keys.parse_public(public_key)
    Store.open(store_path(folder)).enrol(site, keys.public_text(key))
    click.echo(f"{site} is enrolled with key {keys.key_id(key)}.")


@hq.command()
@click.argument("site")
@_folder
def revoke(site: str, folder: Path) -> None:
    """Take nothing from SITE any more; what it sent stays."""
    Store.open(store_path(folder)).revoke(site)
    click.echo(f"{site} is revoked.")


@hq.command()
@_folder
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def sites(folder: Path, as_json: bool) -> None:
    """The enrolled sites and what came from them."""
    found = Store.read(store_path(folder)).sites()
    if as_json:
        for site in found:
            click.echo(msgspec.json.encode(site))
    else:
        Console().print(_table(found))


@hq.command("restore")
@click.argument("site")
@click.option(
    "--to",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to make; carry it to the new box.",
)
@click.option("--from", "url", metavar="URL", help="Where the replica lies; default: where the site said.")
@_folder
@click.option("--store", "dsn", metavar="DSN", help="HQ's store, postgresql://…; default: the one in HQ's folder.")
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
def restore_command(site: str, to: Path, url: str | None, folder: Path, dsn: str | None, as_json: bool) -> None:
    """Make SITE's folder for a new box, from its replica and what HQ has; the old box's key is revoked."""
    from sync.hq.restore import restore

    made = restore(site, to, Store.open(dsn or store_path(folder)), folder, url)
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    for sentence in made.sentences():
        click.echo(sentence)


def _table(found: list[SiteView]) -> Table:
    table = Table("site", "link", "last contact (UTC)", "records", box=None, pad_edge=False)
    for site in found:
        table.add_row(
            site.site,
            "revoked" if site.revoked else site.state or "never heard of",
            "never" if site.heard_at is None else _utc(site.heard_at),
            str(sum(tally.records for tally in site.records)),
        )
    return table


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
