"""What waits for HQ, and why it is not going: read from the journal and from link.db, whether the link runs or not."""

import contextlib
import time
from collections.abc import Iterator

import msgspec

from sync.linkdb import LinkDb, LinkState, Place, Stuck, is_running
from sync.outbox import Outbox
from sync.protocol import LANES, Lane
from sync.ranges import Ranges
from sync.settings import LinkSettings


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="part", tag="lane"):
    """How a lane of one epoch stands: `waiting` rows of `waiting_bytes` lie here since `since` (µs; None: none waits),
    and will be at HQ in `eta_s` seconds at the present rate (None: nothing is moving)."""

    epoch: int
    lane: Lane
    newest_seq: int
    waiting: int
    waiting_bytes: int
    since: int | None
    eta_s: float | None


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="part", tag="link"):
    """How the link stands. `reason` is one sentence why it is not going ('': all is well), `stuck` the rows that can
    never travel, `heard_at` when HQ last said anything (µs; 0: never)."""

    running: bool
    connected: bool
    since: int
    reason: str
    rows_per_s: float
    bytes_per_s: float
    rtt_ms: float
    heard_at: int
    stuck: tuple[Stuck, ...]


def link_status(settings: LinkSettings) -> LinkStatus:
    """How the link stands."""
    with _linkdb(settings) as linkdb:
        state = linkdb.state() if linkdb else LinkState()
        stuck = tuple(linkdb.stuck()) if linkdb else ()
    running = is_running(settings)
    return LinkStatus(
        running=running,
        connected=running and state.connected,
        since=state.since,
        reason=_reason(settings, running, state),
        rows_per_s=state.rows_per_s if running else 0.0,
        bytes_per_s=state.bytes_per_s if running else 0.0,
        rtt_ms=state.rtt_ms,
        heard_at=state.heard_at,
        stuck=stuck,
    )


def lane_statuses(settings: LinkSettings, rows_per_s: float) -> list[LaneStatus]:
    """How every lane stands, newest epoch first; nothing while there is no outbox. The lanes are emptied in their order
    of urgency, at `rows_per_s` in all."""
    statuses = []
    before = 0
    with _outbox(settings) as outbox, _linkdb(settings) as linkdb:
        if outbox is None:
            return []
        delivered = linkdb.delivered() if linkdb else {}
        for lane in LANES:
            for epoch in reversed(outbox.epochs()):
                newest_seq = outbox.newest(epoch, lane)
                waiting = outbox.waiting(epoch, lane, _missing(delivered, (epoch, lane), newest_seq))
                before += waiting.rows
                statuses.append(
                    LaneStatus(
                        epoch=epoch,
                        lane=lane,
                        newest_seq=newest_seq,
                        waiting=waiting.rows,
                        waiting_bytes=waiting.bytes,
                        since=waiting.oldest_at,
                        eta_s=_eta_s(waiting.rows, before, rows_per_s),
                    )
                )
    return sorted(statuses, key=lambda status: -status.epoch)


def waiting_numbers(settings: LinkSettings) -> int:
    """How many numbers are not known to be at HQ, without those of rows that can never travel, and of those that HQ
    holds with other records only what is still here under them."""
    with _outbox(settings) as outbox, _linkdb(settings) as linkdb:
        if outbox is None:
            return 0
        delivered = linkdb.delivered() if linkdb else {}
        stuck = len(linkdb.stuck()) if linkdb else 0
        contested: dict[Place, Ranges] = {}
        for run in linkdb.contested() if linkdb else ():
            place = (run.epoch, run.lane)
            contested[place] = contested.get(place, Ranges()) | Ranges(((run.first_seq, run.last_seq),))
        waiting = -stuck
        for epoch in outbox.epochs():
            for lane in LANES:
                missing = _missing(delivered, (epoch, lane), outbox.newest(epoch, lane))
                disputed = missing & contested.get((epoch, lane), Ranges())
                waiting += len(missing - disputed) + outbox.waiting(epoch, lane, disputed).rows
        return waiting


def _missing(delivered: dict[Place, Ranges], place: Place, newest_seq: int) -> Ranges:
    return Ranges(((1, newest_seq),)) - delivered.get(place, Ranges())


def _eta_s(waiting: int, before: int, rows_per_s: float) -> float | None:
    if not waiting:
        return 0.0
    return round(before / rows_per_s, 1) if rows_per_s else None


def _reason(settings: LinkSettings, running: bool, state: LinkState) -> str:
    if settings.hq is None:
        return "site.toml has no table [hq], so nothing leaves this site."
    if not settings.hq_key.exists():
        return "The site is not enrolled at HQ; run `outstation sync enrol`."
    if not running:
        return "The link does not run; `outstation run` starts it."
    return state.reason


@contextlib.contextmanager
def _outbox(settings: LinkSettings) -> Iterator[Outbox | None]:
    outbox = Outbox.open(settings.journal)
    try:
        yield outbox
    finally:
        if outbox is not None:
            outbox.close()


@contextlib.contextmanager
def _linkdb(settings: LinkSettings) -> Iterator[LinkDb | None]:
    linkdb = LinkDb.read(settings.link_db)
    try:
        yield linkdb
    finally:
        if linkdb is not None:
            linkdb.close()


def age_s(at: int) -> float:
    """Seconds since `at` (µs) by the box's clock."""
    return time.time() - at / 1e6
