"""Orders from HQ: pulls their content in chunks, checks it, and stages it whole for the daemon.

    downlink/clock.json            Clock: what HQ's clock showed at a moment of this machine's
    downlink/{order}/content.part  what has come so far; how long it is says where to go on after a kill
    downlink/{order}/content       the whole, its size and SHA-256 as offered
    downlink/{order}/refusal       in its place, if it cannot be had: one sentence why
    downlink/{order}/offer.json    the Offer, written last: from here on the order is the daemon's

What is called here was sealed by HQ. An order whose offer.json is there is never pulled again, so an old Offer that
somebody repeats does nothing. The site asks, so nothing comes faster than it wants: few wants are under way, and fewer
when the answers are slow, so that acknowledgements are not held up behind a pack of half a gigabyte.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sync import log
from sync.protocol import CHUNK_BYTES, Chunk, Offer, Want
from sync.settings import LinkSettings

MOST_WANTS = 4
"""Under way at once: 64 KiB."""
MOST_ORDERS = 64
QUICK_S = 0.4
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0
MOST_SILENCES = 6
"""After so many wants in a row without an answer an order is left until HQ offers it again."""
MOST_TRIES = 3
SPARE_DISK_BYTES = 64 << 20
"""What the daemon needs for itself is never taken by an order."""
HASHED_AT_ONCE_BYTES = 16 << 20
KEPT_DAYS = 30
"""How long a part of an order stays that HQ does not offer any more."""

_ORDER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """HQ's clock was at least at `at` (µs) when `mono` µs (CLOCK_BOOTTIME) of the boot `boot` had passed."""

    at: int
    boot: str
    mono: int


class Downlink:
    """What HQ offers and this site does not have yet. `say` publishes a Want; all times are monotonic seconds."""

    def __init__(self, settings: LinkSettings, say: Callable[[Want], None]) -> None:
        self._site = settings.site
        self._folder = settings.downlink
        self._say = say
        self._downloads: dict[str, _Download] = {}
        self._pulled = ""
        self._wants: dict[int, float] = {}
        self._most_wants = 1
        self._wait_s = FIRST_WAIT_S
        self._silences = 0
        _sweep(self._folder)

    def offer(self, offer: Offer, now_s: float) -> None:
        """HQ offers something: pull it, unless it was pulled before."""
        if offer.site != self._site or not _ORDER.fullmatch(offer.order):
            return
        try:
            self._note_clock(offer.at)
            folder = self._folder / offer.order
            if (folder / "offer.json").exists():
                return
            known = self._downloads.get(offer.order)
            if known is None and len(self._downloads) < MOST_ORDERS:
                self._downloads[offer.order] = _Download(folder, offer)
        except OSError as fault:
            log.warning("an order cannot be pulled", order=offer.order, reason=str(fault))
        self.tick(now_s)

    def chunk(self, chunk: Chunk, now_s: float) -> None:
        """Some of an order's content came."""
        asked_s = self._wants.pop(chunk.offset, None) if chunk.order == self._pulled else None
        download = self._downloads.get(chunk.order)
        if asked_s is None or download is None:
            return  # nobody asked for it, or asked twice
        self._silences, self._wait_s = 0, FIRST_WAIT_S
        quick = now_s - asked_s < QUICK_S
        self._most_wants = min(MOST_WANTS, self._most_wants + 1) if quick else max(1, self._most_wants // 2)
        try:
            download.take(chunk)
        except OSError as fault:
            self._put_off(download, str(fault))
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        """Called at least once a second: finishes what is whole, and asks for what is missing."""
        while (download := self._next()) is not None:
            if download.offer.order != self._pulled:
                self._pulled, self._silences, self._wait_s = download.offer.order, 0, FIRST_WAIT_S
                self._wants.clear()
            try:
                if not download.read_on():
                    return
                if download.have < download.offer.size:
                    self._ask(download, now_s)
                    return
                if download.finish():
                    del self._downloads[download.offer.order]
            except OSError as fault:
                self._put_off(download, str(fault))

    def _next(self) -> "_Download | None":
        """The smallest first: a playbook does not wait for a pack."""
        return min(self._downloads.values(), key=lambda one: (one.offer.size, one.offer.order), default=None)

    def _ask(self, download: "_Download", now_s: float) -> None:
        if self._wants and now_s - min(self._wants.values()) > self._wait_s:
            self._silences += 1
            self._wants.clear()
            self._most_wants = 1
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            if self._silences == MOST_SILENCES:
                self._put_off(download, "HQ does not answer")
                return
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < download.offer.size - download.have + SPARE_DISK_BYTES:
            self._put_off(download, f"it has {download.offer.size} bytes, and {free_bytes} are free on the disk")
            return
        offset = download.have
        while len(self._wants) < self._most_wants and offset < download.offer.size:
            if offset not in self._wants and offset not in download.early:
                self._wants[offset] = now_s
                self._say(Want(site=self._site, order=download.offer.order, offset=offset))
            offset += CHUNK_BYTES

    def _put_off(self, download: "_Download", reason: str) -> None:
        """Leave an order until HQ offers it again, as it does whenever the site introduces itself."""
        log.warning("an order is put off", order=download.offer.order, reason=reason)
        self._downloads.pop(download.offer.order, None)

    def _note_clock(self, at: int) -> None:
        """Keep the best that is known of HQ's time: an Offer that is repeated later can only say too early a time."""
        path = self._folder / "clock.json"
        clock = Clock(at=at, boot=_boot(), mono=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)
        try:
            known = msgspec.json.decode(path.read_bytes(), type=Clock)
        except (FileNotFoundError, msgspec.DecodeError):
            known = None
        if known is not None:
            later = clock.at - clock.mono > known.at - known.mono if known.boot == clock.boot else clock.at > known.at
            if not later:
                return
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(path, msgspec.json.encode(clock))


class _Download:
    """One order on its way: what of its content is here. All of it raises OSError."""

    def __init__(self, folder: Path, offer: Offer) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.offer = offer
        self.early: dict[int, bytes] = {}
        self._folder = folder
        self._part = folder / "content.part"
        self._tries = 0
        self._part.touch()
        length = self._part.stat().st_size
        self.have = length // CHUNK_BYTES * CHUNK_BYTES if length <= offer.size else 0
        os.truncate(self._part, self.have)
        self._digest = hashlib.sha256()
        self._digested = 0

    def read_on(self) -> bool:
        """Read some of what an earlier run of the link left, for the digest; True once all of it was read."""
        if self._digested < self.have:
            with self._part.open("rb") as file:
                file.seek(self._digested)
                read = file.read(min(HASHED_AT_ONCE_BYTES, self.have - self._digested))
            self._digest.update(read)
            self._digested += len(read)
        return self._digested == self.have

    def take(self, chunk: Chunk) -> None:
        """Append a chunk, and those that came before their turn; one that does not fit is left out."""
        if not chunk.content or chunk.offset + len(chunk.content) > self.offer.size:
            return
        self.early[chunk.offset] = chunk.content
        with self._part.open("r+b") as file:
            while (content := self.early.pop(self.have, None)) is not None:
                file.seek(self.have)
                file.write(content)
                self._digest.update(content)
                self.have = self._digested = self.have + len(content)

    def finish(self) -> bool:
        """Stage what is whole; False if its SHA-256 does not hold and it is to be pulled anew."""
        if self._digest.hexdigest() == self.offer.sha256:
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self._folder / "content")
        else:
            self._tries += 1
            log.warning("an order came altered", order=self.offer.order, tries=self._tries)
            self.early.clear()
            self._digest, self._digested, self.have = hashlib.sha256(), 0, 0
            os.truncate(self._part, 0)
            if self._tries < MOST_TRIES:
                return False
            self._part.unlink()
            reason = f"What came was {MOST_TRIES} times not what HQ offered: its SHA-256 does not hold."
            _write(self._folder / "refusal", reason.encode())
        _write(self._folder / "offer.json", msgspec.json.encode(self.offer))
        return True


def _write(path: Path, content: bytes) -> None:
    """Make a file appear whole, and be on the disk when this returns."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(downlink: Path) -> None:
    """Remove the parts of orders that HQ has withdrawn; a wrong clock only means that one is pulled again."""
    oldest_s = time.time() - KEPT_DAYS * 86_400
    for part in downlink.glob("*/content.part"):
        if part.stat().st_mtime < oldest_s:
            part.unlink()


def _boot() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
