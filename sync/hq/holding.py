"""Which numbers of a lane HQ holds, and those of them whose records are gone.

`held` grows by union only, which is why repeats and any order of arrival end in the same store. A number that is held
has either a record in `received` or lies in a piece of `gone`; a record that still comes takes its number out of there.
Everything here runs inside a transaction that holds the site's lock.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from sync.hq.database import Database
from sync.ranges import Ranges, Run


class LaneKey(NamedTuple):
    """One sequence of numbers."""

    site: str
    epoch: int
    lane: str


class Piece(msgspec.Struct, frozen=True):
    """Numbers whose records are gone: why, how many of each kind as far as that is known, and their bytes."""

    first_seq: int
    last_seq: int
    reason: str
    kinds: dict[str, int]
    bytes: int

    @property
    def numbers(self) -> int:
        """How many they are."""
        return self.last_seq - self.first_seq + 1


def runs_near(database: Database, key: LaneKey, first: int, last: int) -> tuple[Run, ...]:
    """The runs of `held` that overlap or touch first to last."""
    found = database.select(
        "SELECT first_seq, last_seq FROM held WHERE site = ? AND epoch = ? AND lane = ? AND first_seq <= ?"
        " AND first_seq >= (SELECT coalesce(max(first_seq), 0) FROM held"
        " WHERE site = ? AND epoch = ? AND lane = ? AND first_seq <= ?) ORDER BY first_seq",
        *key,
        last + 1,
        *key,
        first,
    )
    return tuple((begin, end) for begin, end in found if end >= first - 1)


def hold(database: Database, key: LaneKey, first: int, last: int, near: tuple[Run, ...]) -> None:
    """Add first to last to what is held; `near` are the runs near them."""
    new = (min([first, *(begin for begin, _ in near)]), max([last, *(end for _, end in near)]))
    if near == (new,):
        return
    if near and near[0][0] == new[0]:
        # The usual case, a lane that grows at its end, changes one row and no index.
        if len(near) > 1:
            database.execute(
                "DELETE FROM held WHERE site = ? AND epoch = ? AND lane = ? AND first_seq > ? AND first_seq <= ?",
                *key,
                *new,
            )
        database.execute(
            "UPDATE held SET last_seq = ? WHERE site = ? AND epoch = ? AND lane = ? AND first_seq = ?",
            new[1],
            *key,
            new[0],
        )
    else:
        database.execute(
            "DELETE FROM held WHERE site = ? AND epoch = ? AND lane = ? AND first_seq BETWEEN ? AND ?", *key, *new
        )
        database.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?)", *key, *new)
    database.execute(
        "INSERT INTO lanes (site, epoch, lane, held, top_seq) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (site, epoch, lane) DO UPDATE SET held = lanes.held + excluded.held,"
        " top_seq = CASE WHEN excluded.top_seq > lanes.top_seq THEN excluded.top_seq ELSE lanes.top_seq END",
        *key,
        new[1] - new[0] + 1 - sum(end - begin + 1 for begin, end in near),
        last,
    )


def pieces_in(database: Database, key: LaneKey, first: int, last: int) -> list[Piece]:
    """The pieces of `gone` that overlap first to last."""
    found = database.select(
        "SELECT first_seq, last_seq, reason, kinds, bytes FROM gone WHERE site = ? AND epoch = ? AND lane = ?"
        " AND first_seq <= ? AND first_seq >= (SELECT coalesce(max(first_seq), 0) FROM gone"
        " WHERE site = ? AND epoch = ? AND lane = ? AND first_seq <= ?) ORDER BY first_seq",
        *key,
        last,
        *key,
        first,
    )
    return [
        Piece(begin, end, reason, msgspec.json.decode(kinds), size)
        for begin, end, reason, kinds, size in found
        if end >= first
    ]


def swap_pieces(database: Database, key: LaneKey, before: Sequence[Piece], after: Sequence[Piece], at: int) -> None:
    """Put the pieces `after` in the place of `before`."""
    removed = [piece for piece in before if piece not in after]
    added = [piece for piece in after if piece not in before]
    if removed:
        database.execute_many(
            "DELETE FROM gone WHERE site = ? AND epoch = ? AND lane = ? AND first_seq = ?",
            [(*key, piece.first_seq) for piece in removed],
        )
    if added:
        database.execute_many(
            "INSERT INTO gone VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *key,
                    piece.first_seq,
                    piece.last_seq,
                    piece.reason,
                    msgspec.json.encode(piece.kinds, order="sorted").decode(),
                    piece.bytes,
                    at,
                )
                for piece in added
            ],
        )
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for pieces, sign in ((removed, -1), (added, 1)):
        for piece in pieces:
            numbers[piece.reason] += sign * piece.numbers
            sizes[piece.reason] += sign * piece.bytes
    database.execute_many(
        "INSERT INTO gone_tally VALUES (?, ?, ?, ?) ON CONFLICT (site, reason) DO UPDATE SET"
        " numbers = gone_tally.numbers + excluded.numbers, bytes = gone_tally.bytes + excluded.bytes",
        [(key.site, reason, numbers[reason], sizes[reason]) for reason in sorted(numbers)],
    )


def without(piece: Piece, kinds: Mapping[int, str]) -> list[Piece]:
    """What is left of a piece when records came for some of its numbers (number → kind)."""
    came = {seq: kind for seq, kind in kinds.items() if piece.first_seq <= seq <= piece.last_seq}
    if not came:
        return [piece]
    rest = Ranges([(piece.first_seq, piece.last_seq)]) - Ranges((seq, seq) for seq in came)
    left = Counter(piece.kinds)
    left.subtract(Counter(came.values()))
    return shared(rest, piece.reason, +left, piece.bytes * len(rest) // piece.numbers)


def shared(numbers: Ranges, reason: str, kinds: Mapping[str, int], size: int) -> list[Piece]:
    """A piece for each run of `numbers`, each with its part of kinds and bytes; together they have them all."""

    def part(whole: int, before: int, after: int) -> int:
        return whole * after // total - whole * before // total

    total = len(numbers)
    pieces = []
    counted = 0
    for first, last in numbers.runs:
        reached = counted + last - first + 1
        parts = {kind: part(number, counted, reached) for kind, number in kinds.items()}
        pieces.append(
            Piece(
                first,
                last,
                reason,
                {kind: number for kind, number in parts.items() if number},
                part(size, counted, reached),
            )
        )
        counted = reached
    return pieces
