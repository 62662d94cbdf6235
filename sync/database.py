"""How the link opens SQLite: apsw brings a library of its own, so no file is ever open by two libraries at once."""

import time
from pathlib import Path

import apsw

BUSY_TIMEOUT_MS = 5000


def open_to_write(path: Path) -> apsw.Connection:
    """The database at `path`, made with its folder if need be, in WAL mode. Raises OSError or apsw.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return connection
        except apsw.BusyError:
            # Two that open a new file at once: SQLite does not wait here, whatever its time-out is.
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def open_to_read(path: Path) -> apsw.Connection:
    """The database at `path`, which must be there, through a connection that can change nothing. Raises apsw.Error."""
    connection = apsw.Connection(
        f"{path.absolute().as_uri()}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = 1")
    return connection
