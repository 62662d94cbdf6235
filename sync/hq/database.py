"""The seam between HQ's store and its two databases: SQLite for one machine, PostgreSQL for several receivers.

SQL is written once, for SQLite, in what both understand: `?` for values, INTEGER, TEXT, JSON and BLOB for columns.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sync.errors import LinkSettingsError

Value = str | int | bytes | None

_DSN = ("postgresql://", "postgres://")


class Database(ABC):
    """A connection for one thread. What fails raises StoreFailed; `name` says which database it is, without secrets."""

    name: str

    @abstractmethod
    def transaction(self, locks: Iterable[str] = ()) -> AbstractContextManager[None]:
        """All or nothing: on disk when it ends, undone when it raises. Whoever else names one of `locks` waits. They
        are all taken here, in one order, so that no two transactions wait for each other."""

    @abstractmethod
    def lock(self, name: str) -> None:
        """One lock more for the rest of the transaction; only for one that is always the last to be taken."""

    @abstractmethod
    def select(self, query: str, *values: Value) -> list[tuple[Any, ...]]:
        """All rows of a query."""

    @abstractmethod
    def execute(self, statement: str, *values: Value) -> None:
        """Run one statement. What it changed is asked for by `select` and RETURNING."""

    @abstractmethod
    def execute_many(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """Run one statement for every row of values."""

    @abstractmethod
    def bulk(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Value, ...]]) -> None:
        """Insert rows that are known to be new, the fastest way there is; inside a transaction."""

    @abstractmethod
    def script(self, statements: str) -> None:
        """Run statements that define tables, views and indexes; inside a transaction."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection."""


def open_database(where: str | Path, *, write: bool) -> Database:
    """The database at `where`, a path (SQLite) or postgresql://… To write it is made if need be; to read it shows what
    was there when it was first read. Raises LinkSettingsError when it cannot be opened."""
    if isinstance(where, str) and where.startswith(_DSN):
        from sync.hq.postgres import Postgres  # psycopg comes with the extra hq

        return Postgres(where, write=write)
    from sync.hq.sqlite import Sqlite

    return Sqlite(Path(where), write=write)


def migrate(database: Database, part: str, migrations: Sequence[str]) -> None:
    """Bring the tables of one part of HQ up to date. `migrations` are only ever appended to; each is applied once, and
    several processes may start at once. Raises LinkSettingsError when the database was written by a newer version."""
    with database.transaction(locks=["migrations"]):
        database.script(
            "CREATE TABLE IF NOT EXISTS migrations (part TEXT PRIMARY KEY, applied INTEGER NOT NULL) STRICT;"
        )
        found = database.select("SELECT applied FROM migrations WHERE part = ?", part)
        applied = found[0][0] if found else 0
        if applied > len(migrations):
            raise LinkSettingsError(f"{database.name} was written by a newer version of outstation; use that one.")
        if applied == len(migrations):
            return
        for migration in migrations[applied:]:
            database.script(migration)
        database.execute(
            "INSERT INTO migrations VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET applied = excluded.applied",
            part,
            len(migrations),
        )


def marks(count: int) -> str:
    """`?, ?, …` for an IN of that many values."""
    return ", ".join("?" * count)
