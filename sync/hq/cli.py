"""`outstation hq`: HQ's receiver and page, and which sites it takes records from."""

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sync import certificates, enrol
from sync.ending import ending
from sync.errors import LinkPartMissing, LinkSettingsError
from sync.hq import orders_cli
from sync.hq.reader import Reader, SiteView
from sync.hq.store import Store, store_path
from sync.protocol import SiteName

DEFAULT_FOLDER = Path("hq")
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PAGE_PORT = 8480
DEFAULT_MQTT_PORT = 8481
DEFAULT_ENROL_PORT = 8482
DEFAULT_NATS_PORT = 8483
DEFAULT_CLUSTER_PORT = 8484

_DAY_US = 86_400_000_000

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="HQ's folder: its secrets, its store and its broker's.",
)
_store = click.option("--store", metavar="DSN", help="postgresql://…, where HQ's store is not in its folder.")
_hosts = click.option(
    "--host",
    "hosts",
    multiple=True,
    default=(DEFAULT_HOST,),
    show_default=True,
    help="A name or address by which sites reach HQ; may be given again. HQ listens off this box if one is not of it.",
)


class _Address(click.ParamType[str]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same, or click's usage error."""
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT, like broker.example:8483.", param, ctx)
        return value


@click.group()
def hq() -> None:
    """Headquarters: receive what the sites send, show it, and send things down."""


@hq.command("run")
@_folder
@_store
@_hosts
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PAGE_PORT, show_default=True, help="The page's; 0: any."
)
@click.option(
    "--mqtt-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_MQTT_PORT,
    show_default=True,
    help="Where sites bring their records.",
)
@click.option(
    "--enrol-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_ENROL_PORT,
    show_default=True,
    help="Where sites enrol; 0: any.",
)
@click.option(
    "--broker",
    "brokers",
    multiple=True,
    type=_Address(),
    help="A node of HQ's cluster (its NATS port); without it HQ starts a broker of its own.",
)
def run_command(
    folder: Path,
    store: str | None,
    hosts: tuple[str, ...],
    port: int,
    mqtt_port: int,
    enrol_port: int,
    brokers: tuple[str, ...],
) -> None:
    """Receive records and show them, until SIGTERM or Ctrl-C."""
    from sync.hq.run import Place, run  # the web server, which no other command needs

    place = Place(
        folder=folder,
        store=store or store_path(folder),
        hosts=hosts,
        page_port=port,
        mqtt_port=mqtt_port,
        enrol_port=enrol_port,
        brokers=brokers,
    )
    run(place, ending(), lambda address: click.echo(f"HQ's page: {address}"))


@hq.command("broker")
@_folder
@_store
@_hosts
@click.option("--name", required=True, help="The node's; no two nodes share one.")
@click.option(
    "--mqtt-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_MQTT_PORT,
    show_default=True,
    help="Where sites bring their records.",
)
@click.option(
    "--nats-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_NATS_PORT,
    show_default=True,
    help="Where receivers fetch them.",
)
@click.option(
    "--cluster-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_CLUSTER_PORT,
    show_default=True,
    help="Where the other nodes reach this one.",
)
@click.option(
    "--route",
    "routes",
    multiple=True,
    required=True,
    type=_Address(),
    help="Another node's cluster port; give all of them.",
)
def broker_command(
    folder: Path,
    store: str | None,
    hosts: tuple[str, ...],
    name: str,
    mqtt_port: int,
    nats_port: int,
    cluster_port: int,
    routes: tuple[str, ...],
) -> None:
    """Run one node of a cluster of brokers, until SIGTERM or Ctrl-C. Every node and every `hq run` needs the same
    secrets/ in its folder, and the same store."""
    from sync.broker import Cluster, Node
    from sync.hq.run import is_here, run_node

    node = Node(
        name=name,
        listen=DEFAULT_HOST if all(map(is_here, hosts)) else "0.0.0.0",
        mqtt_port=mqtt_port,
        nats_port=nats_port,
        cluster=Cluster(port=cluster_port, routes=routes),
    )
    run_node(folder / name, folder / "secrets", store or store_path(folder), node, hosts, ending())


@hq.command()
@click.argument("site")
@click.option(
    "--days",
    type=click.FloatRange(0, 365, min_open=True),
    default=7.0,
    show_default=True,
    help="How long the code is good.",
)
@_folder
@_store
def invite(site: str, days: float, folder: Path, store: str | None) -> None:
    """Print a code with which SITE enrols, once; a key that it has had is revoked then."""
    try:
        msgspec.convert(site, SiteName)
    except msgspec.ValidationError:
        raise LinkSettingsError(f"site name {site!r} may only hold letters, digits, - and _, 64 at most.") from None
    address = folder / "enrol.address"
    if not address.exists():
        raise LinkPartMissing(f"{address} is not there: start `outstation hq run --dir {folder}` first.")
    authority = certificates.open_authority(folder / "secrets")
    code = enrol.new_code(address.read_text("utf-8").strip(), authority.pem)
    with closing(Store.open(store or store_path(folder))) as opened:
        opened.invite(site, code.secret_sha256, time.time_ns() // 1000 + round(days * _DAY_US))
    click.echo(f"On the box of {site}, within {days:g} days: outstation sync enrol SITE_DIR CODE, with this code:")
    click.echo(str(code))


@hq.command()
@click.argument("site")
@_folder
@_store
def revoke(site: str, folder: Path, store: str | None) -> None:
    """Take nothing from SITE any more; what it sent stays."""
    with closing(Store.open(store or store_path(folder))) as opened:
        opened.revoke(site)
    click.echo(f"{site} is revoked.")


@hq.command()
@_folder
@_store
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def sites(folder: Path, store: str | None, as_json: bool) -> None:
    """The enrolled sites and what came from them."""
    with closing(Reader.open(store or store_path(folder))) as opened:
        found = opened.sites()
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
@_store
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
def restore_command(site: str, to: Path, url: str | None, folder: Path, store: str | None, as_json: bool) -> None:
    """Make SITE's folder for a new box, from its replica and what HQ has; the old box's key is revoked."""
    from sync.hq.restore import restore

    made = restore(site, to, Store.open(store or store_path(folder)), folder, url)
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    for sentence in made.sentences():
        click.echo(sentence)


for _command in orders_cli.COMMANDS:
    hq.add_command(_command)


def _table(found: list[SiteView]) -> Table:
    table = Table("site", "link", "last contact (UTC)", "records", "waits", "gaps", box=None, pad_edge=False)
    for site in found:
        table.add_row(
            site.site,
            "revoked" if site.revoked else site.state or "never heard of",
            "never" if site.heard_at is None else _utc(site.heard_at),
            str(site.records),
            str(sum(lag.waiting for lag in site.lag)),
            str(site.lacking),
        )
    return table


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
