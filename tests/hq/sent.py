"""What a site sends, made by hand: rows, envelopes and States."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from sync.envelope import Gone, Header, Row
from sync.hq.store import Store
from sync.protocol import Lane, LaneState, State, Taken

SITE = "矿山-3"
KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
OTHER_KEY = "dJ/byI+Z22WxkwR2a8nl4isX7YtzeNfXjAGfRLUmtHc="
NOW = 1_795_000_000_000_000
DAY = 86_400_000_000


def id_of(seq: int, box: int = 0) -> str:
    """The id that a box's record of that number has."""
    return f"01a20513-3cd0-7407-8f{box:02x}-{seq:012x}"


def row(
    seq: int,
    kind: str = "event",
    record: Any = None,
    *,
    at: int = NOW,
    boot: str = "boot",
    mono: int | None = None,
    box: int = 0,
) -> Row:
    """A record's row; `record` may be bytes that are no record."""
    encoded = record if isinstance(record, bytes) else msgspec.msgpack.encode({"n": seq} if record is None else record)
    return Row(
        seq=seq,
        kind=kind,
        id=id_of(seq, box),
        at=at,
        boot=boot,
        mono=seq if mono is None else mono,
        record=msgspec.Raw(encoded),
    )


def gone_row(
    first: int, last: int, kinds: dict[str, int], size: int = 0, reason: Literal["evicted", "pruned"] = "evicted"
) -> Row:
    """A row that stands for numbers whose records the site gave up."""
    record = msgspec.msgpack.encode(Gone(reason=reason, kinds=kinds, bytes=size))
    return Row(
        seq=last,
        kind="gone",
        id=id_of(last, 99),
        at=NOW,
        boot="boot",
        mono=last,
        record=msgspec.Raw(record),
        span=last - first + 1,
    )


def header(rows: Sequence[Row], site: str = SITE, epoch: int = 1, lane: Lane = "now") -> Header:
    """The header of an envelope with these rows."""
    return Header(
        site=site,
        epoch=epoch,
        lane=lane,
        first_seq=rows[0].first_seq,
        last_seq=rows[-1].seq,
        count=len(rows),
        key_id="0" * 16,
    )


def send(
    store: Store, rows: Sequence[Row], at: int = NOW, site: str = SITE, epoch: int = 1, lane: Lane = "now"
) -> Taken:
    """Let one envelope of these rows arrive, in a transaction of its own."""
    with store.transaction([site]):
        return store.apply(header(rows, site, epoch, lane), rows, at)


def say(
    store: Store,
    state: Literal["up", "down"] = "up",
    connection: str = "c1",
    *,
    at: int = NOW,
    boot: str = "boot",
    mono: int = 1000,
    introduction: str = "i1",
    lanes: tuple[LaneState, ...] = (),
    heard_at: int | None = None,
    replica: str = "",
    site: str = SITE,
) -> bool:
    """Let a State arrive, in a transaction of its own."""
    said = State(
        site=site,
        state=state,
        connection=connection,
        introduction=introduction,
        at=at,
        boot=boot,
        mono=mono,
        lanes=lanes,
        replica=replica,
    )
    with store.transaction([site]):
        return store.note_state(said, at if heard_at is None else heard_at)
