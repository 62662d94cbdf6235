"""Whatever order envelopes arrive in, however often, however cut: HQ's store ends in the same state."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.envelope import Row
from sync.hq.store import Store
from sync.ranges import Ranges
from tests.hq.sent import NOW, SITE, gone_row, header, row

KINDS = ("event", "signal", "decision", "action", "transition")


def record_of(seq: int) -> Row:
    """The record of a number: every fifth is of another kind, every seventh cannot be kept."""
    kind = KINDS[seq % 5]
    fields: dict[str, Any] = {
        "decision": {"id": f"d{seq}", "play": f"play {seq % 3}"},
        "action": {"id": f"a{seq}", "decision_id": f"d{seq - 1}"},
        "transition": {"action_id": f"a{seq // 5 * 5 - 2}", "state": "done" if seq % 2 else "declined"},
    }.get(kind, {"n": seq})
    return row(seq, kind, b"\x01" if seq % 7 == 6 else fields, boot=f"boot {seq // 6}", mono=seq)


@st.composite
def sendings(draw: st.DrawFn) -> list[list[list[Row]]]:
    """Two orders in which envelopes arrive, that between them say the same: all numbers of a lane, in envelopes cut
    anywhere, some as records and some, or also, as gone."""
    last = draw(st.integers(1, 30))
    gone = draw(st.lists(st.tuples(st.integers(1, last), st.integers(0, 12)), max_size=3))
    envelopes = [_cut(draw, [record_of(seq) for seq in range(1, last + 1)]) for _ in range(2)]
    rows = [part for cut in envelopes for part in cut if draw(st.booleans())]
    for first, more in gone:
        end = min(last, first + more)
        kinds: dict[str, int] = {}
        for seq in range(first, end + 1):
            kinds[KINDS[seq % 5]] = kinds.get(KINDS[seq % 5], 0) + 1
        rows.append([gone_row(first, end, kinds, 10 * (end - first + 1))])
    return [draw(st.permutations(rows)), draw(st.permutations(rows + rows[: draw(st.integers(0, 3))]))]


def _cut(draw: st.DrawFn, rows: Sequence[Row]) -> list[list[Row]]:
    parts, begin = [], 0
    while begin < len(rows):
        end = min(len(rows), begin + draw(st.integers(1, 9)))
        parts.append(list(rows[begin:end]))
        begin = end
    return parts


def state_after(store: Store, envelopes: Sequence[Sequence[Row]], site: str) -> dict[str, Any]:
    """What is in the store of a site to which these envelopes came, one transaction for every other."""
    for begin in range(0, len(envelopes), 2):
        with store.transaction([site]):
            for rows in envelopes[begin : begin + 2]:
                store.apply(header(rows, site), rows, NOW)
    _agrees_with_itself(store, site)
    select = store.database.select
    return {
        "records": select("SELECT seq, kind, id, CAST(record AS TEXT) FROM received WHERE site = ? ORDER BY seq", site),
        "held": store.held(site, 1, "now"),
        "gone": {view.reason: view.numbers for view in store.gone(site)},
        "set aside": select("SELECT seq FROM quarantine WHERE site = ? ORDER BY seq", site),
        "tally": select("SELECT kind, lane, records FROM tally WHERE site = ? ORDER BY kind", site),
        "plays": select(
            "SELECT play, what, number FROM plays WHERE site = ? AND number <> 0 ORDER BY play, what", site
        ),
        "history": select("SELECT seq FROM history WHERE site = ? ORDER BY happened_at, seq", site),
    }


def _agrees_with_itself(store: Store, site: str) -> None:
    select = store.database.select
    kept = Ranges((seq, seq) for (seq,) in select("SELECT seq FROM received WHERE site = ?", site))
    pieces = select("SELECT first_seq, last_seq FROM gone WHERE site = ?", site)
    gone = Ranges(pieces)
    assert sum(last - first + 1 for first, last in pieces) == len(gone)
    assert kept & gone == Ranges()
    assert kept | gone == store.held(site, 1, "now")
    assert len(select("SELECT 1 FROM held WHERE site = ?", site)) == len((kept | gone).runs)
    for lane in store.lanes(site):
        assert (lane.held, lane.top_seq) == (len(kept | gone), (kept | gone).top)
    assert sum(view.numbers for view in store.gone(site)) == len(gone)
    assert select("SELECT coalesce(sum(records), 0) FROM tally WHERE site = ?", site)[0][0] == len(kept)


@given(sendings())
@settings(max_examples=100, deadline=None)
def test_every_order_ends_in_the_same_state_on_sqlite(orders: list[list[list[Row]]]) -> None:
    states = []
    for envelopes in orders:
        store = _in_memory()
        states.append(state_after(store, envelopes, SITE))
        store.close()
    assert states[0] == states[1]


@given(sendings())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_postgresql_ends_in_the_state_that_sqlite_does(
    shared_postgres: Store, numbers: Random, orders: list[list[list[Row]]]
) -> None:
    memory = _in_memory()
    expected = state_after(memory, orders[0], SITE)
    memory.close()
    assert state_after(shared_postgres, orders[1], f"site-{numbers.getrandbits(60)}") == expected


@pytest.fixture
def shared_postgres(postgres: str) -> Iterator[Store]:
    """A store in PostgreSQL; each example takes another site of it."""
    store = Store.open(postgres)
    yield store
    store.close()


@pytest.fixture
def numbers() -> Random:
    """Not hypothesis' own, which repeats itself: no two examples are to meet in one site."""
    return Random(1)


def _in_memory() -> Store:
    return Store.open(Path(":memory:"))


def test_a_lane_of_thousands_of_runs_stays_right() -> None:
    store = _in_memory()
    with store.transaction([SITE]):
        for seq in range(1, 6001, 2):
            store.apply(header([row(seq)]), [row(seq)], NOW)
    assert len(store.held(SITE, 1, "now").runs) == 3000
    rows = [row(seq) for seq in range(1001, 2001)]
    with store.transaction([SITE]):
        store.apply(header(rows), rows, NOW)
    assert len(store.held(SITE, 1, "now").runs) == 2500
    assert msgspec.json.encode(store.have(SITE)[0].runs[-1]) == b"[5999,5999]"
