"""The audit: every decision, action, move, outcome, order and pause of a play in one chain, so that nothing can be
changed, left out or put in later without its being seen.

An entry's hash is the SHA-256 of the hash before it and of the entry; the entry has the SHA-256 of what stands in the
record's columns. A checkpoint is the site's Ed25519 signature over the number and hash of an entry. Whoever can write
to the journal can also write the whole chain anew, but not the signatures, and HQ has the earlier ones.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.events import GATEWAY, Action, Checkpoint, Decision, Order, Outcome, PlayChange, Record, Transition, now_us
from edge.store.rows import TABLES, columns_of, kind_of, name_of, select, values_of

FIRST = bytes(32)
AUDITED: tuple[type[Record], ...] = (Decision, Action, Transition, Outcome, Order, PlayChange)
_GIVEN = "AND t.role <> ''"
_LAST = "(SELECT t.{} FROM transitions t WHERE t.action_id = a.id {} ORDER BY t.seq DESC LIMIT 1)"
_KINDS = {name_of(kind): kind for kind in AUDITED}


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What happened: its number in the chain, when (by the gateway's clock, microseconds since the epoch), to a record
    of which kind and id, by whom, and the SHA-256 of the record."""

    seq: int
    at: int
    kind: str
    ref: str
    by: str
    content: bytes


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """The first entry that does not fit, and why."""

    seq: int
    kind: str
    ref: str
    why: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries and checkpoints were gone through; the key that signed the last one ('': none), and the earlier
    ones, of the boxes whose place this one took; what does not fit."""

    entries: int
    checkpoints: int
    key: str
    earlier_keys: tuple[str, ...]
    misfit: Misfit | None


# ---- writing ---------------------------------------------------------------------------------------------------------


def append(connection: apsw.Connection, records: Iterable[Record]) -> None:
    """Enter new records, in the transaction that writes them. What is of no kind that is audited is left out."""
    _enter(
        connection,
        [
            (kind_of(record), record.id, str(getattr(record, "by", GATEWAY)), _digest(values_of(record)))
            for record in records
            if isinstance(record, AUDITED)
        ],
    )


def adopt(connection: apsw.Connection) -> None:
    """Enter the records of a journal that was kept before there was an audit, as they stand in their columns."""
    if _end(connection)[0]:
        return
    for kind in AUDITED:
        _enter(connection, [(name_of(kind), ref, by, content) for ref, by, content in _records(connection, kind)])


def _enter(connection: apsw.Connection, entered: Sequence[tuple[str, str, str, bytes]]) -> None:
    """Add entries to the chain: kind, id, who did it, and the SHA-256 of each record."""
    if not entered:
        return
    last, before = _end(connection)
    rows = []
    for seq, (kind, ref, by, content) in enumerate(entered, last + 1):
        entry = Entry(seq, now_us(), kind, ref, by, content)
        before = _linked(before, entry)
        rows.append((*msgspec.structs.astuple(entry), before))
    connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def checkpoint(connection: apsw.Connection, key: Ed25519PrivateKey) -> Checkpoint | None:
    """The site's signature over the last entry; None: it signed that one already, or there is none."""
    seq, last = _end(connection)
    public = key.public_key().public_bytes_raw().hex()
    if seq == _signed_by(connection, public):
        return None
    return Checkpoint(
        at=now_us(),
        entry=seq,
        hash=last.hex(),
        key=public,
        signature=key.sign(_signed(seq, last)).hex(),
    )


def unsigned(connection: apsw.Connection, key: str) -> int:
    """How many entries came after the last checkpoint; all of them, where that is by another key than this one
    (Ed25519, public, in hexadecimal)."""
    return _end(connection)[0] - _signed_by(connection, key)


# ---- verifying -------------------------------------------------------------------------------------------------------


def verify(connection: apsw.Connection, key: str) -> Verified:
    """Go through the whole chain: whether each entry follows from the one before it, whether the records are what was
    entered, and whether `key` (the site's Ed25519 public key in hexadecimal, '': whatever key the last has) signed the
    checkpoints. Those before its first may be by other keys: what they signed, it has signed again."""
    connection.execute("BEGIN")  # all of it as it is at one moment, while others go on writing
    try:
        return _verify(connection, key)
    finally:
        connection.execute("ROLLBACK")


def _verify(connection: apsw.Connection, key: str) -> Verified:
    checkpoints = select(connection, Checkpoint, "ORDER BY seq")
    key = key or (checkpoints[-1].key if checkpoints else "")
    first = next((place for place, one in enumerate(checkpoints) if one.key == key), 0)
    earlier = tuple(dict.fromkeys(one.key for one in checkpoints[:first]))
    signed: dict[int, list[_Signed]] = {}
    for place, one in enumerate(checkpoints):
        signed.setdefault(one.entry, []).append(_Signed(one, one.key if place < first else key))
    walk = _Walk(connection, signed)
    misfit = walk.first_misfit()
    return Verified(
        entries=walk.entries,
        checkpoints=walk.checkpoints,
        key=key if checkpoints else "",
        earlier_keys=earlier,
        misfit=misfit,
    )


class _Signed(NamedTuple):
    """A checkpoint, and by whose key it has to be."""

    checkpoint: Checkpoint
    key: str


class _Walk:
    def __init__(self, connection: apsw.Connection, signed: dict[int, list[_Signed]]) -> None:
        self._connection = connection
        self._signed = signed
        self._records = {kind: _records(connection, record) for kind, record in _KINDS.items()}
        self.entries = self.checkpoints = 0

    def first_misfit(self) -> Misfit | None:
        before = FIRST
        rows: Iterator[Any] = self._connection.execute("SELECT * FROM audit ORDER BY seq")
        for *fields, kept in rows:
            entry = Entry(*fields)
            before = _linked(before, entry)
            why = self._why(entry, before, bytes(kept))
            if why:
                return Misfit(seq=entry.seq, kind=entry.kind, ref=entry.ref, why=why)
            self.entries += 1
        return self._beyond()

    def _why(self, entry: Entry, reckoned: bytes, kept: bytes) -> str:
        if entry.seq != self.entries + 1:
            return "the entry before it is missing"
        if reckoned != kept:
            return "it does not follow from the one before it: one of the two was changed"
        if entry.kind not in self._records:
            return "it is of a kind that is not known"
        record_id, _, content = next(self._records[entry.kind], ("", "", b""))
        if record_id != entry.ref:
            return "its record is missing"
        if content != entry.content:
            return "its record was changed"
        for signed in self._signed.get(entry.seq, ()):
            self.checkpoints += 1
            if not _is_signed(signed.checkpoint, entry.seq, kept, signed.key):
                return "its signature is not the site's"
        return ""

    def _beyond(self) -> Misfit | None:
        """What is there beside the chain."""
        last = max(self._signed, default=0)
        if last > self.entries:
            ref = self._signed[last][0].checkpoint.id
            return Misfit(seq=last, kind="checkpoint", ref=ref, why="the entries up to it are missing")
        for kind, records in self._records.items():
            for record_id, *_ in records:
                return Misfit(seq=self.entries + 1, kind=kind, ref=record_id, why="it was never entered")
        for why, differs in (
            (
                "its state is not the one of its last move",
                f"a.state <> coalesce({_LAST.format('state', '')}, 'proposed')",
            ),
            ("its role is not the one that it was given last", f"a.holder IS NOT {_LAST.format('role', _GIVEN)}"),
        ):
            entered = "(SELECT max(e.seq) FROM audit e WHERE e.ref = a.id)"
            row: Any = self._connection.execute(
                f"SELECT a.id, {entered} FROM actions a WHERE {differs} LIMIT 1"
            ).fetchone()
            if row is not None:
                return Misfit(seq=row[1] or 0, kind="action", ref=row[0], why=why)
        return None


def _records(connection: apsw.Connection, kind: type[Record]) -> Iterator[tuple[str, str, bytes]]:
    """The records of a type in order: the id, who did it, and the SHA-256 of each."""
    columns = columns_of(kind)
    place = columns.index("id")
    by = columns.index("by") if "by" in columns else None
    rows: Iterator[Any] = connection.cursor().execute(f"SELECT {', '.join(columns)} FROM {TABLES[kind]} ORDER BY seq")
    return ((row[place], GATEWAY if by is None else row[by], _digest(row)) for row in rows)


def _end(connection: apsw.Connection) -> tuple[int, bytes]:
    row: Any = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, FIRST) if row is None else (int(row[0]), bytes(row[1]))


def _signed_by(connection: apsw.Connection, key: str) -> int:
    """Up to which entry the last checkpoint goes; 0, where it is by another key."""
    row: Any = connection.execute("SELECT entry, key FROM checkpoints ORDER BY seq DESC LIMIT 1").fetchone()
    return int(row[0]) if row is not None and row[1] == key else 0


def _linked(before: bytes, entry: Entry) -> bytes:
    return hashlib.sha256(before + msgspec.msgpack.encode(entry)).digest()


def _digest(values: Sequence[Any]) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(list(values))).digest()


def _signed(seq: int, last: bytes) -> bytes:
    return b"outstation audit\0" + seq.to_bytes(8, "big") + last


def _is_signed(checkpoint: Checkpoint, seq: int, last: bytes, key: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(checkpoint.signature), _signed(seq, last)
        )
    except (ValueError, InvalidSignature):
        return False
    return checkpoint.hash == last.hex()
