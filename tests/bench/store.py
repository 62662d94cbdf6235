"""How many records a second HQ's store takes: envelopes as they are after their signature was checked, into SQLite and
PostgreSQL, a transaction for every few as a busy receiver makes them."""

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uuid_utils

from edge.bench.figure import Figure
from sync.envelope import Header, Row
from sync.hq.store import Store
from tests.hq.cluster import cluster

RECORDS = 100_000
ROWS_PER_ENVELOPE = 500
ENVELOPES_PER_TRANSACTION = 16
TARGET_PER_S = 20_000

_SITE = "bench"
_NOW = 1_795_000_000_000_000


def measure() -> Iterator[Figure]:
    """Records per second, on disk when counted, into each database."""
    with tempfile.TemporaryDirectory(prefix="outstation-bench-") as folder:
        yield _figure("SQLite", Path(folder) / "hq.db")
    with cluster(durable=True) as dsn:
        yield _figure("PostgreSQL", dsn)


def _figure(name: str, where: str | Path) -> Figure:
    envelopes = list(_envelopes())
    store = Store.open(where)
    began_s = time.perf_counter()
    for begin in range(0, len(envelopes), ENVELOPES_PER_TRANSACTION):
        with store.transaction([_SITE]):
            for header, rows in envelopes[begin : begin + ENVELOPES_PER_TRANSACTION]:
                store.apply(header, rows, _NOW)
    per_s = RECORDS / (time.perf_counter() - began_s)
    store.close()
    return Figure(
        bench="store",
        case=f"{RECORDS} records into {name}",
        metric="taken",
        value=per_s,
        unit="records/s",
        target=f"≥ {TARGET_PER_S} records/s",
        ok=per_s >= TARGET_PER_S,
    )


def _envelopes() -> Iterator[tuple[Header, list[Row]]]:
    rnd = random.Random(1)
    for first in range(1, RECORDS + 1, ROWS_PER_ENVELOPE):
        rows = [_row(seq, rnd) for seq in range(first, first + ROWS_PER_ENVELOPE)]
        yield (
            Header(
                site=_SITE,
                epoch=1,
                lane="day",
                first_seq=first,
                last_seq=rows[-1].seq,
                count=len(rows),
                key_id="0" * 16,
            ),
            rows,
        )


def _row(seq: int, rnd: random.Random) -> Row:
    """In twenty rows one decision, one action and one transition; the others are readings and what was seen in them."""
    id = str(uuid_utils.uuid7())
    kind, fields = (
        "signal",
        {
            "event_id": id,
            "subject": f"hoist-{seq % 100:02d}",
            "data": {
                "kind": "window",
                "features": {"vibration_mm_s": {"mean": rnd.random(), "z": rnd.gauss(0, 1), "slope": rnd.random()}},
            },
        },
    )
    match seq % 20:
        case 1:
            kind, fields = "decision", {"prediction_id": id, "subject": "hoist-07", "play": f"play-{seq % 7}"}
        case 2:
            kind, fields = "action", {"decision_id": f"d{seq - 1}", "role": "rep", "what": {"zh": "回电", "en": "call"}}
        case 3:
            kind, fields = "transition", {"action_id": f"a{seq - 1}", "state": "done", "by": "rep"}
        case rest if rest % 2:
            kind, fields = (
                "event",
                {"source": "bus", "subject": f"hoist-{seq % 100:02d}", "data": {"values": {"t": 1.5}}},
            )
    record_id = {"decision": f"d{seq}", "action": f"a{seq}"}.get(kind, id)
    record = msgspec.msgpack.encode({"id": record_id, "at": _NOW + seq, **fields})
    return Row(
        seq=seq, kind=kind, id=id, at=_NOW - RECORDS + seq, boot="boot", mono=10**9 + seq, record=msgspec.Raw(record)
    )
