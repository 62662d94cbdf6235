"""The births of Sparkplug nodes, on disk: what their messages mean is known again after a restart."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from edge.sources.sparkplug import Topic
from edge.store.placing import put_in_place

log = structlog.get_logger()


class _Birth(msgspec.Struct, frozen=True):
    topic: Topic
    payload: bytes


class Births:
    """A folder for each node with its birth and those of its devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, topic: Topic, payload: bytes) -> None:
        """A node or device was born; with a node's birth those of its devices are void. Raises OSError."""
        folder = self._folder / _name(topic.node_name)
        if not topic.device:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (_name(topic.device) if topic.device else "node")
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(msgspec.msgpack.encode(_Birth(topic, payload)))
        put_in_place(unfinished, path)

    def kept(self) -> Iterator[tuple[Topic, bytes]]:
        """The births that were kept, a node's before those of its devices."""
        for path in sorted(self._folder.glob("*/*"), key=lambda path: (path.parent, path.name != "node")):
            if path.suffix:
                continue
            try:
                birth = msgspec.msgpack.decode(path.read_bytes(), type=_Birth)
            except (OSError, msgspec.DecodeError, msgspec.ValidationError) as fault:
                log.warning("a birth cannot be read; its node will be asked", file=str(path), reason=str(fault))
                continue
            yield birth.topic, birth.payload


def _name(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
