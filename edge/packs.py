"""The commands by which people bring packs to a site: `outstation models install|activate|shadow|compare|rollback`.

A pack that somebody brings goes the way of HQ's orders (edge/orders.py): it is checked, waits, and is tried out; every
step is an entry of the journal. What the running gateway must do it is asked for by HTTP.
"""

import getpass
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click
import msgspec

from edge.bench.figure import show
from edge.bench.predict import measure_pack
from edge.errors import Conflict, MissingPart, SettingsError
from edge.orders import bring_pack, incoming
from edge.site import Site, read_site
from models.cli import json_option, models, packs_option, print_row
from models.store import pack_at

ANSWER_S = 150.0  # adopting a pack opens it, in a process of its own

site_argument = click.argument("site", type=click.Path(path_type=Path, file_okay=False, exists=True))
by_option = click.option("--by", default=getpass.getuser, show_default="your user name", help="Who wants it.")


@models.command()
@site_argument
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--activate", "at_once", is_flag=True, help="Do not wait for anybody to activate it.")
@by_option
@json_option
def install(site: Path, file: Path, at_once: bool, by: str, as_json: bool) -> None:
    """Bring FILE (a .pack) to SITE: check its signature, its files and its self-test, and hand it to the gateway."""
    settings = read_site(site)
    try:
        with incoming(settings) as folder:
            copy = Path(folder, "content")
            shutil.copyfile(file, copy)
            brought = bring_pack(settings, copy, by, at_once=at_once)
    except OSError as error:
        raise SettingsError(f"{settings.data} cannot be written: {error.strerror}; free the disk.") from None
    then = "is activated when the gateway has checked it" if at_once else "waits for `outstation models activate`"
    print_row(msgspec.to_builtins(brought), f"{brought.name} {brought.version} {then}", as_json)


@models.command()
@site_argument
@click.argument("name")
@by_option
@json_option
def activate(site: Path, name: str, by: str, as_json: bool) -> None:
    """Put the pack NAME that waits at SITE into force; exit code 1 if it was taken back."""
    _answer(read_site(site), name, ("waiting", "shadow"), "agree", by, as_json)


@models.command()
@site_argument
@click.argument("name")
@by_option
@json_option
def shadow(site: Path, name: str, by: str, as_json: bool) -> None:
    """Run the pack NAME that waits at SITE beside the one in use, without doing anything with what it says."""
    _answer(read_site(site), name, ("waiting",), "shadow", by, as_json)


@models.command()
@site_argument
@click.argument("name")
@by_option
@json_option
def rollback(site: Path, name: str, by: str, as_json: bool) -> None:
    """Go back to what was there before the pack NAME that is in force at SITE."""
    _answer(read_site(site), name, ("active",), "roll_back", by, as_json)


@models.command("compare")
@site_argument
@click.argument("name")
@json_option
def compare_packs(site: Path, name: str, as_json: bool) -> None:
    """Show where the pack NAME in the shadow at SITE differs from the one in use."""
    settings = read_site(site)
    found = _ask(settings, f"/api/orders/{_order(settings, name, ())['id']}/comparison")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    click.echo(
        f"{name}: {found['active_version']} in use, {found['shadow_version']} in its shadow, {found['judged']} judged"
    )
    click.echo(f"{'label':<22} {'both':>6} {'in use only':>12} {'shadow only':>12}")
    for row in found["labels"]:
        click.echo(f"{row['label']:<22} {row['both']:>6} {row['only_active']:>12} {row['only_shadow']:>12}")
    for said in found["examples"]:
        which = "in use" if said["by_active"] else "shadow"
        click.echo(f"{said['label']}, {which} only ({said['active']:.2f}, {said['shadow']:.2f}): {said['text']}")


@models.command("bench")
@click.argument("name", metavar="PACK")
@packs_option
@json_option
def bench_pack(name: str, packs: Path, as_json: bool) -> None:
    """How long PACK takes on one core for one prediction, and for one of many at once."""
    for figure in measure_pack(pack_at(name, packs), packs):
        show(figure, as_json)


def _answer(site: Site, name: str, states: tuple[str, ...], verb: str, by: str, as_json: bool) -> None:
    """Say to the gateway what a person wants of the newest order of a pack; exit code 1 if it came out otherwise."""
    order = _order(site, name, states)
    done = _ask(site, f"/api/orders/{order['id']}/{verb}", {"by": by})
    print_row(done, f"{name} is {done['state']}{': ' if done['remark'] else ''}{done['remark']}", as_json)
    wanted = {"agree": "active", "shadow": "shadow", "roll_back": "rolled_back"}[verb]
    raise SystemExit(done["state"] != wanted)


def _order(site: Site, name: str, states: tuple[str, ...]) -> dict[str, Any]:
    """The newest order of a pack, in one of these states if any are named. Raises Conflict when there is none."""
    for order in _ask(site, "/api/orders"):
        if order["kind"] == "pack" and order["name"] == name and (not states or order["state"] in states):
            found: dict[str, Any] = order
            return found
    how = f" that is {' or '.join(states)}" if states else ""
    raise Conflict(f"{site.folder} has no pack {name!r}{how}; bring one with `outstation models install`.")


def _ask(site: Site, path: str, answer: dict[str, str] | None = None) -> Any:
    """What the running gateway answers. Raises MissingPart when it does not run, Conflict when it refuses."""
    web = site.settings.web
    address = f"http://{web.host}:{web.port}"
    content = None if answer is None else msgspec.json.encode(answer)
    request = urllib.request.Request(address + path, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        try:
            reason = json.load(error)["detail"]
        except (ValueError, KeyError):
            reason = f"it answers {error.code}"
        raise Conflict(f"The gateway refuses: {reason}") from None
    except (OSError, ValueError):
        raise MissingPart(f"The gateway of {site.folder} does not answer on {address}; start it.") from None
