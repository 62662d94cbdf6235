"""The outbox: a record's place in a lane to HQ, written in the transaction of the record itself."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import msgspec

from edge.events import Loss, Record, boot_id, mono_us, now_us
from edge.store.rows import insert, kind_of, lane_of

MAX_RECORD_BYTES = 1 << 20  # more does not fit into an envelope (sync/envelope.py)


def put(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Give every record that HQ gets the next number of its lane: gapless, never used again within an epoch.

    In the place of a record that is too large to travel goes a Loss that names it, so that HQ knows of it.
    """
    by_lane: dict[str, list[tuple[Record, bytes]]] = {}
    for record in records:
        lane = lane_of(record)
        if lane is not None:
            by_lane.setdefault(lane, []).append(_sendable(connection, record))
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


def begin_epoch(connection: apsw.Connection) -> None:
    """Number from 1 again, in an epoch that nobody has used: ms since 1970, and 16 random bits; above those before it,
    whatever the clock shows."""
    chance = secrets.randbits(16)
    connection.execute(
        "UPDATE meta SET value = CAST(max(CAST(value AS INTEGER) + 1 + ?, ?) AS TEXT) WHERE key = 'epoch'",
        (chance, (now_us() // 1000) << 16 | chance),
    )
    connection.execute("UPDATE lanes SET last_seq = 0")


def renumber(connection: apsw.Connection, contested: Mapping[tuple[int, str], Sequence[tuple[int, int]]]) -> int:
    """Give what has one of these numbers, runs by epoch and lane, a number in a new epoch; tells how many that are.

    HQ holds records of another box under them, so it will never take what is here under the same.
    """
    rows: list[Any] = [
        row
        for (epoch, lane), runs in sorted(contested.items())
        for first, last in runs
        for row in connection.execute(
            "SELECT epoch, lane, seq FROM outbox "
            "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? AND kind <> 'gone' ORDER BY seq",
            (epoch, lane, first, last),
        )
    ]
    if rows:
        begin_epoch(connection)
    for epoch, lane, seq in rows:
        connection.execute("UPDATE lanes SET last_seq = last_seq + 1 WHERE lane = ?", (lane,))
        connection.execute(
            "UPDATE outbox SET epoch = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'epoch'), "
            "seq = (SELECT last_seq FROM lanes WHERE lane = ?2) WHERE epoch = ?1 AND lane = ?2 AND seq = ?3",
            (epoch, lane, seq),
        )
    return len(rows)


def _sendable(connection: apsw.Connection, record: Record) -> tuple[Record, bytes]:
    encoded = msgspec.msgpack.encode(record)
    if len(encoded) <= MAX_RECORD_BYTES:
        return record, encoded
    loss = Loss(
        at=now_us(),
        reason="too_large",
        kinds={kind_of(record): 1},
        bytes=len(encoded),
        since=record.at,
        ids=(record.id,),
    )
    insert(connection, [loss])
    return loss, msgspec.msgpack.encode(loss)
