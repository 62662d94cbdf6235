"""Calls that are going on: which legs belong together, and when a call begins and ends.

A call is accepted when its first leg begins. It ends when none of its legs has been there for a while: the second party
may be connected later, or again.
"""

import asyncio
from typing import Annotated
from uuid import UUID

import msgspec
import structlog

from edge.errors import JournalError
from edge.events import Call, Event, new_id, now_us
from edge.site import Live
from edge.store.journal import Journal, Offer
from edge.store.room import Room
from edge.store.sound import Leg, LegInfo, LiveSound

NAME = r"\A[\w.@+-]{1,64}\Z"
KEPT_REGISTRATIONS = 1000
SYNC_S = 1.0
HASTE, HASTE_S = 1.5, 3.0
"""A leg may bring so many times the sound that there has been time for, and so much at once."""

log = structlog.get_logger()

Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Short = Annotated[str, msgspec.Meta(max_length=200)]


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a leg: `call` names its call (legs of one name belong together; '': it is alone), `channel` who
    speaks on it: agent, customer, or both."""

    call: Annotated[str, msgspec.Meta(max_length=64)] = ""
    channel: Name = "both"
    customer: Short = ""
    agent: Short = ""
    direction: Annotated[str, msgspec.Meta(pattern=r"\A(in|out)?\Z")] = ""
    language: Short = ""


class Declined(Exception):
    """A leg that is not taken, and why in a sentence."""


class _GoingOn:
    """A call with the legs that are there now."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.legs: set[Leg] = set()
        self.hasty: set[Leg] = set()
        self.leaving: asyncio.TimerHandle | None = None


class LiveCalls:
    """The calls that are going on. All of it in one event loop."""

    def __init__(self, journal: Journal, sound: LiveSound, room: Room, settings: Live, language: str) -> None:
        self._journal = journal
        self._sound = sound
        self._room = room
        self._settings = settings
        self._language = language
        self._calls: dict[str, _GoingOn] = {}
        self._registered: dict[UUID, About] = {}
        self._left: list[Leg] = []  # since their sound was last brought to the disk
        self._joining = asyncio.Lock()
        self._full = ""

    def register(self, uuid: UUID, about: About) -> None:
        """What is known of the leg that will come with this UUID."""
        self._registered.pop(uuid, None)
        self._registered[uuid] = about
        while len(self._registered) > KEPT_REGISTRATIONS:
            del self._registered[next(iter(self._registered))]

    def registered(self, uuid: UUID) -> About:
        """What was said of the leg that comes with this UUID; nothing, if nobody said anything."""
        return self._registered.get(uuid, About())

    @property
    def legs(self) -> int:
        """How many legs are there now."""
        return sum(len(call.legs) for call in self._calls.values())

    async def join(self, about: About, rate_hz: int, *, phrases: tuple[str, ...] = (), alternatives: int = 0) -> Leg:
        """A leg begins. Raises Declined when it cannot be taken."""
        async with self._joining:
            if self.legs >= self._settings.most_legs:
                raise Declined(f"{self.legs} legs are heard already, most_legs of [live] is {self._settings.most_legs}")
            shut = self._room.shut()
            if shut:
                raise Declined(shut)
            name = about.call or new_id()
            call = self._calls.get(name)
            if call is None:
                try:
                    call = self._calls[name] = _GoingOn(await self._begin(about, rate_hz))
                except JournalError as fault:
                    raise Declined(str(fault)) from None
            try:
                leg = await asyncio.to_thread(  # it waits for the disk
                    self._sound.begin,
                    call.event.id,
                    LegInfo(
                        channel=about.channel,
                        rate_hz=rate_hz,
                        offset_s=max(0.0, (now_us() - call.event.at) / 1e6),
                        phrases=phrases,
                        alternatives=alternatives,
                    ),
                )
            except (OSError, ValueError) as fault:
                if not call.legs and call.leaving is None:  # a call that never had a leg
                    self._end(call)
                raise Declined(str(fault)) from None
            call.legs.add(leg)
            if call.leaving is not None:
                call.leaving.cancel()
                call.leaving = None
        self._sound.changed(call.event.id)
        log.info("a leg begins", call=call.event.id, channel=about.channel, rate_hz=rate_hz)
        return leg

    def append(self, leg: Leg, pcm: bytes) -> int:
        """More sound of a leg; gives how many bytes there are now. Raises Declined when the disk is at its floor or the
        call has become too long: what there is of it stays and is heard."""
        if self._full:
            raise Declined(self._full)
        if leg.duration_s > self._settings.longest_minutes * 60:
            raise Declined(f"the leg is longer than longest_minutes of [live] ({self._settings.longest_minutes:g})")
        try:
            size = leg.append(pcm)
        except OSError as fault:
            raise Declined(f"its sound cannot be kept: {fault.strerror}") from None
        self._sound.changed(self._call_of(leg).event.id)
        return size

    def close_utterance(self, leg: Leg) -> int:
        """Have the utterance that goes on end; gives how many bytes the leg has."""
        size = leg.close_utterance()
        self._sound.changed(self._call_of(leg).event.id)
        return size

    def leave(self, leg: Leg) -> None:
        """A leg has ended."""
        call = self._call_of(leg)
        call.legs.discard(leg)
        leg.end()
        self._left.append(leg)
        self._sound.changed(call.event.id)
        log.info("a leg ends", call=call.event.id, channel=leg.info.channel, seconds=round(leg.duration_s, 1))
        if not call.legs:
            loop = asyncio.get_running_loop()
            call.leaving = loop.call_later(self._settings.rejoin_seconds, self._end, call)

    def end(self) -> None:
        """The gateway ends, and every call with it: what was recorded is heard to its end after the next start."""
        for call in list(self._calls.values()):
            for leg in list(call.legs):
                leg.end()

    async def keep_on_disk(self) -> None:
        """Have what is recorded on the disk, and see that there is room for more, once a second, without an end."""
        while True:
            await asyncio.sleep(SYNC_S)
            self._full = self._room.full()
            for call in self._calls.values():
                self._look_at_pace(call)
            legs, self._left = [*self._left, *(leg for call in self._calls.values() for leg in call.legs)], []
            for leg in legs:
                try:
                    await asyncio.to_thread(leg.sync)
                except OSError as fault:
                    log.warning("sound is not on the disk yet", reason=str(fault))

    def _look_at_pace(self, call: _GoingOn) -> None:
        """Say so, once, of a leg that brings much more sound than there has been time to speak."""
        for leg in call.legs - call.hasty:
            passed_s = (now_us() - call.event.at) / 1e6 - leg.info.offset_s
            if leg.duration_s > HASTE * passed_s + HASTE_S:
                call.hasty.add(leg)
                log.warning(
                    "a leg brings sound faster than anybody speaks: it is no live call, or its sample rate is another",
                    call=call.event.id,
                    channel=leg.info.channel,
                    rate_hz=leg.info.rate_hz,
                    seconds=round(leg.duration_s, 1),
                    passed_s=round(passed_s, 1),
                )

    async def _begin(self, about: About, rate_hz: int) -> Event:
        at = now_us()
        call_id = new_id()
        pair = about.call and about.channel in ("agent", "customer")
        event = Event(
            id=call_id,
            at=at,
            source="live",
            subject=about.customer or about.call or call_id,
            received_at=at,
            boot_id=self._journal.boot_id,
            data=Call(
                audio=f"{call_id}.flac",
                duration_s=0.0,
                sample_rate_hz=rate_hz,
                channels=("agent", "customer") if pair else (about.channel,),
                language=about.language or self._language,
                customer=about.customer,
                agent=about.agent,
                direction=about.direction,  # type: ignore[arg-type]  # its pattern says so
                live=True,
            ),
        )
        self._sound.open(call_id)
        try:
            await asyncio.wrap_future(self._journal.accept([Offer(events=[(None, event)])]))
        except JournalError:
            self._sound.end(call_id)
            raise
        return event

    def _call_of(self, leg: Leg) -> _GoingOn:
        return next(call for call in self._calls.values() if leg in call.legs)

    def _end(self, call: _GoingOn) -> None:
        name = next(name for name, known in self._calls.items() if known is call)
        del self._calls[name]
        self._sound.end(call.event.id)
