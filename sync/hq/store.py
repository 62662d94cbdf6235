"""HQ's store: every record of every site once, whatever comes twice, late, in pieces or in any order.

Receivers write through a Store each. What one transaction took is on disk when it ends (SQLite: WAL and
synchronous=FULL; PostgreSQL as its server is set), and only then is it acknowledged.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec

from sync import keys
from sync.envelope import Gone, Header, Row, dictionary_id
from sync.errors import EnvelopeInvalid, MessageInvalid, SyncError
from sync.hq import clock, plays, schema
from sync.hq.database import Value, marks, migrate
from sync.hq.errors import EnrolmentRefused, IdentityConflict, KeyUsedBefore
from sync.hq.holding import LaneKey, Piece, hold, pieces_in, runs_near, shared, swap_pieces, without
from sync.hq.reader import MAX_DICTIONARIES, Reader
from sync.hq.record import to_json
from sync.protocol import Dictionary, State, Taken, digest_of
from sync.ranges import Ranges

QUARANTINE_ROWS = 1000
QUARANTINE_BYTES = 64 << 10
"""How much of one refused message is kept."""
MAX_SPAN = 2**40
"""Numbers that one row of kind gone may stand for, and bytes that it may speak of."""

_GONE = "gone"
_QUARANTINED = "quarantined"
_MAX_KINDS = 100
_MAX_DEAD = 32
_MAX_REASON = 500
_MOST_MARKS = 500
_QUARANTINE_LOCK = "quarantine"

Cause = Literal["refused", "conflict", "row"]

_RECEIVED = (
    "site",
    "epoch",
    "lane",
    "seq",
    "kind",
    "id",
    "record",
    "at",
    "boot_no",
    "mono",
    "received_at",
)


def store_path(folder: Path) -> Path:
    """Where the store lies in HQ's folder, if it is SQLite."""
    return folder / "hq.db"


class Store(Reader):
    """A connection that writes. For one thread; several, also of other processes, may write at once.

    Everything about a site is changed under that site's lock: `transaction` takes the locks of the sites that it will
    touch all at once, so that no two receivers wait for each other.
    """

    _write = True
    _locked: frozenset[str] = frozenset()

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """The store at `where`, a path or postgresql://…, made or brought up to date if need be; raises
        LinkSettingsError when it cannot be used."""
        store = super().open(where)
        try:
            migrate(store.database, "store", schema.MIGRATIONS)
        except SyncError:
            store.close()
            raise
        return store

    @contextmanager
    def transaction(self, sites: Iterable[str]) -> Iterator[None]:
        """All or nothing, for changes to `sites`: on disk when it ends, undone when it raises. Raises StoreFailed when
        the store cannot be written now."""
        names = frozenset(sites)
        with self.database.transaction(locks=[f"site {name}" for name in names]):
            self._locked = names
            try:
                yield
            finally:
                self._locked = frozenset()

    # ---- who may send ------------------------------------------------------------------------------------------

    def enrol(self, site: str, public_key: str) -> None:
        """Take records of `site` from now on if `public_key` (base64) signed them.

        Raises EnrolmentRefused if another key is in force.
        """
        with self.transaction([site]):
            known = self.key_of(site)
            if known is not None and known != public_key:
                raise EnrolmentRefused(
                    f"site {site} is enrolled with another key; run `outstation hq revoke {site}` first if it is lost."
                )
            if known is None:
                self._put_in_force(site, public_key)

    def invite(self, site: str, secret_sha256: str, expires_at: int) -> None:
        """Let who knows the secret enrol `site` with a key of his own, once, until `expires_at` (µs)."""
        with self.transaction([site]):
            self.database.execute(
                "INSERT INTO invitations (site, secret_sha256, expires_at) VALUES (?, ?, ?)",
                site,
                secret_sha256,
                expires_at,
            )

    def redeem(self, site: str, secret_sha256: str, public_key: str) -> None:
        """Enrol `site` with `public_key` (base64) by an invitation; what it was enrolled with before is revoked.

        The same key may redeem the same invitation again, because the first answer may have been lost. Raises
        EnrolmentRefused when there is no such invitation, or it is over, or another key used it, and KeyUsedBefore when
        the site has had this key: who is invited again gets a new one.
        """
        now = _now_us()
        with self.transaction([site]):
            found = self.database.select(
                "SELECT expires_at, used_by FROM invitations WHERE site = ? AND secret_sha256 = ?", site, secret_sha256
            )
            if not found:
                raise EnrolmentRefused(f"site {site} has no invitation with this code; check the name and the code.")
            expires_at, used_by = found[0]
            if used_by is not None:
                if used_by == public_key and self.key_of(site) == public_key:
                    return
                raise EnrolmentRefused(f"this invitation of site {site} was used before; ask for a new one.")
            if now > expires_at:
                raise EnrolmentRefused(f"this invitation of site {site} is over; ask for a new one.")
            if self.database.select("SELECT 1 FROM keys WHERE site = ? AND key = ?", site, public_key):
                raise KeyUsedBefore(f"site {site} has had this key before; it needs a new one.")
            self.database.execute(
                "UPDATE invitations SET used_at = ?, used_by = ? WHERE site = ? AND secret_sha256 = ?",
                now,
                public_key,
                site,
                secret_sha256,
            )
            self.replace_key(site, public_key)

    def replace_key(self, site: str, public_key: str) -> None:
        """Inside `transaction`: take records of `site` only if `public_key` (base64) signed them; the key that was in
        force before is revoked."""
        self._require_lock(site)
        self.database.execute(
            "UPDATE keys SET revoked_at = ? WHERE site = ? AND revoked_at IS NULL AND key <> ?",
            _now_us(),
            site,
            public_key,
        )
        if self.key_of(site) is None:
            self._put_in_force(site, public_key)

    def revoke(self, site: str) -> None:
        """Take nothing from `site` any more, and end its invitations; raises EnrolmentRefused if it is not enrolled."""
        now = _now_us()
        with self.transaction([site]):
            self.database.execute(
                "DELETE FROM invitations WHERE site = ? AND used_at IS NULL",
                site,
            )
            if not self.database.select(
                "UPDATE keys SET revoked_at = ? WHERE site = ? AND revoked_at IS NULL RETURNING key", now, site
            ):
                raise EnrolmentRefused(f"site {site} is not enrolled.")

    def _put_in_force(self, site: str, public_key: str) -> None:
        self.database.execute(
            "INSERT INTO keys (site, key, key_id, enrolled_at) VALUES (?, ?, ?, ?) ON CONFLICT (site, key) DO UPDATE"
            " SET enrolled_at = excluded.enrolled_at, revoked_at = NULL",
            site,
            public_key,
            keys.key_id(keys.parse_public(public_key)),
            _now_us(),
        )
        # What whoever had the last key said of boots and connections shall not make HQ deaf to this one.
        self.database.execute(
            "UPDATE contact SET connection = '', introduction = '', boot = '', mono = 0, dead = '[]' WHERE site = ?",
            site,
        )

    # ---- what arrives, inside `transaction` --------------------------------------------------------------------

    def apply(self, header: Header, rows: Sequence[Row], at: int) -> Taken:
        """Keep what is new of an envelope that came at `at` (µs), and say which rows are held now.

        A row whose record JSON cannot hold is set aside in the quarantine and its number held without a record. Raises
        IdentityConflict, before anything is changed, when a number that is held comes again with another id, and
        EnvelopeInvalid when a row stands for more numbers than one may.
        """
        key = LaneKey(header.site, header.epoch, header.lane)
        taken = Taken(
            epoch=header.epoch,
            lane=header.lane,
            first_seq=header.first_seq,
            last_seq=header.last_seq,
            digest=digest_of(row.id for row in rows),
        )
        self._require_lock(key.site)
        if any(row.span > MAX_SPAN for row in rows):
            raise EnvelopeInvalid(f"a row of site {key.site} stands for more than {MAX_SPAN} numbers.")
        first, last = header.first_seq, header.last_seq
        span = Ranges([(first, last)])
        near = runs_near(self.database, key, first, last)
        held = span & Ranges(near)
        pieces = pieces_in(self.database, key, first, last) if held else []
        kept = held - Ranges((piece.first_seq, piece.last_seq) for piece in pieces)
        self._refuse_conflict(key, taken, [row for row in rows if row.kind != _GONE and row.seq in kept])
        bare = Ranges((piece.first_seq, piece.last_seq) for piece in pieces if piece.reason == _QUARANTINED)
        came = {
            row.seq: row.kind
            for row in rows
            if row.kind != _GONE and row.seq not in kept and (row.seq not in bare or _is_readable(row))
        }
        left = [part for piece in pieces for part in without(piece, came)]
        left += self._keep(key, [row for row in rows if row.seq in came], at)
        left += self._note_gone(key, [row for row in rows if row.kind == _GONE], held, pieces, at)
        if left != pieces:
            swap_pieces(self.database, key, pieces, left, at)
        hold(self.database, key, first, last, near)
        self._heard(key.site, at)
        return taken

    def lose(self, site: str, epoch: int, lane: str, numbers: Ranges, at: int) -> None:
        """Note that nobody has the records of `numbers` any more, where they are not held: the box that had them is
        gone and its replica had not seen them."""
        key = LaneKey(site, epoch, lane)
        self._require_lock(site)
        missing = numbers - self.held(site, epoch, lane)
        swap_pieces(self.database, key, [], shared(missing, "lost", {}, 0), at)
        for first, last in missing.runs:
            hold(self.database, key, first, last, runs_near(self.database, key, first, last))

    def learn_dictionary(self, dictionary: Dictionary, at: int) -> None:
        """Keep a dictionary that envelopes of a site may name; of many the newest. Raises MessageInvalid when its
        content has another id."""
        self._require_lock(dictionary.site)
        if dictionary_id(dictionary.content) != dictionary.id:
            raise MessageInvalid(f"a dictionary of site {dictionary.site} says it is {dictionary.id}, but is not.")
        self.database.execute(
            "INSERT INTO dictionaries VALUES (?, ?, ?, ?) ON CONFLICT (site, id) DO UPDATE"
            " SET learnt_at = excluded.learnt_at",
            dictionary.site,
            dictionary.id,
            dictionary.content,
            at,
        )
        self.database.execute(
            "DELETE FROM dictionaries WHERE site = ? AND id NOT IN"
            " (SELECT id FROM dictionaries WHERE site = ? ORDER BY learnt_at DESC, id LIMIT ?)",
            dictionary.site,
            dictionary.site,
            MAX_DICTIONARIES,
        )

    def note_state(self, state: State, at: int) -> bool:
        """Remember what a site's State says, which came at `at` (µs); true if it introduces the site and is to be
        answered with Have.

        States may come late and in any order: one that is older than what is known changes nothing, and a connection
        that died stays dead even if its birth is heard afterwards. What looks old is answered all the same: it may be
        the true site, beside another box that uses its identity.
        """
        site = state.site
        self._require_lock(site)
        self.database.execute("INSERT INTO contact (site) VALUES (?) ON CONFLICT DO NOTHING", site)
        connection, boot, introduction = (_clean(name) for name in (state.connection, state.boot, state.introduction))
        known_state, known_connection, known_introduction, known_boot, known_mono, encoded = self.database.select(
            "SELECT state, connection, introduction, boot, mono, dead FROM contact WHERE site = ?", site
        )[0]
        dead: list[str] = msgspec.json.decode(encoded)
        if state.state == "down":
            if connection not in dead:
                dead = [*dead, connection][-_MAX_DEAD:]
            later = boot == known_boot and state.mono > known_mono
            if known_state != "down" and (connection == known_connection or later or known_state is None):
                self.database.execute(
                    "UPDATE contact SET state = 'down', state_at = ?, connection = ? WHERE site = ?",
                    at,
                    connection,
                    site,
                )
            self.database.execute("UPDATE contact SET dead = ? WHERE site = ?", _json(dead), site)
            return False
        earlier_boot = known_boot not in ("", boot) and self._was_heard(site, boot)
        clock.hear(self.database, state, at)
        if connection in dead:
            return False
        if earlier_boot or (boot == known_boot and state.mono < known_mono):
            return bool(introduction != known_introduction)
        begins = known_state != "up" or connection != known_connection
        self.database.execute(
            "UPDATE contact SET state = 'up', connection = ?, introduction = ?, boot = ?, mono = ?, replica = ?"
            " WHERE site = ?",
            connection,
            introduction,
            boot,
            state.mono,
            _clean(state.replica),
            site,
        )
        if begins:
            self.database.execute("UPDATE contact SET state_at = ? WHERE site = ?", at, site)
        self._heard(site, at)
        self._report_lanes(state, at)
        return bool(introduction != known_introduction)

    def quarantine(self, site: str, cause: Cause, reason: str, message: bytes, at: int) -> None:
        """Keep what was refused of a site (by its topic), once however often it comes, and forget the oldest beyond
        QUARANTINE_ROWS; all are counted for ever."""
        self._set_aside(site, cause, reason, (None, None, None), message, at)

    def _require_lock(self, site: str) -> None:
        if site not in self._locked:
            raise RuntimeError(f"site {site} is changed outside a transaction that names it")

    def _refuse_conflict(self, key: LaneKey, envelope: Taken, rows: Sequence[Row]) -> None:
        ids = {row.seq: row.id for row in rows}
        others: dict[int, str] = {}
        seqs = list(ids)
        for start in range(0, len(seqs), _MOST_MARKS):
            part = seqs[start : start + _MOST_MARKS]
            others |= {
                seq: id
                for seq, id in self.database.select(
                    "SELECT seq, id FROM received WHERE site = ? AND epoch = ? AND lane = ?"
                    f" AND seq IN ({marks(len(part))})",
                    *key,
                    *part,
                )
                if ids[seq] != id
            }
        if others:
            seq = min(others)
            raise IdentityConflict(
                f"number {seq} of lane {key.lane} of site {key.site} came as {others[seq]} and again as {ids[seq]}:"
                " two boxes use one identity; revoke the site and enrol the right one anew.",
                envelope,
                Ranges((seq, seq) for seq in others),
            )

    def _keep(self, key: LaneKey, rows: Sequence[Row], at: int) -> list[Piece]:
        """Keep these rows as records; the pieces are those that cannot be."""
        bad: list[Piece] = []
        good: list[tuple[Row, str]] = []
        steps: list[plays.Step] = []
        for row in rows:
            try:
                decoded, text = to_json(bytes(row.record))
            except ValueError as fault:
                bad.append(self._set_row_aside(key, row, str(fault), Ranges([(row.seq, row.seq)]), at)[0])
                continue
            good.append((row, text))
            if row.kind in plays.STEP_KINDS:
                steps.append(plays.Step(row.kind, row.seq, decoded))
        if good:
            boots = clock.see(self.database, key.site, key.epoch, key.lane, [row for row, _ in good], at)
            self.database.bulk(
                "received",
                _RECEIVED,
                [(*key, row.seq, row.kind, row.id, text, row.at, boots[row.boot], row.mono, at) for row, text in good],
            )
            self.database.execute_many(
                "INSERT INTO tally VALUES (?, ?, ?, ?)"
                " ON CONFLICT (site, kind, lane) DO UPDATE SET records = tally.records + excluded.records",
                [
                    (key.site, kind, key.lane, records)
                    for kind, records in sorted(Counter(row.kind for row, _ in good).items())
                ],
            )
        if steps:
            plays.count(self.database, key.site, key.epoch, steps)
        return bad

    def _note_gone(
        self, key: LaneKey, rows: Sequence[Row], held: Ranges, pieces: Sequence[Piece], at: int
    ) -> list[Piece]:
        """The pieces for the numbers that rows of kind gone stand for and that are not held."""
        new: list[Piece] = []
        for row in rows:
            stated = Ranges([(row.first_seq, row.seq)])
            missing = stated - held
            if not missing:
                continue
            try:
                gone = _gone(bytes(row.record))
            except ValueError as fault:
                new += self._set_row_aside(key, row, str(fault), missing, at)
                continue
            kinds = Counter(gone.kinds)
            if missing != stated:
                kinds.subtract(self._kinds_within(key, row, pieces))
            new += shared(missing, gone.reason, +kinds, gone.bytes * len(missing) // row.span)
        return new

    def _kinds_within(self, key: LaneKey, row: Row, pieces: Sequence[Piece]) -> Counter[str]:
        """How many of each kind are known of the numbers that a row of kind gone stands for."""
        kinds = Counter(
            dict(
                self.database.select(
                    "SELECT kind, count(*) FROM received WHERE site = ? AND epoch = ? AND lane = ?"
                    " AND seq BETWEEN ? AND ? GROUP BY kind",
                    *key,
                    row.first_seq,
                    row.seq,
                )
            )
        )
        for piece in pieces:
            if row.first_seq <= piece.first_seq and piece.last_seq <= row.seq:
                kinds.update(piece.kinds)
        return kinds

    def _set_row_aside(self, key: LaneKey, row: Row, reason: str, numbers: Ranges, at: int) -> list[Piece]:
        record = bytes(row.record)
        sentence = f"row {row.seq} of lane {key.lane} of site {key.site}: {reason}."
        self._set_aside(key.site, "row", sentence, (key.epoch, key.lane, row.seq), record, at)
        kinds = {row.kind: 1} if row.kind != _GONE else {}
        return shared(numbers, _QUARANTINED, kinds, len(record))

    def _set_aside(
        self,
        site: str,
        cause: Cause,
        reason: str,
        place: tuple[int | None, str | None, int | None],
        message: bytes,
        at: int,
    ) -> None:
        site, reason = _clean(site)[:64], _clean(reason)[:_MAX_REASON]
        self.database.lock(_QUARANTINE_LOCK)
        self.database.execute(
            "INSERT INTO quarantine (n, site, cause, reason, epoch, lane, seq, bytes, sha256, times, at)"
            " VALUES ((SELECT coalesce(max(n), 0) + 1 FROM quarantine), ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)"
            " ON CONFLICT (site, sha256, reason) DO UPDATE SET times = quarantine.times + 1, at = excluded.at",
            site,
            cause,
            reason,
            *place,
            message[:QUARANTINE_BYTES],
            hashlib.sha256(message).hexdigest(),
            at,
        )
        self.database.execute("DELETE FROM quarantine WHERE n <= (SELECT max(n) FROM quarantine) - ?", QUARANTINE_ROWS)
        known = self.database.select("SELECT 1 FROM keys WHERE site = ? LIMIT 1", site)
        self.database.execute(
            "INSERT INTO quarantine_tally VALUES (?, ?, 1) ON CONFLICT (site, cause) DO UPDATE"
            " SET number = quarantine_tally.number + 1",
            site if known else "",
            cause,
        )

    def _was_heard(self, site: str, boot: str) -> bool:
        return bool(self.database.select("SELECT 1 FROM boots WHERE site = ? AND boot = ? AND heard = 1", site, boot))

    def _report_lanes(self, state: State, at: int) -> None:
        rows: list[tuple[Value, ...]] = []
        for lane in state.lanes:
            since = None
            if lane.waiting_since is not None and _is_plausible(lane.waiting_since) == _is_plausible(state.at):
                # By the site's clock, which may be wrong; how long ago that is is right all the same.
                since = at - max(0, state.at - lane.waiting_since)
            rows.append((state.site, lane.epoch, lane.lane, lane.newest_seq, lane.waiting, since, at))
        self.database.execute("UPDATE lanes SET waiting = 0, waiting_since = NULL WHERE site = ?", state.site)
        self.database.execute_many(
            "INSERT INTO lanes (site, epoch, lane, newest_seq, waiting, waiting_since, reported_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, epoch, lane) DO UPDATE SET"
            " newest_seq = CASE WHEN lanes.newest_seq > excluded.newest_seq THEN lanes.newest_seq"
            " ELSE excluded.newest_seq END, waiting = excluded.waiting, waiting_since = excluded.waiting_since,"
            " reported_at = excluded.reported_at",
            sorted(rows, key=lambda row: row[:3]),
        )

    def _heard(self, site: str, at: int) -> None:
        self.database.execute(
            "INSERT INTO contact (site, heard_at) VALUES (?, ?) ON CONFLICT (site) DO UPDATE SET heard_at ="
            " CASE WHEN contact.heard_at > excluded.heard_at THEN contact.heard_at ELSE excluded.heard_at END",
            site,
            at,
        )


def _is_readable(row: Row) -> bool:
    try:
        to_json(bytes(row.record))
    except ValueError:
        return False
    return True


def _gone(record: bytes) -> Gone:
    try:
        gone = msgspec.msgpack.decode(record, type=Gone)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise ValueError(f"its record does not say what is gone: {fault}") from None
    if len(gone.kinds) > _MAX_KINDS or not all(
        0 <= number <= MAX_SPAN for number in (*gone.kinds.values(), gone.bytes)
    ):
        raise ValueError("its record counts what cannot be")
    return gone


def _is_plausible(moment: int) -> bool:
    return moment >= clock.PLAUSIBLE_FROM


def _clean(text: str) -> str:
    # PostgreSQL's text holds no NUL.
    return text.replace("\0", "\ufffd")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now_us() -> int:
    return time.time_ns() // 1000
