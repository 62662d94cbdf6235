"""A throw-away PostgreSQL cluster from Debian's package, on loopback."""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bench.waiting import free_port

_SETTINGS = ("max_connections=40", "shared_buffers=128MB", "listen_addresses=127.0.0.1")


@contextmanager
def cluster(*, durable: bool) -> Iterator[str]:
    """The DSN of a new cluster's database postgres, until the block ends. One that is not durable never waits for the
    disk."""
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
        settings = (*_SETTINGS, f"fsync={'on' if durable else 'off'}")
        options = " ".join([f"-p {port}", f"-k {folder}", *(f"-c {setting}" for setting in settings)])
        run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "there is no PostgreSQL on this machine: install Debian's package postgresql"
    return found[-1].parent
