"""What is not accepted is kept aside in inbox/refused, with one sentence beside it, and written down in the journal."""

import hashlib
from pathlib import Path

import structlog

from edge.store.journal import Journal, Refusal

MESSAGES_KEPT = 1_000  # of refused bus messages; more are still written down, but their bytes are not kept

log = structlog.get_logger()


class RefusedFolder:
    """The folder inbox/refused of a site."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal
        folder.mkdir(parents=True, exist_ok=True)

    def file(self, path: Path, reason: str) -> None:
        """Move a file of the inbox aside."""
        place = self._free_place(path.name)
        _write_reason(place, reason)
        path.rename(place)
        self._note("inbox", path.name, reason)

    def part(self, name: str, text: str, reason: str) -> None:
        """Keep aside a part of a file: the lines of a device log that were not accepted."""
        place = self._free_place(name)
        _write_reason(place, reason)
        place.write_text(text, "utf-8")
        self._note("inbox", name, reason)

    def message(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep aside a message of the bus; the same message again is not kept twice."""
        digest = hashlib.sha256(topic.encode() + b"\0" + payload).hexdigest()
        place = self._folder / f"bus-{digest[:16]}.bin"
        if place.exists():
            return
        if sum(1 for _ in self._folder.glob("bus-*.bin")) < MESSAGES_KEPT:
            _write_reason(place, reason)
            place.write_bytes(payload)
        self._note("bus", topic, reason)

    def _note(self, source: str, name: str, reason: str) -> None:
        log.warning("refused", source=source, name=name, reason=reason)
        self._journal.refuse(Refusal(source=source, name=name, reason=reason)).result()

    def _free_place(self, name: str) -> Path:
        """A path in the folder that nothing lies at: what was refused earlier stays."""
        place = self._folder / name
        number = 2
        while place.exists():
            place = self._folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
            number += 1
        return place


def _write_reason(place: Path, reason: str) -> None:
    place.with_name(place.name + ".reason.txt").write_text(reason + "\n", "utf-8")
