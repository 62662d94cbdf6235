"""The journal's replica: what was committed before a sync point survives the death of everybody."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.firmware.replica import DEADLINE_S, Replica, assert_replicates, contents, opened

# SQLite's writers begin their log anew about once in so many of the writer's transactions.
TRANSACTIONS_PER_LOG = 500


class Writer:
    """The writer's process. It writes without being asked, somewhat further than its commits are awaited."""

    def __init__(self, database: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("writer.py")), str(database)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def committed(self, transactions: int) -> int:
        """Wait for so many commits more; gives the last row's number, which is on disk."""
        assert self._process.stdout is not None
        return [int(self._process.stdout.readline()) for _ in range(transactions)][-1]

    def committed_until(self, condition: Callable[[], bool]) -> None:
        """Wait for commits until the condition holds."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s
            self.committed(transactions=1)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()


@contextmanager
def writing(database: Path) -> Iterator[Writer]:
    """A writer that is killed at the end, wherever it is."""
    writer = Writer(database)
    try:
        yield writer
    finally:
        writer.kill()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    """The replica of a database that is not there yet; not started."""
    (tmp_path / "data").mkdir()
    with Replica(tmp_path / "data" / "journal.db", tmp_path / "replica", watchdog_s=4) as made:
        yield made


def test_after_kill_9_of_litestream_and_writer_the_replica_has_all_that_was_committed_before_the_sync(
    replica: Replica, tmp_path: Path
) -> None:
    replica.start()
    with writing(replica.database) as writer:
        before_sync = writer.committed(transactions=300)
        replica.complete()
    replica.restore(tmp_path / "restored.db")
    with opened(tmp_path / "restored.db") as restored, opened(replica.database) as journal:
        assert restored.pragma("integrity_check") == "ok"
        rows = restored.execute("SELECT * FROM readings ORDER BY seq").fetchall()
        assert len(rows) >= before_sync
        assert rows == journal.execute("SELECT * FROM readings ORDER BY seq LIMIT ?", (len(rows),)).fetchall()


def test_rows_committed_around_a_death_of_litestream_are_in_the_replica_once_it_is_back(
    replica: Replica, tmp_path: Path
) -> None:
    replica.start()
    with writing(replica.database) as writer:
        writer.committed(TRANSACTIONS_PER_LOG)
        replica.complete()
        writer.committed(transactions=50)
        replica.start()
        writer.committed(transactions=200)
    replica.complete()
    replica.restore(tmp_path / "restored.db")
    assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_a_torn_file_of_litestream_does_not_stop_it(replica: Replica, tmp_path: Path) -> None:
    replica.start()
    with writing(replica.database) as writer:
        writer.committed(transactions=50)
        replica.complete()
    newest = max(replica.database.parent.glob(".journal.db-litestream/ltx/0/*.ltx"))
    newest.write_bytes(newest.read_bytes()[:50])
    replica.start()
    with writing(replica.database) as writer:
        writer.committed(transactions=50)
    replica.complete()
    replica.restore(tmp_path / "restored.db")
    assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_systemd_hears_from_the_replica_until_it_falls_behind(replica: Replica) -> None:
    def times_behind() -> int:
        return replica.log.read_text().count("replica.sh: the replica is behind")

    replica.start()
    with writing(replica.database) as writer:
        writer.committed(transactions=10)
        assert replica.systemd.next() == "WATCHDOG=1"
        replica.hang()
        before = times_behind()
        writer.committed_until(lambda: times_behind() > before)
        replica.systemd.forget()
        writer.committed_until(lambda: times_behind() > before + 1)
        assert replica.systemd.forget() == []


def test_a_database_at_rest_comes_back_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "data" / "journal.db"
    database.parent.mkdir()
    with writing(database) as writer:
        writer.committed(transactions=20)
    assert_replicates(database, tmp_path)
