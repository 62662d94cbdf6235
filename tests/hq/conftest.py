"""HQ's store on both databases: SQLite in a folder of the test, PostgreSQL in a cluster of this run."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uuid_utils

from sync.hq.store import Store
from tests.hq.cluster import cluster


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A throw-away PostgreSQL cluster on loopback: the DSN of its database postgres."""
    with cluster(durable=False) as dsn:
        yield dsn


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The DSN of a new, empty database."""
    name = f"hq_{uuid_utils.uuid7().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_server.rpartition('/')[0]}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where a new, empty store may lie, once for each database."""
    if request.param == "sqlite":
        return tmp_path / "hq.db"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def store(where: str | Path) -> Iterator[Store]:
    """A new, empty store, once on each database."""
    opened = Store.open(where)
    yield opened
    opened.close()
