"""What HQ sends or a person brings: playbooks, vocabularies, packs and requests, from where they are staged to the end.

    staged ─▶ waiting ─▶ active ─▶ rolled_back      a playbook, a vocabulary or a pack
       │         ├─────▶ rolled_back, refused
       │         └─▶ shadow ─▶ as from waiting       a pack that runs beside the one in use
       └─▶ refused, fulfilled                       a request

Every change is a record in the journal, which tells HQ. What is checked is held against the site as it is, and again
before it comes into force: at the moment that HQ named, or when a person on site agrees. An order that is older than
one of its kind that waits or is in force is refused. What the gateway is doing meanwhile goes on: actions keep what
they were made with, and the next events are taken with what is new (edge/pipeline.py); only if that does not work, what
was there before is put back (edge/activation.py).
"""

import difflib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from edge.activation import PROVEN_S, Activation, Trial
from edge.errors import Conflict, OutstationError
from edge.events import (
    GATEWAY,
    Audio,
    Call,
    Event,
    Order,
    OrderKind,
    OrderState,
    boot_id,
    mono_us,
    new_id,
    now_us,
)
from edge.loading import check_pack, check_playbook, current, used_packs
from edge.site import Site
from edge.store.comparisons import Comparison, compare
from edge.store.database import number
from edge.store.journal import Journal
from edge.store.placing import put_in_place
from edge.vocabulary import read_vocabulary
from models import store
from models.archive import unpack
from models.errors import ModelError, PackMissing
from models.pack import MANIFEST
from models.signing import makers

LOOK_S = 1.0
MOST_TEXT_BYTES = 1 << 20
MOST_COMPARED_LINES = 5_000
AUDIO_PART_BYTES = 256 << 10
HQ = "hq"

_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDED: frozenset[OrderState] = frozenset({"refused", "active", "rolled_back", "fulfilled"})
_WAITING: frozenset[OrderState] = frozenset({"waiting", "shadow"})

log = structlog.get_logger()


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the link has staged it (offer.json). `at` is HQ's clock when it offered, `activate_at` when it takes
    effect by itself; None: when a person agrees. `by` is HQ, or the person who brought it to the gateway."""

    order: str
    kind: OrderKind
    name: str
    size: int
    at: int
    activate_at: int | None = None
    by: str = HQ


class HqClock(msgspec.Struct, frozen=True, kw_only=True):
    """HQ's clock showed `at` when `mono` µs of the boot `boot` had passed (clock.json, by the link)."""

    at: int
    boot: str
    mono: int


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as people see it: what it is, how it stands since `at`, by whom, and what they said."""

    id: str
    kind: OrderKind
    name: str
    size: int
    sent_at: int
    activate_at: int | None
    state: OrderState
    at: int
    by: str
    remark: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a comparison: in both, only in what is there now (gone), only in what HQ sent (new), or left out."""

    change: Literal["same", "gone", "new", "cut"]
    text: str


class Orders:
    """Looks after what the link stages, on a thread of its own, and takes what people answer."""

    def __init__(
        self, site: Site, journal: Journal, adopt: Callable[[], None], runs: Callable[[], bool] = lambda: True
    ) -> None:
        """`adopt` loads the site's playbook and packs anew and gives them to the pipeline; it raises OutstationError or
        ModelError when it cannot. `runs` says whether the pipeline takes events."""
        self._site = site
        self._journal = journal
        self._adopt = adopt
        self._runs = runs
        self._activation = Activation(site)
        self._proven_s = 0.0
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orders")

    def start(self) -> None:
        """Report what became of an activation that the last run did not finish, remove what a kill left of files that
        came in, and begin to look."""
        shutil.rmtree(self._site.incoming, ignore_errors=True)
        self._proven_s = time.monotonic() + PROVEN_S
        self._thread.start()

    def stop(self) -> None:
        """End after the order under way; the gateway ends in order, which proves what it runs with."""
        self._stopping.set()
        self._thread.join()
        trial = self._activation.trial
        if trial is not None and not trial.failed and self._state(trial.order) == "active" and self._runs():
            self._activation.end()

    # ---- what people see and say -----------------------------------------------------------------------------

    def views(self) -> list[OrderView]:
        """All orders that are here, the one sent last first."""
        states = self._journal.orders()
        return [
            _view(order, states[order.order])
            for order in sorted(self._all(), key=lambda order: order.order, reverse=True)
            if order.order in states
        ]

    def view(self, order_id: str) -> OrderView | None:
        """One order."""
        return next((view for view in self.views() if view.id == order_id), None)

    def difference(self, order_id: str) -> list[Line]:
        """What an order that waits would change: its text beside what is there now; of a pack, the manifest's."""
        order = self._staged(order_id)
        if order is None or order.kind == "request":
            return []
        folder = self._folder(order)
        if order.kind == "pack":
            pack = store.staged(self._site.packs, order.order)
            new = "" if pack is None else (pack.folder / MANIFEST).read_text("utf-8")
            name = order.name if pack is None else pack.manifest.name
        else:
            path = folder / "content"
            new, name = path.read_text("utf-8", "replace") if path.is_file() else "", ""
        return _compared(current(self._site, order.kind, name), new)

    def agree(self, order_id: str, by: str, remark: str = "") -> OrderView:
        """Somebody wants an order that waits in force, now. Raises Conflict when it does not wait or may not."""
        with self._lock:
            order = self._waiting(order_id)
            trial = self._activation.trial
            if trial is not None:
                raise Conflict(f"Another order is being tried out; agree again in {PROVEN_S:.0f} seconds.")
            self._activate(order, by, remark)
        return self._viewed(order_id)

    def decline(self, order_id: str, by: str, remark: str = "") -> OrderView:
        """Somebody does not want an order that waits. Raises Conflict when it does not wait."""
        with self._lock:
            order = self._waiting(order_id)
            self._note(order, "refused", by, remark)
            self._clean(order)
        return self._viewed(order_id)

    def incoming(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for a file while it comes in."""
        return incoming(self._site)

    def bring_pack(self, file: Path, by: str) -> OrderView:
        """Somebody brings a .pack file, which lies in a folder of `incoming` and is moved. Raises Conflict when it is
        not one to be taken, and OSError when the disk is full."""
        try:
            brought = bring_pack(self._site, file, by)
        except (OutstationError, ModelError) as error:
            raise Conflict(str(error)) from None
        self.look()
        return self._viewed(brought.order)

    def shadow(self, order_id: str, by: str, remark: str = "") -> OrderView:
        """Somebody wants a pack that waits to run beside the one in use, on the same events; nothing is done with what
        it says but to compare it. Raises Conflict when it does not wait or is no pack."""
        with self._lock:
            order = self._waiting(order_id)
            if order.kind != "pack" or order.name not in used_packs(self._site):
                raise Conflict("Only another version of a pack that is in use here can run in its shadow.")
            with store.writing(self._site.packs):
                store.shadow(self._site.packs, order.order)
            self._adopt()
            self._note(order, "shadow", by, remark)
        return self._viewed(order_id)

    def comparison(self, order_id: str) -> Comparison | None:
        """What a pack that ran in the shadow said beside the one in use; None if none of its name did."""
        order = self._staged(order_id)
        return None if order is None else compare(self._journal.readers.connection(), order.name)

    def roll_back(self, order_id: str, by: str, remark: str = "") -> OrderView:
        """Somebody wants back what was there before an order that is in force. Raises Conflict when it is not in force,
        a newer one of its kind came after it, or what was there before does not run."""
        with self._lock:
            order, state = self._staged(order_id), self._state(order_id)
            if order is None or state != "active":
                raise Conflict("This order is not in force; reload the list.")
            if self._newer(order):
                raise Conflict("A newer one is in force or waits; roll that back or decline it first.")
            trial = self._activation.trial
            if trial is not None and trial.order != order.order:
                raise Conflict(f"Another order is being tried out; try again in {PROVEN_S:.0f} seconds.")
            try:
                self._check_earlier(order)
            except (OutstationError, ModelError) as error:
                raise Conflict(f"What was there before does not run, so this stays: {error}") from None
            if trial is None:
                trial = Trial(order=order.order, kind=order.kind, name=order.name, by=by)
                self._activation.reverse(trial, remark or "It is not wanted any more.", by)
            else:
                self._activation.take_back(remark or "It is not wanted any more.", by)
            self._adopt()
            self._note(order, "rolled_back", by, remark)
            self._end(order)
        return self._viewed(order_id)

    def _check_earlier(self, order: Staged) -> None:
        """Whether the gateway can run with what was there before. Raises OutstationError or ModelError."""
        if order.kind == "pack":
            check_pack(self._site, store.earlier(self._site.packs, order.name))
        elif order.kind == "playbook":
            check_playbook(self._site, self._activation.previous(self._site.playbook))

    def _waiting(self, order_id: str) -> Staged:
        order, state = self._staged(order_id), self._state(order_id)
        if order is None or state is None:
            raise Conflict(f"There is no order {order_id}; reload the list.")
        if state not in _WAITING:
            raise Conflict(f"This order is {state} already; reload the list.")
        return order

    def _viewed(self, order_id: str) -> OrderView:
        view = self.view(order_id)
        assert view is not None
        return view

    # ---- what the gateway does by itself ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except (OutstationError, OSError, ModelError) as error:  # a full disk, a packs folder in use: tried again
                log.error("the orders wait", reason=str(error))
            if self._stopping.wait(LOOK_S):
                return

    def look(self) -> None:
        """Take every order as far as it can go now. Raises OutstationError, OSError or ModelError, and
        may be repeated."""
        with self._lock:
            self._settle()
        for order in self._all():
            if order.order not in self._ended and not self._stopping.is_set():
                with self._lock:
                    self._advance(order)

    def _settle(self) -> None:
        """Report what became of the trial, and end it when it has proven itself."""
        trial = self._activation.trial
        if trial is None:
            return
        order = self._staged(trial.order) or Staged(order=trial.order, kind=trial.kind, name=trial.name, size=0, at=0)
        state = self._state(trial.order)
        if trial.failed:
            self._activation.take_back(trial.failed)
            if state != "rolled_back":
                self._note(order, "rolled_back", trial.failed_by, trial.failed)
            self._end(order)
        elif state != "active":  # the last run was killed before it could say so
            self._note(order, "active", trial.by)
        elif time.monotonic() >= self._proven_s and self._runs():
            self._end(order)

    def _end(self, order: Staged) -> None:
        self._activation.end()
        self._clean(order)

    def _advance(self, order: Staged) -> None:
        state = self._state(order.order)
        if state is None:
            self._note(order, "staged", order.by)
            state = "staged"
        if state == "staged":
            try:
                reason = self._refusal(order)
            except PackMissing as error:  # somebody else writes to the packs folder now
                log.warning("an order is checked later", order=order.order, reason=str(error))
                return
            if reason:
                self._note(order, "refused", GATEWAY, reason)
            elif order.kind == "request":
                self._send_audio(order)
            else:
                self._note(order, "waiting", GATEWAY)
            state = self._state(order.order)
        if state in _WAITING:
            newer = self._newer(order)
            if newer:
                self._note(order, "refused", GATEWAY, f"A newer one came: {newer}.")
            elif self._activation.trial is None and self._is_due(order):
                self._activate(order, order.by)
            state = self._state(order.order)
        trial = self._activation.trial
        if state in _ENDED and (trial is None or trial.order != order.order):
            self._clean(order)

    def _is_due(self, order: Staged) -> bool:
        if order.activate_at is None:
            return False
        return order.by != HQ or is_due(order.activate_at, self._clock(order), now_us())

    def _clock(self, order: Staged) -> HqClock:
        try:
            return msgspec.json.decode((self._site.downlink / "clock.json").read_bytes(), type=HqClock)
        except (FileNotFoundError, msgspec.DecodeError):
            return HqClock(at=order.at, boot="", mono=0)

    def _newer(self, order: Staged) -> str:
        """A newer order for the same that passed its checks; '' if there is none. Ids say which is newer (UUIDv7)."""
        return next(
            (
                other.order_id
                for other in self._journal.orders().values()
                if other.order_id > order.order
                and other.kind == order.kind
                and (order.kind != "pack" or other.name == order.name)
                and other.state in ("waiting", "shadow", "active")
            ),
            "",
        )

    # ---- checks ----------------------------------------------------------------------------------------------

    def _refusal(self, order: Staged) -> str:
        """Why an order cannot be put into force or fulfilled; '' if it can. Raises PackMissing when that is not to be
        known now."""
        folder = self._folder(order)
        if (folder / "refusal").is_file():
            return (folder / "refusal").read_text("utf-8", "replace")[:500]
        content = folder / "content"
        if order.kind != "pack" and content.stat().st_size > MOST_TEXT_BYTES:
            return f"It has {order.size} bytes; a {order.kind} has {MOST_TEXT_BYTES} at most."
        try:
            match order.kind:
                case "playbook":
                    check_playbook(self._site, content)
                case "vocabulary":
                    read_vocabulary(content)
                case "pack":
                    self._check_pack(order, content)
                case "request":
                    self._sound(order, content)
        except PackMissing:
            raise
        except (OutstationError, ModelError) as error:
            return str(error).replace(str(content), f"{order.kind}.toml")
        return ""

    def _check_pack(self, order: Staged, content: Path) -> None:
        pack = store.staged(self._site.packs, order.order)
        if pack is None:
            with store.writing(self._site.packs):
                pack = store.stage(content, self._site.packs, order.order, self._makers(order))
        try:
            if pack.manifest.name != order.name:
                raise Conflict(f"It was sent as {order.name!r}, and it calls itself {pack.manifest.name!r}.")
            check_pack(self._site, pack)
        except (OutstationError, ModelError):
            store.drop(self._site.packs, order.order)
            raise

    def _makers(self, order: Staged) -> dict[str, str] | None:
        """Who may have signed a pack; anybody if it came under HQ's seal."""
        return None if order.by == HQ else makers(self._site.packs)

    def _sound(self, order: Staged, content: Path) -> tuple[str, Path]:
        """The call that is asked for, and its file. Raises Conflict."""
        if order.name != "audio":
            raise Conflict(f"HQ asks for {order.name!r}, which this gateway does not know; it may be older than HQ.")
        call_id = content.read_bytes().decode("utf-8", "replace").strip()
        event = self._journal.find(Event, call_id) if _NAME.fullmatch(call_id) else None
        if event is None or not isinstance(event.data, Call):
            raise Conflict(f"There is no call {call_id[:40]!r} here.")
        path = self._site.audio / Path(event.data.audio).name
        if not path.is_file() or not path.stat().st_size:  # an empty one is on its way out (edge/store/clearing.py)
            raise Conflict("The sound of this call is no longer kept on the gateway.")
        return call_id, path

    # ---- into force ------------------------------------------------------------------------------------------

    def _activate(self, order: Staged, by: str, remark: str = "") -> None:
        """Put an order that waits into force, or say why that does not work."""
        reason = self._refusal(order)
        if reason:
            self._note(order, "refused", GATEWAY, f"When it was to come into force: {reason}")
            self._clean(order)
            return
        try:
            self._activation.begin(Trial(order=order.order, kind=order.kind, name=order.name, by=by))
            self._adopt()
        except (OutstationError, ModelError, OSError) as error:
            self._undo(order, str(error))
            return
        self._note(order, "active", by, remark)
        self._proven_s = time.monotonic() + (0.0 if order.kind == "vocabulary" else PROVEN_S)

    def _undo(self, order: Staged, reason: str) -> None:
        """Put back what was there, also in what runs."""
        if self._activation.trial is not None:
            self._activation.take_back(reason)
            self._adopt()
        self._note(order, "rolled_back", GATEWAY, reason)
        self._end(order)

    def _clean(self, order: Staged) -> None:
        """Of an order that has ended only offer.json stays: the link never pulls it again."""
        for name in ("content", "refusal"):
            (self._folder(order) / name).unlink(missing_ok=True)
        store.drop(self._site.packs, order.order)
        self._ended.add(order.order)

    # ---- the sound of a call ---------------------------------------------------------------------------------

    def _send_audio(self, order: Staged) -> None:
        """Put a call's file on its way to HQ, part by part; a kill goes on with the next part."""
        call_id, path = self._sound(order, self._folder(order) / "content")
        cursor = f"audio/{order.order}"
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            parts = -(-os.fstat(file.fileno()).st_size // AUDIO_PART_BYTES)
            if not parts:
                raise Conflict("The sound of this call went just now.")  # refused at the next look
            for part in range(self._sent(cursor), parts):
                if self._stopping.is_set():
                    return
                file.seek(part * AUDIO_PART_BYTES)
                content = file.read(AUDIO_PART_BYTES)
                audio = Audio(at=now_us(), event_id=call_id, part=part, parts=parts, sha256=sha256, content=content)
                self._journal.send_audio(audio, cursor).result()
        self._note(order, "fulfilled", GATEWAY, f"{parts} parts")

    def _sent(self, cursor: str) -> int:
        return number(self._journal.readers.connection(), "SELECT seq FROM cursors WHERE step = ?", (cursor,))

    # ---- what is here ----------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Staged]:
        """The orders that the link has staged, oldest first."""
        names = sorted(path.parent.name for path in self._site.downlink.glob("*/offer.json"))
        return (order for order in map(self._staged, names) if order is not None)

    def _staged(self, order_id: str) -> Staged | None:
        if not _NAME.fullmatch(order_id):
            return None
        try:
            return msgspec.json.decode((self._site.downlink / order_id / "offer.json").read_bytes(), type=Staged)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _folder(self, order: Staged) -> Path:
        return self._site.downlink / order.order

    def _state(self, order_id: str) -> OrderState | None:
        order = self._journal.orders().get(order_id)
        return None if order is None else order.state

    def _note(self, order: Staged, state: OrderState, by: str, remark: str = "") -> None:
        noted = Order(
            at=now_us(), order_id=order.order, kind=order.kind, name=order.name, state=state, by=by, remark=remark
        )
        self._journal.note_order(noted).result()
        log.info("order", order=order.order, kind=order.kind, state=state, by=by, remark=remark)


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that a person brought, and the order that it became."""

    order: str
    name: str
    version: str


def incoming(site: Site) -> tempfile.TemporaryDirectory[str]:
    """A folder for a file while it comes in, on the disk of the orders; the next start removes what a kill leaves.
    Raises OSError."""
    site.incoming.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=site.incoming)


def bring_pack(site: Site, file: Path, by: str, *, at_once: bool = False) -> Brought:
    """Stage a .pack file that a person brought, as HQ's orders are staged: the gateway asks for somebody's word, or
    (`at_once`) puts it into force. The file, which lies in a folder of `incoming`, is moved.

    It is checked first: who signed it, what is in it, its self-test. Raises ModelError, SettingsError or PlaybookGap,
    and OSError when the disk is full.
    """
    with incoming(site) as folder:
        pack = unpack(file, Path(folder), makers(site.packs))
        check_pack(site, pack)
    name, version = pack.manifest.name, pack.manifest.version
    return Brought(order=_bring(site, file, name, by, at_once=at_once), name=name, version=version)


def _bring(site: Site, file: Path, name: str, by: str, *, at_once: bool) -> str:
    order_id, at = new_id(), now_us()
    folder = site.downlink / order_id
    folder.mkdir(parents=True)
    put_in_place(file, folder / "content")
    size = (folder / "content").stat().st_size
    due = at if at_once else None
    staged = Staged(order=order_id, kind="pack", name=name, size=size, at=at, activate_at=due, by=by)
    fresh = folder / ".offer.json.new"
    fresh.write_bytes(msgspec.json.encode(staged))
    put_in_place(fresh, folder / "offer.json")
    return order_id


def is_due(activate_at: int, clock: HqClock, wall: int) -> bool:
    """Whether it is `activate_at` (µs) by HQ's clock, as far as can be known here.

    In the boot in which HQ was heard last, HQ's clock has gone on since as this machine's has (time since boot), and
    the wall clock, which may show 1970 or 2100, is not asked. After a restart without HQ only the wall clock is left;
    one that is behind what HQ's clock has shown is wrong, and then nothing happens by itself until HQ is heard again
    or a person agrees.
    """
    if clock.boot == boot_id():
        return clock.at + mono_us() - clock.mono >= activate_at
    return clock.at >= activate_at or wall >= max(activate_at, clock.at)


def _view(order: Staged, noted: Order) -> OrderView:
    return OrderView(
        id=order.order,
        kind=order.kind,
        name=order.name,
        size=order.size,
        sent_at=order.at,
        activate_at=order.activate_at,
        state=noted.state,
        at=noted.at,
        by=noted.by,
        remark=noted.remark,
    )


def _compared(now: str, new: str) -> list[Line]:
    """The lines that differ, with three around them."""
    before, after = now.splitlines(), new.splitlines()
    if max(len(before), len(after)) > MOST_COMPARED_LINES:
        return [Line(change="cut", text=f"{len(before)} → {len(after)}")]
    lines: list[Line] = []
    for line in list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]:
        match line[:1]:
            case "@":
                lines.append(Line(change="cut", text=line))
            case "-":
                lines.append(Line(change="gone", text=line[1:]))
            case "+":
                lines.append(Line(change="new", text=line[1:]))
            case _:
                lines.append(Line(change="same", text=line[1:]))
    return lines
