"""What is to happen to an action by itself, and when: rows that are written and deleted in the transaction of what
they belong to, so that nothing happens twice, or is forgotten, whenever the gateway is killed. Times are of the steady
clock.

    ask        nobody answered: ask again
    escalate   nobody answered: hand it to another role
    fire       nobody answered: do it
    expire     its time is over
    perform    it was accepted or has fired, and is to be carried out on its channel
    take_back  it was carried out and undone, and is to be taken back on its channel
    undo       until then it can be undone
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import apsw

from edge.events import Action, State, now_us
from edge.store.database import number
from edge.store.rows import columns_of, read

SECOND_US = 1_000_000
Timer = Literal["ask", "escalate", "fire", "expire", "perform", "take_back", "undo"]


class Due(NamedTuple):
    """A timer that has run out, and its action with its state."""

    at: int
    what: Timer
    action: Action
    state: State

    def fails_in(self, state: State) -> bool:
        """Whether, in this state of the action, its time is over though it was to be carried out, and was not."""
        return self.what == "expire" and state in ("accepted", "fired") and self.action.channel != "card"


def any_running(connection: apsw.Connection) -> bool:
    """Whether anything is to happen by itself."""
    return bool(number(connection, "SELECT EXISTS (SELECT 1 FROM timers)"))


def propose(connection: apsw.Connection, actions: Sequence[Action], now: int) -> None:
    """Start the timers of actions that are proposed now."""
    for action in actions:
        start(connection, action, _of_proposed(action, now))


def _of_proposed(action: Action, now: int) -> Iterable[tuple[Timer, int]]:
    terms = action.terms
    ends = now + action.due - action.at
    yield "expire", ends
    if action.fires_at is not None:
        yield "fire", now + action.fires_at - action.at
    if terms.escalate_s is not None:
        yield "escalate", now + round(terms.escalate_s * SECOND_US)
    for time in range(1, terms.ask_again_times + 1):
        at = now + round(time * (terms.ask_again_s or 0.0) * SECOND_US)
        if at < ends:
            yield "ask", at


def resume(connection: apsw.Connection, action: Action, state: State, now: int) -> None:
    """Start the timers of an action that another box had, as far as the gateway's clock says that they run."""
    stop(connection, action.id)
    if state not in ("proposed", "accepted", "fired"):
        return
    left: list[tuple[Timer, int]] = [("expire", action.due)]
    if state == "proposed" and action.fires_at is not None:
        left.append(("fire", action.fires_at))
    start(connection, action, [(what, now + max(0, at - now_us())) for what, at in left])
    if state != "proposed" and action.channel != "card":
        start(connection, action, [("perform", now)])


def start(connection: apsw.Connection, action: Action, timers: Iterable[tuple[Timer, int]]) -> None:
    """Start timers of an action."""
    connection.executemany(
        "INSERT OR IGNORE INTO timers (at, action_id, what) VALUES (?, ?, ?)",
        [(at, action.id, what) for what, at in timers],
    )


def stop(connection: apsw.Connection, action_id: str, *whats: Timer) -> None:
    """Stop timers of an action; without names all of them."""
    chosen = f" AND what IN ({', '.join('?' * len(whats))})" if whats else ""
    connection.execute(f"DELETE FROM timers WHERE action_id = ?{chosen}", (action_id, *whats))


def running(connection: apsw.Connection, action_id: str, what: Timer) -> int | None:
    """When a timer of an action runs out; None: it does not run."""
    row: Any = connection.execute(
        "SELECT min(at) FROM timers WHERE action_id = ? AND what = ?", (action_id, what)
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def take(connection: apsw.Connection, timer: Due) -> bool:
    """Take a timer that has run out; False: it was taken or stopped meanwhile."""
    connection.execute(
        "DELETE FROM timers WHERE at = ? AND action_id = ? AND what = ?", (timer.at, timer.action.id, timer.what)
    )
    return bool(connection.changes())


def put_off(connection: apsw.Connection, timer: Due, at: int) -> None:
    """Let a timer that has run out run until `at`, unless it was stopped meanwhile."""
    if take(connection, timer):
        start(connection, timer.action, [(timer.what, at)])


def grant(connection: apsw.Connection, now: int, grace_us: int) -> None:
    """After a start: let nothing fire before people had `grace_us`, or the whole of its countdown, to answer."""
    rows: list[Any] = connection.execute(
        "SELECT t.at, t.action_id, max(0, min(?, a.fires_at - a.at)) FROM timers t "
        "JOIN actions a ON a.id = t.action_id WHERE t.what = 'fire' AND t.at < ?",
        (grace_us, now + grace_us),
    ).fetchall()
    connection.executemany(  # what fires at its deadline has until then
        "UPDATE OR REPLACE timers SET at = max(at, ?) WHERE at >= ? AND action_id = ? AND what IN ('fire', 'expire')",
        [(now + length, at, action_id) for at, action_id, length in rows],
    )


def due(connection: apsw.Connection, now: int, limit: int) -> list[Due]:
    """The timers that have run out, what is to be carried out first, then the oldest; what fires at the last
    moment fires."""
    columns = columns_of(Action)
    rows: Any = connection.execute(
        f"SELECT t.at, t.what, a.state, {', '.join('a.' + c for c in columns)} FROM timers t "
        "JOIN actions a ON a.id = t.action_id WHERE t.at <= ? "
        "ORDER BY t.what <> 'perform', t.at, t.what = 'expire' LIMIT ?",
        (now, limit),
    )
    return [Due(row[0], row[1], read(Action, columns, row[3:]), row[2]) for row in rows]
