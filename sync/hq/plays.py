"""What became of each play's actions, counted as records arrive, in whatever order.

A Decision names its play, an Action its decision, a Transition its action and the new state; the newest transition (by
its number in the lane) is the state of the action. Where one of them is not here yet the others wait for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from sync.hq.database import Database, marks

MAX_TEXT = 200
"""Characters of an id, a play or a state that are counted by."""
_MOST_MARKS = 50  # asked for more, a PostgreSQL without statistics yet reads all that there is of the site


class Step(msgspec.Struct, frozen=True):
    """A record of kind decision, action or transition, and its number."""

    kind: str
    seq: int
    record: dict[str, Any]


class _Action(msgspec.Struct, frozen=True):
    """What is known of an action; `number` is (epoch, seq) of the transition that brought its state about."""

    decision: str | None = None
    state: str | None = None
    number: tuple[int, int] = (0, 0)


STEP_KINDS = frozenset(("decision", "action", "transition"))


def count(database: Database, site: str, epoch: int, steps: Sequence[Step]) -> None:
    """Count new records; inside a transaction that holds the site's lock. What has not the fields that it should have
    is kept as a record like any other, but not counted."""
    play_of = dict(_pairs(steps, "decision", "id", "play"))
    for (known,) in _among(
        database, site, "SELECT decision_id FROM play_decisions WHERE site = ? AND decision_id", list(play_of)
    ):
        del play_of[known]
    changes = Counter((play, "decision") for play in play_of.values())
    if play_of:
        new = [(site, decision, play) for decision, play in play_of.items()]
        database.bulk("play_decisions", ("site", "decision_id", "play"), new)
    before = _actions(database, site, "decision_id", play_of)
    counted = {action: _Action(None, known.state, known.number) for action, known in before.items()}
    named = {action for step in steps for action in _actions_named(step)}
    others = _actions(database, site, "action_id", sorted(named - set(before)))
    before |= others
    counted |= others
    after = dict(before)
    for step in steps:
        for action, decision in _pairs([step], "action", "id", "decision_id"):
            after[action] = msgspec.structs.replace(after.get(action, _Action()), decision=decision)
        for action, state in _pairs([step], "transition", "action_id", "state"):
            known_action = after.get(action, _Action())
            if (epoch, step.seq) > known_action.number:
                after[action] = _Action(known_action.decision, state, (epoch, step.seq))
    decisions = {known.decision for known in (*before.values(), *after.values()) if known.decision is not None}
    play_of |= dict(
        _among(
            database,
            site,
            "SELECT decision_id, play FROM play_decisions WHERE site = ? AND decision_id",
            sorted(decisions - set(play_of)),
        )
    )
    changes.update(_states(after, play_of))
    changes.subtract(_states(counted, play_of))
    _write(database, site, before, after)
    database.execute_many(
        "INSERT INTO plays VALUES (?, ?, ?, ?) ON CONFLICT (site, play, what) DO UPDATE SET"
        " number = plays.number + excluded.number",
        [(site, play, what, number) for (play, what), number in sorted(changes.items()) if number],
    )


def _actions(database: Database, site: str, column: str, values: Iterable[str]) -> dict[str, _Action]:
    return {
        action: _Action(decision, state, (epoch, seq))
        for action, decision, state, epoch, seq in _among(
            database,
            site,
            "SELECT action_id, decision_id, state, state_epoch, state_seq FROM play_actions"
            f" WHERE site = ? AND {column}",
            values,
        )
    }


def _actions_named(step: Step) -> Iterator[str]:
    for action, _ in (
        *_pairs([step], "action", "id", "decision_id"),
        *_pairs([step], "transition", "action_id", "state"),
    ):
        yield action


def _states(actions: Mapping[str, _Action], play_of: Mapping[str, str]) -> Counter[tuple[str, str]]:
    return Counter(
        (play_of[action.decision], action.state or "proposed")
        for action in actions.values()
        if action.decision is not None and action.decision in play_of
    )


def _write(database: Database, site: str, before: Mapping[str, _Action], after: Mapping[str, _Action]) -> None:
    columns = ("decision_id", "state", "state_epoch", "state_seq")
    new = [
        (site, name, action.decision, action.state, *action.number)
        for name, action in after.items()
        if name not in before
    ]
    changed = [
        (action.decision, action.state, *action.number, site, name)
        for name, action in after.items()
        if name in before and action != before[name]
    ]
    if new:
        database.bulk("play_actions", ("site", "action_id", *columns), new)
    if changed:
        database.execute_many(
            f"UPDATE play_actions SET {' = ?, '.join(columns)} = ? WHERE site = ? AND action_id = ?", changed
        )


def _pairs(steps: Iterable[Step], kind: str, *names: str) -> Iterator[tuple[str, str]]:
    for step in steps:
        if step.kind == kind:
            first, second = (step.record.get(name) for name in names)
            if _is_text(first) and _is_text(second):
                yield first, second


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and "\0" not in value


def _among(database: Database, site: str, query: str, values: Iterable[str]) -> list[tuple[Any, ...]]:
    wanted = list(values)
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(wanted), _MOST_MARKS):
        part = wanted[start : start + _MOST_MARKS]
        found += database.select(f"{query} IN ({marks(len(part))})", site, *part)
    return found
