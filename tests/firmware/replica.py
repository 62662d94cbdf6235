"""litestream as outstation-replica.service runs it, on any database: what the tests of replicas have in common."""

import os
import queue
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

from tests.firmware.programs import FIRMWARE, program

PROGRAMS = Path(sysconfig.get_path("scripts"))
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
    """A database's replica in `folder`; `log` is where litestream's words go. To be used in a `with`, which ends it."""

    def __init__(self, database: Path, folder: Path, watchdog_s: int = 60) -> None:
        self.database = database
        self.log = folder.with_suffix(".log")
        self._sockets = tempfile.TemporaryDirectory(prefix="replica-")  # a socket's path may not be long
        self._control = Path(self._sockets.name, "litestream")
        self._notify = Path(self._sockets.name, "notify")
        self._environment = {
            "PATH": os.environ["PATH"],
            "LITESTREAM_CONFIG": str(FIRMWARE / "litestream" / "litestream.yml"),
            "OUTSTATION_JOURNAL": str(database),
            "OUTSTATION_REPLICA": str(folder),
            "OUTSTATION_REPLICA_SOCKET": str(self._control),
            "WATCHDOG_USEC": str(watchdog_s * 1_000_000),
            "NOTIFY_SOCKET": str(self._notify),
        }
        self.systemd = Systemd(self._notify)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.signal(signal.SIGKILL)
        self.systemd.close()
        self._sockets.cleanup()

    def start(self) -> None:
        """Start it as the unit does and wait until it says that it is ready."""
        program("systemd-notify")
        self.systemd.forget()
        command = [str(FIRMWARE / "systemd" / "replica.sh"), str(PROGRAMS)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        assert self.systemd.next() == "READY=1", self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to litestream and to who speaks for it; after SIGKILL both are gone."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            if number == signal.SIGKILL:
                self._process.wait()
                self._process = None

    def hang(self) -> None:
        """Make litestream alone hang; who speaks for it goes on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def complete(self) -> None:
        """Bring the replica to where the database is now, and end litestream as a power cut would.

        The end belongs to it: after `litestream sync` it must not be relied on, as replica.sh says.
        """
        done = self._litestream("sync", "-wait", "-socket", str(self._control), str(self.database))
        assert done.returncode == 0, done.stderr
        self.signal(signal.SIGKILL)

    def restore(self, target: Path) -> None:
        """Make `target` from what the replica holds."""
        done = self._litestream("restore", "-integrity-check", "full", "-o", str(target), str(self.database))
        assert done.returncode == 0, done.stderr

    def _litestream(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAMS / "litestream"), *arguments], env=self._environment, capture_output=True, text=True
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
    """Every row of every table, except litestream's own two tables; read it while nobody writes.

    Raises AssertionError when SQLite finds the file damaged.
    """
    with opened(database) as connection:
        assert connection.pragma("integrity_check") == "ok"
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')"
            r" AND name NOT LIKE '\_litestream%' ESCAPE '\'"
        ).fetchall()
        return {str(name): connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}


def assert_replicates(database: Path, scratch: Path) -> None:
    """The database, which nobody writes to now, comes back from a replica as it is."""
    with Replica(database, scratch / "replica") as replica:
        replica.start()
        replica.complete()
        replica.restore(scratch / "restored.db")
    assert contents(scratch / "restored.db") == contents(database)
