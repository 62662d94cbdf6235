"""The sound of calls that are going on: a file for each leg, written as it comes and read while it grows.

These files are the queue of sound that is still to be transcribed. A box that cannot keep up falls behind on the disk
and loses no sample; after a crash what was recorded is transcribed to its end, as a recording would be.
"""

import errno
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog

from edge.store.placing import put_in_place

SAMPLE_BYTES = 2

log = structlog.get_logger()


class LegInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One leg: who speaks on it, the how manieth of that channel it is (somebody may be connected again), its sample
    rate, how many seconds after its call's beginning it begins, and how its sender wants it recognised: only these
    phrases (none: whatever is said), with so many alternatives."""

    channel: str
    number: int = 0
    rate_hz: int
    offset_s: float = 0.0
    phrases: tuple[str, ...] = ()
    alternatives: int = 0

    @property
    def name(self) -> str:
        """What tells it from the other legs of its call."""
        return f"{self.channel}-{self.number}"


class Said(msgspec.Struct, frozen=True):
    """What was recognised when so many bytes of a leg were heard: JSON as Vosk puts it, of an utterance that has ended
    (because its sender `asked` for it, or the leg has ended) or, not `final`, of one that goes on."""

    heard_bytes: int
    text: str
    final: bool = False
    asked: bool = False


class Leg:
    """One speaker's sound: 16-bit little-endian mono. One thread appends, another reads and says what it heard."""

    def __init__(self, folder: Path, info: LegInfo, *, ended: bool) -> None:
        """Opens the leg's file in `folder`, making it if there is none; an `ended` one takes no more, and is open for
        reading only.

        Raises OSError.
        """
        self.info = info
        self.ended = ended
        self.finished = False
        """Whether all of it was heard."""
        self._path = folder / f"{info.name}.pcm"
        self._file = self._path.open("ab", buffering=0)
        if ended:
            self._file.close()
        self._reader = os.open(self._path, os.O_RDONLY)
        self._size = self._path.stat().st_size
        self._bounds: deque[tuple[int, bool]] = deque()
        self._syncing = threading.Lock()
        self._lock = threading.Lock()
        self._finals: deque[Said] = deque()
        self._newest = Said(0, "")
        self._on_heard: Callable[[], None] = lambda: None

    # ---- for who records ---------------------------------------------------------------------------------------------

    def append(self, pcm: bytes) -> int:
        """Add sound, one message of the sender's; gives how many bytes there are now.

        Raises OSError: then the leg is as long as before.
        """
        if self._file.write(pcm) != len(pcm):
            os.truncate(self._path, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(pcm)
        self._bounds.append((self._size, False))
        return self._size

    def close_utterance(self) -> int:
        """Have the utterance that is going on end here; gives how many bytes there are."""
        self._bounds.append((self._size, True))
        return self._size

    def end(self) -> None:
        """No more comes."""
        self.ended = True

    def sync(self) -> None:
        """Have what was appended on the disk; of a leg that has ended that is all of it, and its file is closed for
        writing. Raises OSError."""
        with self._syncing:
            if self._file.closed:
                return
            ended = self.ended
            os.fdatasync(self._file.fileno())
            if ended:
                self._file.close()

    def tell(self, on_heard: Callable[[], None]) -> None:
        """Call this whenever more was heard, in the thread that hears."""
        self._on_heard = on_heard

    def next_said(self) -> Said:
        """The oldest utterance that has ended and was not given yet; if there is none, what goes on."""
        with self._lock:
            return self._finals.popleft() if self._finals else self._newest

    @property
    def heard_bytes(self) -> int:
        """Up to where it was heard."""
        return self._newest.heard_bytes

    @property
    def size(self) -> int:
        """How many bytes there are so far."""
        return self._size

    @property
    def duration_s(self) -> float:
        """How long it is so far."""
        return self._size / SAMPLE_BYTES / self.info.rate_hz

    # ---- for who hears -----------------------------------------------------------------------------------------------

    def read(self, start: int, most: int) -> tuple[bytes, bool]:
        """Sound from a byte on, at most so much and never beyond one message of the sender's, and whether the utterance
        is to end behind it. Whole samples; empty when there is none now."""
        while self._bounds and (self._bounds[0][0] < start or self._bounds[0] == (start, False)):
            self._bounds.popleft()
        bound, closes = self._bounds[0] if self._bounds else (self._size, False)
        length = min(most, bound - start) // SAMPLE_BYTES * SAMPLE_BYTES
        pcm = os.pread(self._reader, length, start)
        if closes and start + len(pcm) == bound:
            self._bounds.popleft()
            return pcm, True
        return pcm, False

    def chunk(self, first: int, samples: int) -> bytes:
        """Sound from a sample on, however it was sent."""
        return os.pread(self._reader, samples * SAMPLE_BYTES, first * SAMPLE_BYTES)

    def say(self, said: Said) -> None:
        """Tell the sender what was heard."""
        with self._lock:
            if said.final:
                self._finals.append(said)
            self._newest = Said(said.heard_bytes, "" if said.final else said.text)
        self._on_heard()

    def finish(self) -> None:
        """All of it was heard, and said."""
        self.finished = True
        self._on_heard()

    def close(self) -> None:
        """Release the files."""
        with self._syncing:
            self._file.close()
        os.close(self._reader)


class LiveSound:
    """The legs of all calls whose sound is in `folder`, a folder for each call."""

    def __init__(self, folder: Path, changed: Callable[[str], None]) -> None:
        """`changed` is called with a call's id when there is more of it, in the thread that records."""
        self.changed = changed
        self._folder = folder
        self._legs: dict[str, dict[str, Leg]] = {}
        self._going_on: set[str] = set()
        self._lock = threading.Lock()

    def open(self, call_id: str) -> None:
        """A call begins: it is going on until `end`."""
        self._going_on.add(call_id)

    def end(self, call_id: str) -> None:
        """No leg of a call will come any more."""
        self._going_on.discard(call_id)
        self.changed(call_id)

    def goes_on(self, call_id: str) -> bool:
        """Whether more may come of a call."""
        return call_id in self._going_on

    def begin(self, call_id: str, info: LegInfo) -> Leg:
        """A new leg of a call, whatever number it has in `info`. Raises OSError, and ValueError when the call has a leg
        of this channel that goes on."""
        with self._lock:
            legs = self._legs.setdefault(call_id, {})
            before = [leg for leg in legs.values() if leg.info.channel == info.channel]
            if not all(leg.ended for leg in before):
                raise ValueError(f"this call has a leg of channel {info.channel} already")
            info = msgspec.structs.replace(info, number=len(before))
            folder = self._folder / call_id
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / f"{info.name}.part"
            unfinished.write_bytes(msgspec.json.encode(info))
            put_in_place(unfinished, folder / f"{info.name}.json")
            leg = legs[info.name] = Leg(folder, info, ended=False)
            return leg

    def legs(self, call_id: str) -> list[Leg]:
        """The legs of a call; those of one that a crash ended take no more."""
        with self._lock:
            if call_id not in self._legs:
                self._legs[call_id] = {leg.info.name: leg for leg in _left_behind(self._folder / call_id)}
            return list(self._legs[call_id].values())

    def left(self) -> list[str]:
        """The calls whose sound lies here and that are not going on."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.name not in self._going_on)

    def close(self) -> None:
        """Release the files."""
        for legs in self._legs.values():
            for leg in legs.values():
                leg.close()

    def forget(self, call_id: str) -> None:
        """Remove the sound of a call: it was transcribed and is kept elsewhere."""
        with self._lock:
            for leg in self._legs.pop(call_id, {}).values():
                leg.close()
        shutil.rmtree(self._folder / call_id, ignore_errors=True)


def _left_behind(folder: Path) -> Iterator[Leg]:
    """The legs that a crash ended; one of which nobody can tell what it is stays where it is."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield Leg(folder, msgspec.json.decode(path.read_bytes(), type=LegInfo), ended=True)
        except (msgspec.DecodeError, msgspec.ValidationError) as fault:
            log.error("a leg cannot be heard", file=str(path), reason=str(fault))
