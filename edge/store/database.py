"""One writer, read-only readers: how every part of the daemon reaches the journal's file.

All writes go through one thread. Jobs that wait together share one transaction (group commit), so that a busy box pays
for one fsync, not for one a job; a job that fails is rolled back alone, to its own savepoint.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw
import structlog

from edge.errors import JournalError
from edge.metrics import Metrics

T = TypeVar("T")
Job = Callable[[apsw.Connection], T]

LOCK_WAIT_MS = 10_000  # litestream holds the write lock for moments when it checkpoints
JOBS_PER_COMMIT = 1_000

log = structlog.get_logger()


def open_read_only(path: Path) -> apsw.Connection:
    """A connection that cannot write, whatever SQL it is given.

    Raises JournalError when there is no database at `path`.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(LOCK_WAIT_MS)
        connection.pragma("query_only", True)
    except apsw.Error as error:
        raise JournalError(f"{path} cannot be read ({error}); run `outstation doctor` on the site.") from None
    return connection


def open_writer(path: Path) -> apsw.Connection:
    """The one connection that writes: WAL, and a commit is on disk when it returns (synchronous=FULL).

    Raises JournalError when the file cannot be opened for writing.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(LOCK_WAIT_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("foreign_keys", True)
    except apsw.Error as error:
        raise JournalError(f"{path} cannot be opened for writing ({error}); check the disk and its rights.") from None
    return connection


def number(connection: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> int:
    """The one number that a question is answered with; 0 when there is no row."""
    row: Any = connection.execute(sql, bindings).fetchone()
    return 0 if row is None else int(row[0])


class Readers:
    """A read-only connection for each thread that asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def connection(self) -> apsw.Connection:
        """This thread's own connection."""
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = open_read_only(self._path)
        return found


class _Queued(Generic[T]):
    """A job on its way to the writer, what is to be done with its result after the commit, and the future that tells
    it."""

    def __init__(self, job: Job[T], then: Callable[[T], None]) -> None:
        self.job = job
        self.future: Future[T] = Future()
        self._then = then

    def settle(self, result: T) -> None:
        """It is on disk."""
        self._then(result)
        self.future.set_result(result)


class Writer:
    """The thread that writes. `on_commit` is called in it after each commit that changed something."""

    def __init__(self, path: Path, on_commit: Callable[[], None], metrics: Metrics) -> None:
        self._connection = open_writer(path)
        self._path = path
        self._on_commit = on_commit
        self._metrics = metrics
        self.fault = ""
        """Why the last transaction was not written, in a sentence; '' as soon as one that changes something was."""
        self._jobs: queue.SimpleQueue[_Queued[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer")
        self._thread.start()

    def submit(self, job: Job[T], then: Callable[[T], None] = lambda _: None) -> Future[T]:
        """Queue a job; its future has the job's result once the transaction with it is on disk.

        The future raises what the job raised, or JournalError when the commit failed: then nothing of it was written.
        `then` is called with the result in the writer's thread, in the order of the jobs, before anybody hears of it.
        """
        queued = _Queued(job, then)
        self._jobs.put(queued)
        return queued.future

    @property
    def waiting(self) -> int:
        """How many jobs wait to be written."""
        return self._jobs.qsize()

    def close(self) -> None:
        """Write what waits, then end the thread and close the file."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_for_jobs = True
        while open_for_jobs:
            batch, open_for_jobs = self._take()
            if batch:
                self._commit(batch)
        self._connection.close()

    def _take(self) -> tuple[list[_Queued[Any]], bool]:
        """Wait for a job, then take all that wait with it. False: the writer is to end after these."""
        batch: list[_Queued[Any]] = []
        queued = self._jobs.get()
        while queued is not None:
            batch.append(queued)
            if len(batch) == JOBS_PER_COMMIT:
                return batch, True
            try:
                queued = self._jobs.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Queued[Any]]) -> None:
        # Who asked may have gone meanwhile: from here on nobody can withdraw a job, before it is left out.
        batch = [queued for queued in batch if queued.future.set_running_or_notify_cancel()]
        settled: list[Callable[[], None]] = []
        began_s, changes = time.perf_counter(), self._connection.total_changes()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            settled.extend(self._try(queued) for queued in batch)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            failure = JournalError(
                f"{self._path} cannot be written ({error}); free the disk, nothing accepted was lost."
            )
            settled = [_fails(queued, failure) for queued in batch]
            self._metrics.commit_failures.inc()
            self.fault = str(failure)
        else:
            self._metrics.commit.observe(time.perf_counter() - began_s)
            self._metrics.commit_jobs.observe(len(batch))
            if self._connection.total_changes() != changes:
                self.fault = ""
        for settle in settled:
            settle()
        self._on_commit()

    def _try(self, queued: _Queued[T]) -> Callable[[], None]:
        """Run one job inside its savepoint; what is returned settles its future once the commit is known."""
        try:
            with self._connection:  # a nested savepoint: an exception rolls back this job alone
                result = queued.job(self._connection)
        except (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.BusyError):
            raise  # these are about the file, not the job: the whole transaction fails
        except Exception as error:
            if not self._connection.in_transaction:  # SQLite gave the transaction up, and this came of it
                raise apsw.FullError("the disk is full") from error
            return _fails(queued, error)  # whatever it is, it belongs to the job's owner
        return lambda: queued.settle(result)


def _fails(queued: _Queued[Any], error: Exception) -> Callable[[], None]:
    return lambda: queued.future.set_exception(error)
