"""What the link wrote down in link.db: which rows HQ has, and how the link stands.

It is only the link's memory of HQ's word. When it is missing, locked or garbled, nothing is known to be delivered, and
nothing is lost by that: the link learns it again.
"""

from pathlib import Path

import apsw
import msgspec

Place = tuple[int, str]
"""An epoch and a lane."""
Run = tuple[int, int]
"""From the first number to the last, both in it."""
LAST = 2**62

BUSY_WAIT_MS = 1_000


class LinkWord(msgspec.Struct, frozen=True, kw_only=True):
    """How the link stood at `at`: `reason` is one sentence why it is not going ("": it is), `heard_at` when HQ last
    said anything (0: never)."""

    connected: bool
    since: int
    reason: str
    rows_per_s: float
    bytes_per_s: float
    heard_at: int
    at: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that HQ has, as ascending runs by place, those that it holds with records of another box, and the
    link's own word (None: it never said anything)."""

    delivered: dict[Place, list[Run]] = {}
    contested: dict[Place, list[Run]] = {}
    word: LinkWord | None = None

    def waiting(self, place: Place) -> list[Run]:
        """The runs of numbers that HQ is not known to have; what has a contested one gets another."""
        runs = []
        next_seq = 1
        for first, last in sorted([*self.delivered.get(place, []), *self.contested.get(place, [])]):
            if first > next_seq:
                runs.append((next_seq, first - 1))
            next_seq = max(next_seq, last + 1)
        return [*runs, (next_seq, LAST)]

    def has(self, place: Place, first: int, last: int) -> bool:
        """Whether HQ has all of these numbers."""
        return any(low <= first and last <= high for low, high in self.delivered.get(place, []))


def read_link(path: Path) -> Known:
    """What link.db says; of a file that cannot be read, nothing."""
    if not path.exists():
        return Known()
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return Known()
    try:
        connection.set_busy_timeout(BUSY_WAIT_MS)
        return Known(
            delivered=_runs(connection, "delivered"), contested=_runs(connection, "contested"), word=_word(connection)
        )
    except (apsw.Error, msgspec.ValidationError):
        return Known()
    finally:
        connection.close()


def _runs(connection: apsw.Connection, table: str) -> dict[Place, list[Run]]:
    runs: dict[Place, list[Run]] = {}
    rows = connection.execute(f"SELECT epoch, lane, first_seq, last_seq FROM {table} ORDER BY epoch, lane, first_seq")
    for row in rows:
        epoch, lane, first, last = msgspec.convert(row, tuple[int, str, int, int])
        of_place = runs.setdefault((epoch, lane), [])
        if of_place and first <= of_place[-1][1] + 1:
            of_place[-1] = (of_place[-1][0], max(of_place[-1][1], last))
        elif first <= last:
            of_place.append((first, last))
    return runs


def _word(connection: apsw.Connection) -> LinkWord | None:
    row = connection.execute(
        "SELECT connected, since, reason, rows_per_s, bytes_per_s, heard_at, at FROM link WHERE id = 1"
    ).fetchone()
    if row is None:
        return None
    return msgspec.convert(dict(zip(LinkWord.__struct_fields__, row, strict=True)), LinkWord, strict=False)
