"""Journals of older versions open, and keep what they had."""

from pathlib import Path

import apsw
import pytest

from edge.errors import JournalError
from edge.events import now_us
from edge.store import migrations
from edge.store.journal import Conclusions, Journal
from tests.records import AT, an_action


def first_journal(path: Path) -> apsw.Connection:
    """A journal as the first version made it."""
    connection = apsw.Connection(str(path))
    connection.execute(migrations.M001_INITIAL)
    connection.execute(
        "CREATE TABLE _sqlite_migrations (migration_set TEXT, name TEXT, applied_at TEXT, "
        "PRIMARY KEY (migration_set, name)); "
        "INSERT INTO _sqlite_migrations VALUES ('journal', 'm001_initial', '2026'); PRAGMA user_version = 1"
    )
    return connection


def test_a_journal_of_the_first_version_keeps_its_epoch_its_numbers_and_its_rows(tmp_path: Path) -> None:
    with first_journal(tmp_path / "journal.db") as old:
        old.execute("INSERT INTO outbox VALUES ('now', 1, 1, 'action', 'a', x'8100', ?)", (AT,))
        old.execute("UPDATE lanes SET last_seq = 1 WHERE lane = 'now'")
    old.close()
    journal = Journal(tmp_path / "journal.db")
    journal.conclude(Conclusions(actions=[an_action()])).result()
    connection = journal.readers.connection()
    rows = connection.execute("SELECT epoch, seq, span, kind, at, mono FROM outbox ORDER BY seq").fetchall()
    lengths = connection.execute("SELECT sum(length(record)) FROM outbox").fetchall()
    assert rows[0] == (1, 1, 1, "action", AT, AT), "its clock is all that is known of when it was"
    assert rows[1][:4] == (1, 2, 1, "action")
    assert connection.execute("SELECT bytes FROM lanes WHERE lane = 'now'").fetchall() == lengths
    journal.close()


def test_a_new_journal_begins_an_epoch_of_its_own(tmp_path: Path) -> None:
    before_ms = now_us() // 1000
    journals = [Journal(tmp_path / name) for name in ("a.db", "b.db")]
    epochs = [
        int(str(journal.readers.connection().execute("SELECT value FROM meta WHERE key = 'epoch'").fetchall()[0][0]))
        for journal in journals
    ]
    for journal in journals:
        journal.close()
    assert epochs[0] != epochs[1]
    assert all(before_ms - 1 <= epoch >> 16 <= now_us() // 1000 for epoch in epochs)


def test_a_journal_of_a_newer_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(JournalError, match="newer"):
        Journal(path)
