"""The page's questions to the journal, and the shapes of the answers: read-only SQL, nothing else.

Every function takes the read-only connection of its own thread (`journal.readers.connection()`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import apsw
import msgspec

from edge.events import (
    Call,
    Event,
    KnownEvidence,
    MeasuredEvidence,
    Named,
    Sheet,
    SpokenEvidence,
    State,
    Talk,
    Terms,
    Utterance,
    Word,
)
from edge.store.moves import is_for_good
from edge.store.rows import select

Kind = Literal["call", "reading", "note"]
Titles = Mapping[str, Mapping[str, str]]

OPEN_STATES: tuple[State, ...] = ("proposed", "accepted", "fired")
OPEN = f"a.state IN {OPEN_STATES}"
HANDED_OVER = ("proposed", "accepted")
HOUR_US = 3_600_000_000
READINGS_READ = 50_000  # of a device's readings in a range; beyond that they are sampled evenly


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """An action as people see it: what to do, with what, by when, and why. `by` is who moved it last ("" if nobody).

    `role` has it now. `due` and `fires_at` (None: not by itself) run by the steady clock, whatever the gateway's clock
    was set to meanwhile. It can be taken back until `undo_until` (None: not), and handed to the role `hand_over`. It
    was asked for again `asked` times. `text` is what a message says, and `to` to whom.
    """

    id: str
    decision_id: str
    play: str
    title: Mapping[str, str]
    what: dict[str, str]
    role: str
    channel: str
    subject: str
    label: str
    probability: float
    state: State
    at: int
    due: int
    fires_at: int | None
    by: str
    evidence: tuple[SpokenEvidence | MeasuredEvidence | KnownEvidence, ...]
    event_id: str
    event_kind: Kind
    tool: dict[str, str]
    sheet: Sheet | None
    text: str
    to: str
    hand_over: str
    undo_until: int | None
    asked: int
    goal: str


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call at once. `transcribed_s` is how far all of its channels are transcribed; of one that is
    `live`, which goes on or has just ended, `duration_s` is only how far it was heard."""

    id: str
    at: int
    customer: str
    agent: str
    direction: str
    duration_s: float
    language: str
    channels: tuple[str, ...]
    live: bool
    done: bool
    transcribed_s: float
    utterances: int


class CallRow(CallFacts, frozen=True, kw_only=True):
    """A call in the list, and how many cards came of it."""

    cards: int


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack says of an utterance."""

    label: str
    probability: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of a transcript, with what was predicted of it. `heard` is what the recogniser wrote where names
    were put right ('': as `text`), `names` are those of the site in it."""

    id: str
    channel: str
    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...]
    labels: tuple[Label, ...]
    heard: str = ""
    names: tuple[Named, ...] = ()


class CallLine(Line, frozen=True, kw_only=True):
    """A line of a transcript that also says of which call."""

    call_id: str


class CallPage(CallFacts, frozen=True, kw_only=True):
    """One call with all that is known of it; the transcript is oldest first."""

    talk: Talk | None
    transcript: tuple[Line, ...]
    cards: tuple[Card, ...]


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A device's newest reading, its score (0 to 1) and how many readings it has sent."""

    device: str
    at: int
    values: dict[str, float]
    score: float | None
    readings: int


class DeviceRow(DeviceFacts, frozen=True, kw_only=True):
    """A device in the list, and how many of its cards are open."""

    cards: int


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction on a device's chart, and the sensors that made it."""

    at: int
    label: str
    probability: float
    sensors: tuple[str, ...]


class DevicePage(DeviceFacts, frozen=True, kw_only=True):
    """One device: by sensor the readings of a range as (at, value), oldest first, and what was predicted in it."""

    series: dict[str, tuple[tuple[int, float], ...]]
    marks: tuple[Mark, ...]
    cards: tuple[Card, ...]


class RefusalRow(msgspec.Struct, frozen=True, kw_only=True):
    """An input that was kept aside, and why."""

    seq: int
    at: int
    source: str
    name: str
    reason: str


# ---- cards ---------------------------------------------------------------------------------------------------

# Raw readings are the first to go when the disk fills, so an event that is gone was a reading.
_CARD = """
SELECT a.id, a.decision_id, d.play, a.what, coalesce(a.holder, a.role), a.channel, d.subject, p.label, p.probability,
  a.state, a.at, a.due, (SELECT by FROM transitions t WHERE t.action_id = a.id ORDER BY t.seq DESC LIMIT 1), p.evidence,
  d.event_id, coalesce((SELECT kind FROM events e WHERE e.id = d.event_id), 'reading'), a.terms, a.payload, d.goal,
  (SELECT min(at) FROM timers t WHERE t.action_id = a.id AND what = 'expire'),
  (SELECT min(at) FROM timers t WHERE t.action_id = a.id AND what = 'fire'),
  (SELECT min(at) FROM timers t WHERE t.action_id = a.id AND what = 'undo'),
  (SELECT count(*) FROM transitions t WHERE t.action_id = a.id AND t.state = 'proposed' AND t.by = 'gateway'
     AND t.role = '')
FROM actions a JOIN decisions d ON d.id = a.decision_id JOIN predictions p ON p.id = d.prediction_id
"""
Evidence = tuple[SpokenEvidence | MeasuredEvidence | KnownEvidence, ...]
EVIDENCE = msgspec.json.Decoder(Evidence)
"""Reads the evidence of a prediction from its row."""


def title_of(play: str, titles: Titles) -> Mapping[str, str]:
    """A play's title by language; of one that is not known any more, its name."""
    return titles.get(play, {"en": play, "zh": play})


class Wall(msgspec.Struct, frozen=True, kw_only=True):
    """How what the journal says is put for people: each play's title by language, and what has to be added to a time of
    the steady clock for one of the gateway's."""

    titles: Titles
    shift: int = 0


def cards(connection: apsw.Connection, wall: Wall, *, only_open: bool, limit: int) -> list[Card]:
    """The newest cards first; those that still ask for something, or all."""
    where = f"WHERE {OPEN} " if only_open else ""
    return _cards(connection, wall, f"{where}ORDER BY a.seq DESC LIMIT ?", (limit,))


def card(connection: apsw.Connection, wall: Wall, action_id: str) -> Card | None:
    """One card, or None when there is no such action."""
    found = _cards(connection, wall, "WHERE a.id = ?", (action_id,))
    return found[0] if found else None


def _cards(connection: apsw.Connection, wall: Wall, where: str, bindings: Sequence[Any]) -> list[Card]:
    return [_card(row, wall) for row in connection.execute(_CARD + where, bindings)]


def _card(row: Any, wall: Wall) -> Card:
    (action_id, decision_id, play, what, role, channel, subject, label, probability, state, at, due, by) = row[:13]
    evidence, event_id, event_kind, terms_text, payload_text, goal, expires, fires, undo, asked = row[13:]
    terms = msgspec.json.decode(terms_text, type=Terms)
    payload = msgspec.json.decode(payload_text, type=dict[str, str])
    return Card(
        id=action_id,
        decision_id=decision_id,
        play=play,
        title=title_of(play, wall.titles),
        what=msgspec.json.decode(what, type=dict[str, str]),
        role=role,
        channel=channel,
        subject=subject,
        label=label,
        probability=probability,
        state=state,
        at=at,
        due=due if expires is None else expires + wall.shift,
        fires_at=None if fires is None else fires + wall.shift,
        by=by or "",
        evidence=EVIDENCE.decode(evidence),
        event_id=event_id,
        event_kind=event_kind,
        tool=terms.tool,
        sheet=terms.sheet,
        text=payload.get("text", ""),
        to=payload.get("to", ""),
        hand_over=terms.hand_over if channel == "card" and state in HANDED_OVER and terms.hand_over != role else "",
        undo_until=None if undo is None or is_for_good(channel, terms, state) else undo + wall.shift,
        asked=asked,
        goal=goal,
    )


# ---- calls ---------------------------------------------------------------------------------------------------

# `<> 'reading'` lets SQLite see that the index events_rare holds all of them.
_CALL = """
SELECT e.id, e.at, e.subject, e.data, coalesce(t.done, 1), coalesce(t.progress, '{}'),
  (SELECT count(*) FROM signals s WHERE s.event_id = e.id AND s.kind = 'utterance'),
  (SELECT count(*) FROM decisions d JOIN actions a ON a.decision_id = d.id WHERE d.event_id = e.id)
FROM events e LEFT JOIN transcripts t ON t.event_id = e.id
WHERE e.kind = 'call' AND e.kind <> 'reading'
"""


def calls(connection: apsw.Connection, *, limit: int, before: str | None) -> list[CallRow]:
    """The calls accepted last, newest first; `before` is the id of a call whose predecessors are wanted."""
    older = " AND e.seq < (SELECT seq FROM events WHERE id = ?)" if before is not None else ""
    bindings = (before, limit) if before is not None else (limit,)
    return [_call(row) for row in connection.execute(f"{_CALL}{older} ORDER BY e.seq DESC LIMIT ?", bindings)]


def call(connection: apsw.Connection, call_id: str) -> CallRow | None:
    """One call as in the list, or None when there is no such call."""
    row = connection.execute(f"{_CALL} AND e.id = ?", (call_id,)).fetchone()
    return None if row is None else _call(row)


def call_page(connection: apsw.Connection, wall: Wall, call_id: str) -> CallPage | None:
    """One call with its transcript, its talk figures and its cards; None when there is no such call."""
    row = call(connection, call_id)
    if row is None:
        return None
    talk = connection.execute(
        "SELECT data FROM signals WHERE event_id = ? AND kind = 'talk' ORDER BY seq DESC LIMIT 1", (call_id,)
    ).fetchone()
    lines = [line for _, line in _lines(connection, "WHERE s.event_id = ?", call_id)]
    fields = msgspec.structs.asdict(row) | {
        "talk": None if talk is None else msgspec.json.decode(talk[0], type=Talk),
        "transcript": tuple(sorted(lines, key=lambda line: (line.start_s, line.channel))),
        "cards": tuple(_cards(connection, wall, "WHERE d.event_id = ? ORDER BY a.seq DESC", (call_id,))),
    }
    return CallPage(**fields)


def call_line(connection: apsw.Connection, signal_id: str) -> CallLine | None:
    """The utterance with this id and its call; None for any other signal."""
    for event_id, line in _lines(
        connection, "JOIN events e ON e.id = s.event_id AND e.kind = 'call' WHERE s.id = ?", signal_id
    ):
        return CallLine(call_id=event_id, **msgspec.structs.asdict(line))
    return None


def _call(row: Any) -> CallRow:
    call_id, at, subject, data, done, progress, utterances, cards_made = row
    recorded = msgspec.json.decode(data, type=Call)
    seconds = msgspec.json.decode(progress, type=dict[str, float])
    length_s = recorded.duration_s or max(seconds.values(), default=0.0)
    return CallRow(
        id=call_id,
        at=at,
        customer=recorded.customer or subject,
        agent=recorded.agent,
        direction=recorded.direction,
        duration_s=length_s,
        language=recorded.language,
        channels=recorded.channels,
        live=recorded.live and not done,
        done=bool(done),
        transcribed_s=length_s if done else min((seconds.get(c, 0.0) for c in recorded.channels), default=0),
        utterances=utterances,
        cards=cards_made,
    )


def _lines(connection: apsw.Connection, where: str, binding: str) -> list[tuple[str, Line]]:
    """Utterances with the event each is from."""
    rows = connection.execute(
        "SELECT s.event_id, s.id, s.data, (SELECT json_group_array(json_object('label', label, 'probability', "
        "probability)) FROM predictions p WHERE p.signal_id = s.id) "
        f"FROM signals s {where} AND s.kind = 'utterance' ORDER BY s.seq",
        (binding,),
    )
    found = []
    for event_id, signal_id, data, labels in rows:
        said = msgspec.json.decode(data, type=Utterance)
        line = Line(
            id=signal_id,
            channel=said.channel,
            start_s=said.start_s,
            end_s=said.end_s,
            text=said.text,
            confidence=said.confidence,
            words=said.words,
            labels=msgspec.json.decode(labels, type=tuple[Label, ...]),
            heard=said.heard,
            names=said.names,
        )
        found.append((event_id, line))
    return found


# ---- devices -------------------------------------------------------------------------------------------------


class _Values(msgspec.Struct, frozen=True):
    """All that a chart needs of a reading."""

    values: dict[str, float]


_VALUES = msgspec.json.Decoder(_Values)


def devices(connection: apsw.Connection, device: str | None = None) -> list[DeviceRow]:
    """All devices by name, or the one that is named, each with its newest reading."""
    opened: Any = connection.execute(
        f"SELECT d.subject, count(*) FROM actions a JOIN decisions d ON d.id = a.decision_id WHERE {OPEN} GROUP BY 1"
    )
    open_cards: dict[str, int] = dict(opened)
    where, bindings = ("WHERE device = ?", (device,)) if device is not None else ("", ())
    rows = connection.execute(
        f'SELECT device, at, "values", score, readings FROM devices {where} ORDER BY device', bindings
    )
    return [
        DeviceRow(
            device=name,
            at=at,
            values=msgspec.json.decode(values, type=dict[str, float]),
            score=score,
            readings=readings,
            cards=open_cards.get(name, 0),
        )
        for name, at, values, score, readings in rows
    ]


def device_page(
    connection: apsw.Connection, wall: Wall, device: str, *, hours: float, points: int
) -> DevicePage | None:
    """One device over the `hours` before its newest reading, each series thinned to at most `points` (2 or more)."""
    found = devices(connection, device)
    if not found:
        return None
    row = found[0]
    start = row.at - int(hours * HOUR_US)
    marks = connection.execute(
        "SELECT at, label, probability, evidence FROM predictions WHERE subject = ? AND at BETWEEN ? AND ? ORDER BY at",
        (device, start, row.at),
    )
    shown = f"WHERE d.subject = ? AND ({OPEN} OR p.at BETWEEN ? AND ?) ORDER BY a.seq DESC"
    fields = msgspec.structs.asdict(row) | {
        "series": _series(connection, device, start, row.at, points),
        "marks": tuple(
            Mark(at=at, label=label, probability=probability, sensors=_sensors(evidence))
            for at, label, probability, evidence in marks
        ),
        "cards": tuple(_cards(connection, wall, shown, (device, start, row.at))),
    }
    return DevicePage(**fields)


def _series(
    connection: apsw.Connection, device: str, start: int, end: int, points: int
) -> dict[str, tuple[tuple[int, float], ...]]:
    """Each sensor's readings; of each of points/2 equal spans the lowest and the highest, so that no peak is lost."""
    in_range = "FROM events WHERE subject = ? AND at BETWEEN ? AND ?"
    counted: Any = connection.execute(f"SELECT count(*) {in_range}", (device, start, end)).fetchone()
    every = counted[0] // READINGS_READ + 1
    # Spread by a multiplicative hash: devices that report in turn would all fall on the same remainder of `seq`.
    rows = connection.execute(
        f"SELECT at, data {in_range} AND kind = 'reading' AND ((seq * 2654435761 & 4294967295) >> 16) % ? = 0 "
        "ORDER BY at",
        (device, start, end, every),
    )
    spans = points // 2
    extremes: dict[str, dict[int, tuple[tuple[int, float], tuple[int, float]]]] = {}
    for at, data in rows:
        span = (at - start) * spans // (end - start + 1)
        for sensor, value in _VALUES.decode(data).values.items():
            point = (at, value)
            of_sensor = extremes.setdefault(sensor, {})
            low, high = of_sensor.get(span, (point, point))
            of_sensor[span] = (min(low, point, key=_value), max(high, point, key=_value))
    return {
        sensor: tuple(point for span in of_sensor.values() for point in sorted(set(span)))
        for sensor, of_sensor in sorted(extremes.items())
    }


def _value(point: tuple[int, float]) -> float:
    return point[1]


def _sensors(evidence: str) -> tuple[str, ...]:
    return tuple(one.sensor for one in EVIDENCE.decode(evidence) if isinstance(one, MeasuredEvidence))


# ---- notes and refusals --------------------------------------------------------------------------------------


def notes(connection: apsw.Connection, *, limit: int) -> list[Event]:
    """The notes accepted last, newest first."""
    return select(connection, Event, "WHERE kind = 'note' AND kind <> 'reading' ORDER BY seq DESC LIMIT ?", (limit,))


def event(connection: apsw.Connection, event_id: str) -> Event:
    """The event with this id, which is in the journal."""
    return select(connection, Event, "WHERE id = ?", (event_id,))[0]


def refusals(connection: apsw.Connection, *, limit: int) -> list[RefusalRow]:
    """The inputs kept aside last, newest first."""
    return _refusals(connection, "ORDER BY seq DESC LIMIT ?", limit)


def refusal(connection: apsw.Connection, seq: int) -> RefusalRow:
    """One refusal, which is in the journal."""
    return _refusals(connection, "WHERE seq = ?", seq)[0]


def _refusals(connection: apsw.Connection, where: str, binding: int) -> list[RefusalRow]:
    rows = connection.execute(f"SELECT seq, at, source, name, reason FROM refusals {where}", (binding,))
    return [
        RefusalRow(seq=seq, at=at, source=source, name=name, reason=reason) for seq, at, source, name, reason in rows
    ]


# ---- the feed ------------------------------------------------------------------------------------------------


class News(msgspec.Struct, frozen=True, kw_only=True):
    """Something new: its place in the feed, and which record to show as what ("" when the page shows none)."""

    seq: int
    kind: Literal["call", "note", "utterance", "card", "refusal", "order", "outcome", "play", ""]
    id: str


def feed_ends(connection: apsw.Connection) -> tuple[int, int]:
    """The first and the last place that the feed still holds; (1, 0) when it is empty."""
    row: Any = connection.execute("SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM feed").fetchone()
    return row[0], row[1]


def news_after(connection: apsw.Connection, seq: int) -> list[News]:
    """All that is new after a place in the feed, oldest first.

    A prediction shows as its utterance, a transition as its action's card, the progress of a transcript as its call, a
    pause as its play.
    """
    rows = connection.execute(
        """SELECT f.seq, CASE f.kind
          WHEN 'event' THEN e.kind WHEN 'progress' THEN 'call' WHEN 'signal' THEN 'utterance'
          WHEN 'prediction' THEN 'utterance' WHEN 'action' THEN 'card' WHEN 'transition' THEN 'card'
          WHEN 'refusal' THEN 'refusal' WHEN 'order' THEN 'order' WHEN 'outcome' THEN 'outcome'
          WHEN 'playchange' THEN 'play' ELSE '' END,
          coalesce(p.signal_id, t.action_id, o.order_id, c.play, f.id)
        FROM feed f
        LEFT JOIN events e ON f.kind = 'event' AND e.id = f.id
        LEFT JOIN predictions p ON f.kind = 'prediction' AND p.id = f.id
        LEFT JOIN transitions t ON f.kind = 'transition' AND t.id = f.id
        LEFT JOIN orders o ON f.kind = 'order' AND o.id = f.id
        LEFT JOIN play_changes c ON f.kind = 'playchange' AND c.id = f.id
        WHERE f.seq > ? ORDER BY f.seq""",
        (seq,),
    )
    return [News(seq=seq, kind=kind, id=record_id) for seq, kind, record_id in rows]
