"""What is live, as server-sent events: every stream follows the journal's feed from its own place.

There is no queue between the journal and a client. A commit only wakes the streams; each then reads what is new after
its place. So a slow client costs no memory and delays nobody: when it can take more it reads on from its place, or is
told to take a snapshot if that place is too far behind.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Annotated

import apsw
import msgspec
from litestar import get
from litestar.datastructures import State
from litestar.exceptions import ServiceUnavailableException
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from edge.events import Utterance
from edge.store import queries
from edge.store.queries import DeviceRow, News
from edge.store.told import outcome
from edge.web.parts import WebParts
from edge.web.plays import play_row
from edge.web.problems import says

CATCH_UP_ROWS = 1_000
STREAMS = 64
HEALTH_EVERY_S = 5.0
DEVICES_EVERY_S = 0.5
PLACE_DIGITS = 20
REST_S = 0.02  # between two looks at the feed, so that a busy journal costs 50 looks a second at most


class Streams:
    """The open streams, and how a commit or the end of the server reaches them."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._bells: set[asyncio.Event] = set()
        self._rung = False
        self._ended = False
        parts.journal.metrics.streams.set_function(lambda: len(self._bells))

    def start(self) -> None:
        """Hear of commits from now on; called in the server's event loop."""
        self._loop = asyncio.get_running_loop()
        self._parts.journal.listen(self._committed)

    def end(self) -> None:
        """End every stream: a server that stops would wait for them for ever."""
        self._ended = True
        self._ring()

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return len(self._bells) >= STREAMS

    def _committed(self) -> None:
        """In the writer's thread: pass the word on, once until it was heard."""
        if self._bells and not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop has ended, and all streams with it
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._rung = False
        for bell in self._bells:
            bell.set()

    async def follow(self, place: int | None) -> AsyncIterator[ServerSentEventMessage]:
        """All that comes after a place in the feed (None: after now), without end."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            view = _View(self._parts, place)
            while not self._ended:
                bell.clear()
                for message in await asyncio.to_thread(view.look, self._loop.time()):
                    yield message
                await asyncio.sleep(REST_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), view.next_look - self._loop.time())
        finally:
            self._bells.discard(bell)


class Speaking(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel of a call is saying now: it may still change; no text: it says nothing any more."""

    call_id: str
    channel: str
    text: str
    start_s: float


class _View:
    """What one client has seen: its place in the feed, each device as it was last told, and who is speaking."""

    def __init__(self, parts: WebParts, place: int | None) -> None:
        self._parts = parts
        self._place = place
        self._devices: dict[str, DeviceRow] = {}
        self._spoken: dict[tuple[str, str], Utterance] = {}
        self._devices_at = 0.0
        self._health_at = 0.0

    @property
    def next_look(self) -> float:
        """When to look again even if nothing is committed (the loop's clock)."""
        return min(self._devices_at, self._health_at)

    def look(self, now: float) -> Sequence[ServerSentEventMessage]:
        """What is new, in order; blocks on the journal."""
        connection = self._parts.journal.readers.connection()
        messages = self._news(connection)
        messages.extend(self._speaking())
        if now >= self._devices_at:
            messages.extend(self._changed_devices(connection))
            self._devices_at = now + DEVICES_EVERY_S
        if now >= self._health_at:
            messages.append(_message("health", self._parts.health(), self._place))
            self._health_at = now + HEALTH_EVERY_S
        return messages

    def _news(self, connection: apsw.Connection) -> list[ServerSentEventMessage]:
        first, last = queries.feed_ends(connection)
        if self._place is None:
            self._place = last
        if not first - 1 <= self._place <= last or last - self._place > CATCH_UP_ROWS:
            self._place = last
            return [_message("snapshot", {}, last)]
        news = queries.news_after(connection, self._place)
        if news:
            self._place = news[-1].seq
        return _told(connection, self._parts, news)

    def _speaking(self) -> list[ServerSentEventMessage]:
        now = dict(self._parts.speaking)
        before, self._spoken = self._spoken, now
        changed = [place for place, said in now.items() if before.get(place) is not said]
        return [
            _message("speaking", Speaking(call_id=call_id, channel=channel, text=said.text, start_s=said.start_s))
            for call_id, channel in changed
            if (said := now[call_id, channel])
        ] + [
            _message("speaking", Speaking(call_id=call_id, channel=channel, text="", start_s=0.0))
            for call_id, channel in before.keys() - now.keys()
        ]

    def _changed_devices(self, connection: apsw.Connection) -> list[ServerSentEventMessage]:
        changed = [row for row in queries.devices(connection) if self._devices.get(row.device) != row]
        self._devices.update((row.device, row) for row in changed)
        return [_message("device", changed)] if changed else []


def _told(connection: apsw.Connection, parts: WebParts, news: Sequence[News]) -> list[ServerSentEventMessage]:
    """What the page shows of the news. A record that changed several times is told once, as it is now."""
    last_seq: dict[tuple[str, str], int] = {}
    for new in news:
        last_seq.pop((new.kind, new.id), None)
        last_seq[new.kind, new.id] = new.seq
    messages = []
    for (kind, record_id), seq in last_seq.items():
        record = _record(connection, parts, kind, record_id)
        if record is not None:
            messages.append(_message(kind, record, seq))
    return messages


def _record(connection: apsw.Connection, parts: WebParts, kind: str, record_id: str) -> object | None:
    match kind:
        case "card":
            return queries.card(connection, parts.wall, record_id)
        case "call":
            return queries.call(connection, record_id)
        case "utterance":
            return queries.call_line(connection, record_id)
        case "note":
            return queries.event(connection, record_id)
        case "refusal":
            return queries.refusal(connection, int(record_id))
        case "order":
            return parts.orders.view(record_id)
        case "outcome":
            return outcome(connection, parts.titles, record_id)
        case "play":
            return play_row(parts, record_id)
        case _:
            return None


def _message(kind: str, record: object, place: int | None = None) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(record), event=kind, id=place)


@get("/api/stream", tags=["stream"], media_type="text/event-stream", responses=says(_503="Too many streams are open."))
async def stream(
    state: State,
    after: Annotated[
        int | None, QueryParameter(description="A place in the feed: what came after it is sent first.")
    ] = None,
    last_event_id: Annotated[
        str | None, HeaderParameter(name="Last-Event-ID", description="The same, as browsers send it after a break.")
    ] = None,
) -> ServerSentEvent:
    """What happens, as it happens: card, call, utterance, speaking, note, refusal, order, outcome, play, device,
    health, snapshot."""
    streams: Streams = state.streams
    if streams.full:
        raise ServiceUnavailableException(f"{STREAMS} pages are open already; close some.")
    return ServerSentEvent(streams.follow(after if last_event_id is None else _place(last_event_id)))


def _place(last_event_id: str) -> int:
    """What a client holds that did not come from here is before everything: it is told to take a snapshot."""
    known = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < PLACE_DIGITS
    return int(last_event_id) if known else -1
