"""The nearest cases: what the journal has that was like a prediction, and what was done about it then."""

from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import msgspec
import numpy as np

from edge.events import MeasuredEvidence, SpokenEvidence, State
from edge.store.queries import EVIDENCE, Evidence
from models.features.text import extract

LOOKED_AT = 500  # earlier predictions of the same label, the newest
LEAST_LIKE = 0.15
NEAREST = 3


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an earlier case: what was to be done, how it stands, who moved it last and what they said."""

    what: dict[str, str]
    state: State
    by: str
    remark: str


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier prediction of the same label: `said` is what was said or measured, `likeness` how like it is (0 to
    1)."""

    decision_id: str
    subject: str
    at: int
    said: str
    likeness: float
    steps: tuple[Done, ...]


def cases_like(connection: apsw.Connection, action_id: str) -> list[Case]:
    """The NEAREST cases before that of an action, the most alike first; none that is less than LEAST_LIKE.

    Two turns are as alike as their words (the cosine of the features that the text packs see), two readings as what
    made them unusual (the cosine of the weights of their features)."""
    own = connection.execute(
        "SELECT p.seq, p.label, p.evidence FROM actions a JOIN decisions d ON d.id = a.decision_id "
        "JOIN predictions p ON p.id = d.prediction_id WHERE a.id = ?",
        (action_id,),
    ).fetchall()
    if not own:
        return []
    seq, label, evidence = own[0]
    this = _vector(EVIDENCE.decode(str(evidence)))
    rows: Sequence[Any] = connection.execute(
        "SELECT d.id, p.subject, p.at, p.evidence FROM predictions p JOIN decisions d ON d.prediction_id = p.id "
        "WHERE p.label = ? AND p.seq < ? ORDER BY p.seq DESC LIMIT ?",
        (label, seq, LOOKED_AT),
    ).fetchall()
    others = [(row, EVIDENCE.decode(row[3])) for row in rows]
    ranked = sorted(
        ((_likeness(this, _vector(pieces)), row, pieces) for row, pieces in others), key=lambda one: -one[0]
    )
    return [
        Case(
            decision_id=decision_id,
            subject=subject,
            at=at,
            said=_said(pieces),
            likeness=round(likeness, 3),
            steps=_steps(connection, decision_id),
        )
        for likeness, (decision_id, subject, at, _), pieces in ranked[:NEAREST]
        if likeness >= LEAST_LIKE
    ]


def _steps(connection: apsw.Connection, decision_id: str) -> tuple[Done, ...]:
    rows: Sequence[Any] = connection.execute(
        "SELECT a.what, a.state, coalesce(t.by, ''), coalesce(t.remark, '') FROM actions a LEFT JOIN transitions t "
        "ON t.seq = (SELECT max(seq) FROM transitions WHERE action_id = a.id) WHERE a.decision_id = ? ORDER BY a.step",
        (decision_id,),
    ).fetchall()
    return tuple(
        Done(what=msgspec.json.decode(what, type=dict[str, str]), state=state, by=by, remark=remark)
        for what, state, by, remark in rows
    )


def _vector(evidence: Evidence) -> Mapping[Any, float]:
    """What two predictions are compared by; empty if there is nothing."""
    match evidence[0] if evidence else None:
        case SpokenEvidence(text=text):
            features = extract(text)
            index, place = np.unique(features.index, return_inverse=True)
            value = np.bincount(place, features.value, index.size)
            return dict(zip(index.tolist(), value.tolist(), strict=True))
        case MeasuredEvidence(sensor=sensor, weights=weights):
            return {sensor: 1.0} | dict(weights)
    return {}


def _likeness(one: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    dot = sum(value * other.get(name, 0.0) for name, value in one.items())
    size = float(np.sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values())))
    return max(dot / size, 0.0) if size else 0.0


def _said(evidence: Evidence) -> str:
    match evidence[0]:
        case SpokenEvidence(text=text):
            return text
        case MeasuredEvidence(sensor=sensor, value=value):
            return f"{sensor} {value:g}"
    return ""
