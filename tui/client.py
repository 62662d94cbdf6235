"""The gateway as the terminal sees it: its HTTP interface, and nothing else of it.

The structs are the terminal's own and hold only what it shows. They ignore fields that they do not know, so that a
terminal and a gateway need not be updated on the same day.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Literal, TypeVar

import httpx
import msgspec
from httpx_sse import aconnect_sse

Reason = Literal["no_answer", "too_slow", "not_a_gateway", "busy"]
Verb = Literal["accept", "decline", "done", "undo", "hand_over"]

# The gateway sends its health every five seconds; three missed ones mean that the link is gone.
SILENCE_S = 16.0
ANSWER_S = 10.0
OPEN_CARDS = 500


class Unreachable(Exception):
    """The gateway did not answer, or not as one; what was asked can be asked again later. `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(Exception):
    """The gateway answered no; `status` is the HTTP status, `str(error)` its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Which site the gateway serves. Its sequence of events goes on while `boot_id` and `started_at` stay."""

    name: str
    boot_id: str = ""
    started_at: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gateway works, and in sentences what it lacks."""

    ready: bool = True
    problems: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a card is there: words (`kind` spoken) or a sensor's value (measured), with each feature's weight, or what
    was known beside the words (known)."""

    kind: str = ""
    channel: str = ""
    start_s: float = 0.0
    text: str = ""
    sensor: str = ""
    what: str = ""
    of: str = ""
    value: float | str = 0.0
    usual: float = 0.0
    weights: tuple[tuple[str, float], ...] = ()


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A table to be looked at while a card is done."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do. Times are microseconds since the Unix epoch; `title`, `what` and `tool` (what it is done with)
    are texts by language.

    `text` is what a message says, and `to` to whom. It can be handed to the role `hand_over` ('': to none), and taken
    back until `undo_until` (None: not). It was asked for again `asked` times.
    """

    id: str
    title: dict[str, str]
    what: dict[str, str]
    state: str
    due: int
    at: int
    fires_at: int | None = None
    role: str = ""
    subject: str = ""
    label: str = ""
    probability: float = 0.0
    by: str | None = None
    event_kind: str = ""
    evidence: tuple[Evidence, ...] = ()
    tool: dict[str, str] = {}
    sheet: Sheet | None = None
    text: str = ""
    to: str = ""
    hand_over: str = ""
    undo_until: int | None = None
    asked: int = 0
    goal: str = ""

    @property
    def is_open(self) -> bool:
        """Whether somebody can still do something about it."""
        return self.state in ("proposed", "accepted", "fired")

    def can_be_undone(self, now_us: int) -> bool:
        """Whether it can still be taken back."""
        return self.undo_until is not None and self.undo_until > now_us


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a rep decided about a card; of an undo: whose move is taken back (`mover`)."""

    card_id: str
    verb: Verb
    by: str
    mover: str = ""


class ChainStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a chain: which card; `proven`: hold-outs show what it adds."""

    card_id: str
    state: str = ""
    proven: bool = False


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What it is best to do for a goal: how likely that is without (`before`) and with the steps (`after`, between
    `low` and `high`), and until when (microseconds since the epoch) it helps."""

    goal: str
    subject: str
    before: float
    after: float
    low: float
    high: float
    until: int
    steps: tuple[ChainStep, ...] = ()

    def place_of(self, card_id: str) -> int | None:
        """Which step a card is, counted from 1; None: it is none of them."""
        return next((place for place, step in enumerate(self.steps, 1) if step.card_id == card_id), None)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of which nobody has told what came: about whom, when it was made, what had been said."""

    decision_id: str
    play: str
    title: dict[str, str]
    subject: str
    at: int
    said: str = ""


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """A play, and what is asked about its decisions afterwards, by language."""

    play: str
    question: dict[str, str] = {}


class NewOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a rep says came of a decision: 0 (no) to 1 (yes). The gateway keeps the same once, however often it is
    sent."""

    decision_id: str
    value: float
    by: str


class NewNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a rep wrote; the gateway stores a `key` once, however often it is sent."""

    subject: str
    author: str
    text: str
    language: str
    key: str


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event; `id` is empty for those that are not part of the gateway's sequence."""

    kind: str
    id: str
    data: bytes


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    detail: str = ""


T = TypeVar("T")


class Gateway:
    """One gateway. Every method raises Unreachable or Refused and nothing else.

    `clock_ahead_us` is how far its clock runs ahead of the terminal's, from the Date header of its last answer
    (RFC 9110, whole seconds): the time left on a card is counted by the gateway's clock.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.clock_ahead_us = 0
        # Proxy settings are for the internet; the gateway is on the site's own network.
        self._http = httpx.AsyncClient(base_url=self.url, timeout=ANSWER_S, trust_env=False)

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    def now_us(self) -> int:
        """The gateway's clock, microseconds since the Unix epoch."""
        return time.time_ns() // 1000 + self.clock_ahead_us

    async def site(self) -> Site:
        """Which site this is."""
        return _decoded((await self._ask("GET", "/api/site")).content, Site)

    async def cards(self, state: Literal["open", "all"] = "open") -> list[Card]:
        """The cards that are open, or the newest of all."""
        answer = await self._ask("GET", f"/api/cards?state={state}&limit={OPEN_CARDS}")
        return _decoded(answer.content, list[Card])

    async def card(self, card_id: str) -> Card:
        """A card as it is now, also one that is over. Refused with 404 when there is none."""
        return _decoded((await self._ask("GET", f"/api/cards/{card_id}")).content, Card)

    async def move(self, move: Move) -> Card:
        """Accept, decline, finish, take back or hand over a card; gives the card as it is now. Refused with 409 when
        its state forbids it."""
        body = {"by": move.by} | ({"mover": move.mover} if move.mover else {})
        answer = await self._ask("POST", f"/api/cards/{move.card_id}/{move.verb}", body)
        return _decoded(answer.content, Card)

    async def write(self, note: NewNote) -> None:
        """Store a note; the same key again changes nothing."""
        await self._ask("POST", "/api/notes", note)

    async def chains(self) -> list[Chain]:
        """What it is best to do now, by subject and goal."""
        return _decoded((await self._ask("GET", "/api/chains")).content, list[Chain])

    async def wanted(self) -> list[Wanted]:
        """The decisions of which nobody has told what came, the oldest first."""
        return _decoded((await self._ask("GET", "/api/outcomes/wanted")).content, list[Wanted])

    async def plays(self) -> list[Play]:
        """Every play of the playbook."""
        return _decoded((await self._ask("GET", "/api/plays")).content, list[Play])

    async def tell(self, outcome: NewOutcome) -> None:
        """Say what came of a decision; the same again changes nothing. Refused when that cannot be told."""
        await self._ask("POST", "/api/outcomes", outcome)

    @asynccontextmanager
    async def stream(self, last_id: str) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """What happens at the gateway, from now on, or after the event `last_id` if that is not empty.

        Entered once the gateway has begun to answer. The events end, or raise Unreachable, when the link is cut.
        """
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = httpx.Timeout(ANSWER_S, read=SILENCE_S)
        try:
            async with aconnect_sse(self._http, "GET", "/api/stream", headers=headers, timeout=timeout) as source:
                if not source.response.is_success:
                    await source.response.aread()
                _check(source.response)
                yield (
                    StreamEvent(kind=event.event, id=event.id, data=event.data.encode())
                    async for event in source.aiter_sse()
                )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = await self._http.request(
                method, path, content=content, headers={"Content-Type": "application/json"} if content else {}
            )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if date := answer.headers.get("date"):
            self.clock_ahead_us = _ahead_us(date)
        _check(answer)
        return answer


def decoded(event: StreamEvent, kind: type[T]) -> T:
    """The data of `event` as a `kind`; raises Unreachable when it is none."""
    return _decoded(event.data, kind)


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise Unreachable("not_a_gateway") from error


def _check(answer: httpx.Response) -> None:
    """Raise for an answer that is not a success: Unreachable if asking later may help, else Refused."""
    if answer.is_success:
        return
    if answer.status_code in (429, 502, 503, 504, 507):
        raise Unreachable("busy")
    try:
        sentence = msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.DecodeError as error:
        raise Unreachable("not_a_gateway") from error
    raise Refused(answer.status_code, sentence or answer.reason_phrase)


def _unreachable(error: httpx.HTTPError) -> Unreachable:
    match error:
        case httpx.TimeoutException():
            return Unreachable("too_slow")
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return Unreachable("no_answer")
        case _:
            return Unreachable("not_a_gateway")


def _ahead_us(date: str) -> int:
    try:
        # The header leaves out the fraction of the second: on average half of one.
        return int(parsedate_to_datetime(date).timestamp()) * 1_000_000 + 500_000 - time.time_ns() // 1000
    except ValueError:
        return 0
