"""What a pack in the shadow of the one in use said of the same events, kept for people to compare and for nothing else.

A thing that either of the two said is a row: of an utterance by its signal, of a device by the minute.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from edge.store.database import number

MOST_ROWS = 100_000
"""So many rows of one pack are kept; after them only what was judged is counted."""
EXAMPLES = 5


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A label that the pack in use, the one in its shadow, or both said of one thing, with the probability that each
    gave it. `place` names the thing, `text` is what it was: the words, or the sensor's reading."""

    place: str
    at: int
    subject: str
    label: str
    active: float
    shadow: float
    by_active: bool
    by_shadow: bool
    text: str


class Shadowed(msgspec.Struct, frozen=True, kw_only=True):
    """What the two versions of a pack made of a batch: how many things they judged, and what was said of them."""

    pack: str
    active_version: str
    shadow_version: str
    judged: int
    said: Sequence[Said]


class LabelCompared(msgspec.Struct, frozen=True, kw_only=True):
    """How often a label was said by both, by the pack in use only, and by the one in its shadow only."""

    label: str
    both: int
    only_active: int
    only_shadow: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The two versions of a pack since a time (µs): what they judged, label by label, and the newest that they differ
    about."""

    pack: str
    active_version: str
    shadow_version: str
    since: int
    judged: int
    labels: tuple[LabelCompared, ...]
    examples: tuple[Said, ...]


def add(connection: apsw.Connection, batch: Shadowed, now: int) -> None:
    """Keep a batch, inside the caller's transaction; other versions than those before begin anew."""
    key = (batch.pack, batch.active_version, batch.shadow_version)
    found: Any = connection.execute(
        "SELECT 1 FROM shadows WHERE pack = ? AND active_version = ? AND shadow_version = ?", key
    ).fetchone()
    if found is None:
        connection.execute("DELETE FROM shadow_said WHERE pack = ?", (batch.pack,))
        connection.execute("INSERT OR REPLACE INTO shadows VALUES (?, ?, ?, ?, 0)", (*key, now))
    connection.execute("UPDATE shadows SET judged = judged + ? WHERE pack = ?", (batch.judged, batch.pack))
    kept = "SELECT count(*) FROM shadow_said WHERE pack = ?"
    if batch.said and number(connection, kept, (batch.pack,)) < MOST_ROWS:
        connection.executemany(
            "INSERT INTO shadow_said VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "active = max(active, excluded.active), shadow = max(shadow, excluded.shadow), "
            "by_active = by_active | excluded.by_active, by_shadow = by_shadow | excluded.by_shadow",
            ((batch.pack, *msgspec.structs.astuple(said)) for said in batch.said),
        )


def compare(connection: apsw.Connection, pack: str) -> Comparison | None:
    """What is known of a pack and the last one that ran in its shadow; None if none did."""
    found: Any = connection.execute(
        "SELECT active_version, shadow_version, since, judged FROM shadows WHERE pack = ?", (pack,)
    ).fetchone()
    if found is None:
        return None
    counted: Any = connection.execute(
        "SELECT label, sum(by_active AND by_shadow), sum(by_active AND NOT by_shadow), "
        "sum(by_shadow AND NOT by_active) FROM shadow_said WHERE pack = ? GROUP BY label ORDER BY label",
        (pack,),
    )
    labels = tuple(
        LabelCompared(label=label, both=both, only_active=only_active, only_shadow=only_shadow)
        for label, both, only_active, only_shadow in counted
    )
    columns = ", ".join(Said.__struct_fields__)
    differing: Any = connection.execute(
        f"SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY label ORDER BY at DESC) AS newest "
        "FROM shadow_said WHERE pack = ? AND by_active <> by_shadow) "
        f"WHERE newest <= {EXAMPLES} ORDER BY label, at DESC",
        (pack,),
    )
    return Comparison(
        pack=pack,
        active_version=found[0],
        shadow_version=found[1],
        since=found[2],
        judged=found[3],
        labels=labels,
        examples=tuple(
            msgspec.convert(dict(zip(Said.__struct_fields__, row, strict=True)), Said, strict=False)
            for row in differing
        ),
    )
