"""HQ as `outstation hq run` starts it, beside what is measured."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from edge.bench.waiting import free_port, until
from sync.hq.database import open_database
from sync.hq.store import store_path

OUTSTATION = (sys.executable, "-m", "edge.cli")


class Hq:
    """HQ in `folder` with its store there, or at `dsn`."""

    def __init__(self, folder: Path, dsn: str | None) -> None:
        self.folder = folder
        self.store: str | Path = dsn or store_path(folder)
        self.mqtt_port = free_port()
        self.pid = 0
        self._where = ["--dir", str(folder), *(["--store", dsn] if dsn else [])]

    @contextmanager
    def running(self) -> Iterator[None]:
        """HQ, from when it answers to the end of the block."""
        log = self.folder.with_suffix(".log")
        ports = ["--port", "0", "--mqtt-port", str(self.mqtt_port), "--enrol-port", str(free_port())]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*OUTSTATION, "hq", "run", *self._where, *ports], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            until(lambda: "HQ's page" in log.read_text(), "HQ runs")
            self.pid = process.pid
            yield
        finally:
            process.terminate()
            process.wait(30)

    def invite(self, site: str) -> str:
        """The code by which a site enrols."""
        done = subprocess.run(
            [*OUTSTATION, "hq", "invite", site, *self._where], check=True, capture_output=True, text=True
        )
        return done.stdout.split()[-1]

    def parts(self) -> dict[str, list[int]]:
        """Its processes by name; PostgreSQL's too, if the store is there."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for listed in children for pid in listed.read_text("ascii").split()]
        brokers = [pid for pid in pids if b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        parts = {"receiver": [self.pid], "broker": brokers}
        if isinstance(self.store, str):
            with psycopg.connect(self.store) as connection:
                found = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
            parts["PostgreSQL"] = [pid for (pid,) in found]
        return parts

    def held(self, lane: str = "%") -> int:
        """How many numbers it holds."""
        database = open_database(self.store, write=False)
        ((held,),) = database.select("SELECT coalesce(sum(held), 0) FROM lanes WHERE lane LIKE ?", lane)
        database.close()
        return int(held)

    def has(self, ids: list[str]) -> set[str]:
        """Which of these records it has on lane `now`."""
        database = open_database(self.store, write=False)
        found = {id for id in ids if database.select("SELECT 1 FROM received WHERE id = ? AND lane = 'now'", id)}
        database.close()
        return found
