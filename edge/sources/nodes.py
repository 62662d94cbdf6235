"""The Sparkplug nodes on the bus: their messages to readings, their births kept on disk, those who have to be asked for
them asked, and who has come and gone told.
"""

import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

import structlog

from edge.errors import Refused
from edge.events import Event
from edge.sources.births import Births
from edge.sources.payload import PAYLOAD_BYTES
from edge.sources.readings import measured
from edge.sources.sparkplug import Sessions, Topic, is_birth, needs_birth, rebirth_request, topic_of

ASK_AGAIN_S = 30.0

log = structlog.get_logger()


class Nodes:
    """What the nodes have said of themselves, and what they are asked."""

    def __init__(self, births: Births, zone: ZoneInfo, publish: Callable[[str, bytes], object]) -> None:
        """`publish` sends a command to a node, without waiting for an answer."""
        self._births = births
        self._zone = zone
        self._publish = publish
        self._sessions = Sessions()
        self._asked_s: dict[str, float] = {}
        for topic, payload in births.kept():
            self._sessions.recall(topic, payload)

    def readings(self, topic_name: str, payload: bytes, boot_id: str) -> list[tuple[bytes | None, Event]]:
        """The readings in a message, each with its key. Raises Refused, and OSError when a birth cannot be kept."""
        topic = topic_of(topic_name)
        if len(payload) > PAYLOAD_BYTES:
            raise Refused(f"payload: {len(payload):,} bytes; at most {PAYLOAD_BYTES:,} are taken")
        try:
            taken = self._sessions.take(topic, payload)
        except Refused as refusal:
            if needs_birth(refusal):
                self._ask(topic)
            raise
        if is_birth(topic):
            self._births.keep(topic, payload)
        if taken.rebirth:
            self._ask(topic)
        for name in taken.gone:
            log.warning("a device is gone", device=name)
        if taken.born:
            log.info("a device is there", device=taken.born)
        return [
            measured(one.device, one.time_s, one.values, source="bus", zone=self._zone, boot_id=boot_id)
            for one in taken.measured
        ]

    def _ask(self, topic: Topic) -> None:
        """Ask a node for its births, now and then at most: it may have no ears, or a hundred devices."""
        now_s = time.monotonic()
        if now_s - self._asked_s.get(topic.node_name, -ASK_AGAIN_S) < ASK_AGAIN_S:
            return
        if len(self._asked_s) >= 10_000:
            self._asked_s.clear()
        self._asked_s[topic.node_name] = now_s
        log.info("a node is asked for its births", node=topic.node_name)
        self._publish(topic.command, rebirth_request(round(time.time() * 1000)))
