"""Makes a site's journal from its replica; `outstation restore` does so on the box itself.

A restored journal begins a new epoch: HQ may hold numbers that the replica had not, and would take the next records for
repeats of those. Rows of older epochs that still wait are sent under their own.
"""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import click
import msgspec

from sync.errors import LinkSettingsError, ReplicaUnusable
from sync.litestream import Litestream, read_target
from sync.protocol import LANES
from sync.ranges import Ranges
from sync.settings import read_settings


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restored journal says of itself, before its new epoch: the `epoch` it was in with the last number of each
    lane, and the numbers by (epoch, lane) of the rows that it has for HQ. `settings` are the site's files."""

    epoch: int
    last_seq: dict[str, int]
    outbox: dict[tuple[int, str], Ranges]
    settings: dict[str, str]


def restore_journal(url: str, secrets_folder: Path, to: Path) -> Restored:
    """Make the file `to`, which must not be there, from the replica at `url`; SQLite has checked all of it.

    Raises ReplicaUnusable when there is none, or it is damaged, or no journal; then nothing is left. Raises
    LinkSettingsError when the URL, or what is needed to get there, is wrong.
    """
    scratch = to.with_name(f"{to.name}.litestream")
    try:
        Litestream(to, read_target(url, secrets_folder), scratch).restore(to)
    finally:
        for path in scratch.glob("*"):
            path.unlink()
        scratch.rmdir()
    try:
        connection = apsw.Connection(str(to), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("journal_mode", "delete")  # so that the file is whole without a log beside it
        restored = _read(connection)
        connection.close()
    except apsw.Error as error:
        to.unlink()
        raise ReplicaUnusable(f"the replica at {url} is no journal of this version ({error}).") from None
    return restored


def _read(connection: apsw.Connection) -> Restored:
    def select(sql: str) -> list[Any]:
        return connection.execute(sql).fetchall()

    outbox: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for epoch, lane, first, last in select("SELECT epoch, lane, seq - span + 1, seq FROM outbox"):
        outbox.setdefault((epoch, lane), []).append((first, last))
    ((epoch,),) = select("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'epoch'")
    return Restored(
        epoch=epoch,
        last_seq=dict(select("SELECT lane, last_seq FROM lanes")),
        outbox={place: Ranges(runs) for place, runs in outbox.items()},
        settings=dict(select("SELECT name, content FROM settings")),
    )


def begin_epoch(journal: Path, *, above: int, site_key: str = "") -> int:
    """Let a restored journal count anew, in an epoch above `above`; gives the epoch. With `site_key` (public, base64)
    it knows the key that the site signs with from now on."""
    chance = secrets.randbits(16)
    epoch = max(above + 1 + chance, time.time_ns() // 1_000_000 << 16 | chance)
    connection = apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READWRITE)
    with connection:
        connection.executemany("UPDATE lanes SET last_seq = 0 WHERE lane = ?", [(lane,) for lane in LANES])
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (str(epoch),))
        if site_key:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('site_key', ?)", (site_key,))
    connection.close()
    return epoch


# ---- on the box itself ---------------------------------------------------------------------------------------------


@click.command()
@click.argument("site", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "url", metavar="URL", help="Where the replica lies; default: as site.toml says.")
def restore(site: Path, url: str | None) -> None:
    """Make the journal of SITE from its replica, on the box itself.

    The present journal is set aside, nothing is deleted. For a new box use `outstation hq restore`.
    """
    aside = restore_here(site, url)
    click.echo(f"{site / 'data' / 'journal.db'} is made from its replica, in a new epoch.")
    if aside is not None:
        click.echo(f"What was there is in {aside}.")


def restore_here(site: Path, url: str | None) -> Path | None:
    """Put what the replica has in the place of the journal of the site folder `site`; gives the folder in which the
    present one was set aside (None: there was none).

    Raises LinkSettingsError when the site is running or says no replica, and what `restore_journal` raises: then
    nothing is changed.
    """
    settings = read_settings(site)
    journal = settings.journal
    if not (url or settings.replica):
        raise LinkSettingsError(f"{site / 'site.toml'}: there is no table [replica]; say where it lies with --from.")
    journal.parent.mkdir(parents=True, exist_ok=True)
    _refuse_if_used(journal)
    new = journal.with_name("restored.db")
    new.unlink(missing_ok=True)
    restored = restore_journal(url or settings.replica, settings.key.parent, new)
    begin_epoch(new, above=restored.epoch)
    present = [path for end in ("", "-wal", "-shm") if (path := journal.with_name(f"{journal.name}{end}")).exists()]
    aside = journal.parent / f"before-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}" if present else None
    if aside is not None:
        aside.mkdir()
        for path in present:
            path.rename(aside / path.name)
    new.rename(journal)
    return aside


def _refuse_if_used(journal: Path) -> None:
    if not journal.exists():
        return
    connection = apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("journal_mode", "delete")  # which SQLite does only for whoever is alone
    except apsw.BusyError:
        raise LinkSettingsError(
            f"{journal} is in use; end the daemon (`systemctl stop 'outstation*'`) and try again."
        ) from None
    except apsw.Error:
        return  # it is damaged: that is what a restore is for
    finally:
        connection.close()
