"""What the journal knows of plays: which are paused, which steps are open for a goal, who has how much to do."""

from typing import Any

import apsw
import msgspec

from edge.events import Action, PlayState
from edge.store.rows import columns_of, read


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a play runs, since when, by whom and why."""

    play: str
    state: PlayState
    at: int
    by: str
    remark: str


def standings(connection: apsw.Connection) -> dict[str, Standing]:
    """How each play stands that was ever paused."""
    rows: Any = connection.execute(
        "SELECT play, state, at, by, remark FROM play_changes WHERE seq IN "
        "(SELECT max(seq) FROM play_changes GROUP BY play)"
    )
    return {row[0]: Standing(play=row[0], state=row[1], at=row[2], by=row[3], remark=row[4]) for row in rows}


def last_change(connection: apsw.Connection) -> int:
    """The place of the last pause or resumption; 0: there was none."""
    row: Any = connection.execute("SELECT coalesce(max(seq), 0) FROM play_changes").fetchone()
    return int(row[0])


def open_steps(connection: apsw.Connection, subject: str, goal: str) -> list[tuple[str, Action]]:
    """The steps that wait for an answer about a subject, of plays for a goal: each with the name of its play."""
    columns = columns_of(Action)
    chosen = ", ".join(f"a.{column}" for column in columns)
    rows: Any = connection.execute(
        f"SELECT d.play, {chosen} FROM decisions d JOIN actions a ON a.decision_id = d.id "
        "WHERE d.subject = ? AND d.goal = ? AND a.state = 'proposed' ORDER BY a.seq",
        (subject, goal),
    )
    return [(row[0], read(Action, columns, row[1:])) for row in rows]


def busy(connection: apsw.Connection) -> dict[str, float]:
    """By role, for how many minutes it has work: what it accepted and has not done yet."""
    rows: Any = connection.execute(
        "SELECT coalesce(holder, role), sum(coalesce(terms ->> 'minutes', 5.0)) FROM actions "
        "WHERE state = 'accepted' AND channel = 'card' GROUP BY 1"
    )
    return {role: float(minutes) for role, minutes in rows}
