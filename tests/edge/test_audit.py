"""The audit: what is changed, left out or put in later is named, the first of it; and what even a whole new chain
cannot hide from who has an earlier signature."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge.events import Checkpoint, Decision, Order, Outcome, PlayChange, Terms, new_id, now_us
from edge.store import audit, rows
from edge.store.audit import AUDITED, Misfit, verify
from edge.store.journal import Conclusions, Journal
from tests.records import AT, SAMPLES, an_action

KEY, FORGED = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def signs(connection: apsw.Connection, key: Ed25519PrivateKey = KEY) -> Checkpoint:
    """The site signs where its chain ends."""
    checkpoint = audit.checkpoint(connection, key)
    assert checkpoint is not None
    rows.insert(connection, [checkpoint])
    return checkpoint


def fill(journal: Journal) -> None:
    """Some of everything that is audited, as it comes about."""
    decisions = [one for one in SAMPLES if isinstance(one, Decision)]
    actions = [an_action(decision_id=decisions[0].id, terms=Terms(undo_s=60)) for _ in range(4)]
    journal.conclude(Conclusions(decisions=decisions, actions=actions)).result()
    for action in actions[:2]:
        journal.move(action.id, "accepted", "Lin").result()
    journal.hand_over(actions[2].id, "finance", "Lin").result()
    journal.undo(actions[0].id, "Lin").result()
    told = [Outcome(at=AT, decision_id=decisions[0].id, value=value, by="Lin", source="note") for value in (1.0, 0.4)]
    journal.conclude(Conclusions(outcomes=told)).result()
    for state in ("staged", "waiting"):
        journal.note_order(Order(at=AT, order_id="o", kind="playbook", name="", state=state, by="hq")).result()
    for play_state in ("paused", "running"):
        journal.change_play(PlayChange(at=AT, play="budget", state=play_state, by="Lin")).result()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_journal: Path) -> bytes:
    """The file of a journal that fits, and is signed in its middle."""
    folder = tmp_path_factory.mktemp("audit")
    shutil.copyfile(empty_journal, folder / "journal.db")
    journal = Journal(folder / "journal.db")
    fill(journal)
    journal.write(signs).result()
    fill_again(journal)
    journal.close()
    apsw.Connection(str(folder / "journal.db")).execute("VACUUM INTO ?", (str(folder / "copy.db"),))
    return (folder / "copy.db").read_bytes()


def fill_again(journal: Journal) -> None:
    action = an_action()
    journal.conclude(Conclusions(actions=[action])).result()
    journal.move(action.id, "declined", "Wang").result()


def opened(file: bytes) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", file)
    return connection


def entries(connection: apsw.Connection) -> list[tuple[int, str, str]]:
    found: list[Any] = connection.execute("SELECT seq, kind, ref FROM audit ORDER BY seq").fetchall()
    return found


def named(connection: apsw.Connection) -> Misfit:
    misfit = verify(connection, PUBLIC).misfit
    assert misfit is not None, "nobody saw it"
    return misfit


def table_of(kind: str) -> str:
    return next(rows.TABLES[one] for one in AUDITED if one.__name__.lower() == kind)


def changed(value: Any) -> Any:
    match value:
        case None:
            return 1
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case str():
            return value + " "
        case _:
            return value + 1


def change(connection: apsw.Connection, table: str, where: Sequence[Any], column: str) -> None:
    name, value = where
    old: Any = connection.execute(f"SELECT {column} FROM {table} WHERE {name} = ?", (value,)).get
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (changed(old), value))


def test_a_journal_that_nobody_touched_fits(whole: bytes) -> None:
    connection = opened(whole)
    verified = verify(connection, PUBLIC)
    assert verified.misfit is None
    assert (verified.entries, verified.checkpoints, verified.key) == (len(entries(connection)), 1, PUBLIC)
    assert {kind for _, kind, _ in entries(connection)} == {kind.__name__.lower() for kind in AUDITED}
    assert verify(connection, "").misfit is None


def test_every_audited_row_has_its_entry_and_who_did_it(whole: bytes) -> None:
    connection = opened(whole)
    by = dict(connection.execute("SELECT kind, group_concat(DISTINCT by) FROM audit GROUP BY kind"))
    assert by["transition"] == "Lin,Wang"
    assert by["decision"] == "gateway"
    assert by["order"] == "hq"


def test_whichever_column_of_a_record_is_changed_its_entry_is_named(whole: bytes) -> None:
    for seq, kind, ref in entries(opened(whole)):
        record = next(one for one in AUDITED if one.__name__.lower() == kind)
        for column in rows.columns_of(record):
            connection = opened(whole)
            change(connection, table_of(kind), ("id", ref), column)
            assert (named(connection).seq, named(connection).ref) == (seq, ref), column


@given(data=st.data())
def test_whichever_column_of_an_entry_is_changed_it_is_named(whole: bytes, data: st.DataObject) -> None:
    connection = opened(whole)
    seq, _, _ = data.draw(st.sampled_from(entries(connection)))
    change(
        connection, "audit", ("seq", seq), data.draw(st.sampled_from(["at", "kind", "ref", "by", "content", "hash"]))
    )
    assert named(connection).seq == seq


@given(data=st.data(), column=st.sampled_from(["state", "holder"]))
def test_a_state_or_a_role_that_no_move_gave_is_named(whole: bytes, data: st.DataObject, column: str) -> None:
    connection = opened(whole)
    _, _, ref = data.draw(st.sampled_from([one for one in entries(connection) if one[1] == "action"]))
    change(connection, "actions", ("id", ref), column)
    assert (named(connection).kind, named(connection).ref) == ("action", ref)


@given(data=st.data())
def test_a_record_that_is_gone_is_named(whole: bytes, data: st.DataObject) -> None:
    connection = opened(whole)
    seq, kind, ref = data.draw(st.sampled_from(entries(connection)))
    connection.execute(f"DELETE FROM {table_of(kind)} WHERE id = ?", (ref,))
    misfit = named(connection)
    assert (misfit.seq, misfit.ref, misfit.why) == (seq, ref, "its record is missing")


@given(data=st.data())
def test_an_entry_that_is_gone_is_seen_at_the_next(whole: bytes, data: st.DataObject) -> None:
    connection = opened(whole)
    all_entries = entries(connection)
    seq, _, ref = data.draw(st.sampled_from(all_entries))
    connection.execute("DELETE FROM audit WHERE seq = ?", (seq,))
    misfit = named(connection)
    if seq == len(all_entries):
        assert (misfit.ref, misfit.why) == (ref, "it was never entered")
    else:
        assert misfit.seq == seq + 1


@given(data=st.data(), first=st.booleans())
def test_a_row_that_was_put_in_is_named(whole: bytes, data: st.DataObject, first: bool) -> None:
    connection = opened(whole)
    _, kind, ref = data.draw(st.sampled_from(entries(connection)))
    table, put_in = table_of(kind), new_id()
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in ("seq", "id")]
    place: Any = connection.execute(f"SELECT {'min(seq) - 1' if first else 'max(seq) + 1'} FROM {table}").get
    names = ", ".join(f'"{column}"' for column in columns)
    connection.execute(
        f"INSERT INTO {table} (seq, id, {names}) SELECT ?, ?, {names} FROM {table} WHERE id = ?", (place, put_in, ref)
    )
    misfit = named(connection)
    begins = next(seq for seq, of, _ in entries(connection) if of == kind)
    assert misfit.seq == begins if first else (misfit.ref, misfit.why) == (put_in, "it was never entered")


@given(data=st.data())
def test_two_that_were_exchanged_are_seen_at_the_first(whole: bytes, data: st.DataObject) -> None:
    connection = opened(whole)
    seqs = [seq for seq, _, _ in entries(connection)]
    one, other = sorted(data.draw(st.lists(st.sampled_from(seqs), min_size=2, max_size=2, unique=True)))
    for old, new in ((one, -1), (other, one), (-1, other)):
        connection.execute("UPDATE audit SET seq = ? WHERE seq = ?", (new, old))
    assert named(connection).seq == one


def cut(connection: apsw.Connection, after: int) -> None:
    """Take away the end of the chain, and all that was entered there, as if it had never been."""
    for _, kind, ref in entries(connection)[after:]:
        connection.execute(f"DELETE FROM {table_of(kind)} WHERE id = ?", (ref,))
    connection.execute("DELETE FROM audit WHERE seq > ?", (after,))
    last = "(SELECT t.{} FROM transitions t WHERE t.action_id = actions.id {} ORDER BY seq DESC LIMIT 1)"
    state, holder = last.format("state", ""), last.format("role", "AND t.role <> ''")
    connection.execute(f"UPDATE actions SET state = coalesce({state}, 'proposed'), holder = {holder}")


def test_an_end_that_was_cut_off_is_seen_where_it_was_signed_and_not_beyond(whole: bytes) -> None:
    connection = opened(whole)
    signed: Any = connection.execute("SELECT entry FROM checkpoints").get
    cut(connection, signed)
    assert verify(connection, PUBLIC).misfit is None, "what came after the last signature has only HQ's copy"
    cut(connection, signed - 1)
    misfit = named(connection)
    assert (misfit.kind, misfit.seq, misfit.why) == ("checkpoint", signed, "the entries up to it are missing")


def anew(connection: apsw.Connection) -> None:
    """Write the chain anew over what the records say now, as whoever can write to the file may."""
    connection.execute("DELETE FROM audit")
    audit.adopt(connection)


def test_a_chain_that_was_forged_as_a_whole_does_not_fit_the_signature(whole: bytes) -> None:
    connection = opened(whole)
    connection.execute("UPDATE outcomes SET value = 1.0")
    anew(connection)
    misfit = named(connection)
    signed: Any = connection.execute("SELECT entry FROM checkpoints").get
    assert (misfit.seq, misfit.why) == (signed, "its signature is not the site's")


def test_a_signature_of_another_key_is_none(whole: bytes) -> None:
    connection = opened(whole)
    connection.execute("UPDATE outcomes SET value = 1.0")
    anew(connection)
    connection.execute("DELETE FROM checkpoints")
    signs(connection, FORGED)
    assert named(connection).why == "its signature is not the site's"
    assert verify(connection, "").key == FORGED.public_key().public_bytes_raw().hex(), "who has no key is told whose"


def test_nothing_is_signed_twice(whole: bytes) -> None:
    connection = opened(whole)
    assert audit.unsigned(connection, PUBLIC) == 2
    signs(connection)
    assert audit.unsigned(connection, PUBLIC) == 0
    assert audit.checkpoint(connection, KEY) is None


def test_a_journal_from_before_the_audit_is_entered_at_its_next_start(journal: Journal) -> None:
    fill(journal)
    journal.write(lambda connection: connection.execute("DELETE FROM audit")).result()
    assert verify(journal.readers.connection(), "").misfit is not None
    again = Journal(journal.path)
    try:
        verified = verify(again.readers.connection(), "")
        assert (verified.misfit, verified.entries) == (None, 16)
        fill_again(again)
        assert verify(again.readers.connection(), "").misfit is None
    finally:
        again.close()


def test_a_journal_is_verified_while_it_is_written(journal: Journal) -> None:
    begun = now_us()
    for _ in range(20):
        written = [journal.conclude(Conclusions(actions=[an_action()])) for _ in range(5)]
        assert verify(journal.readers.connection(), "").misfit is None
        for one in written:
            one.result()
    assert now_us() > begun
