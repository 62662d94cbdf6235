"""How an action moves from state to state: the only place that says what may follow what, and what is taken back how.

    proposed ─▶ accepted ─▶ done ─▶ undone          declined ─▶ proposed (undone within its window)
        │  └──▶ fired ────▶ failed ─▶ undone        accepted ─▶ proposed (undone before it was carried out)
        └─────▶ declined, expired, withdrawn        proposed ─▶ proposed (asked again, handed over, escalated)

Every function runs in the writer's transaction and gives the transitions that it wrote.
"""

from typing import Any

import apsw
import msgspec

from edge.errors import Conflict
from edge.events import GATEWAY, Action, ChannelName, State, Terms, Transition, now_us
from edge.store import timers
from edge.store.rows import columns_of, insert, read
from edge.store.timers import SECOND_US, Due

ALLOWED: dict[State, frozenset[State]] = {
    "proposed": frozenset({"proposed", "accepted", "declined", "fired", "expired", "withdrawn"}),
    "accepted": frozenset({"proposed", "done", "failed", "declined", "undone"}),
    "fired": frozenset({"done", "failed", "undone"}),
    "declined": frozenset({"proposed"}),
    "expired": frozenset(),
    "withdrawn": frozenset(),
    "done": frozenset({"undone"}),
    "failed": frozenset({"undone"}),
    "undone": frozenset(),
}
BY_HAND = {
    "en": "By hand, as it could not be done by itself ({why}): {what}",
    "zh": "自动执行失败（{why}），请人工处理：{what}",
}


def move(
    connection: apsw.Connection, now: int, action_id: str, state: State, by: str, remark: str = ""
) -> list[Transition]:
    """Move an action to another state. Raises Conflict when there is none, or it may not go there from where it is."""
    action, before, _ = _found(connection, action_id)
    if state not in ALLOWED[before]:
        raise Conflict(f"This action is {before} already and cannot become {state}; reload the list.")
    _rearm(connection, now, action, state)
    return [_moved(connection, action, state, by, remark)]


def hand_over(
    connection: apsw.Connection, now: int, action_id: str, role: str, by: str, remark: str
) -> list[Transition]:
    """Give an action that nobody has finished to another role: it waits for an answer from there, and does not fire by
    itself any more. Raises Conflict."""
    action, before, holder = _found(connection, action_id)
    if before not in ("proposed", "accepted"):
        raise Conflict(f"This action is {before} already and cannot be handed over; reload the list.")
    if role == holder:
        raise Conflict(f"This action is with {role} already.")
    if action.channel != "card":
        raise Conflict("Only what a person does can be handed over; accept it or decline it.")
    timers.stop(connection, action.id, "fire", "escalate", "undo")
    timers.start(connection, action, [("undo", _undo_ends(action, now))])
    return [_moved(connection, action, "proposed", by, remark, role)]


def undo(
    connection: apsw.Connection, now: int, action_id: str, by: str, remark: str, mover: str = ""
) -> list[Transition]:
    """Take back the last thing that a person did with an action, or that it did by itself, within its window; when
    `mover` is named, only what that one did.

    What was only said (declined, handed over, accepted and not yet carried out) is as if it had not been said, but does
    not fire by itself any more. What was carried out is undone, and taken back on its channel where the play says how.
    Raises Conflict.
    """
    action, before, _ = _found(connection, action_id)
    until = timers.running(connection, action.id, "undo")
    if until is None or until <= now:
        raise Conflict(f"This action is {before} and can no longer be taken back: that goes for {_minutes(action)}.")
    if mover and mover != (last := _last_mover(connection, action.id, but=None if mover == GATEWAY else GATEWAY)):
        raise Conflict(f"{last} has moved this meanwhile, it is {before} now: undo that if it is wrong.")
    carried_out = action.channel != "card" and timers.running(connection, action.id, "perform") is None
    waits = action.channel == "message" and not carried_out
    if before in ("proposed", "declined") or (before == "accepted" and (action.channel == "card" or waits)):
        if (timers.running(connection, action.id, "expire") or now) <= now:
            raise Conflict("The time of this action is over: there is nothing to go back to.")
        timers.stop(connection, action.id, "undo", "perform")
        back = _role_before(connection, action) if before == "proposed" else ""
        return [_moved(connection, action, "proposed", by, remark or "taken back", back)]
    if is_for_good(action.channel, action.terms, before):
        raise Conflict("The play does not say how to take this command back; see to the device by hand.")
    timers.stop(connection, action.id)
    if action.channel in ("device", "webhook"):
        timers.start(connection, action, [("take_back", now)])
    return [_moved(connection, action, "undone", by, remark)]


def is_for_good(channel: ChannelName, terms: Terms, state: State) -> bool:
    """Whether an action in this state cannot be undone: a device has its command, and the play does not say how to take
    that back."""
    return channel == "device" and not terms.undo and state not in ("proposed", "declined")


def elapse(connection: apsw.Connection, now: int, timer: Due) -> list[Transition]:
    """A timer of an action has run out: what follows, if it was not stopped meanwhile."""
    action, state, _ = _found(connection, timer.action.id)
    if timer.fails_in(state):
        return []  # it is being carried out, or fails
    if not timers.take(connection, timer):
        return []
    ends = timers.running(connection, action.id, "expire")
    if timer.what == "fire" and ends is not None and timer.at < ends <= now:
        return []  # nobody was there when it should have fired, and now its time is over
    terms = action.terms
    match timer.what, state:
        case "fire", "proposed":
            return move(connection, now, action.id, "fired", GATEWAY)
        case "ask", "proposed":
            return [_moved(connection, action, "proposed", GATEWAY, "asked again: nobody answered")]
        case "escalate", "proposed":
            return [_moved(connection, action, "proposed", GATEWAY, "nobody answered", terms.escalate_to)]
        case "expire", "proposed":
            return move(connection, now, action.id, "expired", GATEWAY, "nobody answered in time")
    return []


def carried_out(connection: apsw.Connection, now: int, timer: Due) -> list[Transition]:
    """An action was carried out on its channel, or taken back there."""
    if not timers.take(connection, timer):
        _, state, _ = _found(connection, timer.action.id)
        if state == "declined":  # while it was carried out
            timers.start(connection, timer.action, [("take_back", now)])
        return []
    if timer.what == "take_back":
        return []
    return move(connection, now, timer.action.id, "done", GATEWAY)


def fail(connection: apsw.Connection, now: int, timer: Due, why: str) -> tuple[list[Transition], list[Action]]:
    """The channel of an action did not take it until its time was over: it failed, and somebody is asked to do it by
    hand."""
    if not timers.take(connection, timer):
        return [], []
    action, _, holder = _found(connection, timer.action.id)
    failed = move(connection, now, action.id, "failed", GATEWAY, why)
    by_hand = Action(
        at=now_us(),
        decision_id=action.decision_id,
        step=action.step,
        role=action.terms.escalate_to or holder,
        channel="card",
        what={
            language: BY_HAND.get(language, BY_HAND["en"]).format(why=why, what=what)
            for language, what in action.what.items()
        },
        payload=action.payload,
        due=now_us() + max(action.due - action.at, SECOND_US),
        fires_at=None,
        terms=msgspec.structs.replace(action.terms, undo={}, ask_again_s=None, ask_again_times=0, escalate_s=None),
    )
    return failed, [by_hand]


def _rearm(connection: apsw.Connection, now: int, action: Action, state: State) -> None:
    """The timers that belong to a state. The end of an action's time stays until it is settled for good: what was
    declined or accepted by mistake goes back to it."""
    undo_ends = _undo_ends(action, now)
    timers.stop(connection, action.id, "ask", "escalate", "fire", "perform", "undo")
    if state in ("accepted", "fired"):
        if action.channel == "message":  # held back while it can still be taken back
            ends = timers.running(connection, action.id, "expire")
            held = undo_ends if ends is None else max(now, min(undo_ends, ends))
            timers.start(connection, action, [("perform", held)])
        elif action.channel != "card":
            timers.start(connection, action, [("perform", now)])
    elif state in ("done", "failed", "expired", "withdrawn", "undone"):
        timers.stop(connection, action.id, "expire")
    sent = state == "done" and action.channel == "message"
    if state in ("accepted", "fired", "declined", "done", "failed") and action.terms.undo_s and not sent:
        timers.start(connection, action, [("undo", undo_ends)])


def _undo_ends(action: Action, now: int) -> int:
    return now + round(action.terms.undo_s * SECOND_US)


def _found(connection: apsw.Connection, action_id: str) -> tuple[Action, State, str]:
    """An action, its state, and the role that has it."""
    columns = columns_of(Action)
    row: Any = connection.execute(
        f"SELECT state, coalesce(holder, role), {', '.join(columns)} FROM actions WHERE id = ?", (action_id,)
    ).fetchone()
    if row is None:
        raise Conflict(f"There is no action {action_id}; reload the list.")
    return read(Action, columns, row[2:]), row[0], row[1]


def _minutes(action: Action) -> str:
    return f"{action.terms.undo_s / 60:g} min" if action.terms.undo_s else "other steps only"


def _last_mover(connection: apsw.Connection, action_id: str, but: str | None) -> str:
    """Who moved an action last, leaving out what `but` did; what the gateway does of a person's move is still that."""
    row: Any = connection.execute(
        "SELECT by FROM transitions WHERE action_id = ? AND by IS NOT ? ORDER BY seq DESC LIMIT 1", (action_id, but)
    ).fetchone()
    return "" if row is None else str(row[0])


def _role_before(connection: apsw.Connection, action: Action) -> str:
    """The role that had an action before it was handed over last."""
    row: Any = connection.execute(
        "SELECT role FROM transitions WHERE action_id = ? AND role <> '' ORDER BY seq DESC LIMIT 1 OFFSET 1",
        (action.id,),
    ).fetchone()
    return action.role if row is None else str(row[0])


def _moved(
    connection: apsw.Connection, action: Action, state: State, by: str, remark: str, role: str = ""
) -> Transition:
    transition = Transition(at=now_us(), action_id=action.id, state=state, by=by, remark=remark, role=role)
    insert(connection, [transition])
    apply(connection, transition)
    return transition


def apply(connection: apsw.Connection, transition: Transition) -> None:
    """Let an action stand as its newest transition says."""
    connection.execute(
        "UPDATE actions SET state = ?, holder = coalesce(nullif(?, ''), holder) WHERE id = ?",
        (transition.state, transition.role, transition.action_id),
    )
