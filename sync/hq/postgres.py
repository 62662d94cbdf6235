"""HQ's store in PostgreSQL: for several receivers that write at once."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from sync.errors import LinkSettingsError
from sync.hq.database import Database, Value, marks
from sync.hq.errors import StoreFailed

CONNECT_TIMEOUT_S = 10
COPIED_FROM_ROWS = 50
"""COPY is quicker for so many, but waits for its answer."""

_DIALECT = (
    (r"\bINTEGER PRIMARY KEY\b", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\) STRICT(, WITHOUT ROWID)?;", ");"),
)


class Postgres(Database):
    """One connection, made anew when the server was away. Its locks are advisory and end with the transaction.

    A transaction waits for the answers to what it reads only: a write that fails shows at the next read, or at its end.
    """

    def __init__(self, dsn: str, *, write: bool) -> None:
        self._dsn = dsn
        self._write = write
        self._pipeline = ExitStack()
        try:
            parts = conninfo_to_dict(dsn)
            self.name = f"the PostgreSQL database {parts.get('dbname', '')} on {parts.get('host', 'this machine')}"
            self._connection = self._connect()
        except psycopg.Error as fault:
            raise LinkSettingsError(f"PostgreSQL cannot be used as HQ's store: {_first_line(fault)}.") from None
        encoding = self._connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            self._connection.close()
            raise LinkSettingsError(f"{self.name} has the encoding {encoding}; create it with encoding UTF8.")

    @contextmanager
    def transaction(self, locks: Iterable[str] = ()) -> Iterator[None]:
        """See Database."""
        if self._connection.closed:
            try:
                self._connection = self._connect()
            except psycopg.Error as fault:
                raise self._failed(fault) from None
        self.execute("BEGIN")
        try:
            keys = sorted({_lock_key(name) for name in locks})
            if keys:
                with self._translated():
                    self._connection.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s) AS key", [keys])
            with self._pipeline:
                with self._translated():
                    self._pipeline.enter_context(self._connection.pipeline())
                yield
                with self._translated():
                    self._pipeline.close()
            self.execute("COMMIT")
        finally:
            if (
                not self._connection.closed
                and self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
            ):
                with self._translated():
                    self._connection.rollback()

    def lock(self, name: str) -> None:
        """See Database."""
        self.select("SELECT pg_advisory_xact_lock(?)", _lock_key(name))

    def select(self, query: str, *values: Value) -> list[tuple[Any, ...]]:
        """See Database."""
        with self._translated():
            return self._connection.execute(_query(query), values).fetchall()

    def execute(self, statement: str, *values: Value) -> None:
        """See Database."""
        with self._translated():
            self._connection.execute(_query(statement), values)

    def execute_many(self, statement: str, rows: Sequence[tuple[Value, ...]]) -> None:
        """See Database."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.executemany(_query(statement), rows)

    def bulk(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Value, ...]]) -> None:
        """See Database."""
        if len(rows) < COPIED_FROM_ROWS:
            self.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks(len(columns))})", rows)
            return
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self._alone(), self._connection.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    def script(self, statements: str) -> None:
        """See Database."""
        for pattern, replacement in _DIALECT:
            statements = re.sub(pattern, replacement, statements)
        with self._alone():
            self._connection.execute(statements)

    def close(self) -> None:
        """See Database."""
        self._connection.close()

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        connection.adapters.register_loader("json", TextLoader)
        # A plan that was kept from when a table was small reads all of it ever after.
        connection.execute("SET plan_cache_mode = force_custom_plan")
        if not self._write:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside a transaction, for what no pipeline can hold."""
        with self._translated():
            self._pipeline.close()
            yield
            self._pipeline.enter_context(self._connection.pipeline())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as fault:
            raise self._failed(fault) from None

    def _failed(self, fault: psycopg.Error) -> StoreFailed:
        return StoreFailed(f"{self.name} does not work now: {_first_line(fault)}; HQ's store waits for it.")


@lru_cache(maxsize=512)
def _query(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


def _lock_key(name: str) -> int:
    digest = hashlib.blake2b(b"outstation " + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _first_line(fault: psycopg.Error) -> str:
    return str(fault).partition("\n")[0].rstrip(".")
