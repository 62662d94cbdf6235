"""The command `outstation tui`."""

import getpass
import sys

import click
import httpx

from tui.words import Language, language_of_environment

DEFAULT_URL = "http://127.0.0.1:8470"
LONGEST_NAME = 200


def _checked_url(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"{url!r} is not a URL ({error}); write it like {DEFAULT_URL}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise click.BadParameter(f"{url!r} is not the URL of a gateway; write it like {DEFAULT_URL}")
    return url


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A user id without an entry in the password file, as in a container.
        return "rep"


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, callback=_checked_url, help="The gateway.")
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default=language_of_environment, help="Language; else that of $LANG."
)
@click.option("--name", default=_user, help="Who I am, for the record; else $USER.")
def tui(url: str, lang: Language, name: str) -> None:
    """The field rep's terminal: what to do now, and by when.

    Starts without a gateway too, says so, and keeps trying.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("the terminal needs a screen and a keyboard: run it without pipes or redirection")
    # Loaded here so that other commands do not pay for it.
    from tui.app import Terminal

    Terminal(url, name[:LONGEST_NAME], lang).run(mouse=False)
