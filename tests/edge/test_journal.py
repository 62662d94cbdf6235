"""The journal accepts once, commits together, and survives."""

import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from edge.errors import Conflict, JournalError
from edge.events import Note, Reading
from edge.store import rows
from edge.store.database import number, open_read_only
from edge.store.journal import Conclusions, Delivery, Journal, Offer
from tests.records import SAMPLES, an_action, an_event


def test_every_record_comes_back_as_it_was_written(journal: Journal) -> None:
    kinds = set(rows.TABLES)
    assert {type(record) for record in SAMPLES} == kinds, "a record type has no sample in tests/records.py"
    for record in SAMPLES:
        journal._writer.submit(partial(rows.insert, records=[record])).result()
        assert rows.select(journal.readers.connection(), type(record), "WHERE id = ?", (record.id,)) == [record]


def test_every_record_reads_back_from_the_bytes_that_hq_gets() -> None:
    for record in SAMPLES:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record)) == record


def test_a_job_that_is_withdrawn_is_not_written_and_the_writer_goes_on(journal: Journal) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: apsw.Connection) -> None:
        entered.set()
        go_on.wait(20)

    under_way = journal.write(slow)
    assert entered.wait(20)
    withdrawn = journal.accept([Offer(events=[(None, an_event())])])
    assert withdrawn.cancel()
    assert not under_way.cancel()
    go_on.set()
    kept = journal.accept([Offer(events=[(None, an_event())])]).result(20)
    assert [event.id for _, event in journal.events_after(rows.tag_of(kept[0]), 0, 10)] == [kept[0].id]


def test_an_input_is_accepted_once_however_often_it_is_offered(journal: Journal) -> None:
    event = an_event()
    first = journal.accept([Offer(events=[(b"key", event), (b"key", event)])]).result()
    again = journal.accept([Offer(events=[(b"key", an_event())])]).result()
    assert first == [event]
    assert again == []


def test_a_redelivered_message_is_not_accepted_again_but_a_new_one_under_its_number_is(journal: Journal) -> None:
    def delivery(digest: bytes, redelivered: bool) -> Delivery:
        return Delivery(mid=7, digest=digest, redelivered=redelivered)

    def accepted(given: Delivery) -> int:
        return len(journal.accept([Offer(events=[(None, an_event())], delivery=given)]).result())

    assert accepted(delivery(b"a", False)) == 1
    assert accepted(delivery(b"a", True)) == 0
    assert accepted(delivery(b"b", True)) == 1, "another message under a number that was used before"
    assert accepted(delivery(b"b", False)) == 1, "not a redelivery: the device said the same again"


def test_many_offers_at_once_are_accepted_as_one_by_one(tmp_path: Path) -> None:
    rnd = random.Random(3)
    offers = [
        Offer(
            events=[(rnd.choice([None, b"k%d" % rnd.randrange(12)]), an_event()) for _ in range(rnd.randrange(4))],
            delivery=rnd.choice(
                [
                    None,
                    Delivery(mid=rnd.randrange(4), digest=b"d%d" % rnd.randrange(3), redelivered=rnd.random() < 0.5),
                ]
            ),
        )
        for _ in range(200)
    ]
    one_by_one, at_once = Journal(tmp_path / "1.db"), Journal(tmp_path / "2.db")
    new = [event for offer in offers for event in one_by_one.accept([offer]).result()]
    assert [event for at in range(0, 200, 40) for event in at_once.accept(offers[at : at + 40]).result()] == new
    one_by_one.close()
    at_once.close()


def test_conclusions_and_their_cursor_are_written_together_or_not_at_all(journal: Journal) -> None:
    action = an_action()
    with pytest.raises(apsw.ConstraintError):
        journal.conclude(Conclusions(actions=[action, action]), cursor=("reading", 5)).result()
    assert journal.cursor("reading") == 0
    assert journal.open_actions() == []
    journal.conclude(Conclusions(actions=[action]), cursor=("reading", 5)).result()
    assert journal.cursor("reading") == 5
    assert journal.open_actions() == [(action, "proposed")]


def test_one_bad_job_does_not_take_others_of_its_transaction_with_it(journal: Journal) -> None:
    def fails(_: apsw.Connection) -> None:
        raise ValueError("mine alone")

    jobs = [journal._writer.submit(fails)]
    good = journal.accept([Offer(events=[(None, an_event())])])
    assert len(good.result()) == 1
    with pytest.raises(ValueError, match="mine alone"):
        jobs[0].result()


def test_lanes_are_numbered_without_gaps_and_readings_stay_on_the_gateway(journal: Journal) -> None:
    for _ in range(3):
        journal.accept([Offer(events=[(None, an_event(Note(text="x", author="y")))])]).result()
    journal.accept([Offer(events=[(None, an_event(Reading(values={"a": 1.0})))])]).result()
    action = an_action()
    journal.conclude(Conclusions(actions=[action])).result()
    journal.move(action.id, "accepted", "rep").result()
    found = journal.readers.connection().execute("SELECT lane, seq, kind FROM outbox ORDER BY lane, seq").fetchall()
    assert found == [
        ("day", 1, "event"),
        ("day", 2, "event"),
        ("day", 3, "event"),
        ("now", 1, "action"),
        ("now", 2, "transition"),
    ]


def test_an_action_goes_only_where_its_state_allows(journal: Journal) -> None:
    action = an_action()
    journal.conclude(Conclusions(actions=[action])).result()
    assert journal.move(action.id, "accepted", "lin").result().by == "lin"
    with pytest.raises(Conflict, match="accepted already"):
        journal.move(action.id, "accepted", "wang").result()
    with pytest.raises(Conflict, match="no action"):
        journal.move("nobody", "accepted", "wang").result()


def test_readers_cannot_write(journal: Journal) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        journal.readers.connection().execute("DELETE FROM events")


def test_a_file_that_is_no_journal_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is not SQLite" * 100)
    with pytest.raises(JournalError, match=r"journal\.db cannot be opened as a journal"):
        Journal(tmp_path / "journal.db")


def test_a_full_disk_refuses_what_comes_and_keeps_what_was_accepted(journal: Journal) -> None:
    journal.accept([Offer(events=[(None, an_event())])]).result()
    used = journal._writer.submit(lambda connection: connection.pragma("page_count")).result()
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", used + 2)).result()
    too_much = [(None, an_event(Note(text="x" * 5000, author="y"))) for _ in range(100)]
    with pytest.raises(JournalError, match="free the disk"):
        journal.accept([Offer(events=too_much)]).result()
    before = number(journal.readers.connection(), "SELECT count(*) FROM events")
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", 1_000_000)).result()
    journal.accept([Offer(events=[(None, an_event())])]).result()
    assert number(journal.readers.connection(), "SELECT count(*) FROM events") == before + 1


WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
from edge.store.journal import Journal, Offer
from tests.records import an_event
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    journal.accept([Offer(events=[(b"%d" % number, an_event())])]).result()
    print(number, flush=True)
    number += 1
"""


def test_what_was_said_to_be_accepted_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    said = -1
    for line in process.stdout:
        said = int(line)
        if said == 200:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    journal = Journal(path)
    try:
        there = number(journal.readers.connection(), "SELECT count(*) FROM events")
        assert there in (said + 1, said + 2), "at most the one that was under way was not told"
        assert journal.readers.connection().pragma("integrity_check") == "ok"
    finally:
        journal.close()


def test_the_journal_is_opened_by_one_sqlite_library_only(journal: Journal) -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import edge.store.journal, sys; print('sqlite3' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "False"
    assert open_read_only(journal.path).execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("kind", ["note", "call"])
def test_rare_events_are_found_without_reading_every_reading(journal: Journal, kind: str) -> None:
    connection = journal.readers.connection()
    asked: list[tuple[str, Any]] = []

    def remember(_: apsw.Cursor, sql: str, bindings: Any) -> bool:
        asked.append((sql, bindings))
        return True

    connection.exec_trace = remember
    journal.events_after(kind, 0, 10)
    connection.exec_trace = None
    ((sql, bindings),) = asked
    plan = [str(row[3]) for row in connection.execute("EXPLAIN QUERY PLAN " + sql, bindings)]
    assert any("events_rare" in step for step in plan)
