"""`outstation audit` and `outstation uplift`: what the journal proves, of itself and of the plays. Neither needs the
daemon, nor minds it running."""

import sys
from pathlib import Path

import click
import msgspec

from edge.checkpoints import public_text
from edge.decide.experiments import Experiments
from edge.decide.uplift import Effect
from edge.errors import JournalError
from edge.site import Site, read_site
from edge.store import audit as chain
from edge.store import outcomes, plays
from edge.store.database import open_read_only
from edge.store.migrations import MIGRATIONS, version_of

SITE = click.argument("site", type=click.Path(path_type=Path, file_okay=False))
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def audit() -> None:
    """The chain of what was decided, done and changed."""


@audit.command()
@SITE
@click.option("--key", default="", help="The site's public key in hexadecimal, as HQ has it; by default the one here.")
@JSON
def verify(site: Path, key: str, as_json: bool) -> None:
    """Go through the whole chain; exit code 1 and the first entry that does not fit, if one does not."""
    settings = read_site(site)
    _check_schema(settings)
    verified = chain.verify(open_read_only(settings.journal), key or public_text(settings.audit_key))
    if as_json:
        click.echo(msgspec.json.encode(verified))
    elif verified.misfit is None:
        signed = f"{verified.checkpoints} checkpoints signed by {verified.key[:16]}…" if verified.key else "none signed"
        click.echo(f"{verified.entries} entries fit, {signed}.")
        for earlier in verified.earlier_keys:
            click.echo(f"Those before are by {earlier}: of a box whose place this one took, if HQ knows that key.")
    else:
        misfit = verified.misfit
        click.echo(f"Entry {misfit.seq} ({misfit.kind} {misfit.ref}) does not fit: {misfit.why}.")
    sys.exit(0 if verified.misfit is None else 1)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A play, or a step of one, and what the hold-outs have shown of it."""

    play: str
    step: str
    mean: float
    low: float
    high: float
    treated: int
    held_out: int
    verdict: str


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--hq", "store", metavar="STORE", help="All sites together, from HQ's hq.db or postgresql://….")
@JSON
def uplift(site: Path | None, store: str | None, as_json: bool) -> None:
    """What each play has been shown to do, with bounds that hold however often one looks: at a site, or, with --hq, at
    all of them, and what a playbook can expect of it by that."""
    if (site is None) == (store is None):
        raise click.UsageError("Name the folder of a site, or HQ's store with --hq.")
    if site is not None:
        _uplift_here(site, as_json)
    elif store is not None:
        _uplift_everywhere(store, as_json)


def _uplift_everywhere(store: str, as_json: bool) -> None:
    from edge.pooled import pooled  # HQ's store is not of this box

    found = pooled(store)
    for one in found:
        line = _line(one.play, one.step, one.effect)
        if as_json:
            click.echo(msgspec.json.encode({**msgspec.structs.asdict(line), "share": one.share, "sites": one.sites}))
            continue
        click.echo(f"{_told(line)}, at {one.sites} {'site' if one.sites == 1 else 'sites'}, share {one.share:g}")
        if one.effect.without is not None and one.effect.treated and line.verdict != "suspect":
            without, with_it = (_chance(one.effect.without + gain) for gain in (0.0, line.mean))
            subjects = line.treated + line.held_out
            click.echo(f"  prior = {{ without = {without:.2f}, with = {with_it:.2f}, subjects = {subjects} }}")
    if not found and not as_json:
        click.echo("No site has told what came of a play that is tried.")


def _uplift_here(site: Path, as_json: bool) -> None:
    settings = read_site(site)
    _check_schema(settings)
    connection = open_read_only(settings.journal)
    since = {name: one.at for name, one in plays.standings(connection).items() if one.state == "running"}
    effects = Experiments(outcomes.told(connection), since).effects
    for (play, step), effect in sorted(effects.items()):
        line = _line(play, step, effect)
        click.echo(msgspec.json.encode(line) if as_json else _told(line))
    if not effects and not as_json:
        click.echo("Nothing was told of a play that is tried yet.")


def _chance(mean: float) -> float:
    """A mean as a playbook takes it: nothing is certain."""
    return min(max(mean, 0.01), 0.99)


def _line(play: str, step: str, effect: Effect) -> Line:
    return Line(
        play=play,
        step=step,
        mean=round(effect.mean, 4),
        low=round(effect.low, 4),
        high=round(effect.high, 4),
        treated=effect.treated,
        held_out=effect.held_out,
        verdict=effect.verdict,
    )


def _told(line: Line) -> str:
    name = f"{line.play}/{line.step}" if line.step else line.play
    points = f"{100 * line.mean:+.1f} points ({100 * line.low:+.1f} to {100 * line.high:+.1f})"
    return f"{name:28} {points:34} {line.treated} treated, {line.held_out} left alone: {line.verdict}"


def _check_schema(site: Site) -> None:
    if not site.journal.exists():
        raise JournalError(f"{site.journal} is not there yet; run the site first.")
    if version_of(site.journal) != len(MIGRATIONS):
        raise JournalError(f"{site.journal} is of another version of the program; run the site with this one once.")
