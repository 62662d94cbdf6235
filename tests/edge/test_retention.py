"""What goes from the outbox, what never does, and that each record that went is counted once."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.events import Decision, Loss, Note, Prediction, Record, Rollup, now_us
from edge.store import outbox, retention
from edge.store.linkdb import Known, read_link
from edge.store.retention import Budget, Gone, over, trim
from edge.store.rows import kind_of
from tests.records import AT, an_action, an_event

DAY_US = 86_400_000_000
ROOMY = Budget(lanes={"now": 10**9, "day": 10**9, "bulk": 10**9}, total=10**9)
PROTECTED = {"decision", "action", "loss"}


def a_record(kind: str, length: int) -> Record:
    text = "x" * length
    match kind:
        case "event":
            return an_event(Note(text=text, author="y"))
        case "prediction":
            return Prediction(
                at=AT, signal_id="s", subject=text, pack="p", pack_version="1", label="l", probability=0.5, evidence=()
            )
        case "decision":
            return Decision(at=AT, prediction_id="p", event_id="e", subject=text, play="p", deadline=AT)
        case "action":
            return an_action(payload={"t": text})
        case "rollup":
            return Rollup(at=AT, subject=text, since=AT, readings=1, sensors={})
    return Loss(at=AT, reason="disk", kinds={"reading": 1}, bytes=length, since=AT)


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


class Site:
    """An outbox, what HQ has of it, and what was ever put into it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.put_in: dict[tuple[str, int], str] = {}
        self.known = Known()
        self.counted: Counter[str] = Counter()  # what HQ was told of evictions, number by number

    def put(self, records: list[Record]) -> None:
        for record in records:
            with self.connection:
                outbox.put(self.connection, [record])
            lane, seq = self.connection.execute("SELECT lane, seq FROM outbox WHERE id = ?", (record.id,)).fetchall()[0]
            self.put_in[str(lane), int(str(seq))] = kind_of(record)

    def rows(self, where: str = "") -> list[tuple[Any, ...]]:
        return self.connection.execute(
            f"SELECT epoch, lane, seq, span, kind, record FROM outbox {where} ORDER BY epoch, lane, seq"
        ).fetchall()

    def deliver(self, lane: str, first: int, last: int) -> None:
        epoch = int(str(self.connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchall()[0][0]))
        top = max((seq for of_lane, seq in self.put_in if of_lane == lane), default=0)
        held: set[int] = set()
        for low, high in self.known.delivered.get((epoch, lane), []):
            held.update(range(low, high + 1))
        for _, of_lane, seq, span, _, _ in self.rows():  # HQ takes whole rows
            if of_lane == lane and first <= seq <= min(last, top):
                held.update(range(seq - span + 1, seq + 1))
        runs: list[tuple[int, int]] = []
        for seq in sorted(held):
            runs = [*runs[:-1], (runs[-1][0], seq)] if runs and runs[-1][1] == seq - 1 else [*runs, (seq, seq)]
        self.known = Known(delivered=self.known.delivered | {(epoch, lane): runs})

    def trim(self, budget: Budget, keep_days: float) -> None:
        steps = 0
        while True:
            with self.connection:
                if not trim(self.connection, self.known, budget, keep_days, now_us() + 1000):
                    return
            steps += 1
            assert steps < 1000, "it comes to an end"


lanes = st.sampled_from(["now", "day", "bulk"])
steps = st.one_of(
    st.tuples(
        st.just("put"),
        st.lists(
            st.tuples(
                st.sampled_from(["event", "prediction", "decision", "action", "rollup", "loss"]), st.integers(1, 900)
            ),
            min_size=1,
            max_size=12,
        ),
    ),
    st.tuples(st.just("deliver"), st.tuples(lanes, st.integers(1, 40), st.integers(1, 60))),
    st.tuples(st.just("budget"), st.integers(500, 20_000)),
    st.tuples(st.just("age"), st.none()),
    st.tuples(st.just("forget"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_numbers_stay_gapless_protected_rows_stay_and_each_record_that_went_is_counted_once(
    empty_journal: Path, tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("retention") / "journal.db"
    shutil.copyfile(empty_journal, path)
    with opened(path) as connection:
        connection.pragma("synchronous", "off")
        site = Site(connection)
        for what, given_ in plan:
            match what:
                case "put":
                    site.put([a_record(kind, length) for kind, length in given_])
                case "deliver":
                    site.deliver(*given_)
                case "budget":
                    budget = Budget(lanes={"now": given_, "day": given_, "bulk": given_}, total=2 * given_)
                    site.trim(budget, 7.0)
                    left = {row[4] for row in site.rows()}
                    assert not over(connection, budget) or left <= PROTECTED | {"gone"} or _other_lane(site, budget)
                case "age":
                    site.trim(ROOMY, 0.0)
                    assert not [
                        row
                        for row in site.rows("WHERE kind <> 'gone'")
                        if site.known.has((row[0], row[1]), row[2], row[2])
                    ], "all that HQ has and is old is gone"
                case "forget":  # HQ fell back to a backup from before it knew the site
                    site.known = Known()
            check(site)


def _other_lane(site: Site, budget: Budget) -> bool:
    """Whether each lane that is over its budget holds only what may never go."""
    return all(
        {row[4] for row in site.rows() if row[1] == lane} <= PROTECTED | {"gone"}
        for lane in over(site.connection, budget)
        if lane != "total"
    )


def check(site: Site) -> None:
    rows = site.rows()
    counted: Counter[str] = Counter()
    for lane in ("now", "day", "bulk"):
        expected = 1
        of_lane = [row for row in rows if row[1] == lane]
        for _, _, seq, span, kind, record in of_lane:
            assert seq - span + 1 == expected
            expected = seq + 1
            if kind == "gone":
                gone = msgspec.msgpack.decode(record, type=Gone)
                assert sum(gone.kinds.values()) == span
                went = Counter(site.put_in[lane, number] for number in range(seq - span + 1, seq + 1))
                assert gone.kinds == went
                assert gone.reason == "pruned" or not PROTECTED & set(gone.kinds)
                counted.update(gone.kinds)
            else:
                assert (span, kind) == (1, site.put_in[lane, seq])
                counted[kind] += 1
        assert expected == max((seq for name, seq in site.put_in if name == lane), default=0) + 1
        kept = site.connection.execute("SELECT bytes FROM lanes WHERE lane = ?", (lane,)).fetchall()[0][0]
        assert kept == sum(len(row[5]) for row in of_lane)
    assert counted == Counter(site.put_in.values())


@pytest.fixture
def box(empty_journal: Path, tmp_path: Path) -> Iterator[Site]:
    path = tmp_path / "journal.db"
    shutil.copyfile(empty_journal, path)
    with opened(path) as connection:
        yield Site(connection)


def test_predictions_go_before_events_and_what_hq_has_before_both(box: Site) -> None:
    box.put([a_record(kind, 500) for kind in ("event", "prediction", "event", "prediction")])
    box.deliver("day", 1, 1)
    for expected in (["gone", "prediction", "event", "prediction"], ["gone", "gone", "event", "prediction"]):
        used = retention.lane_bytes(box.connection)["day"]
        with box.connection:
            trim(box.connection, box.known, Budget(lanes={"day": used - 1}, total=10**9), 7.0, now_us())
        assert [row[4] for row in box.rows()] == expected
    assert retention.evicted(box.connection).kinds == {"prediction": 1}


def test_a_gone_row_that_hq_has_is_not_told_again_with_new_ones(box: Site) -> None:
    box.put([a_record("prediction", 10) for _ in range(4)])
    with box.connection:
        retention._remove(
            box.connection,
            box.known,
            list(retention._rows(box.connection, "AND seq < 3", box.rows()[0][:2])),
            "evicted",
        )
    box.deliver("day", 2, 2)
    with box.connection:
        retention._remove(
            box.connection,
            box.known,
            list(retention._rows(box.connection, "AND seq > 2", box.rows()[0][:2])),
            "evicted",
        )
    assert [(row[2], row[3]) for row in box.rows()] == [(2, 2), (4, 2)]


def test_a_record_too_large_to_travel_is_named_in_its_place(box: Site) -> None:
    large = a_record("prediction", outbox.MAX_RECORD_BYTES)
    with box.connection:
        outbox.put(box.connection, [large])
    ((_, lane, seq, _, kind, record),) = box.rows()
    loss = msgspec.msgpack.decode(record, type=Loss)
    assert (lane, seq, kind) == ("day", 1, "loss")
    assert (loss.reason, loss.kinds, loss.ids) == ("too_large", {"prediction": 1}, (large.id,))


@pytest.mark.parametrize("content", [None, b"", b"no database" * 500])
def test_of_a_link_db_that_is_missing_or_garbled_nothing_is_known(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "link.db"
    if content is not None:
        path.write_bytes(content)
    assert read_link(path) == Known()
