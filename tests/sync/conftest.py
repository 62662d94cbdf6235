"""A site with a journal, an HQ and a broker, each a process of its own that a test can kill."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import uuid_utils

from sync import keys
from sync.broker import Broker
from sync.hq.store import Store

OUTBOX = """
CREATE TABLE outbox (
  lane TEXT NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  record BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID
"""


def eventually(condition: Callable[[], Any], within_s: float = 15.0) -> Any:
    """What `condition` gives once it is true; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {within_s} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Journal:
    """The journal as the daemon writes it, as far as the link knows it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(5000)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(OUTBOX)

    def add(self, lane: str, count: int, *, epoch: int = 1, kind: str = "event", text: str = "矿井 pump") -> None:
        """Put `count` more records into a lane, in one transaction."""
        with self._connection:
            last: Any
            ((last,),) = self._connection.execute(
                "SELECT coalesce(max(seq), 0) FROM outbox WHERE epoch = ? AND lane = ?", (epoch, lane)
            ).fetchall()
            for seq in range(last + 1, last + 1 + count):
                id = str(uuid_utils.uuid7())
                at = time.time_ns() // 1000
                record = {
                    "id": id,
                    "at": at,
                    "text": text,
                    "values": {"temp_c": seq / 7, "big": 2**63 + seq},
                    "none": None,
                }
                self._connection.execute(
                    "INSERT INTO outbox (epoch, lane, seq, kind, id, record, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (epoch, lane, seq, kind, id, msgspec.msgpack.encode(record), at),
                )

    def forget(self, up_to: int) -> None:
        """Delete delivered rows of epoch 1, as retention does."""
        self._connection.execute("DELETE FROM outbox WHERE epoch = 1 AND seq <= ?", (up_to,))

    def checkpoint(self) -> int:
        """Write the whole WAL back; 1 if a reader was in the way."""
        busy: Any
        ((busy, _frames, _done),) = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        return int(busy)

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as HQ should have them: (epoch, lane, seq, kind, id, JSON of the record)."""
        found: list[tuple[Any, ...]] = self._connection.execute(
            "SELECT epoch, lane, seq, kind, id, record FROM outbox ORDER BY epoch, lane, seq"
        ).fetchall()
        return [
            (epoch, lane, seq, kind, id, msgspec.json.encode(msgspec.msgpack.decode(record)).decode())
            for epoch, lane, seq, kind, id, record in found
        ]

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


@dataclass
class Process:
    """A program that can be killed and started again."""

    command: list[str]
    log: Path
    _running: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Start it; its output goes to `log`."""
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(self.command, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._running is not None
        return self._running.pid

    def kill(self) -> None:
        """kill -9."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def end(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self._running is not None
        self._running.send_signal(signal.SIGTERM)
        return self._running.wait(10)

    def wait(self) -> int:
        """Until it ends by itself; gives the exit code."""
        assert self._running is not None
        return self._running.wait(10)

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text("utf-8")

    def address(self) -> str:
        """The newest address that it has printed, once there is one."""
        found: list[str] = eventually(lambda: re.findall(r"http://\S+", self.output()))
        return found[-1]

    def clean_up(self) -> None:
        """Kill it if it still runs."""
        if self._running is not None and self._running.poll() is None:
            self.kill()


@dataclass
class Hq:
    """HQ's folder, its process, and what is in its store."""

    folder: Path
    process: Process

    def start(self) -> None:
        """Start it and wait until it receives: what is sent before its first time meets no session at the broker."""
        self.process.start()
        eventually(lambda: "connected to the broker" in self.process.output())

    def enrol(self, site: str, public_key: str) -> None:
        """As `outstation hq enrol` does."""
        store = Store.open(self.folder / "hq.db")
        store.enrol(site, public_key)
        store.close()

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the store."""
        connection = apsw.Connection(str(self.folder / "hq.db"))
        connection.set_busy_timeout(5000)
        with contextlib.closing(connection):
            return connection.execute(query).fetchall()

    def rows(self) -> list[tuple[Any, ...]]:
        """What was received, in the form of Journal.rows."""
        return self.select("SELECT epoch, lane, seq, kind, id, record FROM received ORDER BY epoch, lane, seq")

    def page(self) -> str:
        """The page's address, once it is there."""
        return self.process.address()


@dataclass
class Site:
    """A site folder with a key, and the process of its link."""

    folder: Path
    name: str
    public_key: str
    link: Process

    @property
    def journal(self) -> Path:
        """Where its journal is."""
        return self.folder / "data" / "journal.db"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker on a free port."""
    running = Broker(tmp_path / "a broker", free_port())
    running.start()
    yield running
    running.stop()


@pytest.fixture
def hq(tmp_path: Path, broker: Broker) -> Iterator[Hq]:
    """HQ, not started, at the broker of the test."""
    folder = tmp_path / "hq"
    folder.mkdir()
    process = outstation(tmp_path, "hq", "run", "--dir", folder, "--port", 0, "--broker", f"127.0.0.1:{broker.port}")
    yield Hq(folder, process)
    process.clean_up()


@pytest.fixture
def site(tmp_path: Path, broker: Broker) -> Iterator[Site]:
    """A site, its link not started, that sends to the broker of the test."""
    made = make_site(tmp_path / "site", "mine-3", broker.port)
    yield made
    made.link.clean_up()


@pytest.fixture
def journal(site: Site) -> Iterator[Journal]:
    """The site's journal, empty."""
    opened = Journal(site.journal)
    yield opened
    opened.close()


def make_site(folder: Path, name: str, port: int) -> Site:
    """A site folder with a key and no journal."""
    folder.mkdir()
    (folder / "site.toml").write_text(f'name = "{name}"\n[web]\nport = 1\n[hq]\nport = {port}\n', "utf-8")
    public_key = keys.create(folder / "secrets" / "site.key")
    link = Process([sys.executable, "-m", "sync.uplink", str(folder)], folder / "link.log")
    return Site(folder, name, public_key, link)


def outstation(tmp_path: Path, *arguments: object) -> Process:
    """The command `outstation` as a process that is not started yet."""
    program = Path(sys.executable).with_name("outstation")
    return Process([str(program), *map(str, arguments)], tmp_path / f"{arguments[0]}.log")


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in found.split()]


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
