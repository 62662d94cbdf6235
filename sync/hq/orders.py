"""What HQ sends to sites: playbooks, vocabularies, packs and requests, kept in the store until the site has had them.

HQ offers an order at every introduction until the site's records say that it has ended, and answers what the site
wants, piece by piece; nothing here remembers how far a site is. How an order stands is what the site's newest record of
kind `order` says.
"""

import hashlib
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import uuid_utils

from sync.errors import LinkSettingsError
from sync.hq.database import Database
from sync.hq.pack_file import name_of_pack
from sync.hq.reader import Reader
from sync.hq.store import Store
from sync.protocol import CHUNK_BYTES, MAX_ORDER_BYTES, Chunk, Offer, OrderKind, Want

MOST_OFFERS = 32
"""At one introduction, the oldest first."""
MAX_TEXT_BYTES = 1 << 20
"""Of a playbook or a vocabulary: what a site takes."""

_ENDED = ("refused", "active", "rolled_back", "fulfilled")
_PARTS_AT_ONCE = 512
_PROGRESS_BYTES = 1 << 20
_CALL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Sendable = Literal["playbook", "vocabulary", "pack"]


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order and how it stands, which a site's record says: who brought that about, when (µs), and why.

    `state` is offered until the site has it whole (`got` bytes of `size` are there), then staged, waiting (for its date
    or for a person), active, fulfilled, refused or rolled_back.
    """

    order: str
    site: str
    kind: OrderKind
    name: str
    size: int
    sent_at: int
    activate_at: int | None
    got: int
    state: str
    state_at: int
    by: str
    remark: str


class _Noted(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a site's record of kind order that is needed here."""

    order_id: str
    state: str
    by: str = ""
    remark: str = ""


class _AudioPart(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a site's record of kind audio that says where its content belongs."""

    event_id: str
    part: int
    parts: int
    sha256: str


class _AudioContent(msgspec.Struct, frozen=True):
    content: bytes


# ---- for the receiver --------------------------------------------------------------------------------------------


def offers(store: Reader, site: str) -> list[Offer]:
    """What is to be offered to `site` now: every order of it that has not ended."""
    rows = store.database.select(
        "SELECT order_id, kind, name, sha256, size, activate_at FROM orders WHERE site = ? AND ended = 0"
        " ORDER BY order_id",
        site,
    )
    if not rows:
        return []
    states = _states(store.database, site)
    return [
        Offer(site=site, order=order, kind=kind, name=name, sha256=sha256, size=size, at=_now_us(), activate_at=at)
        for order, kind, name, sha256, size, at in rows
        if order not in states or states[order][0].state not in _ENDED
    ][:MOST_OFFERS]


def answers(store: Store, site: str, want: Want) -> Chunk | None:
    """The piece of content that `site` wants; None if there is no such order of it (any more), or no such piece."""
    found = store.database.select(
        "SELECT sha256, size FROM orders WHERE order_id = ? AND site = ? AND ended = 0", want.order, site
    )
    if not found or want.offset >= found[0][1]:
        return None
    sha256 = found[0][0]
    part, begin = divmod(want.offset, CHUNK_BYTES)
    content = store.database.select("SELECT content FROM order_content WHERE sha256 = ? AND part = ?", sha256, part)
    if not content:
        return None
    if want.offset % _PROGRESS_BYTES == 0:
        store.database.execute("UPDATE orders SET wanted = ? WHERE order_id = ?", want.offset, want.order)
    return Chunk(site=site, order=want.order, offset=want.offset, content=bytes(content[0][0])[begin:])


# ---- for people --------------------------------------------------------------------------------------------------


def send(store: Store, site: str, kind: Sendable, file: Path, *, name: str = "", activate_at: int | None = None) -> str:
    """Send a file to `site`, to take effect at a moment (µs) or when a person there agrees; gives the order's id.

    Raises LinkSettingsError when the site is not enrolled, or the file can be seen to be wrong from here.
    """
    _check_site(store, site)
    try:
        size = file.stat().st_size
        if size > MAX_ORDER_BYTES:
            raise LinkSettingsError(f"{file} has {size} bytes; at most {MAX_ORDER_BYTES} can be sent.")
        if kind == "pack":
            name = name_of_pack(file)
        else:
            _check_toml(file)
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        return _keep(store, site, kind, name, sha256, size, activate_at, _pieces(file, sha256))
    except OSError as fault:
        raise LinkSettingsError(f"{file} cannot be read: {fault.strerror}.") from None


def request_audio(store: Store, site: str, call_id: str) -> str:
    """Ask `site` for the sound of a call; gives the order's id. Raises LinkSettingsError."""
    _check_site(store, site)
    if not _CALL.fullmatch(call_id):
        raise LinkSettingsError(f"{call_id[:64]!r} is no call's id; take the id of its record of kind event.")
    content = call_id.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    return _keep(store, site, "request", "audio", sha256, len(content), None, iter([content]))


def orders(store: Reader, site: str | None = None, limit: int = 1000) -> list[OrderView]:
    """The orders of all sites or of one, the one sent last first."""
    rows = store.database.select(
        "SELECT order_id, site, kind, name, size, sent_at, activate_at, wanted FROM orders"
        + (" WHERE site = ?" if site is not None else "")
        + " ORDER BY order_id DESC LIMIT ?",
        *([] if site is None else [site]),
        limit,
    )
    states = {name: _states(store.database, name) for name in {row[1] for row in rows}}
    views = []
    for order, where, kind, name, size, sent_at, activate_at, wanted in rows:
        noted, at = states[where].get(order, (_Noted(order_id=order, state="offered"), sent_at))
        views.append(
            OrderView(
                order=order,
                site=where,
                kind=kind,
                name=name,
                size=size,
                sent_at=sent_at,
                activate_at=activate_at,
                got=wanted if noted.state == "offered" else size,
                state=noted.state,
                state_at=at,
                by=noted.by,
                remark=noted.remark,
            )
        )
    return views


def write_audio(store: Reader, site: str, call_id: str, to: Path) -> int:
    """Put the sound of a call together from the parts that came, and write it to `to`; gives its bytes.

    Raises LinkSettingsError when parts are missing, the whole is not what the site read, or it cannot be written.
    """
    places: dict[str, dict[int, tuple[int, str, int]]] = {}
    parts_of: dict[str, int] = {}
    for epoch, lane, seq in store.database.select(
        "SELECT epoch, lane, seq FROM received WHERE site = ? AND kind = 'audio' AND CAST(record AS TEXT) LIKE ?"
        " ORDER BY epoch, seq",
        site,
        f"%{call_id if _CALL.fullmatch(call_id) else '-'}%",
    ):
        part = msgspec.json.decode(_record(store.database, site, epoch, lane, seq), type=_AudioPart)
        if part.event_id == call_id:
            places.setdefault(part.sha256, {})[part.part] = (epoch, lane, seq)
            parts_of[part.sha256] = part.parts
    if not places:
        raise LinkSettingsError(
            f"nothing of the sound of call {call_id[:64]} came from {site}; ask for it with `outstation hq request`."
        )
    sha256 = max(places, key=lambda digest: len(places[digest]) / parts_of[digest])
    missing = parts_of[sha256] - len(places[sha256])
    if missing:
        raise LinkSettingsError(
            f"{missing} of {parts_of[sha256]} parts of the sound of call {call_id} have not come; they may be on their"
            " way, see `outstation hq orders` and what the site had to give up."
        )
    digest = hashlib.sha256()
    fresh = to.with_name(to.name + ".part")
    try:
        with fresh.open("wb") as file:
            for number in range(parts_of[sha256]):
                record = _record(store.database, site, *places[sha256][number])
                content = msgspec.json.decode(record, type=_AudioContent).content
                digest.update(content)
                file.write(content)
            size = file.tell()
        if digest.hexdigest() != sha256:
            fresh.unlink()
            raise LinkSettingsError(f"what came of call {call_id} is not what the site read; ask for it again.")
        fresh.replace(to)
    except OSError as fault:
        raise LinkSettingsError(f"{to} cannot be written: {fault.strerror}.") from None
    return size


# ---- inside ------------------------------------------------------------------------------------------------------


def _keep(
    store: Store,
    site: str,
    kind: OrderKind,
    name: str,
    sha256: str,
    size: int,
    activate_at: int | None,
    pieces: Iterator[bytes],
) -> str:
    """Write the content bit by bit, so that receivers need not wait, and then the order."""
    database = store.database
    _forget_ended(database)
    rows: list[tuple[str, int, bytes]] = []
    parts = 0
    for part, piece in enumerate(pieces):
        rows.append((sha256, part, piece))
        parts = part + 1
        if len(rows) == _PARTS_AT_ONCE:
            _put(database, rows)
            rows = []
    _put(database, rows)
    order = str(uuid_utils.uuid7())
    with database.transaction(locks=["orders"]):
        kept = database.select("SELECT count(*) FROM order_content WHERE sha256 = ?", sha256)[0][0]
        if kept != parts:
            raise LinkSettingsError("somebody else sent an order at the same moment; send it again.")
        database.execute(
            "INSERT INTO orders (order_id, site, kind, name, sha256, size, sent_at, activate_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            order,
            site,
            kind,
            name,
            sha256,
            size,
            _now_us(),
            activate_at,
        )
    return order


def _put(database: Database, rows: list[tuple[str, int, bytes]]) -> None:
    if rows:
        with database.transaction(locks=["orders"]):
            database.execute_many("INSERT INTO order_content VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


def _forget_ended(database: Database) -> None:
    """Drop the content of orders that have ended; what became of them stays."""
    with database.transaction(locks=["orders"]):
        running = database.select("SELECT order_id, site FROM orders WHERE ended = 0")
        states = {site: _states(database, site) for site in {site for _, site in running}}
        for order, site in running:
            if order in states[site] and states[site][order][0].state in _ENDED:
                database.execute("UPDATE orders SET ended = 1 WHERE order_id = ?", order)
        database.execute("DELETE FROM order_content WHERE sha256 NOT IN (SELECT sha256 FROM orders WHERE ended = 0)")


def _states(database: Database, site: str) -> dict[str, tuple[_Noted, int]]:
    """By order what the site's newest record of it says, and when that happened (µs)."""
    states: dict[str, tuple[_Noted, int]] = {}
    for record, happened_at in database.select(
        "SELECT record, happened_at FROM history WHERE site = ? AND kind = 'order' ORDER BY epoch, seq", site
    ):
        try:
            noted = msgspec.json.decode(record, type=_Noted)
        except msgspec.ValidationError:
            continue  # a record like any other, of a version that is not known here
        states[noted.order_id] = (noted, happened_at)
    return states


def _record(database: Database, site: str, epoch: int, lane: str, seq: int) -> str:
    ((record,),) = database.select(
        "SELECT record FROM received WHERE site = ? AND epoch = ? AND lane = ? AND seq = ?", site, epoch, lane, seq
    )
    return str(record)


def _check_site(store: Store, site: str) -> None:
    if store.key_of(site) is None:
        raise LinkSettingsError(f"site {site[:64]!r} is not enrolled; see `outstation hq sites`.")


def _check_toml(file: Path) -> None:
    content = file.read_bytes()
    if len(content) > MAX_TEXT_BYTES:
        raise LinkSettingsError(f"{file} has {len(content)} bytes; a site takes {MAX_TEXT_BYTES}.")
    try:
        tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise LinkSettingsError(f"{file} is not TOML: {fault}.") from None


def _pieces(file: Path, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK_BYTES):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != sha256:
        raise LinkSettingsError(f"{file} was written to while it was read; send it again.")


def _now_us() -> int:
    return time.time_ns() // 1000
