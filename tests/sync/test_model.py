"""The protocol as a state machine that hypothesis drives: HQ ends up with what was accepted, whatever happens between.

Real are the envelope, HQ's store on SQLite, the outbox as the link reads it, and the link's Passage and Introduction;
the network, the crashes and the falls back to older copies are the machine's.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import apsw
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync import keys
from sync.envelope import Gone, Header, Row, dictionary_id, open_header, pack, unpack
from sync.errors import DictionaryUnknown
from sync.hq.errors import IdentityConflict
from sync.hq.store import Store
from sync.introduction import Introduction
from sync.outbox import Outbox
from sync.passage import Flight, Passage
from sync.protocol import LANES, Ack, Claim, Contested, Dictionary, Have, Lane, State, Taken, digest_of
from sync.ranges import Ranges
from sync.schedule import End

SITE = "mine-3"
BOOT = "one boot"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DICTIONARY = b"a dictionary of records that look like one another: 0123456789 temp_c"
AT = 1_790_000_000_000_000
TIMEOUT_S = 10.0
OUTBOX = """
CREATE TABLE outbox (
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, span INTEGER NOT NULL DEFAULT 1, kind TEXT NOT NULL,
  id TEXT NOT NULL, at INTEGER NOT NULL, boot TEXT NOT NULL, mono INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID
"""

Place = tuple[int, Lane]
Number = tuple[int, str, int]


class Said(msgspec.Struct, frozen=True):
    """A message of HQ on its way, and the life of HQ's store in which it was true: each fall back begins a new one."""

    message: Have | Ack
    life: int


class Crash(Exception):
    """HQ's process ended inside a transaction."""


lanes = st.sampled_from(LANES)
counts = st.integers(1, 6)
picks = st.integers(0, 10**6)
ends = st.sampled_from(("newest", "oldest"))


class Protocol(RuleBasedStateMachine):
    """A site, a network that may do anything but forge, and an HQ."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        here = Path(self.folder.name)
        # The site: its journal, and what its link has in memory.
        self.journal_path = here / "journal.db"
        self.journal = apsw.Connection(str(self.journal_path))
        self.journal.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        self.journal.execute(OUTBOX)
        self.outbox = self.opened()
        self.epoch = 1
        self.clock_s = 0.0
        self.tokens = 0
        self.kept_delivered: dict[Place, Ranges] = {}
        self.kept_contested: dict[Place, Ranges] = {}
        self.start_link()
        # What is on its way, either way.
        self.up: list[bytes | State | Dictionary | Claim] = []
        self.down: list[Said] = []
        # HQ.
        self.store_path = here / "hq.db"
        self.store = Store.open(self.store_path)
        self.store.enrol(SITE, keys.public_text(KEY.public_key()))
        self.life = 0
        self.ever_held: dict[Place, Ranges] = {}
        self.snapshots: list[Path] = []
        self.journal_copies: list[tuple[Path, int]] = []
        # What the judge knows.
        self.accepted: dict[Number, tuple[str, str, Any]] = {}
        self.given_up: set[Number] = set()
        self.of_strangers: set[str] = set()
        self.ids = 0
        self.copies = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.settle()
            finally:
                self.store.close()
                self.outbox.close()
                self.journal.close()
                self.folder.cleanup()

    # ---- the site ------------------------------------------------------------------------------------------------

    @rule(lane=lanes, count=counts)
    def accept(self, lane: Lane, count: int) -> None:
        """The daemon commits records, each with the next number of its lane."""
        last = self.newest(self.epoch, lane)
        for seq in range(last + 1, last + 1 + count):
            self.ids += 1
            id = f"00000000-0000-7000-8000-{self.ids:012x}"
            record = {"id": id, "temp_c": seq / 7, "text": "矿井 pump"}
            self.put(self.epoch, lane, seq, 1, "event", id, msgspec.msgpack.encode(record))
            self.accepted[self.epoch, lane, seq] = ("event", id, record)

    @rule(lane=lanes, pick=picks, count=counts)
    def let_go(self, lane: Lane, pick: int, count: int) -> None:
        """The byte budget is spent, or delivered rows are old: a run of rows becomes one row of kind gone."""
        newest = self.newest(self.epoch, lane)
        if not newest:
            return
        first = pick % newest + 1
        wanted = Ranges(((first, min(newest, first + count - 1)),))
        delivered = self.passage((self.epoch, lane)).delivered
        pruned = bool(wanted & delivered)
        wanted = wanted & delivered if pruned else wanted
        run = wanted.runs[0]
        rows = self.rows(
            "SELECT seq, span, kind, record FROM outbox WHERE epoch = ? AND lane = ? AND seq >= ? AND seq - span < ?",
            (self.epoch, lane, *run),
        )
        if any(kind == "gone" for _, _, kind, _ in rows):
            return
        self.journal.execute(
            "DELETE FROM outbox WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?", (self.epoch, lane, *run)
        )
        size = sum(len(record) for *_, record in rows)
        gone = Gone(reason="pruned" if pruned else "evicted", kinds={"event": len(rows)}, bytes=size)
        self.ids += 1
        id = f"00000000-0000-7000-8000-{self.ids:012x}"
        self.put(self.epoch, lane, run[1], len(rows), "gone", id, msgspec.msgpack.encode(gone))
        self.given_up |= {(self.epoch, lane, seq) for seq in range(run[0], run[1] + 1)}

    @rule()
    def copy_journal(self) -> None:
        """The replica has the journal as it is now."""
        self.copies += 1
        path = self.journal_path.with_name(f"replica-{self.copies}.db")
        self.journal.execute("VACUUM INTO ?", (str(path),))
        self.journal_copies = [*self.journal_copies, (path, self.epoch)][-2:]

    @rule()
    def give_other_numbers(self) -> None:
        """The daemon: what has a number that HQ holds with another record gets one in a new epoch."""
        places = [
            (epoch, lane, seq)
            for (epoch, lane), contested in sorted(self.kept_contested.items())
            for (seq,) in self.numbers(epoch, lane)
            if seq in contested and self.has_record((epoch, lane, seq))
        ]
        if places:
            self.epoch += 1
        for epoch, lane, seq in places:
            new = self.newest(self.epoch, lane) + 1
            self.journal.execute(
                "UPDATE outbox SET epoch = ?, seq = ? WHERE epoch = ? AND lane = ? AND seq = ?",
                (self.epoch, new, epoch, lane, seq),
            )
            self.accepted[self.epoch, lane, new] = self.accepted.pop((epoch, lane, seq))

    # What HQ lost, and what a replica has not, others may take: docs/sync.md says that this is not covered.
    @precondition(lambda self: self.journal_copies and not self.of_strangers)
    @rule(pick=picks)
    def restore_site(self, pick: int) -> None:
        """The box is lost; another takes its place with what the replica had, and a new epoch. What neither the replica
        nor HQ has is named by HQ."""
        path, _ = self.journal_copies[pick % len(self.journal_copies)]
        self.outbox.close()
        self.journal.close()
        for suffix in ("", "-wal", "-shm"):
            self.journal_path.with_name(self.journal_path.name + suffix).unlink(missing_ok=True)
        self.journal_path.write_bytes(path.read_bytes())
        self.journal = apsw.Connection(str(self.journal_path))
        self.journal.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        self.outbox = self.opened()
        # What reached nobody is gone for good; what is still on its way may come.
        for epoch, lane in {(epoch, lane) for epoch, lane, _ in self.accepted}:
            there = {seq for (seq,) in self.numbers(epoch, lane)}
            beyond = {seq for e, name, seq in self.accepted if (e, name) == (epoch, lane)} - there
            if beyond:
                with self.store.transaction([SITE]):
                    self.store.lose(SITE, epoch, lane, Ranges((seq, seq) for seq in beyond), AT)
                self.note_held()
            self.given_up |= {(epoch, lane, seq) for seq in beyond}
        self.given_up -= {number for number in self.given_up if number in self.accepted and self.has_record(number)}
        self.journal_copies = []
        self.epoch += 1
        self.kept_delivered, self.kept_contested = {}, {}
        self.start_link()

    # ---- the link ------------------------------------------------------------------------------------------------

    def start_link(self) -> None:
        """A new process of the link, with what link.db has."""
        self.introduction = Introduction()
        self.passages = {place: Passage(delivered) for place, delivered in self.kept_delivered.items()}
        for place, contested in self.kept_contested.items():
            self.passages.setdefault(place, Passage()).contested = contested
        self.left: set[Taken] = set()
        self.introduced = False
        # Words of HQ from before a fall back are not true any more; these say where such a word still has an effect.
        self.misled = True
        self.misled_questions: set[str] = set()

    @rule()
    def link_is_killed(self) -> None:
        self.keep()
        self.start_link()

    @rule()
    def link_db_is_lost(self) -> None:
        self.kept_delivered, self.kept_contested = {}, {}
        self.start_link()

    @rule()
    def ask(self) -> None:
        """The link introduces itself."""
        name = self.introduction.begin(self.clock_s)
        self.clock_s += 1.0
        self.up.append(
            State(
                site=SITE,
                state="up",
                connection="c",
                introduction=name,
                at=AT,
                boot=BOOT,
                mono=int(self.clock_s * 1e6),
            )
        )

    @rule(lane=lanes, end=ends, most=st.integers(1, 5), dictionary=st.booleans())
    def send(self, lane: Lane, end: End, most: int, dictionary: bool) -> None:
        """One envelope leaves from an end of what waits in a lane, of the oldest epoch first."""
        if not self.introduced:
            return
        for epoch in self.outbox.epochs():
            passage = self.passage((epoch, lane))
            run = passage.next_run(end, self.clock_s)
            if run is None:
                continue
            if passage.is_claimable(run) and self.claim(epoch, lane, run, end):
                return
            rows = self.outbox.rows(epoch, lane, run, end, 1 << 20, most)
            if not rows:
                passage.mark_absent(self.outbox.gap(epoch, lane, run, end))
                continue
            content = DICTIONARY if dictionary else b""
            envelope = pack(KEY, site=SITE, epoch=epoch, lane=lane, rows=rows, dictionary=content)
            self.tokens += 1
            covered = (rows[0].first_seq, rows[-1].seq)
            flight = Flight(
                run=covered,
                rows=len(rows),
                size_bytes=len(envelope),
                ahead_bytes=0,
                left_s=self.clock_s,
                dictionary=dictionary_id(content) if content else "",
                tries=passage.tries(covered),
                due_s=self.clock_s + TIMEOUT_S,
            )
            self.leave(epoch, lane, flight, digest_of(row.id for row in rows))
            self.up.append(envelope)
            return

    def claim(self, epoch: int, lane: Lane, run: tuple[int, int], end: End) -> bool:
        found = self.outbox.records(epoch, lane, run, end)
        if found is None:
            return False
        covered, ids = found
        self.tokens += 1
        tries = self.passage((epoch, lane)).tries(covered)
        flight = Flight(
            run=covered,
            rows=len(ids),
            size_bytes=1,
            ahead_bytes=0,
            left_s=self.clock_s,
            is_claim=True,
            tries=tries,
            due_s=self.clock_s + TIMEOUT_S,
        )
        self.up.append(Claim(site=SITE, rows=self.leave(epoch, lane, flight, digest_of(ids))))
        return True

    def leave(self, epoch: int, lane: Lane, flight: Flight, digest: bytes) -> Taken:
        self.passage((epoch, lane)).leave(self.tokens, flight)
        first_seq, last_seq = flight.run
        rows = Taken(epoch=epoch, lane=lane, first_seq=first_seq, last_seq=last_seq, digest=digest)
        self.left.add(rows)
        return rows

    @rule()
    def time_passes(self) -> None:
        """What was not acknowledged in time may leave again."""
        self.clock_s += TIMEOUT_S
        for passage in self.passages.values():
            passage.expire(self.clock_s)

    @precondition(lambda self: self.down)
    @rule(pick=picks, again=st.booleans())
    def hear(self, pick: int, again: bool) -> None:
        """A word of HQ comes, in any order, perhaps not for the last time."""
        said = self.down[pick % len(self.down)]
        if not again:
            self.down.remove(said)
        match said.message:
            case Have(introduction=name, lanes=held):
                has = self.introduction.answer(name, held, self.clock_s)
                if has is None:
                    return
                for place in {*self.passages, *self.places(), *has}:
                    self.passage(place).believe(has.get(place, Ranges()))
                self.introduced = True
                self.misled = said.life != self.life or name in self.misled_questions
            case Ack(taken=taken, unknown_dictionaries=unknown, contested=contested):
                for part in taken:
                    if part in self.left:
                        self.introduction.take(part)
                        self.passage((part.epoch, part.lane)).take((part.first_seq, part.last_seq))
                for one in contested:
                    part = one.envelope
                    if part in self.left:
                        run = (part.first_seq, part.last_seq)
                        self.passage((part.epoch, part.lane)).contest(run, Ranges(one.runs))
                for id in unknown:
                    for passage in self.passages.values():
                        passage.forget_dictionary(id)
                    self.up.append(Dictionary(site=SITE, id=id, content=DICTIONARY))
                if said.life != self.life:
                    self.misled = True
                    self.misled_questions |= set(self.introduction._pending)
        self.keep()

    def keep(self) -> None:
        self.kept_delivered = {place: passage.delivered for place, passage in self.passages.items()}
        self.kept_contested = {place: passage.contested for place, passage in self.passages.items()}

    # ---- the network ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.up)
    @rule(pick=picks)
    def lose_up(self, pick: int) -> None:
        self.up.pop(pick % len(self.up))

    @precondition(lambda self: self.down)
    @rule(pick=picks)
    def lose_down(self, pick: int) -> None:
        self.down.pop(pick % len(self.down))

    # ---- HQ ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.up)
    @rule(pick=picks, again=st.booleans(), fate=st.sampled_from(("works", "dies before commit", "dies after commit")))
    def receive(self, pick: int, again: bool, fate: str) -> None:
        """A receiver takes a message, in any order; one that dies has not told the broker that it took it."""
        message = self.up[pick % len(self.up)]
        answer: Have | Ack | None = None
        with contextlib.suppress(Crash), self.store.transaction([SITE]):
            answer = self.take(message)
            if fate == "dies before commit":
                raise Crash
        self.note_held()
        if fate != "works":
            return
        if answer is not None:
            self.down.append(Said(answer, self.life))
        if not again:
            self.up.remove(message)

    def take(self, message: bytes | State | Dictionary | Claim) -> Have | Ack | None:
        """What a receiver does with a message inside a transaction, and what it answers after the commit."""
        if isinstance(message, State):
            if not self.store.note_state(message, AT):
                return None
            return Have(
                site=SITE,
                introduction=message.introduction,
                at=AT,
                lanes=self.store.have(SITE),
                dictionaries=self.store.dictionaries(SITE),
            )
        if isinstance(message, Dictionary):
            self.store.learn_dictionary(message, AT)
            return Ack(site=SITE, at=AT, dictionaries=(message.id,))
        if isinstance(message, Claim):
            return Ack(site=SITE, at=AT, taken=(message.rows,)) if self.store.holds(SITE, message.rows) else None
        try:
            header, rows = unpack(message, KEY.public_key(), lambda id: self.store.dictionary(SITE, id))
        except DictionaryUnknown:
            return Ack(site=SITE, at=AT, unknown_dictionaries=(str(open_header(message).dictionary),))
        try:
            return Ack(site=SITE, at=AT, taken=(self.store.apply(header, rows, AT),))
        except IdentityConflict as fault:
            return Ack(site=SITE, at=AT, contested=(Contested(envelope=fault.envelope, runs=fault.numbers.runs),))

    @precondition(lambda self: self.life == 0)
    @rule(lane=lanes, above=st.integers(-5, 10), count=counts)
    def a_stranger_uses_the_identity(self, lane: Lane, above: int, count: int) -> None:
        """Another box with the site's key gives numbers near the site's newest, and HQ takes what it has not got."""
        first = max(1, self.newest(self.epoch, lane) + above)
        rows = []
        for seq in range(first, first + count):
            self.ids += 1
            id = f"00000000-0000-7000-9000-{self.ids:012x}"
            rows.append(Row(seq, "event", id, AT, BOOT, seq, msgspec.Raw(msgspec.msgpack.encode({"id": id}))))
        last = first + count - 1
        header = Header(
            site=SITE, epoch=self.epoch, lane=lane, first_seq=first, last_seq=last, count=count, key_id="0" * 16
        )
        with contextlib.suppress(IdentityConflict), self.store.transaction([SITE]):
            self.store.apply(header, rows, AT)
            self.of_strangers |= {row.id for row in rows}
        self.note_held()

    @rule()
    def forget_dictionaries(self) -> None:
        with self.store.transaction([SITE]):
            self.store.database.execute("DELETE FROM dictionaries WHERE site = ?", SITE)
        self.store.close()
        self.store = Store.open(self.store_path)

    @rule()
    def back_up_hq(self) -> None:
        self.copies += 1
        path = self.store_path.with_name(f"copy-{self.copies}.db")
        with contextlib.closing(apsw.Connection(str(self.store_path))) as source:
            source.execute("VACUUM INTO ?", (str(path),))
        self.snapshots = [*self.snapshots, path][-2:]

    @precondition(lambda self: self.snapshots and not self.of_strangers)
    @rule(pick=picks)
    def hq_falls_back(self, pick: int) -> None:
        """HQ's disk dies; an older copy takes its place."""
        self.store.close()
        for suffix in ("", "-wal", "-shm"):
            self.store_path.with_name(self.store_path.name + suffix).unlink(missing_ok=True)
        self.store_path.write_bytes(self.snapshots[pick % len(self.snapshots)].read_bytes())
        self.store = Store.open(self.store_path)
        self.life += 1
        self.misled = True

    # ---- the end of a story --------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        """The network works for a while: then HQ has what was accepted, exactly."""
        self.up.clear()
        self.down.clear()
        for _ in range(200):
            self.ask()
            while self.up or self.down:
                self.flush()
            assert self.introduced
            self.give_other_numbers()
            if not any(self.waiting(place) for place in self.places()):
                break
            for _ in range(400):
                before = len(self.up)
                for lane in LANES:
                    self.send(lane, "oldest", 5, False)
                if len(self.up) == before:
                    break
            while self.up or self.down:
                self.flush()
            self.clock_s += 400.0
            for passage in self.passages.values():
                passage.expire(self.clock_s)
        else:
            raise AssertionError(f"still waiting: {[(p, self.waiting(p)) for p in self.places()]}")
        self.judge()

    def flush(self) -> None:
        """Everything on its way arrives, in order and once."""
        while self.up:
            self.receive(0, False, "works")
        while self.down:
            self.hear(0, False)

    def judge(self) -> None:
        """HQ against what was accepted."""
        found: list[tuple[Any, ...]] = self.store.database.select(
            "SELECT epoch, lane, seq, kind, id, record FROM received WHERE site = ?", SITE
        )
        at_hq = {
            (epoch, lane, seq): (kind, id, msgspec.json.decode(record)) for epoch, lane, seq, kind, id, record in found
        }
        assert len({id for _, id, _ in at_hq.values()}) == len(at_hq), "doubled"
        taken_by_strangers = {number for number, (_, id, _) in at_hq.items() if id in self.of_strangers}
        for number in taken_by_strangers:
            assert number not in self.accepted or number in self.given_up, "taken for delivered, but another's"
            del at_hq[number]
        for number, record in at_hq.items():
            assert self.accepted.get(number) == record, "altered, or never accepted"
        gone: list[tuple[Any, ...]] = self.store.database.select(
            "SELECT epoch, lane, first_seq, last_seq FROM gone WHERE site = ?", SITE
        )
        named = {(epoch, lane, seq) for epoch, lane, first, last in gone for seq in range(first, last + 1)}
        for number in self.accepted:
            if number in at_hq:
                assert number not in named, "it is there, and is said to be gone"
            elif number in taken_by_strangers:
                continue  # the site gave it up before it knew that the number is another's too
            elif number in named:
                continue  # also where a box restored from an older replica has the record again: HQ does not ask for it
            elif self.has_record(number):
                raise AssertionError(f"{number} is at the site, and HQ has not got it")
            elif number in self.given_up and self.has_number(number):
                raise AssertionError(f"{number} is gone in silence")
        for epoch, lane in self.places():
            assert not Ranges(((1, self.newest(epoch, lane)),)) - self.store.held(SITE, epoch, lane)

    # ---- always --------------------------------------------------------------------------------------------------

    @invariant()
    def site_believes_no_more_than_hq_committed(self) -> None:
        for place, passage in getattr(self, "passages", {}).items():
            assert not passage.delivered - self.ever_held.get(place, Ranges())
            if self.introduced and not self.misled:
                assert not passage.delivered - self.store.held(SITE, *place)
            strange = (
                self.rows_at_hq(
                    "SELECT seq, id FROM received WHERE site = ? AND epoch = ? AND lane = ?", (SITE, *place)
                )
                if self.of_strangers
                else []
            )
            # What a site gave up under a number that is another's counts as said: docs/sync.md names that limit.
            taken = {(*place, seq) for seq, id in strange if id in self.of_strangers and seq in passage.delivered}
            assert not taken - self.given_up, "taken for delivered, but another's"

    @invariant()
    def hq_holds_nothing_that_was_not_accepted(self) -> None:
        if hasattr(self, "store"):
            rows = self.store.database.select("SELECT epoch, lane, seq, id FROM received WHERE site = ?", SITE)
            for epoch, lane, seq, id in rows:
                assert id in self.of_strangers or self.accepted[epoch, lane, seq][1] == id

    # ---- small questions -----------------------------------------------------------------------------------------

    def opened(self) -> Outbox:
        outbox = Outbox.open(self.journal_path)
        assert outbox is not None
        return outbox

    def passage(self, place: Place) -> Passage:
        passage = self.passages.setdefault(place, Passage())
        passage.grow(self.newest(*place))
        return passage

    def places(self) -> list[Place]:
        return [(epoch, lane) for epoch in self.outbox.epochs() for lane in LANES]

    def waiting(self, place: Place) -> Ranges:
        """What waits and has a row."""
        there = Ranges(
            (seq - span + 1, seq)
            for seq, span in self.rows("SELECT seq, span FROM outbox WHERE epoch = ? AND lane = ?", place)
        )
        return self.passage(place).waiting & there

    def note_held(self) -> None:
        for held in self.store.have(SITE):
            place = (held.epoch, held.lane)
            self.ever_held[place] = self.ever_held.get(place, Ranges()) | Ranges(held.runs)

    def newest(self, epoch: int, lane: str) -> int:
        return self.outbox.newest(epoch, lane)

    def numbers(self, epoch: int, lane: str) -> list[tuple[int]]:
        rows = self.rows("SELECT seq, span FROM outbox WHERE epoch = ? AND lane = ?", (epoch, lane))
        return [(number,) for seq, span in rows for number in range(seq - span + 1, seq + 1)]

    def has_number(self, number: Number) -> bool:
        return (number[2],) in self.numbers(*number[:2])

    def has_record(self, number: Number) -> bool:
        return bool(
            self.rows("SELECT 1 FROM outbox WHERE epoch = ? AND lane = ? AND seq = ? AND kind <> 'gone'", number)
        )

    def rows(self, sql: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self.journal.execute(sql, bindings).fetchall()

    def rows_at_hq(self, sql: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self.store.database.select(sql, *bindings)

    def put(self, epoch: int, lane: str, seq: int, span: int, kind: str, id: str, record: bytes) -> None:
        self.journal.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (epoch, lane, seq, span, kind, id, AT, BOOT, seq, record),
        )


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
