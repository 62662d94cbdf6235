"""The outbox: a record's place in a lane to HQ, written in the transaction of the record itself."""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from edge.events import Record, boot_id, mono_us, now_us
from edge.store.rows import kind_of, lane_of


def put(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Give every record that HQ gets the next number of its lane: gapless, never used again within an epoch."""
    by_lane: dict[str, list[tuple[Record, bytes]]] = {}
    for record in records:
        lane = lane_of(record)
        if lane is not None:
            by_lane.setdefault(lane, []).append((record, msgspec.msgpack.encode(record)))
    at, boot, mono = now_us(), boot_id(), mono_us()
    for lane, leaving in by_lane.items():
        row: Any = connection.execute(
            "UPDATE lanes SET last_seq = last_seq + ?, bytes = bytes + ? WHERE lane = ? "
            "RETURNING last_seq, (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'epoch')",
            (len(leaving), sum(len(encoded) for _, encoded in leaving), lane),
        ).fetchone()
        last_seq, epoch = row
        connection.executemany(
            "INSERT INTO outbox (epoch, lane, seq, kind, id, at, boot, mono, record) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (epoch, lane, seq, kind_of(record), record.id, at, boot, mono, encoded)
                for seq, (record, encoded) in enumerate(leaving, last_seq - len(leaving) + 1)
            ),
        )
