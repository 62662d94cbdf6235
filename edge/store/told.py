"""What people are asked about the outcomes of decisions, and what they have told."""

from collections.abc import Callable, Mapping
from typing import Any

import apsw
import msgspec

from edge.events import Arm, Chain, SpokenEvidence, State
from edge.store.outcomes import DAY_US, DEFAULT_DAYS, EARLIER_DAYS
from edge.store.queries import EVIDENCE, OPEN, OPEN_STATES, Titles, title_of

CAME_TO_NOTHING: tuple[State, ...] = ("declined", "expired", "withdrawn", "failed", "undone")


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision: how far its goal was reached (0 to 1), told by whom and how; `excluded` says why it does
    not count ('': it does)."""

    id: str
    decision_id: str
    play: str
    title: Mapping[str, str]
    subject: str
    goal: str
    at: int
    value: float
    by: str
    source: str
    remark: str
    excluded: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision whose outcome nobody has told yet, and until when it counts. It is asked alike whether anything was
    done or not."""

    decision_id: str
    play: str
    title: Mapping[str, str]
    subject: str
    goal: str
    at: int
    until: int
    said: str


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome, and what there was before it: the labels heard of the subject in the thirty days before the decision,
    and the steps that were done for it, each as `play/step`."""

    value: float
    labels: frozenset[str]
    done: frozenset[str]


_OUTCOME = """
SELECT o.id, o.decision_id, d.play, d.subject, d.goal, o.at, o.value, o.by, o.source, o.remark, o.excluded
FROM outcomes o JOIN decisions d ON d.id = o.decision_id
"""
_UNTIL = f"coalesce(nullif(d.outcome_until, 0), d.at + {DEFAULT_DAYS * DAY_US})"


def outcomes(connection: apsw.Connection, titles: Titles, *, limit: int) -> list[OutcomeRow]:
    """What was told last, newest first."""
    return _outcomes(connection, titles, "ORDER BY o.seq DESC LIMIT ?", limit)


def outcome(connection: apsw.Connection, titles: Titles, outcome_id: str) -> OutcomeRow | None:
    """One outcome; None: there is none."""
    return next(iter(_outcomes(connection, titles, "WHERE o.id = ?", outcome_id)), None)


def _outcomes(connection: apsw.Connection, titles: Titles, where: str, binding: Any) -> list[OutcomeRow]:
    return [
        OutcomeRow(
            id=row[0],
            decision_id=row[1],
            play=row[2],
            title=title_of(row[2], titles),
            subject=row[3],
            goal=row[4],
            at=row[5],
            value=row[6],
            by=row[7],
            source=row[8],
            remark=row[9],
            excluded=row[10],
        )
        for row in connection.execute(_OUTCOME + where, (binding,))
    ]


def wanted(connection: apsw.Connection, titles: Titles, now: int, limit: int) -> list[Wanted]:
    """The decisions for a goal whose outcome is wanted: their time to act is over, and that of their outcome is not.
    The oldest first, of each goal with a subject only the newest. What was withdrawn, or called for while its play was
    paused, is not asked about."""
    rows: Any = connection.execute(
        f"SELECT d.id, d.play, d.subject, d.goal, d.at, {_UNTIL}, coalesce(p.evidence, '[]') "
        "FROM decisions d LEFT JOIN predictions p ON p.id = d.prediction_id "
        f"WHERE d.goal <> '' AND {_UNTIL} >= ? AND d.deadline <= ? AND d.arm <> 'paused' "
        "AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.decision_id = d.id) "
        "AND NOT EXISTS (SELECT 1 FROM decisions n WHERE n.subject = d.subject AND n.goal = d.goal AND n.seq > d.seq) "
        # Whose steps were all left out has no action, and is asked about like the others.
        "AND (NOT EXISTS (SELECT 1 FROM actions a WHERE a.decision_id = d.id) OR EXISTS (SELECT 1 FROM actions a "
        "WHERE a.decision_id = d.id AND a.state <> 'withdrawn')) ORDER BY d.at LIMIT ?",
        (now, now, limit),
    )
    return [
        Wanted(
            decision_id=row[0],
            play=row[1],
            title=title_of(row[1], titles),
            subject=row[2],
            goal=row[3],
            at=row[4],
            until=row[5],
            said=" ".join(one.text for one in EVIDENCE.decode(row[6]) if isinstance(one, SpokenEvidence)),
        )
        for row in rows
    ]


def features(connection: apsw.Connection, goal: str) -> list[Features]:
    """The outcomes that count of decisions for a goal, each with what there was before it."""
    rows: Any = connection.execute(
        "SELECT (SELECT l.value FROM outcomes l WHERE l.decision_id = d.id AND l.excluded = '' ORDER BY l.seq DESC "
        "LIMIT 1) AS value, "
        "(SELECT json_group_array(DISTINCT p.label) FROM predictions p WHERE p.subject = d.subject "
        "AND p.at BETWEEN d.at - ? AND d.at), "
        "(SELECT json_group_array(DISTINCT d.play || '/' || coalesce(nullif(a.terms ->> 'step', ''), a.step + 1)) "
        "FROM actions a WHERE a.decision_id = d.id AND a.state = 'done') "
        "FROM decisions d WHERE d.goal = ? AND value IS NOT NULL",
        (EARLIER_DAYS * DAY_US, goal),
    )
    return [
        Features(
            value=value,
            labels=frozenset(msgspec.json.decode(labels, type=list[str])),
            done=frozenset(msgspec.json.decode(done, type=list[str])),
        )
        for value, labels, done in rows
    ]


def arms(connection: apsw.Connection) -> dict[str, dict[Arm, int]]:
    """By play how many decisions there were in each arm."""
    found: dict[str, dict[Arm, int]] = {}
    rows: Any = connection.execute("SELECT play, arm, count(*) FROM decisions GROUP BY 1, 2")
    for play, arm, count in rows:
        found.setdefault(play, {})[arm] = count
    return found


# ---- chains ----------------------------------------------------------------------------------------------------------


class ChainStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a chain as it stands now; `proven`: this site's hold-outs show what it adds."""

    card_id: str
    what: Mapping[str, str]
    role: str
    state: State
    minutes: float
    proven: bool


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """What it is best to do about a subject for a goal: how likely the goal is without and with it, between which
    bounds, and until when it helps."""

    decision_id: str
    goal: str
    subject: str
    at: int
    before: float
    after: float
    low: float
    high: float
    minutes: float
    within_minutes: float
    until: int
    cost: float
    steps: tuple[ChainStep, ...]


def chains(connection: apsw.Connection, limit: int, again: Callable[[str, str], Chain | None]) -> list[ChainRow]:
    """What is best for each subject and goal of which something is still open, newest first: what was found when the
    last decision was made, or, where a step of that came to nothing, what is found now by `again`, of subject and
    goal."""
    rows: Any = connection.execute(
        "SELECT d.id, d.subject, d.at, d.chain, max(d.seq) FROM decisions d WHERE d.goal <> '' AND d.chain <> 'null' "
        "AND EXISTS (SELECT 1 FROM decisions b JOIN actions a ON a.decision_id = b.id WHERE b.subject = d.subject "
        f"AND b.goal = d.goal AND {OPEN}) "
        "GROUP BY d.subject, d.goal ORDER BY d.seq DESC LIMIT ?",
        (limit,),
    ).fetchall()
    found = []
    for decision_id, subject, at, text, _ in rows:
        chain: Chain | None = msgspec.json.decode(text, type=Chain)
        assert chain is not None
        steps = _steps(connection, chain)
        if any(step.state in CAME_TO_NOTHING for step in steps):
            chain = again(subject, chain.goal)
            steps = () if chain is None else _steps(connection, chain)
        if chain is not None and any(step.state in OPEN_STATES for step in steps):
            found.append(_chain_row(decision_id, subject, at, chain, steps))
    return found


def _chain_row(decision_id: str, subject: str, at: int, chain: Chain, steps: tuple[ChainStep, ...]) -> ChainRow:
    return ChainRow(
        decision_id=decision_id,
        goal=chain.goal,
        subject=subject,
        at=at,
        before=chain.before,
        after=chain.after,
        low=chain.low,
        high=chain.high,
        minutes=chain.minutes,
        within_minutes=chain.within_minutes,
        until=at + round(chain.within_minutes * 60_000_000),
        cost=chain.cost,
        steps=steps,
    )


def _steps(connection: apsw.Connection, chain: Chain) -> tuple[ChainStep, ...]:
    marks = ", ".join("?" * len(chain.steps))
    rows: Any = connection.execute(
        "SELECT id, what, coalesce(holder, role), state, coalesce(terms ->> 'minutes', 5.0) FROM actions "
        f"WHERE id IN ({marks})",
        chain.steps,
    )
    by_id = {
        row[0]: ChainStep(
            card_id=row[0],
            what=msgspec.json.decode(row[1], type=dict[str, str]),
            role=row[2],
            state=row[3],
            minutes=row[4],
            proven=row[0] not in chain.unproven,
        )
        for row in rows
    }
    return tuple(by_id[step] for step in chain.steps if step in by_id)
