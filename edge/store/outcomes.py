"""What came of decisions: what is told is held against the decision that it is about, and read again to be counted.

    told of a decision nobody made        refused, with what to do
    told again, alike                     changes nothing
    told again, otherwise                 corrects what was told before; both stay in the journal
    told too late                         kept, and not counted
    of a time before the decision         refused

Several plays may have been called for one goal in one encounter with a subject: what came of one came of all of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import apsw
import msgspec

from edge.errors import Refused, Unknown
from edge.events import Arm, Decision, Outcome, Trial
from edge.store.rows import select

DAY_US = 86_400_000_000
CLOCK_US = 3_600_000_000
"""So far may the clock of whoever tells be behind the gateway's."""
EARLIER_DAYS = 30
DEFAULT_DAYS = 30


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says came of a decision: of the one that is named, or of the newest of a play about a subject up to
    that time. `value` is how far the goal was reached (0 to 1)."""

    value: float
    at: int
    by: str
    source: Literal["http", "note", "file"]
    decision_id: str = ""
    subject: str = ""
    play: str = ""
    remark: str = ""


class Judged(msgspec.Struct, frozen=True):
    """The outcome of the decision that a claim is about (as it was told before, where that was the same), and all that
    are new: of that decision, and of the others of the encounter."""

    outcome: Outcome
    new: tuple[Outcome, ...]


def judge(connection: apsw.Connection, claim: Claim, unwritten: Mapping[str, Outcome] = MappingProxyType({})) -> Judged:
    """What a claim says came of decisions. `unwritten` is by decision what was told just now and is not in the journal
    yet.

    Raises Refused when it is no outcome, and Unknown when it is about no decision.
    """
    if not 0 <= claim.value <= 1:
        raise Refused(f"value: an outcome lies between 0 and 1, and this is {claim.value:g}; say 1 for yes, 0 for no.")
    decision = _decision(connection, claim)
    if claim.at < decision.at - CLOCK_US:
        raise Refused("at: this outcome is older than the decision it is said to come of; correct its time.")
    outcomes = {one.id: _outcome(one, claim) for one in (decision, *_encounter(connection, decision))}
    known = {one.decision_id: one for one in _last(connection, list(outcomes))} | dict(unwritten)
    new = {of: one for of, one in outcomes.items() if of not in known or not _is_same(known[of], one)}
    return Judged(new.get(decision.id) or known[decision.id], tuple(new.values()))


def _is_same(known: Outcome, told: Outcome) -> bool:
    """Whether it was told before. One that came too late and has its time corrected is told otherwise."""
    return known.value == told.value and (not known.excluded or bool(told.excluded))


def _outcome(decision: Decision, claim: Claim) -> Outcome:
    until = decision.outcome_until or decision.at + DEFAULT_DAYS * DAY_US
    late = (
        f"It came {(claim.at - decision.at) / DAY_US:.0f} days after the decision; what comes within "
        f"{(until - decision.at) / DAY_US:.0f} days counts."
    )
    return Outcome(
        at=claim.at,
        decision_id=decision.id,
        value=float(claim.value),
        by=claim.by,
        source=claim.source,
        remark=claim.remark,
        excluded=late if claim.at > until else "",
    )


def _encounter(connection: apsw.Connection, decision: Decision) -> list[Decision]:
    """The other decisions about the subject, for the same goal, of about the same time."""
    if not decision.goal:
        return []
    where = "WHERE subject = ? AND goal = ? AND at BETWEEN ? AND ? AND id <> ?"
    around = (decision.at - DAY_US, decision.at + DAY_US)
    return select(connection, Decision, where, (decision.subject, decision.goal, *around, decision.id))


def _last(connection: apsw.Connection, decisions: list[str]) -> list[Outcome]:
    """The outcome told last of each of these decisions that has one."""
    marks = ", ".join("?" * len(decisions))
    newest = f"SELECT max(seq) FROM outcomes WHERE decision_id IN ({marks}) GROUP BY decision_id"
    return select(connection, Outcome, f"WHERE seq IN ({newest})", decisions)


def _decision(connection: apsw.Connection, claim: Claim) -> Decision:
    if claim.decision_id:
        found = select(connection, Decision, "WHERE id = ?", (claim.decision_id,))
        what = f"decision {claim.decision_id}"
    else:
        found = select(
            connection,
            Decision,
            "WHERE subject = ? AND play = ? AND at <= ? ORDER BY seq DESC LIMIT 1",
            (claim.subject, claim.play, claim.at + CLOCK_US),
        )
        what = f"decision of the play {claim.play!r} about {claim.subject!r}"
    if not found:
        raise Unknown(f"There is no {what}: nothing came of what was never decided; correct the name.")
    return found[0]


# ---- read again ------------------------------------------------------------------------------------------------------


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision (0 to 1), with what was known when it was made: the probability that called for it, and
    how many decisions about the subject there had been in the thirty days before."""

    subject: str
    play: str
    at: int
    arm: Arm
    trials: tuple[Trial, ...]
    probability: float
    earlier: int
    value: float


_TOLD = f"""
SELECT d.subject, d.play, d.at, d.arm, d.trials, coalesce(p.probability, 0.5),
  (SELECT count(*) FROM decisions b WHERE b.subject = d.subject AND b.seq < d.seq
     AND b.at > d.at - {EARLIER_DAYS * DAY_US}),
  (SELECT l.value FROM outcomes l WHERE l.decision_id = d.id AND l.excluded = '' ORDER BY l.seq DESC LIMIT 1)
FROM outcomes o JOIN decisions d ON d.id = o.decision_id LEFT JOIN predictions p ON p.id = d.prediction_id
WHERE o.excluded = '' AND o.seq > ? AND o.seq = (
  SELECT min(f.seq) FROM outcomes f WHERE f.decision_id = o.decision_id AND f.excluded = '')
ORDER BY o.seq
"""


def told(connection: apsw.Connection, after: int = 0) -> list[Told]:
    """The outcomes that count of decisions of which the first was told after place `after`, in the order in which that
    was, each as it was corrected last."""
    return [
        Told(
            subject=row[0],
            play=row[1],
            at=row[2],
            arm=row[3],
            trials=msgspec.json.decode(row[4], type=tuple[Trial, ...]),
            probability=row[5],
            earlier=row[6],
            value=row[7],
        )
        for row in connection.execute(_TOLD, (after,))
    ]


def last_place(connection: apsw.Connection) -> int:
    """The place of the outcome told last; 0: there is none."""
    row: Any = connection.execute("SELECT coalesce(max(seq), 0) FROM outcomes").fetchone()
    return int(row[0])


def corrected(connection: apsw.Connection, after: int) -> bool:
    """Whether an outcome told after a place corrects one told before it."""
    row = connection.execute(
        "SELECT 1 FROM outcomes o WHERE o.seq > ? AND EXISTS (SELECT 1 FROM outcomes b WHERE b.decision_id = "
        "o.decision_id AND b.seq <= ? AND b.excluded = '') LIMIT 1",
        (after, after),
    ).fetchone()
    return row is not None
