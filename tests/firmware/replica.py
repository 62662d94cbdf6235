"""A site's journal and what keeps its replica: what the tests of replicas have in common."""

import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import msgspec

from edge.bench.waiting import until
from sync.litestream import PROGRAM, Litestream, read_target
from sync.replica import Limits, State

DEADLINE_S = 30.0


class Systemd:
    """What takes sd_notify(3)'s words in systemd's place, at the socket `path`."""

    def __init__(self, path: Path) -> None:
        self._words: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def next(self) -> str | None:
        """The next word; None when there is none within the deadline."""
        try:
            return self._words.get(timeout=DEADLINE_S)
        except queue.Empty:
            return None

    def forget(self) -> list[str]:
        """Leave out, and give, the words that were not asked for yet."""
        return [self._words.get() for _ in range(self._words.qsize())]

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_us:
            to_us.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while word := self._socket.recv(4096).decode().strip():
            if word != "BARRIER=1":  # systemd-notify waits until this is taken, after each word
                self._words.put(word)


class Replica:
    """What keeps the replica of the journal in the site folder `site`, as daemon and unit start it. `log` is where its
    words go. To be used in a `with`, which ends it."""

    def __init__(self, site: Path, url: str, *, limits: Limits | None = None, watchdog_s: int = 60) -> None:
        self.site = site
        self.database = site / "data" / "journal.db"
        self.database.parent.mkdir(parents=True, exist_ok=True)
        if not (site / "site.toml").exists():
            (site / "site.toml").write_text(f'name = "site"\n[replica]\nurl = "{url}"\n')
        self.log = site / "replica.log"
        self._target = read_target(url, site / "secrets")
        self._limits = limits or Limits()
        self._sockets = tempfile.TemporaryDirectory(prefix="replica-")  # a socket's path may not be long
        self._environment = {
            "PATH": os.environ["PATH"],
            "WATCHDOG_USEC": str(watchdog_s * 1_000_000),
            "NOTIFY_SOCKET": f"{self._sockets.name}/notify",
        }
        self.systemd = Systemd(Path(self._sockets.name, "notify"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self.systemd.close()
        self._sockets.cleanup()

    def start(self) -> None:
        """Start it and wait until it says that it works."""
        self.systemd.forget()
        keep = (
            "import sys, threading, msgspec\nfrom pathlib import Path\nfrom sync.replica import Limits, keep\n"
            "keep(Path(sys.argv[1]), threading.Event(), msgspec.json.decode(sys.argv[2], type=Limits))"
        )
        command = [sys.executable, "-c", keep, str(self.site), msgspec.json.encode(self._limits).decode()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        assert self.systemd.next() == "READY=1", self.log.read_text()

    def start_and_copy(self) -> None:
        """Start it and wait until litestream has brought the replica up to date once."""
        self.start()
        self.wait_for_copy()

    def wait_for_copy(self) -> None:
        """Wait until litestream has brought the replica up to date since its start."""
        until(lambda: '"last_sync_at"' in self._litestream("list", "-json").stdout, "the replica is there", DEADLINE_S)

    @property
    def pid(self) -> int | None:
        """The process that keeps the replica, while there is one."""
        return None if self._process is None else self._process.pid

    def litestream_pid(self) -> int | None:
        """litestream's process, while there is one."""
        if self._process is None:
            return None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def state(self) -> State:
        """What it has written down of how it goes, once it has."""
        path = self.site / "data" / "replica" / "state.json"
        until(path.exists, "it has written down how it goes", DEADLINE_S)
        return msgspec.json.decode(path.read_bytes(), type=State)

    def kill(self) -> None:
        """End it, and with it litestream, as a power cut would."""
        if self._process is not None:
            litestream = self.litestream_pid()
            self._process.kill()
            self._process.wait()
            self._process = None
            until(lambda: litestream is None or not Path(f"/proc/{litestream}").exists(), "litestream is gone")

    def complete(self) -> None:
        """Bring the replica to where the database is now, and end litestream as a power cut would.

        The end belongs to it: after `litestream sync` it must not be relied on.
        """
        done = self._litestream("sync", "-wait", str(self.database))
        assert done.returncode == 0, done.stderr
        self.kill()

    def restore(self, to: Path) -> None:
        """Make `to` from what the replica holds."""
        Litestream(self.database, self._target, self.site / "restoring").restore(to)

    def _litestream(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), name, "-socket", "socket", *arguments],
            cwd=self.site / "data" / "replica",
            capture_output=True,
            text=True,
        )


@contextmanager
def opened(database: Path) -> Iterator[apsw.Connection]:
    """A connection that cannot write, closed at the end."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        yield connection
    finally:
        connection.close()


def contents(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, except litestream's own two tables, and the steady clock, which goes on whenever the
    journal is opened; read it while nobody writes.

    Raises AssertionError when SQLite finds the file damaged.
    """
    with opened(database) as connection:
        assert connection.pragma("integrity_check") == "ok"
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')"
            r" AND name NOT LIKE '\_litestream%' ESCAPE '\' AND name <> 'steady'"
        ).fetchall()
        return {str(name): connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}


def folder_url(folder: Path) -> str:
    """The URL of a replica in `folder`, which is made."""
    folder.mkdir()
    return folder.as_uri()


def assert_replicates(site: Path, scratch: Path) -> None:
    """The site's journal, which nobody writes to now, comes back from a replica as it is."""
    with Replica(site, folder_url(scratch / "replica")) as replica:
        replica.start_and_copy()
        replica.complete()
        replica.restore(scratch / "restored.db")
    assert contents(scratch / "restored.db") == contents(replica.database)
