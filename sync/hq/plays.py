"""What became of each play's actions, counted as records arrive, in whatever order.

A Decision names its play, an Action its decision, a Transition its action and the new state; the newest transition (by
its number in the lane) is the state of the action. Where one of them is not here yet the others wait for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import msgspec

from sync.hq.database import Database, marks

MAX_TEXT = 200
"""Characters of an id, a play or a state that are counted by."""
_MOST_MARKS = 500


class Step(msgspec.Struct, frozen=True):
    """A record of kind decision, action or transition, and its number."""

    kind: str
    seq: int
    record: dict[str, Any]


STEP_KINDS = frozenset(("decision", "action", "transition"))


def count(database: Database, site: str, epoch: int, steps: Sequence[Step]) -> None:
    """Count new records; inside a transaction that holds the site's lock. What has not the fields that it should have
    is kept as a record like any other, but not counted."""
    decisions = dict(_pairs(steps, "decision", "id", "play"))
    for (known,) in _among(
        database, site, "SELECT decision_id FROM play_decisions WHERE site = ? AND decision_id", list(decisions)
    ):
        del decisions[known]
    actions = dict(_pairs(steps, "action", "id", "decision_id"))
    states: dict[str, tuple[str, int]] = {}
    for seq, (action, state) in _numbered(steps):
        if action not in states or seq > states[action][1]:
            states[action] = (state, seq)
    waiting = _among(database, site, "SELECT action_id FROM play_actions WHERE site = ? AND decision_id", decisions)
    touched = sorted({*actions, *states, *(action for (action,) in waiting)})
    before = _counted(database, site, touched)
    if decisions:
        database.execute_many(
            "INSERT INTO play_decisions (site, decision_id, play) VALUES (?, ?, ?)",
            [(site, decision, play) for decision, play in decisions.items()],
        )
    if actions:
        database.execute_many(
            "INSERT INTO play_actions (site, action_id, decision_id) VALUES (?, ?, ?)"
            " ON CONFLICT (site, action_id) DO UPDATE SET decision_id = excluded.decision_id",
            [(site, action, decision) for action, decision in actions.items()],
        )
    if states:
        database.execute_many(
            "INSERT INTO play_actions (site, action_id, state, state_epoch, state_seq) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (site, action_id) DO UPDATE SET"
            " state = excluded.state, state_epoch = excluded.state_epoch, state_seq = excluded.state_seq"
            " WHERE (excluded.state_epoch, excluded.state_seq) > (play_actions.state_epoch, play_actions.state_seq)",
            [(site, action, state, epoch, seq) for action, (state, seq) in states.items()],
        )
    changes = _counted(database, site, touched)
    changes.subtract(before)
    changes.update((play, "decision") for play in decisions.values())
    database.execute_many(
        "INSERT INTO plays VALUES (?, ?, ?, ?) ON CONFLICT (site, play, what) DO UPDATE SET"
        " number = plays.number + excluded.number",
        [(site, play, what, number) for (play, what), number in sorted(changes.items()) if number],
    )


def _pairs(steps: Iterable[Step], kind: str, *names: str) -> Iterator[tuple[str, str]]:
    for step in steps:
        if step.kind == kind:
            first, second = (step.record.get(name) for name in names)
            if _is_text(first) and _is_text(second):
                yield first, second


def _numbered(steps: Iterable[Step]) -> Iterator[tuple[int, tuple[str, str]]]:
    for step in steps:
        for pair in _pairs([step], "transition", "action_id", "state"):
            yield step.seq, pair


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and "\0" not in value


def _counted(database: Database, site: str, actions: Sequence[str]) -> Counter[tuple[str, str]]:
    found = _among(
        database,
        site,
        "SELECT play, coalesce(state, 'proposed') FROM play_actions JOIN play_decisions USING (site, decision_id)"
        " WHERE site = ? AND action_id",
        actions,
    )
    return Counter((play, state) for play, state in found)


def _among(database: Database, site: str, query: str, values: Iterable[str]) -> list[tuple[Any, ...]]:
    wanted = list(values)
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(wanted), _MOST_MARKS):
        part = wanted[start : start + _MOST_MARKS]
        found += database.select(f"{query} IN ({marks(len(part))})", site, *part)
    return found
