"""For how long it is known again what was offered before: a key is looked for among the newest, and among those before.

Keys of readings would grow with every reading that there ever was, also with those that have long gone. So they are
kept in the order in which they came, not by the time that they name (a device's clock may say 1970): in the table
offers, and when that has its number, it becomes offers_before, whose keys have gone by then. Each is known until at
least `KEPT` further events have come, and there are never many more than twice as many; at 21 bytes they take 420 MB at
most. They outlast their readings: of a log that was half taken when the disk filled, nothing is taken twice. Keys of
recordings and notes, of which there are few, never go.
"""

from collections.abc import Sequence
from typing import Any

import apsw

from edge.store.database import number

KEPT = 10_000_000
KEYS_PER_STEP = 5_000
TURNED = "offers turned"  # in the table cursors: the newest event when offers was last empty

_READING = "length(key) = 16 AND substr(key, 1, 5) <> CAST('note/' AS BLOB)"


def remember(connection: apsw.Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Those of the keys that are not known yet; from now on they are."""
    values = "VALUES (?1)"
    last_before: Any = connection.execute("SELECT max(key) FROM offers_before").get
    if last_before is not None and min(keys, default=b"") <= last_before:  # seldom: devices go on in time
        values = "SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM offers_before WHERE key = ?1)"
    add = f"INSERT OR IGNORE INTO offers {values} RETURNING key"
    return {key for (key,) in connection.executemany(add, ((key,) for key in keys))}


def forget(connection: apsw.Connection, kept: int = KEPT) -> bool:
    """One bounded step, once `kept` further events have come; False when nothing was left to do. For the writer."""
    newest = number(connection, "SELECT coalesce(max(seq), 0) FROM events")
    if newest - number(connection, "SELECT seq FROM cursors WHERE step = ?", (TURNED,)) < kept:
        return False
    some = f"SELECT key FROM offers_before LIMIT {KEYS_PER_STEP}"
    if connection.execute(some).fetchone() is not None:
        connection.execute(f"INSERT OR IGNORE INTO offers SELECT key FROM ({some}) WHERE NOT ({_READING})")
        connection.execute(f"DELETE FROM offers_before WHERE key IN ({some})")
        return True
    for old, new in (("offers", "offers_to_be"), ("offers_before", "offers"), ("offers_to_be", "offers_before")):
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
    connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (TURNED, newest))
    return True
