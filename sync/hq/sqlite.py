"""HQ's store in one SQLite file: the default, for as many sites as one machine can serve."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from sync.database import open_to_read, open_to_write
from sync.errors import LinkSettingsError
from sync.hq.database import Database, Value, marks
from sync.hq.errors import StoreFailed


class Sqlite(Database):
    """One connection. A writer is alone (BEGIN IMMEDIATE), so its locks are held without being asked for."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.name = str(path)
        try:
            if write:
                self._connection = open_to_write(path)
                self._connection.execute("PRAGMA synchronous = FULL")
            else:
                self._connection = open_to_read(path)
                self._connection.execute("BEGIN")
        except (OSError, apsw.Error) as fault:
            done = "used" if write else "read"
            raise LinkSettingsError(f"{path} cannot be {done} as HQ's store: {fault}.") from None

    @contextmanager
    def transaction(self, locks: Iterable[str] = ()) -> Iterator[None]:  # noqa: ARG002 - a writer is alone
        """See Database."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def lock(self, name: str) -> None:
        """See Database."""

    def select(self, query: str, *values: Value) -> list[tuple[Any, ...]]:
        """See Database."""
        try:
            return self._connection.execute(query, values).fetchall()
        except apsw.Error as fault:
            raise self._failed(fault) from None

    def execute(self, statement: str, *values: Value) -> None:
        """See Database."""
        try:
            self._connection.execute(statement, values)
        except apsw.Error as fault:
            raise self._failed(fault) from None

    def execute_many(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """See Database."""
        try:
            self._connection.executemany(statement, rows)
        except apsw.Error as fault:
            raise self._failed(fault) from None

    def bulk(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Value, ...]]) -> None:
        """See Database."""
        self.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks(len(columns))})", rows)

    def script(self, statements: str) -> None:
        """See Database."""
        self.execute(statements.replace(" JSON", " TEXT"))

    def close(self) -> None:
        """See Database."""
        self._connection.close()

    def _failed(self, fault: apsw.Error) -> StoreFailed:
        return StoreFailed(f"HQ's store {self.name} does not work now: {fault}; free its disk or mend it.")
