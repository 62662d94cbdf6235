"""The outbox: a record's place in a lane to HQ, written in the transaction of the record itself."""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from edge.events import Record, now_us
from edge.store.rows import kind_of, lane_of


def put(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Give every record that HQ gets the next number of its lane: gapless, never used again within an epoch."""
    by_lane: dict[str, list[Record]] = {}
    for record in records:
        lane = lane_of(record)
        if lane is not None:
            by_lane.setdefault(lane, []).append(record)
    for lane, leaving in by_lane.items():
        connection.execute("UPDATE lanes SET last_seq = last_seq + ? WHERE lane = ?", (len(leaving), lane))
        row: Any = connection.execute(
            "SELECT last_seq, CAST(value AS INTEGER) FROM lanes, meta WHERE lane = ? AND key = 'epoch'", (lane,)
        ).fetchone()
        last_seq, epoch = row
        at = now_us()
        first_seq = last_seq - len(leaving) + 1
        connection.executemany(
            "INSERT INTO outbox (epoch, lane, seq, kind, id, record, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (epoch, lane, seq, kind_of(record), record.id, msgspec.msgpack.encode(record), at)
                for seq, record in enumerate(leaving, first_seq)
            ),
        )
