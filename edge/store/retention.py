"""What stays in the outbox, and what goes when there is no room: nothing goes in silence.

HQ keeps what it has; the site keeps a copy for some days, in case HQ falls back to an older backup. Rows go by age when
HQ has them (`pruned`), sooner when the budget is short, and rows that HQ does not have go only when nothing else is
left to go, the least important first (`evicted`). Never decisions, actions, transitions, outcomes, orders or losses.

In the place of a run of rows that went stands one row of kind `gone`: it takes the run's numbers, so that they stay
gapless, and says how many records of which kind it stands for. It goes to HQ like any other row and stays for good.
Neighbours of one reason become one row, if HQ has both or neither: what HQ has counted must not come again as new.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Literal

import apsw
import msgspec

from edge.events import boot_id, mono_us, new_id, now_us
from edge.site import Outbox
from edge.store.linkdb import Known, Place

Reason = Literal["evicted", "pruned"]

ROWS_PER_JOB = 1_000
SLACK = 0.95  # down to which part of a budget room is made at once
DAY_US = 86_400_000_000

NEVER = "('gone', 'decision', 'action', 'transition', 'outcome', 'playchange', 'checkpoint', 'order', 'loss')"
CLASSES = ("kind = 'audio'", f"lane = 'bulk' AND kind NOT IN {NEVER}", "kind = 'prediction'", "kind = 'event'")
"""Which rows that HQ does not have may go, the first first; the events that travel are calls and notes."""

# One look-up in the index for each epoch, however many rows there are.
_EPOCHS = """
WITH RECURSIVE epochs (epoch) AS (
  SELECT min(epoch) FROM outbox
  UNION ALL
  SELECT (SELECT min(epoch) FROM outbox WHERE epoch > epochs.epoch) FROM epochs WHERE epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL ORDER BY epoch
"""
_ROWS = "SELECT at, epoch, lane, seq, kind, length(record) FROM outbox WHERE epoch = ? AND lane = ?"


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a row of kind gone: why the records went, how many of each kind, and their bytes."""

    reason: Reason
    kinds: dict[str, int]
    bytes: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes the records of each lane may take, and those of all lanes."""

    lanes: dict[str, int]
    total: int


class _Candidate(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A row that may go."""

    at: int
    epoch: int
    lane: str
    seq: int
    kind: str
    bytes: int


def budget_of(settings: Outbox) -> Budget:
    """The budget that site.toml sets."""
    lanes = {"now": settings.now_mb, "day": settings.day_mb, "bulk": settings.bulk_mb}
    return Budget(lanes={lane: mb * 2**20 for lane, mb in lanes.items()}, total=settings.total_mb * 2**20)


def over(connection: apsw.Connection, budget: Budget) -> dict[str, int]:
    """By lane ("total": in all) the bytes beyond the budget; empty when it holds."""
    used = lane_bytes(connection)
    beyond = {lane: used[lane] - limit for lane, limit in budget.lanes.items()}
    beyond["total"] = sum(used.values()) - budget.total
    return {name: excess for name, excess in beyond.items() if excess > 0}


def lane_bytes(connection: apsw.Connection) -> dict[str, int]:
    """The bytes of the records in each lane, whether HQ has them or not."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT lane, bytes FROM lanes").fetchall()
    return dict(rows)


def places(connection: apsw.Connection) -> list[Place]:
    """The epochs and lanes that may have rows, oldest epoch first."""
    epochs = [int(str(epoch)) for (epoch,) in connection.execute(_EPOCHS)]
    lanes = sorted(lane_bytes(connection))
    return [(epoch, lane) for epoch in epochs for lane in lanes]


def trim(connection: apsw.Connection, known: Known, budget: Budget, keep_days: float, now: int) -> bool:
    """One bounded step of all that this module is for, inside the caller's transaction; False when nothing was left to
    do or nothing more may go. `now` is µs."""
    return (
        _prune_old(connection, known, now - int(keep_days * DAY_US))
        or any(
            _make_room(connection, known, [lane], excess + int(budget.lanes[lane] * (1 - SLACK)))
            for lane, excess in over(connection, budget).items()
            if lane != "total"
        )
        or any(
            _make_room(connection, known, list(budget.lanes), excess + int(budget.total * (1 - SLACK)))
            for name, excess in over(connection, budget).items()
            if name == "total"
        )
    )


def _prune_old(connection: apsw.Connection, known: Known, before: int) -> bool:
    """Remove some rows that HQ has and that were put there before a time. A lane is in the order of time but for jumps
    of the clock, which only keep rows longer."""
    for place in places(connection):
        for run in known.delivered.get(place, []):
            first = next(_rows(connection, "AND seq BETWEEN ? AND ? AND kind <> 'gone'", place, *run), None)
            if first is None or first.at >= before:
                continue
            rows = list(
                islice(_rows(connection, "AND seq BETWEEN ? AND ? AND kind <> 'gone'", place, *run), ROWS_PER_JOB)
            )
            old = [row for row in rows if row.at < before]
            _remove(connection, known, old, "pruned")
            return True
    return False


def _make_room(connection: apsw.Connection, known: Known, lanes: list[str], need_bytes: int) -> bool:
    """Remove rows of the lanes until about so many bytes are free, at most ROWS_PER_JOB of them."""
    of_lanes = [place for place in places(connection) if place[1] in lanes]
    delivered = heapq.merge(*(_delivered(connection, known, place) for place in of_lanes))
    reason: Reason = "pruned"
    chosen = _enough(delivered, need_bytes)
    if not chosen:
        reason = "evicted"
        chosen = _enough(_undelivered(connection, known, of_lanes), need_bytes)
    _remove(connection, known, chosen, reason)
    return bool(chosen)


def _enough(rows: Iterable[_Candidate], need_bytes: int) -> list[_Candidate]:
    chosen: list[_Candidate] = []
    for row in islice(rows, ROWS_PER_JOB):
        chosen.append(row)
        need_bytes -= row.bytes
        if need_bytes <= 0:
            break
    return chosen


def _delivered(connection: apsw.Connection, known: Known, place: Place) -> Iterator[_Candidate]:
    runs = known.delivered.get(place, [])
    return chain.from_iterable(
        _rows(connection, "AND seq BETWEEN ? AND ? AND kind <> 'gone'", place, *run) for run in runs
    )


def _undelivered(connection: apsw.Connection, known: Known, of_lanes: list[Place]) -> Iterator[_Candidate]:
    for chosen in CLASSES:
        for place in of_lanes:
            for run in known.waiting(place):
                yield from _rows(connection, f"AND seq BETWEEN ? AND ? AND {chosen}", place, *run)


def _rows(connection: apsw.Connection, where: str, place: Place, *bindings: int) -> Iterator[_Candidate]:
    for row in connection.execute(f"{_ROWS} {where} ORDER BY seq", (*place, *bindings)):
        yield msgspec.convert(row, _Candidate)


def _remove(connection: apsw.Connection, known: Known, chosen: Iterable[_Candidate], reason: Reason) -> None:
    for run in _runs(sorted(chosen, key=lambda row: (row.epoch, row.lane, row.seq))):
        _replace(connection, known, run, reason)


def _runs(rows: Iterable[_Candidate]) -> Iterator[list[_Candidate]]:
    run: list[_Candidate] = []
    for row in rows:
        if run and (row.epoch, row.lane, row.seq) != (run[-1].epoch, run[-1].lane, run[-1].seq + 1):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _replace(connection: apsw.Connection, known: Known, run: list[_Candidate], reason: Reason) -> None:
    """Put one row of kind gone in the place of a run, and of its neighbours of the same kind and reason."""
    place = (run[0].epoch, run[0].lane)
    first, last = run[0].seq, run[-1].seq
    gone = Gone(reason=reason, kinds=_count(run), bytes=sum(row.bytes for row in run))
    freed = gone.bytes
    at_hq = known.has(place, first, last)
    for neighbour in (
        connection.execute(_BELOW, (*place, first - 1)).fetchone(),
        connection.execute(_ABOVE, (*place, last)).fetchone(),
    ):
        if neighbour is None:
            continue
        seq, span, kind, record = msgspec.convert(neighbour, tuple[int, int, str, bytes])
        low, high = seq - span + 1, seq
        if kind != "gone" or (high != first - 1 and low != last + 1) or known.has(place, low, high) != at_hq:
            continue
        other = msgspec.msgpack.decode(record, type=Gone)
        if other.reason == reason:
            gone = Gone(reason=reason, kinds=_sum(gone.kinds, other.kinds), bytes=gone.bytes + other.bytes)
            first, last = min(first, low), max(last, high)
            freed += len(record)
    record = msgspec.msgpack.encode(gone)
    connection.execute("DELETE FROM outbox WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?", (*place, first, last))
    connection.execute(
        "INSERT INTO outbox (epoch, lane, seq, span, kind, id, at, boot, mono, record) "
        "VALUES (?, ?, ?, ?, 'gone', ?, ?, ?, ?, ?)",
        (*place, last, last - first + 1, new_id(), now_us(), boot_id(), mono_us(), record),
    )
    connection.execute("UPDATE lanes SET bytes = bytes - ? + ? WHERE lane = ?", (freed, len(record), place[1]))


_BELOW = "SELECT seq, span, kind, record FROM outbox WHERE epoch = ? AND lane = ? AND seq = ?"
_ABOVE = "SELECT seq, span, kind, record FROM outbox WHERE epoch = ? AND lane = ? AND seq > ? ORDER BY seq LIMIT 1"


def _count(run: Iterable[_Candidate]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for row in run:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    return kinds


def _sum(kinds: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {kind: kinds.get(kind, 0) + more.get(kind, 0) for kind in {**kinds, **more}}


def evicted(connection: apsw.Connection) -> Gone:
    """All that went before HQ had it."""
    total = Gone(reason="evicted", kinds={}, bytes=0)
    for (record,) in connection.execute("SELECT record FROM outbox WHERE kind = 'gone'"):
        gone = msgspec.msgpack.decode(record, type=Gone)
        if gone.reason == "evicted":
            total = Gone(reason="evicted", kinds=_sum(total.kinds, gone.kinds), bytes=total.bytes + gone.bytes)
    return total
