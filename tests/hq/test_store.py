"""HQ's store, on SQLite and PostgreSQL alike: every record once, whatever comes twice, late or in pieces."""

import math
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import keys
from sync.envelope import dictionary_id
from sync.errors import EnvelopeInvalid, LinkSettingsError, MessageInvalid
from sync.hq.database import migrate
from sync.hq.errors import EnrolmentRefused, IdentityConflict, KeyUsedBefore
from sync.hq.reader import MAX_DICTIONARIES, Reader
from sync.hq.store import MAX_SPAN, QUARANTINE_BYTES, QUARANTINE_ROWS, Store
from sync.protocol import MAX_EPOCHS, MAX_RUNS, Dictionary, LaneState, Taken, digest_of
from sync.ranges import Ranges
from tests.hq.sent import KEY, NOW, OTHER_KEY, SITE, gone_row, header, id_of, row, say, send


def records(store: Store) -> list[int]:
    """The numbers of lane now that have records."""
    return [record.seq for record in store.records_after(SITE, 1, "now", 0)]


def gone(store: Store) -> dict[str, tuple[int, dict[str, int], int]]:
    return {view.reason: (view.numbers, view.kinds, view.bytes) for view in store.gone(SITE)}


# ---- numbers -----------------------------------------------------------------------------------------------------


def test_a_record_is_kept_once_and_a_gap_closes_when_its_rows_come(store: Store) -> None:
    digest = digest_of([id_of(1), id_of(2)])
    assert send(store, [row(1), row(2)]) == Taken(epoch=1, lane="now", first_seq=1, last_seq=2, digest=digest)
    send(store, [row(5), row(6)])
    assert store.held(SITE, 1, "now") == Ranges([(1, 2), (5, 6)])
    assert [(lane.top_seq, lane.held, lane.lacking) for lane in store.lanes(SITE)] == [(6, 4, 2)]
    send(store, [row(2), row(3), row(4), row(5)])
    assert store.held(SITE, 1, "now") == Ranges([(1, 6)])
    send(store, [row(number) for number in range(1, 7)])
    assert records(store) == [1, 2, 3, 4, 5, 6]
    assert [(lane.held, lane.lacking) for lane in store.lanes(SITE)] == [(6, 0)]


def test_the_record_is_what_the_site_sent_and_bytes_are_base64(store: Store) -> None:
    record = {"text": '泵\0 "', "big": 2**64 - 1, "small": -(2**63), "raw": b"\xff\x00", "deep": [[{"x": 1.5}]]}
    send(store, [row(1, record=record)])
    (kept,) = store.records_after(SITE, 1, "now", 0)
    assert msgspec.json.decode(kept.record) == {**record, "raw": "/wA="}


def test_what_fails_in_between_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction([SITE]):
            store.apply(header([row(1)]), [row(1)], NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (records(store), store.have(SITE)) == ([], ())
    send(store, [row(1)])
    assert records(store) == [1]


def test_a_number_that_comes_again_with_another_id_is_a_conflict_and_changes_nothing(store: Store) -> None:
    send(store, [row(1), row(2)])
    with pytest.raises(IdentityConflict, match=f"number 2 .*{id_of(2)}.*two boxes") as raised:
        send(store, [row(2, box=1), row(3, box=1)])
    assert raised.value.numbers == Ranges([(2, 2)])
    assert raised.value.envelope.digest == digest_of([id_of(2, 1), id_of(3, 1)])
    assert records(store) == [1, 2]
    assert store.held(SITE, 1, "now") == Ranges([(1, 2)])


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"\x01", "no map"),
        (b"\xc1", "no map"),
        (b"\x81\xa1x\xd4\x05\x00", "no map"),
        (msgspec.msgpack.encode({"x": [math.nan]}), "not finite"),
        (msgspec.msgpack.encode({"x": -math.inf}), "not finite"),
        (b"\x81\xa1x" + b"\x91" * 500_000 + b"\x01", "no map"),
    ],
)
def test_a_row_that_json_cannot_hold_is_set_aside_and_blocks_nothing(store: Store, record: bytes, why: str) -> None:
    store.enrol(SITE, KEY)
    for _ in range(2):
        send(store, [row(1), row(2, record=record), row(3)])
    assert records(store) == [1, 3]
    assert store.held(SITE, 1, "now") == Ranges([(1, 3)])
    assert gone(store) == {"quarantined": (1, {"event": 1}, len(record))}
    (refusal,) = store.newest_refusals(10)
    assert (refusal.cause, refusal.lane, refusal.seq, refusal.times) == ("row", "now", 2, 1)
    assert why in refusal.reason
    assert store.sites()[0].set_aside == 1


def test_the_record_that_can_be_read_takes_the_number_of_one_that_cannot(store: Store) -> None:
    send(store, [row(1), row(2, record=b"\x01", box=1)])
    send(store, [row(2), row(3)])
    assert records(store) == [1, 2, 3]
    assert gone(store) == {}


def test_bytes_that_look_like_no_number_are_no_fault(store: Store) -> None:
    send(store, [row(1, record={"x": b"\xcb\x7f\xf8\x00", "y": 1.0})])
    assert records(store) == [1]


# ---- gone --------------------------------------------------------------------------------------------------------


def test_gone_numbers_are_held_named_and_counted(store: Store) -> None:
    send(store, [row(1), gone_row(2, 101, {"event": 90, "signal": 10}, 5000), row(102)])
    assert records(store) == [1, 102]
    assert store.held(SITE, 1, "now") == Ranges([(1, 102)])
    assert gone(store) == {"evicted": (100, {"event": 90, "signal": 10}, 5000)}


def test_a_gone_row_changes_nothing_for_numbers_that_are_here(store: Store) -> None:
    send(store, [row(1), row(2), row(3, "signal")])
    send(store, [gone_row(1, 4, {"event": 3, "signal": 1}, 400, "pruned"), row(5)])
    assert records(store) == [1, 2, 3, 5]
    assert gone(store) == {"pruned": (1, {"event": 1}, 100)}


def test_a_record_that_comes_after_all_takes_its_number_from_what_is_gone(store: Store) -> None:
    send(store, [gone_row(1, 10, {"event": 8, "signal": 2}, 1000)])
    send(store, [row(4, "signal"), row(5)])
    assert records(store) == [4, 5]
    numbers, kinds, size = gone(store)["evicted"]
    assert (numbers, kinds, size) == (8, {"event": 7, "signal": 1}, 800)
    send(store, [row(number) for number in range(1, 11) if number not in (4, 5)][:3])
    assert gone(store)["evicted"][0] == 5
    assert store.held(SITE, 1, "now") == Ranges([(1, 10)])


def test_a_gone_row_that_grew_adds_only_what_is_new(store: Store) -> None:
    send(store, [gone_row(1, 10, {"event": 10}, 100)])
    send(store, [gone_row(1, 30, {"event": 25, "signal": 5}, 300)])
    assert gone(store) == {"evicted": (30, {"event": 25, "signal": 5}, 300)}


@pytest.mark.parametrize("record", [b"\x01", msgspec.msgpack.encode({"reason": "lost", "kinds": {}, "bytes": 0})])
def test_a_gone_row_that_says_nothing_is_set_aside_and_its_numbers_held(store: Store, record: bytes) -> None:
    broken = msgspec.structs.replace(gone_row(1, 9, {}), record=msgspec.Raw(record))
    send(store, [broken, row(10)])
    assert store.held(SITE, 1, "now") == Ranges([(1, 10)])
    assert gone(store)["quarantined"][0] == 9


def test_more_numbers_than_a_row_may_stand_for_are_refused(store: Store) -> None:
    with pytest.raises(EnvelopeInvalid, match="more than"):
        send(store, [gone_row(1, MAX_SPAN + 1, {})])
    send(store, [gone_row(1, MAX_SPAN, {"event": MAX_SPAN})])
    assert gone(store)["evicted"][0] == MAX_SPAN


def test_what_nobody_has_is_named_lost_and_only_that(store: Store) -> None:
    send(store, [row(2), row(5)][:1])
    send(store, [row(5)])
    with store.transaction([SITE]):
        store.lose(SITE, 1, "now", Ranges([(1, 7)]), NOW)
        store.lose(SITE, 1, "now", Ranges([(1, 7)]), NOW)
    assert gone(store) == {"lost": (5, {}, 0)}
    assert store.held(SITE, 1, "now") == Ranges([(1, 7)])
    assert records(store) == [2, 5]


# ---- what is told to the site ------------------------------------------------------------------------------------


def test_have_tells_the_newest_runs_of_the_newest_epochs(store: Store) -> None:
    with store.transaction([SITE]):
        for number in range(1, MAX_RUNS + 3):
            rows = [row(number * 2)]
            store.apply(header(rows), rows, NOW)
        for epoch in range(2, MAX_EPOCHS + 4):
            store.apply(header([row(1)], epoch=epoch, lane="day"), [row(1)], NOW)
    have = store.have(SITE)
    assert [held.epoch for held in have] == list(range(4, MAX_EPOCHS + 4))
    store_runs = store.held(SITE, 1, "now").runs
    assert len(store_runs) == MAX_RUNS + 2
    assert store.have("nobody") == ()


def test_have_gives_the_newest_runs_in_ascending_order(store: Store) -> None:
    with store.transaction([SITE]):
        for number in range(1, MAX_RUNS + 3):
            store.apply(header([row(number * 2)]), [row(number * 2)], NOW)
    (held,) = store.have(SITE)
    assert held.runs == tuple((number * 2, number * 2) for number in range(3, MAX_RUNS + 3))


def test_dictionaries_are_known_by_their_content_and_the_newest_stay(store: Store) -> None:
    contents = [f"dictionary {number}".encode() for number in range(MAX_DICTIONARIES + 2)]
    with store.transaction([SITE]):
        for age, content in enumerate(contents):
            store.learn_dictionary(Dictionary(site=SITE, id=dictionary_id(content), content=content), NOW + age)
        with pytest.raises(MessageInvalid, match="but is not"):
            store.learn_dictionary(Dictionary(site=SITE, id="0" * 16, content=b"something"), NOW)
    assert store.dictionaries(SITE) == tuple(dictionary_id(content) for content in reversed(contents[2:]))
    for _ in range(2):
        assert store.dictionary(SITE, dictionary_id(contents[-1])) == contents[-1]
    assert store.dictionary(SITE, dictionary_id(contents[0])) is None
    assert store.dictionary("other", dictionary_id(contents[-1])) is None


# ---- states ------------------------------------------------------------------------------------------------------


def link(store: Store) -> str | None:
    return store.sites()[0].state


def test_the_late_death_of_an_old_connection_is_no_death(store: Store) -> None:
    store.enrol(SITE, KEY)
    assert link(store) is None
    say(store, "up", "first", mono=1)
    say(store, "up", "second", mono=2)
    say(store, "down", "first", mono=1)
    assert link(store) == "up"
    say(store, "down", "second", mono=2)
    assert link(store) == "down"


def test_a_death_heard_before_its_birth_is_not_undone_by_it(store: Store) -> None:
    store.enrol(SITE, KEY)
    say(store, "up", "first", mono=1)
    say(store, "down", "second", mono=5)
    assert link(store) == "down"
    assert not say(store, "up", "second", mono=5, introduction="i2")
    assert link(store) == "down"
    assert say(store, "up", "third", mono=9, introduction="i3")
    assert link(store) == "up"


def test_an_old_state_that_comes_late_changes_nothing_but_is_answered(store: Store) -> None:
    store.enrol(SITE, KEY)
    say(store, "up", "second", mono=50, introduction="i2")
    assert say(store, "up", "first", mono=40, introduction="i1")
    assert not say(store, "up", "first", mono=40, introduction="i2")
    say(store, "down", "second", mono=50)
    assert link(store) == "down"


def test_each_introduction_is_answered_once_and_a_pulse_is_none(store: Store) -> None:
    assert say(store, introduction="a", mono=1)
    assert not say(store, introduction="a", mono=2)
    assert say(store, introduction="b", mono=3)


def test_a_pulse_tells_what_waits_and_since_when_by_hq_s_clock(store: Store) -> None:
    store.enrol(SITE, KEY)
    ahead = NOW + 10**12
    waiting = LaneState(epoch=1, lane="bulk", newest_seq=90, waiting=7, waiting_since=ahead - 5_000_000)
    say(store, at=ahead, heard_at=NOW, lanes=(waiting,), replica="s3://there\0")
    (lag,) = store.sites()[0].lag
    assert (lag.lane, lag.waiting, lag.waiting_since) == ("bulk", 7, NOW - 5_000_000)
    assert [(lane.newest_seq, lane.held) for lane in store.lanes(SITE)] == [(90, 0)]
    say(store, at=ahead, heard_at=NOW + 9, mono=2000, replica="s3://there\0")
    assert store.sites()[0].lag == []
    assert [lane.newest_seq for lane in store.lanes(SITE)] == [90]
    detail = store.site(SITE)
    assert detail is not None
    assert detail.replica == "s3://there\ufffd"


# ---- who may send ------------------------------------------------------------------------------------------------


def test_an_invitation_enrols_one_key_once_and_what_was_before_is_revoked(store: Store) -> None:
    far = 2**61
    store.enrol(SITE, OTHER_KEY)
    store.invite(SITE, "secret", far)
    store.redeem(SITE, "secret", KEY)
    store.redeem(SITE, "secret", KEY)  # the first answer was lost
    assert store.key_of(SITE) == KEY
    assert [(key.key, key.revoked_at is None) for key in store.keys(SITE)] == [(KEY, True), (OTHER_KEY, False)]
    assert store.enrolled() == [(SITE, keys.key_id(keys.parse_public(KEY)))]
    with pytest.raises(EnrolmentRefused, match="used before"):
        store.redeem(SITE, "secret", OTHER_KEY)
    with pytest.raises(EnrolmentRefused, match="no invitation"):
        store.redeem("other", "secret", KEY)
    store.invite(SITE, "old", NOW - 10**15)
    with pytest.raises(EnrolmentRefused, match="over"):
        store.redeem(SITE, "old", OTHER_KEY)
    store.invite(SITE, "later", far)
    store.revoke(SITE)
    assert (store.key_of(SITE), store.enrolled()) == (None, [])
    for secret in ("secret", "later"):
        with pytest.raises(EnrolmentRefused):
            store.redeem(SITE, secret, KEY)
    with pytest.raises(EnrolmentRefused, match="not enrolled"):
        store.revoke(SITE)
    assert store.sites()[0].revoked


def test_of_many_who_redeem_one_invitation_at_once_one_wins(store: Store, where: str | Path) -> None:
    public_keys = [keys.public_text(Ed25519PrivateKey.generate().public_key()) for _ in range(6)]
    store.invite(SITE, "secret", 2**61)
    won: list[str] = []

    def redeem(number: int) -> None:
        opened = Store.open(where)
        try:
            opened.redeem(SITE, "secret", public_keys[number])
            won.append(public_keys[number])
        except EnrolmentRefused:
            pass
        finally:
            opened.close()

    _at_once([lambda number=number: redeem(number) for number in range(6)])  # type: ignore[misc]
    assert won == [store.key_of(SITE)]


def test_who_is_invited_again_needs_another_key(store: Store) -> None:
    store.invite(SITE, "first", 2**61)
    store.redeem(SITE, "first", KEY)
    for revoked in (False, True):
        store.invite(SITE, f"again {revoked}", 2**61)
        with pytest.raises(KeyUsedBefore, match="needs a new one"):
            store.redeem(SITE, f"again {revoked}", KEY)
        if not revoked:
            store.revoke(SITE)
            store.invite(SITE, "last", 2**61)
    store.redeem(SITE, "last", OTHER_KEY)
    assert store.key_of(SITE) == OTHER_KEY


def test_what_was_said_with_the_last_key_does_not_make_hq_deaf_to_the_next(store: Store) -> None:
    store.enrol(SITE, KEY)
    say(store, boot="hers", mono=1, introduction="a")
    say(store, boot="his", mono=2**61, introduction="b")
    assert say(store, boot="hers", mono=2, introduction="c")
    store.revoke(SITE)
    store.enrol(SITE, OTHER_KEY)
    assert say(store, "up", "new", boot="hers", mono=3, introduction="d")
    assert not say(store, "up", "new", boot="hers", mono=4, introduction="d")
    assert link(store) == "up"


def test_another_key_needs_the_old_one_revoked(store: Store) -> None:
    store.enrol(SITE, KEY)
    store.enrol(SITE, KEY)
    with pytest.raises(EnrolmentRefused, match="another key"):
        store.enrol(SITE, OTHER_KEY)
    store.revoke(SITE)
    store.enrol(SITE, OTHER_KEY)
    assert store.key_of(SITE) == OTHER_KEY


# ---- quarantine --------------------------------------------------------------------------------------------------


def test_the_quarantine_is_bounded_and_counted_for_ever(store: Store) -> None:
    store.enrol(SITE, KEY)
    with store.transaction([SITE]):
        for number in range(QUARANTINE_ROWS + 20):
            store.quarantine(SITE, "refused", f"reason {number}", bytes(QUARANTINE_BYTES + 1), NOW + number)
        for _ in range(3):
            store.quarantine(SITE, "conflict", "two boxes\0", b"the same", NOW + 10**9)
        store.quarantine("nobody", "refused", "not enrolled", b"junk", NOW)
    assert store.refused() == {"refused": QUARANTINE_ROWS + 21, "conflict": 3}
    assert (store.sites()[0].refused, store.sites()[0].conflicts) == (QUARANTINE_ROWS + 20, 3)
    assert len(store.newest_refusals(10**6)) == QUARANTINE_ROWS
    newest = store.newest_refusals(1)[0]
    assert (newest.reason, newest.times) == ("two boxes\ufffd", 3)
    ((longest,),) = store.database.select("SELECT max(length(bytes)) FROM quarantine")
    assert longest == QUARANTINE_BYTES


# ---- plays -------------------------------------------------------------------------------------------------------


def test_plays_are_counted_alike_in_whatever_order_their_records_come(store: Store) -> None:
    rows = [
        row(1, "decision", {"id": "d1", "play": "budget"}),
        row(2, "action", {"id": "a1", "decision_id": "d1"}),
        row(3, "action", {"id": "a2", "decision_id": "d1"}),
        row(4, "transition", {"action_id": "a1", "state": "accepted"}),
        row(5, "transition", {"action_id": "a1", "state": "done"}),
        row(6, "transition", {"action_id": "a2", "state": "declined"}),
        row(7, "action", {"id": "a3", "decision_id": "d1"}),
        row(8, "decision", {"id": "d2", "play": 5}),
        row(9, "transition", {"state": "done"}),
    ]
    for order in (rows, rows[::-1]):
        site = f"site-{order[0].seq}"
        for one in order:
            send(store, [one], site=site)
    for _ in range(2):
        send(store, rows, site="at-once")
    (play,) = store.plays()
    assert (play.play, play.decisions, play.actions) == ("budget", 3, 9)
    assert play.states == {"done": 3, "declined": 3, "proposed": 3}
    assert play.share_done == 0.5


# ---- the databases -----------------------------------------------------------------------------------------------


def test_several_receivers_that_start_and_write_at_once_keep_every_record_once(where: str | Path) -> None:
    sites = ["a", "b", "c"]

    def receive(number: int) -> None:
        store = Store.open(where)
        order = sites if number % 2 else sites[::-1]
        for first in range(1, 200, 20):
            with store.transaction(order):
                for site in order:
                    rows = [row(seq) for seq in range(first, first + 30)]
                    store.apply(header(rows, site), rows, NOW)
                    store.quarantine(site, "refused", f"{number} {first}", b"junk", NOW)
        store.close()

    _at_once([lambda number=number: receive(number) for number in range(3)])  # type: ignore[misc]
    store = Store.open(where)
    for site in sites:
        assert [record.seq for record in store.records_after(site, 1, "now", 0)] == list(range(1, 211))
        assert store.held(site, 1, "now") == Ranges([(1, 210)])
    assert store.refused() == {"refused": 90}
    assert [view.records for view in store.sites()] == []
    store.close()


def test_a_store_of_a_newer_version_is_left_alone(where: str | Path) -> None:
    store = Store.open(where)
    store.database.execute("UPDATE migrations SET applied = 99")
    store.close()
    with pytest.raises(LinkSettingsError, match="newer version"):
        Store.open(where)


def test_migrations_are_applied_once_and_in_parts(store: Store) -> None:
    first = "CREATE TABLE more (n INTEGER PRIMARY KEY, content BLOB) STRICT;"
    migrate(store.database, "more", [first])
    migrate(store.database, "more", [first, "ALTER TABLE more ADD COLUMN name TEXT;"])
    store.database.execute("INSERT INTO more (content, name) VALUES (?, ?)", b"1", "one")
    assert store.database.select("SELECT n, name FROM more") == [(1, "one")]


def test_a_reader_sees_one_moment_and_cannot_write(store: Store, where: str | Path) -> None:
    reader = Reader.open(where)
    assert reader.have(SITE) == ()
    send(store, [row(1)])
    assert reader.have(SITE) == ()
    reader.close()
    reader = Reader.open(where)
    assert len(reader.have(SITE)) == 1
    reader.close()


def test_there_must_be_a_store_to_read(tmp_path: Path) -> None:
    with pytest.raises(LinkSettingsError, match="cannot be read as HQ's store"):
        Reader.open(tmp_path / "hq.db")
    with pytest.raises(LinkSettingsError, match="PostgreSQL cannot be used"):
        Store.open("postgresql://nobody@127.0.0.1:1/none")


def _at_once(works: list[Callable[[], None]]) -> None:
    faults: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - told to the test below
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
