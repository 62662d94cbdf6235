"""One lane of one epoch on its way to HQ: what HQ has, what is under way, and what may leave next.

Numbers, not rows: the outbox is read for what is chosen here. What was not acknowledged in time leaves again. What was
not acknowledged twice, though HQ answered in between, rests and leaves in ever smaller pieces, so that one row that HQ
will not take holds up no other; that one rests ever longer.

Only HQ's word on this site's own rows makes a number delivered. That HQ holds a number is no such word: another box
with this site's identity may have used it. So such numbers are claimed, which costs little, and sent if that fails.
"""

import math

import msgspec

from sync.ranges import Ranges, Run
from sync.schedule import End

FIRST_REST_S = 5.0
LONGEST_REST_S = 300.0
MANY_TRIES = 5
"""After so many a person is told."""

NONE = Ranges()


class Flight(msgspec.Struct, kw_only=True):
    """An envelope, or a claim, under way with the numbers `run`, after `tries` others with some of them that HQ did not
    acknowledge.

    `ahead_bytes` were under way when it left. `due_s` is when to give it up: known only from when the broker has it,
    because until then it is on its way in a connection that loses nothing.
    """

    run: Run
    rows: int
    size_bytes: int
    ahead_bytes: int
    left_s: float
    dictionary: str = ""
    is_claim: bool = False
    tries: int = 0
    due_s: float = math.inf


class Piece(msgspec.Struct, frozen=True):
    """Numbers that HQ has not acknowledged `tries` times; they rest until `due_s`."""

    run: Run
    tries: int
    due_s: float


class Passage:
    """The numbers of one lane up to `newest_seq`. Times are seconds of a monotonic clock."""

    def __init__(self, delivered: Ranges = NONE) -> None:
        self.delivered = delivered
        self.contested = NONE
        self.newest_seq = 0
        self.flights: dict[int, Flight] = {}
        self._claimable = NONE
        self._claimed_in_vain = NONE
        self._absent = NONE
        self._stuck = NONE
        self._given_up = NONE
        self._pieces: list[Piece] = []
        self._open: Ranges | None = None

    @property
    def waiting(self) -> Ranges:
        """The numbers that are not known to be at HQ, without those that it holds with other records: what had these
        gets others."""
        return Ranges(((1, self.newest_seq),)) - self.delivered - self.contested

    @property
    def open(self) -> Ranges:
        """Those of them that may leave: neither under way, nor resting, nor without a row, nor unable to travel."""
        if self._open is None:
            closed = [*self.delivered.runs, *self.contested.runs, *self._absent.runs, *self._stuck.runs]
            closed += [flight.run for flight in self.flights.values()]
            closed += [piece.run for piece in self._pieces]
            self._open = Ranges(((1, self.newest_seq),)) - Ranges(closed)
        return self._open

    def grow(self, newest_seq: int) -> None:
        """The lane's newest number is this."""
        if newest_seq != self.newest_seq:
            self.newest_seq = newest_seq
            self._open = None

    def next_run(self, end: End, now_s: float) -> Run | None:
        """The run of numbers at that end of what may leave, all of it to be claimed or all to be sent; None if there is
        none."""
        rested = next((piece for piece in self._pieces if piece.due_s <= now_s), None)
        if rested is not None and (end == "oldest" or not self.open):
            run = rested.run
        elif self.open:
            run = self.open.runs[-1 if end == "newest" else 0]
        else:
            return None
        if not self._claimable:
            return run
        claimable = Ranges((run,)) & self._claimable
        parts = sorted([*claimable.runs, *(Ranges((run,)) - claimable).runs])
        return parts[-1 if end == "newest" else 0]

    def is_claimable(self, run: Run) -> bool:
        """Whether HQ says that it holds these numbers, so that it may know the rows already."""
        return run[0] in self._claimable

    def send_at_once(self, run: Run) -> None:
        """Do not claim these numbers (any more)."""
        self._claimable -= Ranges((run,))

    def tries(self, run: Run) -> int:
        """How often numbers of this run were sent and not acknowledged."""
        return max(
            (piece.tries for piece in self._pieces if _meet(piece.run, run)),
            default=1 if any(_meet(given_up, run) for given_up in self._given_up.runs) else 0,
        )

    def leave(self, token: int, flight: Flight) -> None:
        """An envelope or a claim left, and `token` is what the link calls it."""
        self.flights[token] = flight
        self.send_at_once(flight.run)
        self._pieces = _without(self._pieces, Ranges((flight.run,)))
        self._open = None

    def arrive(self, token: int, due_s: float) -> None:
        """The broker has the envelope; HQ's word on it is due then."""
        flight = self.flights.get(token)
        if flight is not None:
            flight.due_s = due_s

    def take(self, run: Run) -> list[Flight]:
        """HQ has these numbers; gives the envelopes that are no longer under way."""
        self.delivered |= Ranges((run,))
        self._forget_delivered()
        done = [token for token, flight in self.flights.items() if not Ranges((flight.run,)) - self.delivered]
        return [self.flights.pop(token) for token in done]

    def believe(self, held: Ranges) -> None:
        """HQ holds these numbers and no others."""
        self.delivered &= held
        unknown = (held & Ranges(((1, self.newest_seq),))) - self.delivered - self.contested
        self._claimable = unknown - self._claimed_in_vain
        self._absent = NONE
        self._forget_delivered()

    def contest(self, run: Run, numbers: Ranges) -> Ranges:
        """HQ took nothing of the envelope with `run`, because it holds other records under these of its numbers: the
        others leave again. Gives those that were not known to be contested."""
        new = (numbers & Ranges((run,))) - self.delivered - self.contested
        self.contested |= new
        self.flights = {token: flight for token, flight in self.flights.items() if flight.run != run}
        self._pieces = _without(self._pieces, self.contested)
        self._open = None
        return new

    def expire(self, now_s: float) -> list[Flight]:
        """Give up the envelopes whose time is over."""
        late = [token for token, flight in self.flights.items() if flight.due_s <= now_s]
        return [self._give_up(token, now_s) for token in late]

    def silence(self, now_s: float) -> None:
        """HQ says nothing at all: give up everything under way."""
        for token in list(self.flights):
            self._give_up(token, now_s)

    def restart(self) -> None:
        """The connection is lost, and with it what was under way."""
        self.flights.clear()
        self._open = None

    def forget_dictionary(self, dictionary: str) -> None:
        """HQ could not read the envelopes that name this dictionary: their rows may leave again."""
        self.flights = {token: flight for token, flight in self.flights.items() if flight.dictionary != dictionary}
        self._open = None

    def mark_absent(self, run: Run) -> None:
        """The outbox has no row for these numbers."""
        self._absent |= Ranges((run,))
        self._open = None

    def mark_stuck(self, run: Run) -> None:
        """The row with these numbers can never travel."""
        self._stuck |= Ranges((run,))
        self._open = None

    def refused(self) -> Run | None:
        """Numbers that HQ does not take although it answers; None if there are none."""
        return next((piece.run for piece in self._pieces if piece.tries >= MANY_TRIES), None)

    def _give_up(self, token: int, now_s: float) -> Flight:
        flight = self.flights.pop(token)
        missing = Ranges((flight.run,)) - self.delivered
        if flight.is_claim:
            self._claimed_in_vain |= missing
        if flight.tries:
            rest_s = FIRST_REST_S if flight.rows > 1 else FIRST_REST_S * 2 ** min(flight.tries, 16)
            due_s = now_s + min(LONGEST_REST_S, rest_s)
            for first, last in missing.runs:
                middle = (first + last) // 2
                halves = ((first, middle), (middle + 1, last)) if flight.rows > 1 else ((first, last),)
                self._pieces += [Piece(run, flight.tries + 1, due_s) for run in halves if run[0] <= run[1]]
            self._pieces.sort(key=lambda piece: piece.due_s)
        else:
            self._given_up |= missing
        self._open = None
        return flight

    def _forget_delivered(self) -> None:
        self._given_up -= self.delivered
        self._pieces = _without(self._pieces, self.delivered)
        self._open = None


def _without(pieces: list[Piece], numbers: Ranges) -> list[Piece]:
    return [Piece(run, piece.tries, piece.due_s) for piece in pieces for run in (Ranges((piece.run,)) - numbers).runs]


def _meet(one: Run, other: Run) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
