"""Holds the link to the gateway while it comes and goes: what happens there reaches the board, what the rep decided
reaches the gateway, once and in order.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Never

from tui.board import Board, News, becomes
from tui.client import (
    Card,
    Gateway,
    Health,
    Move,
    NewNote,
    NewOutcome,
    Refused,
    Site,
    StreamEvent,
    Unreachable,
    decoded,
)
from tui.waiting import Item
from tui.words import both, role_name, say, state_name, translated

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
# What it is best to do, and what is asked, is read after a change, and now and then without one: time changes it too.
SURVEY_AT_MOST_EVERY_S = 2.0
SURVEY_AT_LEAST_EVERY_S = 60.0


class Link:
    """Between one gateway and one board. `changed` is called after each change of the board, `rang` when the
    rep has to be called to a card."""

    def __init__(self, gateway: Gateway, board: Board, changed: Callable[[], None], rang: Callable[[], None]) -> None:
        self._gateway = gateway
        self._board = board
        self._changed = changed
        self._rang = rang
        self._up = asyncio.Event()
        self._something_waits = asyncio.Event()
        self._hurry = asyncio.Event()
        self._something_changed = asyncio.Event()
        self._site: Site | None = None
        self._last_id = ""
        self._pause_s = FIRST_PAUSE_S

    async def follow(self) -> Never:
        """Keep the link up for ever: connect, take in what happens, and after a cut try again, ever less often."""
        while True:
            try:
                await self._listen()
                self._cut(both("no_answer", url=self._gateway.url))
            except Unreachable as error:
                self._cut(both(error.reason, url=self._gateway.url))
            except Refused as error:
                self._cut(both("answers", url=self._gateway.url, sentence=error))
            await self._wait(self._pause_s)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    async def deliver(self) -> Never:
        """Send for ever what waits, the oldest first; what could not be sent stays the oldest."""
        while True:
            await self._up.wait()
            if not self._board.waiting:
                self._something_waits.clear()
                await self._something_waits.wait()
                continue
            item = self._board.waiting.first()
            item.begun = True
            try:
                await self._send(item)
            except Unreachable as error:
                item.tried = True
                self._board.said = both(error.reason, url=self._gateway.url)[self._board.language]
                self._changed()
                await asyncio.sleep(FIRST_PAUSE_S * 2)
            else:
                self._board.waiting.remove(item)
                self._changed()

    async def survey(self) -> Never:
        """Read for ever what it is best to do now and what is asked, soon after something has changed there."""
        while True:
            await self._up.wait()
            self._something_changed.clear()
            # A gateway that does not know these yet is none the worse for it.
            with suppress(Unreachable, Refused):
                await self._look_at_chains()
            with suppress(Unreachable, Refused):
                await self._look_at_what_is_asked()
            await asyncio.sleep(SURVEY_AT_MOST_EVERY_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._something_changed.wait(), SURVEY_AT_LEAST_EVERY_S)

    def send_soon(self) -> None:
        """Something was added to what waits."""
        self._something_waits.set()

    async def reload(self) -> None:
        """Read all cards anew; without a link, try now to have one."""
        if not self._up.is_set():
            self._hurry.set()
            return
        # A link that is gone is noticed and told by `follow`.
        with suppress(Unreachable, Refused):
            await self._load()
            self._board.said = say(self._board.language, "reloaded")
            self._changed()

    async def _listen(self) -> None:
        site = await self._gateway.site()
        if self._site is None or (site.boot_id, site.started_at) != (self._site.boot_id, self._site.started_at):
            self._last_id = ""
        self._site = site
        self._board.site = site.name
        async with self._gateway.stream(self._last_id) as events:
            # Read after the stream has begun: what changes in between comes by the stream.
            if not self._last_id:
                await self._load()
            self._board.link = "connected"
            self._board.trouble = {}
            self._board.since_us = time.time_ns() // 1000
            self._pause_s = FIRST_PAUSE_S
            self._up.set()
            self._something_changed.set()
            self._changed()
            async for event in events:
                self._last_id = event.id or self._last_id
                await self._take_in(event)

    async def _load(self) -> None:
        self._tell_of(self._board.replace(await self._gateway.cards()))

    async def _look_at_chains(self) -> None:
        self._board.chains = await self._gateway.chains()
        self._changed()

    async def _look_at_what_is_asked(self) -> None:
        wanted = await self._gateway.wanted()
        if any(one.play not in self._board.questions for one in wanted):
            self._board.questions = {play.play: play.question for play in await self._gateway.plays()}
        self._board.wanted = wanted
        self._changed()

    def _tell_of(self, news: list[News]) -> None:
        """Call the rep to cards that ask for an answer; what they have not read yet stays on the screen."""
        if news:
            why, card = news[0]
            language = self._board.language
            texts = {"title": translated(language, card.title), "role": role_name(language, card.role)}
            self._board.said = self._board.said or say(language, why, **texts)
            self._rang()

    async def _take_in(self, event: StreamEvent) -> None:
        if event.kind in ("card", "outcome", "play", "snapshot"):
            self._something_changed.set()
        match event.kind:
            case "card":
                self._tell_of(self._board.put(decoded(event, Card)))
            case "health":
                self._board.health = decoded(event, Health)
            case "snapshot":
                await self._load()
            case _:
                return
        self._changed()

    async def _send(self, item: Item) -> None:
        """Send `item`; an answer of no is told the rep, and is an answer."""
        board = self._board
        try:
            match item.what:
                case Move() as move:
                    board.answered(await self._gateway.move(move), move.verb)
                case NewNote() as note:
                    await self._gateway.write(note)
                    board.said = say(board.language, "note_sent", subject=note.subject)
                case NewOutcome() as outcome:
                    await self._gateway.tell(outcome)
                    board.told[outcome.decision_id] = outcome.value
                    board.said = say(board.language, "outcome_sent")
        except Refused as error:
            board.said = say(board.language, "refused", sentence=error)
            if isinstance(item.what, Move):
                with suppress(Refused):  # there is no such card any more
                    self._explain(item, item.what, await self._gateway.card(item.what.card_id))

    def _explain(self, item: Item, move: Move, card: Card) -> None:
        """The gateway refused a move: say it by what the card has become."""
        board = self._board
        if item.tried and card.by == move.by and card.state == becomes(card, move.verb):
            # It had heard the move the first time; only its answer was lost.
            board.answered(card, move.verb)
            return
        board.waiting.forget_undo(card.id)
        board.put(card)
        if card.by and move.verb in ("accept", "decline", "done"):
            state = state_name(board.language, card.state)
            board.said = say(board.language, "already_by", state=state, by=card.by)

    def _cut(self, trouble: dict[str, str]) -> None:
        if self._board.link != "no_link":
            self._board.since_us = time.time_ns() // 1000
            self._board.said = ""
        self._board.link = "no_link"
        self._board.trouble = trouble
        self._up.clear()
        self._changed()

    async def _wait(self, pause_s: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), pause_s)
            self._pause_s = FIRST_PAUSE_S
