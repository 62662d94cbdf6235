"""HQ's store on both databases: SQLite in a folder of the test, PostgreSQL in a cluster of this run."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uuid_utils

from sync.hq.store import Store
from tests.waiting import free_port

_CONFIG = ("fsync=off", "max_connections=40", "shared_buffers=32MB", "listen_addresses=127.0.0.1")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "there is no PostgreSQL on this machine: install Debian's package postgresql"
    return found[-1].parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A throw-away PostgreSQL cluster on loopback: the DSN of its database postgres."""
    with tempfile.TemporaryDirectory(prefix="outstation-pg-") as name:
        folder, port, programs = Path(name), free_port(), _programs()
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = ["runuser", "-u", "postgres", "--"]

        def run(*command: str | Path) -> None:
            subprocess.run([*as_user, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd=folder)

        data = folder / "data"
        run(programs / "initdb", "-D", data, "-E", "UTF8", "--locale=C", "-A", "trust", "-U", "postgres", "-N")
        options = " ".join([f"-p {port}", f"-k {folder}", *(f"-c {setting}" for setting in _CONFIG)])
        run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
            shutil.rmtree(data, ignore_errors=True)


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
