"""The journal: what was accepted is committed here, and what is not here was not accepted.

The sources write events by `accept`; each step reads the events after its cursor by `events_after` and writes what it
made of them, together with the cursor's advance, by `conclude`. Nothing else passes between them, so a crash at any
moment leaves the journal between two such transactions and a restart goes on from there.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import JournalError
from edge.events import (
    Action,
    Audio,
    Decision,
    Event,
    Order,
    Outcome,
    PlayChange,
    Prediction,
    Record,
    Signal,
    State,
    Transition,
    boot_id,
    now_us,
)
from edge.metrics import Metrics
from edge.store import audit, comparisons, moves, outbox, timers
from edge.store.comparisons import Shadowed
from edge.store.database import Readers, Writer, number, open_read_only
from edge.store.known import remember
from edge.store.migrations import migrate
from edge.store.outcomes import Claim, Judged, judge
from edge.store.recent import Recent
from edge.store.rows import columns_of, insert, kind_of, read, select, tag_of
from edge.store.steady import Steady
from edge.store.timers import Due

T = TypeVar("T")


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an MQTT message came: its packet identifier, the digest of topic and payload, and the DUP flag."""

    mid: int
    digest: bytes
    redelivered: bool


class Offer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a source offers at once: events, each with a key under which it is accepted only once (None: always), and
    for an MQTT message how it was delivered: a redelivered one is not accepted again."""

    events: Sequence[tuple[bytes | None, Event]]
    delivery: Delivery | None = None


class DeviceState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device's newest reading and its score (probability 0 to 1, None before there is one)."""

    device: str
    at: int
    event_id: str
    values: dict[str, float]
    score: float | None
    readings: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An input that was kept aside: where it came from, its name, and one sentence why."""

    source: str
    name: str
    reason: str


class Conclusions(msgspec.Struct, frozen=True, kw_only=True):
    """What a step made of its events. `episodes` tells when a play was last called for a subject."""

    signals: Sequence[Signal] = ()
    predictions: Sequence[Prediction] = ()
    decisions: Sequence[Decision] = ()
    actions: Sequence[Action] = ()
    outcomes: Sequence[Outcome] = ()
    episodes: dict[tuple[str, str], int] = {}
    devices: Sequence[DeviceState] = ()
    refusals: Sequence[Refusal] = ()
    shadowed: Sequence[Shadowed] = ()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a call is transcribed: by channel the seconds that are in the journal."""

    event_id: str
    done: bool
    seconds: dict[str, float]


class Journal:
    """Opens the journal of a site, creating it if there is none; `boot_id` is new at each start of the machine."""

    def __init__(self, path: Path) -> None:
        migrate(path)
        self.path = path
        self.readers = Readers(path)
        self.boot_id = boot_id()
        self.metrics = Metrics()
        self._commits = 0
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._recent = Recent()
        with contextlib.closing(open_read_only(path)) as connection:
            self.steady = Steady(connection)
        self._writer = Writer(path, self._committed, self.metrics)
        self.write(audit.adopt).result()
        with contextlib.suppress(JournalError):  # a full disk: it is kept when there is room again
            self.write(self.steady.keep).result()  # what is timed from now on is timed by a clock the next start knows

    # ---- waiting ---------------------------------------------------------------------------------------------

    @property
    def commits(self) -> int:
        """How many transactions were committed since the start; `wait` takes it."""
        return self._commits

    @property
    def waiting_jobs(self) -> int:
        """How many jobs wait for the writer."""
        return self._writer.waiting

    @property
    def fault(self) -> str:
        """Why the disk takes nothing, in a sentence; '' when it does, or nothing was tried yet."""
        return self._writer.fault

    def try_again(self) -> Future[None]:
        """Write something that changes nothing, so that a fault that is over does not stay."""

        def job(connection: apsw.Connection) -> None:
            connection.execute("UPDATE meta SET value = value WHERE key = 'epoch'")

        return self._writer.submit(job)

    def wait(self, seen: int, timeout_s: float) -> None:
        """Return when there is a commit after the `seen`-th, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._commits != seen, timeout_s)

    def wake(self) -> None:
        """Make everybody who waits look again, as if there had been a commit."""
        self._committed()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit, in the writer's thread: it must only pass the word on."""
        self._listeners.append(listener)

    def _committed(self) -> None:
        with self._changed:
            self._commits += 1
            self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def close(self) -> None:
        """Write what waits and close the file."""
        self._writer.close()

    def write(self, job: Callable[[apsw.Connection], T]) -> Future[T]:
        """Run a small job of its own in the writer's next transaction."""
        return self._writer.submit(job)

    # ---- what comes in ---------------------------------------------------------------------------------------

    def accept(self, offers: Sequence[Offer]) -> Future[list[Event]]:
        """Accept what was not accepted before; the future tells which events were new, once they are on disk."""

        readings: list[tuple[int, Event]] = []

        def job(connection: apsw.Connection) -> list[Event]:
            new = _new_events(connection, offers)
            insert(connection, new)
            first = connection.last_insert_rowid() - len(new) + 1
            readings.extend((seq, event) for seq, event in enumerate(new, first) if tag_of(event) == "reading")
            shown = [event for event in new if tag_of(event) != "reading"] if len(readings) < len(new) else []
            connection.executemany(
                "INSERT INTO transcripts VALUES (?, 0, '{}')",
                ((event.id,) for event in shown if tag_of(event) == "call"),
            )
            _announce(connection, shown)
            return new

        def accepted(new: list[Event]) -> None:
            self._count_events(new)
            self._recent.add(readings)

        return self._writer.submit(job, accepted)

    def refuse(self, refusal: Refusal) -> Future[None]:
        """Write down that an input was kept aside."""

        return self._writer.submit(
            lambda connection: _refuse(connection, refusal),
            lambda _: self.metrics.refusals.labels(refusal.source).inc(),
        )

    # ---- what the steps make of it ---------------------------------------------------------------------------

    def events_after(self, kind: str, seq: int, limit: int) -> list[tuple[int, Event]]:
        """The next events of a kind with their place in the journal, oldest first."""
        if kind == "reading" and (recent := self._recent.after(seq, limit)) is not None:
            return recent
        columns = columns_of(Event)
        # SQLite takes the index over the rare kinds only when the question says that it is about them.
        rare = "" if kind == "reading" else "AND kind <> 'reading'"
        rows = self.readers.connection().execute(
            f"SELECT seq, {', '.join(columns)} FROM events WHERE kind = ? {rare} AND seq > ? ORDER BY seq LIMIT ?",
            (kind, seq, limit),
        )
        return [(row[0], read(Event, columns, row[1:])) for row in rows]

    def cursor(self, step: str) -> int:
        """The last event that a step has concluded; 0 before the first."""
        return number(self.readers.connection(), "SELECT seq FROM cursors WHERE step = ?", (step,))

    def conclude(
        self,
        conclusions: Conclusions,
        cursor: tuple[str, int] | None = None,
        progress: Progress | None = None,
        window_state: bytes | None = None,
    ) -> Future[None]:
        """Write what a step made of its events and how far it has gone, in one transaction.

        `cursor` is the step's name and its last event; a call has its `progress` instead. `window_state` is kept with
        the cursor it belongs to.
        """

        def job(connection: apsw.Connection) -> None:
            made: list[Record] = []
            for records in (
                conclusions.signals,
                conclusions.predictions,
                conclusions.decisions,
                conclusions.actions,
                conclusions.outcomes,
            ):
                insert(connection, records)
                made.extend(records)
            timers.propose(connection, conclusions.actions, self.steady.now())
            _announce(connection, made)
            connection.executemany(
                "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?)",
                ((subject, play, at) for (subject, play), at in conclusions.episodes.items()),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (d.device, d.at, d.event_id, msgspec.json.encode(d.values).decode(), d.score, d.readings)
                    for d in conclusions.devices
                ),
            )
            for refusal in conclusions.refusals:
                _refuse(connection, refusal)
            for batch in conclusions.shadowed:
                comparisons.add(connection, batch, now_us())
            if cursor is not None:
                connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", cursor)
                if window_state is not None:
                    connection.execute(
                        "INSERT OR REPLACE INTO window_state VALUES (1, ?, ?)", (cursor[1], window_state)
                    )
            if progress is not None:
                connection.execute(
                    "UPDATE transcripts SET done = ?, progress = ? WHERE event_id = ?",
                    (progress.done, msgspec.json.encode(progress.seconds).decode(), progress.event_id),
                )
                connection.execute("INSERT INTO feed (kind, id) VALUES ('progress', ?)", (progress.event_id,))

        return self._writer.submit(job, lambda _: self._count_conclusions(conclusions))

    def calls_to_transcribe(self, limit: int) -> list[tuple[Event, Progress]]:
        """Calls whose transcript is not complete and how far each is: those that are going on, then the oldest."""
        columns = columns_of(Event)
        rows = self.readers.connection().execute(
            f"SELECT t.progress, {', '.join('e.' + c for c in columns)} FROM transcripts t "
            "JOIN events e ON e.id = t.event_id WHERE t.done = 0 ORDER BY e.data ->> 'live' DESC, e.seq LIMIT ?",
            (limit,),
        )
        return [
            (
                (event := read(Event, columns, row[1:])),
                Progress(event_id=event.id, done=False, seconds=msgspec.json.decode(row[0], type=dict[str, float])),
            )
            for row in rows
        ]

    def window_state(self) -> tuple[int, bytes] | None:
        """The windows' last kept state, and the event up to which it holds."""
        row = self.readers.connection().execute("SELECT seq, state FROM window_state").fetchone()
        return None if row is None else (row[0], row[1])

    def episodes(self) -> dict[tuple[str, str], int]:
        """When each play was last called for each subject."""
        rows = self.readers.connection().execute("SELECT subject, play, last_at FROM episodes")
        return {(subject, play): last_at for subject, play, last_at in rows}

    def readings_by_device(self) -> dict[str, int]:
        """How many readings of each device were concluded."""
        rows: list[tuple[Any, ...]] = (
            self.readers.connection().execute("SELECT device, readings FROM devices").fetchall()
        )
        return dict(rows)

    # ---- what is done ----------------------------------------------------------------------------------------

    def open_actions(self) -> list[tuple[Action, State]]:
        """Actions that are not settled: proposed, accepted or fired."""
        return self._actions("state IN ('proposed', 'accepted', 'fired')")

    def _actions(self, chosen: str, *bindings: int) -> list[tuple[Action, State]]:
        columns = columns_of(Action)
        rows = self.readers.connection().execute(
            f"SELECT state, {', '.join(columns)} FROM actions WHERE {chosen} ORDER BY seq", bindings
        )
        return [(read(Action, columns, row[1:]), row[0]) for row in rows]

    def move(self, action_id: str, state: State, by: str, remark: str = "") -> Future[Transition]:
        """Move an action to another state.

        The future raises Conflict when there is no such action, or it may not go there from where it is.
        """
        return self._moving(lambda c: moves.move(c, self.steady.now(), action_id, state, by, remark))

    def undo(self, action_id: str, by: str, remark: str = "", mover: str = "") -> Future[Transition]:
        """Take back the last move of an action, which is `mover`'s ('': anybody's); the future raises Conflict when it
        goes no more."""
        return self._moving(lambda c: moves.undo(c, self.steady.now(), action_id, by, remark, mover))

    def hand_over(self, action_id: str, role: str, by: str, remark: str = "") -> Future[Transition]:
        """Give an action to another role; the future raises Conflict when that cannot be."""
        return self._moving(lambda c: moves.hand_over(c, self.steady.now(), action_id, role, by, remark))

    def _moving(self, moving: Callable[[apsw.Connection], list[Transition]]) -> Future[Transition]:
        def job(connection: apsw.Connection) -> Transition:
            (transition,) = moved = moving(connection)
            _announce(connection, moved)
            return transition

        return self._writer.submit(job, lambda moved: self.metrics.actions.labels(moved.state).inc())

    @property
    def has_timers(self) -> bool:
        """Whether anything is to happen to an action by itself."""
        return timers.any_running(self.readers.connection())

    def due_timers(self, limit: int) -> list[Due]:
        """What was to happen by itself until now, and has not."""
        return timers.due(self.readers.connection(), self.steady.now(), limit)

    def elapse(self, timer: Due) -> Future[list[Transition]]:
        """Let what follows from a timer that has run out happen, once."""
        return self._happened(lambda c: moves.elapse(c, self.steady.now(), timer))

    def carried_out(self, timer: Due) -> Future[list[Transition]]:
        """Say that an action was carried out, or taken back, on its channel."""
        return self._happened(lambda c: moves.carried_out(c, self.steady.now(), timer))

    def _happened(self, happening: Callable[[apsw.Connection], list[Transition]]) -> Future[list[Transition]]:
        def job(connection: apsw.Connection) -> list[Transition]:
            moved = happening(connection)
            _announce(connection, moved)
            return moved

        return self._writer.submit(job, self._count_moved)

    def fail(self, timer: Due, why: str) -> Future[list[Transition]]:
        """Say that an action could not be carried out in its time; a person is asked to do it."""

        def job(connection: apsw.Connection) -> list[Transition]:
            moved, by_hand = moves.fail(connection, self.steady.now(), timer, why)
            insert(connection, by_hand)
            timers.propose(connection, by_hand, self.steady.now())
            _announce(connection, [*moved, *by_hand])
            return moved

        return self._writer.submit(job, self._count_moved)

    def put_off(self, timer: Due, seconds: float) -> Future[None]:
        """Let a timer that has run out run for some more seconds."""
        return self.write(lambda c: timers.put_off(c, timer, self.steady.now() + round(seconds * 1e6)))

    def _count_moved(self, moved: Sequence[Transition]) -> None:
        for transition in moved:
            self.metrics.actions.labels(transition.state).inc()

    def sign(self, key: Ed25519PrivateKey) -> Future[None]:
        """Sign the audit's last entry, unless it is signed; the signature goes to HQ."""

        def job(connection: apsw.Connection) -> None:
            checkpoint = audit.checkpoint(connection, key)
            if checkpoint is not None:
                _add(connection, [checkpoint])

        return self._writer.submit(job)

    # ---- what came of it -------------------------------------------------------------------------------------

    def tell(self, claim: Claim) -> Future[Judged]:
        """Write down what came of decisions. The future raises what `edge.store.outcomes.judge` raises."""

        def job(connection: apsw.Connection) -> Judged:
            judged = judge(connection, claim)
            _add(connection, judged.new)
            return judged

        return self._writer.submit(job)

    def change_play(self, change: PlayChange) -> Future[None]:
        """Write down that a play is paused, or runs again."""
        return self._noted(change)

    def _noted(self, record: Record) -> Future[None]:
        def job(connection: apsw.Connection) -> None:
            _add(connection, [record])

        return self._writer.submit(job)

    # ---- what HQ sends ---------------------------------------------------------------------------------------

    def note_order(self, order: Order) -> Future[None]:
        """Write down what became of an order from HQ."""
        return self._noted(order)

    def orders(self) -> dict[str, Order]:
        """By order how it stands: the newest that was written down of it."""
        newest = "WHERE seq IN (SELECT max(seq) FROM orders GROUP BY order_id) ORDER BY order_id"
        return {order.order_id: order for order in select(self.readers.connection(), Order, newest)}

    def send_audio(self, audio: Audio, cursor: str) -> Future[None]:
        """Put a part of a sound file on its way to HQ, and let `cursor` say how many parts are."""

        def job(connection: apsw.Connection) -> None:
            outbox.put(connection, [audio])
            connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (cursor, audio.part + 1))

        return self._writer.submit(job)

    # ---- what is counted -------------------------------------------------------------------------------------

    def _count_events(self, new: Sequence[Event]) -> None:
        for (source, data), count in Counter((event.source, type(event.data)) for event in new).items():
            self.metrics.events.labels(data.__struct_config__.tag, source).inc(count)

    def _count_conclusions(self, made: Conclusions) -> None:
        for prediction in made.predictions:
            self.metrics.predictions.labels(prediction.pack, prediction.label).inc()
        for decision in made.decisions:
            self.metrics.decisions.labels(decision.play).inc()
        for refusal in made.refusals:
            self.metrics.refusals.labels(refusal.source).inc()
        if made.actions:
            self.metrics.actions.labels("proposed").inc(len(made.actions))

    # ---- small questions -------------------------------------------------------------------------------------

    def find(self, kind: type[T], record_id: str) -> T | None:
        """The record of a type with this id."""
        found = select(self.readers.connection(), kind, "WHERE id = ?", (record_id,))  # type: ignore[type-var]
        return found[0] if found else None


def _new_events(connection: apsw.Connection, offers: Sequence[Offer]) -> list[Event]:
    """The events of offers that were not accepted before; remembers them."""
    offered: list[tuple[bytes | None, Event]] = []
    delivered: dict[int, bytes] = {}
    for offer in offers:
        if (delivery := offer.delivery) is not None:
            if delivery.redelivered and _delivered(connection, delivered, delivery.mid) == delivery.digest:
                continue
            delivered[delivery.mid] = delivery.digest
        offered.extend(offer.events)
    connection.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?)", delivered.items())
    fresh = remember(connection, [key for key, _ in offered if key is not None])
    new: list[Event] = []
    for key, event in offered:
        if key is None:
            new.append(event)
        elif key in fresh:
            fresh.remove(key)  # the same again among these offers is not new
            new.append(event)
    return new


def _delivered(connection: apsw.Connection, now: Mapping[int, bytes], mid: int) -> bytes | None:
    """The digest of the last message under a packet identifier."""
    if mid in now:
        return now[mid]
    row: Any = connection.execute("SELECT digest FROM deliveries WHERE mid = ?", (mid,)).fetchone()
    return None if row is None else bytes(row[0])


def _refuse(connection: apsw.Connection, refusal: Refusal) -> None:
    connection.execute(
        "INSERT INTO refusals (at, source, name, reason) VALUES (?, ?, ?, ?)",
        (now_us(), refusal.source, refusal.name, refusal.reason),
    )
    seq = connection.last_insert_rowid()
    connection.execute("INSERT INTO feed (kind, id) VALUES ('refusal', ?)", (str(seq),))


def _add(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Write new records of one type, and tell of them."""
    insert(connection, records)
    _announce(connection, records)


def _announce(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Tell the page (feed), HQ (outbox) and the audit of new records, in the transaction that wrote them."""
    connection.executemany(
        "INSERT INTO feed (kind, id) VALUES (?, ?)", ((kind_of(record), record.id) for record in records)
    )
    outbox.put(connection, records)
    audit.append(connection, records)
