"""All that travels to HQ: which rows leave next, in envelopes of what size, and what HQ's words mean for them.

It joins what is known lane by lane (sync.passage), whose turn it is (sync.schedule) and how much the link carries
(sync.pace) with the rows of the outbox.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import log
from sync.envelope import MAX_ROWS, Row, dictionary_id, pack
from sync.errors import EnvelopeInvalid
from sync.keys import key_id
from sync.linkdb import ContestedRun, KeyInUse, Place, Stuck
from sync.outbox import Outbox
from sync.pace import Pace, Rate
from sync.passage import Flight, Passage
from sync.protocol import (
    LANES,
    MAX_EPOCHS,
    Claim,
    Contested,
    Lane,
    LaneState,
    Taken,
    UpTopic,
    digest_of,
)
from sync.ranges import Ranges, Run
from sync.schedule import End, Schedule, Turn
from sync.sealed import seal

LINGER_S: dict[Lane, float] = {"now": 0.0, "day": 1.0, "bulk": 1.0}
"""How long the first rows of a lane wait for more, to share an envelope."""
MOST_RECORD_BYTES = 1 << 20
"""In one envelope, before compression; one longer record travels alone."""
FIRST_RATIO = 2.0
SMALL_BYTES = 16 << 10
"""A longer body finds its own repeats, and a dictionary only makes it longer."""
MOST_SAID = 10
"""Rows that can never travel that are logged; link.db names them all."""

MOST_REMEMBERED = 4096
"""Envelopes and claims whose acknowledgement may still come, though they were given up."""

_ANOTHER_BOX = "another box has this one's key; enrol this one anew."

Publish = Callable[[Lane | Literal["claim"], bytes], int | None]


class Traffic:
    """One site's rows on their way. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        site: str,
        key: Ed25519PrivateKey,
        backlog: End,
        delivered: Mapping[Place, Ranges],
        contested: Collection[ContestedRun] = (),
    ) -> None:
        self.pace = Pace()
        self.rows_rate = Rate()
        self.bytes_rate = Rate()
        self.stuck: dict[tuple[Place, int], Stuck] = {}
        self.contested = list(contested)
        self.key = KeyInUse(key_id=key_id(key.public_key()))
        self._site = site
        self._key = key
        self._schedule = Schedule(backlog)
        self._passages = {place: Passage(ranges) for place, ranges in delivered.items()}
        self._epochs: list[int] = []
        self._changed: set[Place] = set()
        self._ratio: dict[Lane, float] = dict.fromkeys(LANES, FIRST_RATIO)
        self._waits_since_s: dict[Lane, float] = {}
        self._tokens: dict[int, Passage] = {}
        self._under_way_bytes = 0
        self._left: dict[Taken, None] = {}
        """What left lately, the oldest first."""
        for run in contested:
            self._passage(run.epoch, run.lane).contested |= Ranges(((run.first_seq, run.last_seq),))

    def remember(self, key: KeyInUse | None, outbox: Outbox) -> None:
        """What was kept of the site's key, which may be another one than it has now."""
        if key is not None and key.key_id == self.key.key_id:
            self.key = key
        elif key is not None:
            self.key = msgspec.structs.replace(self.key, former_epoch=max(outbox.epochs(), default=0))

    # ---- what there is

    def look(self, outbox: Outbox) -> None:
        """See what has been written since the last look."""
        if outbox.changed():
            self._epochs = outbox.epochs()
            for epoch in self._epochs:
                for lane in LANES:
                    self._passage(epoch, lane).grow(outbox.newest(epoch, lane))

    @property
    def rows(self) -> int:
        """How many rows there ever were in the epochs of the journal."""
        return sum(passage.newest_seq for _, passage in self._known())

    @property
    def waiting(self) -> int:
        """How many numbers are not known to be at HQ."""
        return sum(len(passage.waiting) for _, passage in self._known())

    def lane_states(self, outbox: Outbox) -> tuple[LaneState, ...]:
        """What HQ is told of each lane, newest epochs first."""
        return tuple(
            LaneState(
                epoch=epoch,
                lane=lane,
                newest_seq=passage.newest_seq,
                waiting=len(passage.waiting),
                waiting_since=outbox.oldest_at(epoch, lane, passage.waiting),
            )
            for (epoch, lane), passage in self._known()[: MAX_EPOCHS * len(LANES)]
        )

    def changed(self) -> dict[Place, Ranges]:
        """What HQ has of the lanes where that changed since the last call."""
        changed = {place: self._passages[place].delivered for place in self._changed}
        self._changed.clear()
        return changed

    def refused(self) -> str:
        """One sentence on rows that HQ does not take although it answers; '' if there are none."""
        for (_, lane), passage in self._known():
            run = passage.refused()
            if run is not None:
                return f"HQ answers, but does not acknowledge records {run[0]} to {run[1]} of lane {lane}."
        return ""

    # ---- what HQ says

    def believe(self, has: Mapping[Place, Ranges]) -> str:
        """HQ holds these numbers of the epochs that it was told of, and no others; gives a sentence if it holds some
        that this site never gave out."""
        foreign = ""
        for (epoch, lane), passage in self._known()[: MAX_EPOCHS * len(LANES)]:
            place = (epoch, lane)
            before, told = passage.delivered, has.get(place, Ranges())
            foreign = self._foreign(epoch, lane, told.top) or foreign
            passage.believe(told)
            missing = before - passage.delivered
            if missing:
                log.warning("HQ has fewer rows than before", epoch=epoch, lane=lane, rows=len(missing))
                self._changed.add(place)
        self._settle()
        return foreign

    def take(self, taken: Iterable[Taken], now_s: float) -> list[Taken]:
        """HQ has committed these rows; gives those that are ours."""
        ours = []
        for run in taken:
            if run not in self._left:
                self._doubt(self._foreign(run.epoch, run.lane, run.last_seq))
                continue
            ours.append(run)
            place = (run.epoch, run.lane)
            for flight in self._passages[place].take((run.first_seq, run.last_seq)):
                if not flight.tries:
                    self.pace.taken(flight.size_bytes, flight.ahead_bytes, flight.left_s, now_s)
                self.rows_rate.add(flight.rows, now_s)
                self.bytes_rate.add(flight.size_bytes, now_s)
            self._changed.add(place)
        self._settle()
        return ours

    def contest(self, contested: Iterable[Contested]) -> None:
        """HQ holds other records under these numbers of envelopes, which may be ours."""
        for one in contested:
            envelope = one.envelope
            if envelope.epoch > self.key.former_epoch:
                self._doubt(
                    f"HQ got different records under numbers {one.runs[0][0]} to {one.runs[-1][1]} of lane "
                    f"{envelope.lane} of this site: {_ANOTHER_BOX}"
                )
            if envelope not in self._left:
                continue
            passage = self._passages[envelope.epoch, envelope.lane]
            for first_seq, last_seq in passage.contest((envelope.first_seq, envelope.last_seq), Ranges(one.runs)).runs:
                self.contested.append(
                    ContestedRun(epoch=envelope.epoch, lane=envelope.lane, first_seq=first_seq, last_seq=last_seq)
                )
                self._changed.add((envelope.epoch, envelope.lane))
        self._settle()

    def _foreign(self, epoch: int, lane: Lane, seq: int) -> str:
        """One sentence if HQ has a number of the newest epoch that this site never gave; ''. Of the epochs before, a
        journal restored from a replica may lack some that it gave."""
        newest_seq = self._passage(epoch, lane).newest_seq
        if not self._epochs or not self._epochs[-1] == epoch > self.key.former_epoch or seq <= newest_seq:
            return ""
        return (
            f"HQ holds record {seq} of lane {lane} under this site's name, but the newest here is {newest_seq}: "
            f"{_ANOTHER_BOX}"
        )

    def _doubt(self, sentence: str) -> None:
        if sentence and not self.key.doubt:
            log.error("another box uses this site's identity", reason=sentence)
            self.key = msgspec.structs.replace(self.key, doubt=sentence)

    def arrive(self, token: int, now_s: float) -> None:
        """The broker has this envelope."""
        passage = self._tokens.get(token)
        if passage is not None:
            passage.arrive(token, now_s + self.pace.timeout_s)

    def forget_dictionary(self, dictionary: str) -> None:
        """HQ does not know this dictionary: what named it leaves again."""
        for passage in self._passages.values():
            passage.forget_dictionary(dictionary)
        self._settle()

    def silent_since(self) -> tuple[float, bool]:
        """When the oldest of what is under way left (inf: nothing is), and whether the broker has any of it."""
        flights = [flight for passage in self._passages.values() for flight in passage.flights.values()]
        return (
            min((flight.left_s for flight in flights), default=math.inf),
            any(flight.due_s < math.inf for flight in flights),
        )

    def expire(self, now_s: float) -> None:
        """Give up what HQ should have acknowledged by now; it leaves again."""
        late = [flight for passage in self._passages.values() for flight in passage.expire(now_s)]
        # What HQ did not acknowledge before says nothing of the link.
        if any(not flight.tries for flight in late):
            self.pace.silent(now_s)
        if late:
            self._settle()

    def silence(self, now_s: float) -> None:
        """HQ does not answer: nothing is under way any more."""
        for passage in self._passages.values():
            passage.silence(now_s)
        self._settle()

    def restart(self) -> None:
        """The connection is lost, and with it what was under way; the next one may be quite another."""
        for passage in self._passages.values():
            passage.restart()
        self._settle()
        self.pace = Pace()

    # ---- what leaves

    def hurry(self) -> None:
        """Let nothing wait for more."""
        self._waits_since_s = dict.fromkeys(LANES, -math.inf)

    def send(self, outbox: Outbox, publish: Publish, dictionary: bytes, now_s: float) -> None:
        """Let envelopes leave while the link has room; those whose dictionary is `dictionary`, if there is one."""
        while self._under_way_bytes < self.pace.window_bytes:
            due = [lane for lane in LANES if self._is_due(lane, now_s)]
            if not due:
                return
            turn = self._schedule.next(due)
            size_bytes = self._send_turn(outbox, turn, publish, dictionary, now_s)
            if size_bytes is None:
                return
            self._schedule.left(turn, size_bytes, due)

    def _is_due(self, lane: Lane, now_s: float) -> bool:
        passages = [passage for place, passage in self._known() if place[1] == lane]
        if all(passage.next_run("oldest", now_s) is None for passage in passages):
            self._waits_since_s.pop(lane, None)
            return False
        waited_s = now_s - self._waits_since_s.setdefault(lane, now_s)
        return waited_s >= LINGER_S[lane] or sum(len(passage.open) for passage in passages) >= MAX_ROWS

    def _send_turn(self, outbox: Outbox, turn: Turn, publish: Publish, dictionary: bytes, now_s: float) -> int | None:
        """Let one envelope leave; gives its bytes, 0 if there was none after all, and None if the link takes none."""
        place, run = self._next_run(turn, now_s)
        passage = self._passages[place]
        if passage.is_claimable(run):
            return self._claim(outbox, place, run, turn.end, publish, now_s)
        most_bytes = min(MOST_RECORD_BYTES, int(self.pace.envelope_bytes * self._ratio[turn.lane]))
        rows = outbox.rows(*place, run, turn.end, most_bytes)
        if not rows:
            passage.mark_absent(outbox.gap(*place, run, turn.end))
            return 0
        if sum(len(row.record) for row in rows) > SMALL_BYTES:
            dictionary = b""
        try:
            envelope = self._pack(place, rows, dictionary)
        except EnvelopeInvalid:
            if not self._set_aside(place, passage, rows):
                raise
            return 0
        token = publish(turn.lane, envelope)
        if token is None:
            return None
        covered: Run = (rows[0].first_seq, rows[-1].seq)
        flight = Flight(
            run=covered,
            rows=len(rows),
            size_bytes=len(envelope),
            ahead_bytes=self._under_way_bytes,
            left_s=now_s,
            dictionary=dictionary_id(dictionary) if dictionary else "",
            tries=passage.tries(covered),
        )
        self._leave(place, token, flight, digest_of(row.id for row in rows))
        ratio = sum(len(row.record) for row in rows) / flight.size_bytes
        self._ratio[turn.lane] += (max(0.5, ratio) - self._ratio[turn.lane]) / 4
        return flight.size_bytes

    def _claim(self, outbox: Outbox, place: Place, run: Run, end: End, publish: Publish, now_s: float) -> int | None:
        """Let one claim leave in the place of an envelope; gives what `_send_turn` gives."""
        passage = self._passages[place]
        found = outbox.records(*place, run, end)
        if found is None:  # a row of kind gone is there, or none at all
            rows_there = outbox.rows(*place, run, end, 1)
            passage.send_at_once((rows_there[0].first_seq, rows_there[-1].seq) if rows_there else run)
            return 0
        covered, ids = found
        epoch, lane = place
        rows = Taken(epoch=epoch, lane=lane, first_seq=covered[0], last_seq=covered[1], digest=digest_of(ids))
        topic = str(UpTopic(self._site, "claim"))
        claim = seal(self._key, topic, Claim(site=self._site, rows=rows))
        token = publish("claim", claim)
        if token is None:
            return None
        flight = Flight(
            run=covered,
            rows=len(ids),
            size_bytes=len(claim),
            ahead_bytes=self._under_way_bytes,
            left_s=now_s,
            is_claim=True,
            tries=passage.tries(covered),
        )
        self._leave(place, token, flight, rows.digest)
        return flight.size_bytes

    def _leave(self, place: Place, token: int, flight: Flight, digest: bytes) -> None:
        epoch, lane = place
        passage = self._passages[place]
        passage.leave(token, flight)
        self._tokens[token] = passage
        self._under_way_bytes += flight.size_bytes
        first_seq, last_seq = flight.run
        self._left[Taken(epoch=epoch, lane=lane, first_seq=first_seq, last_seq=last_seq, digest=digest)] = None
        while len(self._left) > MOST_REMEMBERED:
            del self._left[next(iter(self._left))]

    def _next_run(self, turn: Turn, now_s: float) -> tuple[Place, Run]:
        places = [place for place, _ in self._known() if place[1] == turn.lane]
        for place in places if turn.end == "newest" else reversed(places):
            run = self._passages[place].next_run(turn.end, now_s)
            if run is not None:
                return place, run
        raise AssertionError(f"nothing waits in lane {turn.lane}, though it is due")

    def _set_aside(self, place: Place, passage: Passage, rows: list[Row]) -> bool:
        """Leave out the rows that do not pack even alone, so that the others go on; False if there is none."""
        epoch, lane = place
        known = len(self.stuck)
        for row in rows:
            try:
                self._pack(place, [row], b"")
            except EnvelopeInvalid as fault:
                passage.mark_stuck((row.first_seq, row.seq))
                self.stuck[place, row.seq] = Stuck(epoch=epoch, lane=lane, seq=row.seq, reason=str(fault))
                if len(self.stuck) <= MOST_SAID:
                    log.error("a record can never travel", epoch=epoch, lane=lane, seq=row.seq, reason=str(fault))
        return len(self.stuck) > known

    def _pack(self, place: Place, rows: list[Row], dictionary: bytes) -> bytes:
        return pack(self._key, site=self._site, epoch=place[0], lane=place[1], rows=rows, dictionary=dictionary)

    def _passage(self, epoch: int, lane: Lane) -> Passage:
        return self._passages.setdefault((epoch, lane), Passage())

    def _known(self) -> list[tuple[Place, Passage]]:
        """The lanes of the journal's epochs, newest epoch first."""
        return [((epoch, lane), self._passages[epoch, lane]) for epoch in reversed(self._epochs) for lane in LANES]

    def _settle(self) -> None:
        """Count anew what is under way."""
        self._tokens = {token: passage for passage in self._passages.values() for token in passage.flights}
        self._under_way_bytes = sum(
            flight.size_bytes for passage in self._passages.values() for flight in passage.flights.values()
        )
