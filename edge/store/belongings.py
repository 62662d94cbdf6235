"""What belongs to a site beside its records, kept in the journal: the key it signs with, and the files people write."""

from pathlib import Path

import apsw
import structlog

from edge.events import now_us
from edge.store.journal import Journal
from edge.store.outbox import begin_epoch

FILES = ("site.toml", "playbook.toml", "vocabulary.toml", "rules/*.rule")
MAX_FILE_BYTES = 1 << 20

log = structlog.get_logger()


def recognise(journal: Journal, public_key: Path) -> None:
    """Begin a new epoch if the site signs with another key than the journal knew: whoever had the old one may have used
    numbers that were not given here. Raises JournalError."""
    if not public_key.exists():
        return
    key = public_key.read_text("ascii").strip()

    def job(connection: apsw.Connection) -> None:
        known = connection.execute("SELECT value FROM meta WHERE key = 'site_key'").get
        if known == key:
            return
        if known is not None:
            begin_epoch(connection)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('site_key', ?)", (key,))

    journal.write(job).result()


def keep_files(journal: Journal, folder: Path) -> None:
    """Copy the files that people write into the journal, where the replica has them too. Raises JournalError."""
    found: dict[str, str] = {}
    for path in sorted(path for pattern in FILES for path in folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is longer than {MAX_FILE_BYTES} bytes")
            found[name] = path.read_text("utf-8")
        except (OSError, ValueError) as fault:  # ValueError: also text that is no UTF-8
            log.warning("not in the replica", file=name, reason=str(fault))

    kept: dict[str, str] = dict(journal.readers.connection().execute("SELECT name, content FROM settings").fetchall())  # type: ignore[arg-type]
    if kept == found:
        return

    def job(connection: apsw.Connection) -> None:
        connection.executemany("DELETE FROM settings WHERE name = ?", [(name,) for name in kept.keys() - found.keys()])
        connection.executemany(
            "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)",
            [(name, content, now_us()) for name, content in found.items() if kept.get(name) != content],
        )

    journal.write(job).result()
