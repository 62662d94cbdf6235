"""The journal's replica: what was committed before a sync point survives the death of everybody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.bench.waiting import until
from edge.store.database import number
from sync.replica import Limits
from tests.firmware.replica import DEADLINE_S, Replica, assert_replicates, contents, folder_url, opened
from tests.firmware.sftp import SftpServer

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
    """The replica, in a folder, of a journal that is not there yet; not started."""
    with Replica(tmp_path / "site", folder_url(tmp_path / "replica"), watchdog_s=4) as made:
        yield made


def test_after_kill_9_of_litestream_and_writer_the_replica_has_all_that_was_committed_before_the_sync(
    replica: Replica, tmp_path: Path
) -> None:
    with writing(replica.database) as writer:
        replica.start_and_copy()
        before_sync = writer.committed(transactions=300)
        replica.complete()
    replica.restore(tmp_path / "restored.db")
    assert_is_a_beginning(tmp_path / "restored.db", replica.database)
    with opened(tmp_path / "restored.db") as restored:
        assert number(restored, "SELECT max(seq) FROM readings") >= before_sync


def test_rows_committed_around_a_death_of_litestream_are_in_the_replica_once_it_is_back(
    replica: Replica, tmp_path: Path
) -> None:
    with writing(replica.database) as writer:
        replica.start_and_copy()
        writer.committed(TRANSACTIONS_PER_LOG)
        replica.complete()
        writer.committed(transactions=50)
        replica.start_and_copy()
        writer.committed(transactions=200)
    replica.complete()
    replica.restore(tmp_path / "restored.db")
    assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_a_torn_file_of_litestream_does_not_stop_it(replica: Replica, tmp_path: Path) -> None:
    with writing(replica.database) as writer:
        replica.start_and_copy()
        writer.committed(transactions=50)
        replica.complete()
    newest = max(replica.database.parent.glob(".journal.db-litestream/ltx/0/*.ltx"))
    newest.write_bytes(newest.read_bytes()[:50])
    replica.start_and_copy()
    with writing(replica.database) as writer:
        writer.committed(transactions=50)
    replica.complete()
    replica.restore(tmp_path / "restored.db")
    assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_systemd_hears_from_it_again_and_again(replica: Replica) -> None:
    replica.start()
    assert (replica.systemd.next(), replica.systemd.next()) == ("WATCHDOG=1", "WATCHDOG=1")


def test_a_journal_at_rest_comes_back_as_it_is(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "data").mkdir(parents=True)
    with writing(site / "data" / "journal.db") as writer:
        writer.committed(transactions=20)
    assert_replicates(site, tmp_path)


def test_a_litestream_that_hangs_is_replaced_and_the_replica_is_whole_again(tmp_path: Path) -> None:
    limits = Limits(silence_s=3, bytes_per_s=100 << 20)
    with (
        Replica(tmp_path / "site", folder_url(tmp_path / "replica"), limits=limits) as replica,
        writing(replica.database) as writer,
    ):
        replica.start_and_copy()
        hung = replica.litestream_pid()
        assert hung is not None
        os.kill(hung, signal.SIGSTOP)
        writer.committed_until(lambda: replica.litestream_pid() not in (hung, None))
        assert "did nothing for" in replica.log.read_text()
        replica.wait_for_copy()
        writer.committed(transactions=50)
        replica.complete()
        writer.kill()
        replica.restore(tmp_path / "restored.db")
        assert_is_a_beginning(tmp_path / "restored.db", replica.database)


def test_an_sftp_server_that_is_away_for_long_costs_no_more_disk_than_agreed_and_gets_a_whole_copy_afterwards(
    tmp_path: Path,
) -> None:
    site = tmp_path / "site"
    own_files = site / "data" / ".journal.db-litestream"
    with (
        SftpServer(tmp_path / "sftp", site / "secrets") as server,
        Replica(site, server.url, limits=Limits(waiting_bytes=8 << 20)) as replica,
        writing(replica.database) as writer,
    ):
        replica.start_and_copy()
        server.kill()
        writer.committed_until(lambda: "was let go" in replica.log.read_text())
        until(lambda: "cannot be reached" in replica.state().problem, "it says why")
        assert [path for path in own_files.rglob("*") if path.is_file()] == []
        assert replica.state().behind_since_s is not None
        server.start()
        writer.committed_until(lambda: replica.litestream_pid() is not None)
        replica.wait_for_copy()
        writer.kill()
        replica.complete()
        replica.restore(tmp_path / "restored.db")
        assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_an_sftp_server_with_another_key_gets_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with SftpServer(tmp_path / "sftp", site / "secrets") as server:
        server.trusts(" ".join((site / "secrets" / "replica.key.pub").read_text().split()[:2]))
        with Replica(site, server.url) as replica, writing(replica.database) as writer:
            writer.committed(transactions=1)
            replica.start()
            until(lambda: "cannot be reached" in replica.state().problem, "it says that it does not send")
            assert list(server.files.iterdir()) == []


def test_a_folder_whose_disk_is_not_mounted_is_not_made_but_waited_for(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with Replica(tmp_path / "site", disk.as_uri()) as replica, writing(replica.database) as writer:
        writer.committed(transactions=10)
        replica.start()
        until(lambda: f"{disk} is not a folder" in replica.state().problem, "it says what is missing")
        assert not disk.exists()
        disk.mkdir()
        replica.wait_for_copy()
        writer.kill()
        replica.complete()
        replica.restore(tmp_path / "restored.db")
        assert contents(tmp_path / "restored.db") == contents(replica.database)


def test_two_at_once_on_one_journal_there_are_not(replica: Replica) -> None:
    with writing(replica.database) as writer:
        writer.committed(transactions=1)
        replica.start()
        command = [sys.executable, "-m", "sync.replica", str(replica.site)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert "another process keeps this replica" in second.stderr


def assert_is_a_beginning(copy: Path, of: Path) -> None:
    """The copy is sound and has, from the first on, the rows of the other."""
    with opened(copy) as restored, opened(of) as journal:
        assert restored.pragma("integrity_check") == "ok"
        rows = restored.execute("SELECT * FROM readings ORDER BY seq").fetchall()
        assert rows == journal.execute("SELECT * FROM readings ORDER BY seq LIMIT ?", (len(rows),)).fetchall()
