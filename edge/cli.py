"""`outstation`: the one command. Its parts are loaded only when they are called, so that each starts quickly."""

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from edge.errors import OutstationError
from models.errors import ModelError
from sync.errors import SyncError

LAZY = {
    "audit": "edge.review:audit",
    "uplift": "edge.review:uplift",
    "bench": "edge.bench.cli:bench",
    "models": "edge.packs:models",
    "score": "models.score:score",
    "transcribe": "models.cli:transcribe",
    "restore": "sync.restore:restore",
    "sync": "sync.cli:sync",
    "hq": "sync.hq.cli:hq",
    "tui": "tui.cli:tui",
}


class Outstation(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LAZY])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = LAZY[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Outstation, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("outstation"), prog_name="outstation")
def outstation() -> None:
    """Understands a remote site on the spot, offline, and says what to do while it still helps."""


@outstation.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--sample", is_flag=True, help="Make the sample site, with two calls and an hour of readings.")
def init(folder: Path, sample: bool) -> None:
    """Make a new site folder: site.toml, playbook.toml, vocabulary.toml, inbox, data."""
    from edge.site import make_site

    make_site(folder, sample=sample)
    click.echo(f"{folder} is ready: look at {folder}/site.toml, then `outstation run {folder}`.")
    click.echo(f"For records to go to HQ, enrol it with a code from there: `outstation sync enrol {folder} CODE`.")


@outstation.command()
@click.argument("site", type=click.Path(path_type=Path, file_okay=False))
@click.option("--once", is_flag=True, help="Drain what waits in the inbox, print a summary, end.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
def run(site: Path, once: bool, as_json: bool) -> None:
    """Run the daemon on a site folder."""
    from edge import daemon, log
    from edge.site import read_site

    log.configure()
    settings = read_site(site)
    if not once:
        daemon.run(settings)
        return
    summary = daemon.run_once(settings)
    if as_json:
        click.echo(msgspec.json.encode(summary))
    else:
        for name, value in msgspec.to_builtins(summary).items():
            click.echo(f"{name:12} {value}")


def main() -> None:
    """The command's entry: an error is one sentence on stderr and an exit code, never a traceback."""
    try:
        sys.exit(outstation(standalone_mode=False) or 0)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (OutstationError, ModelError, SyncError) as error:
        click.echo(f"outstation: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
