"""The device bus: readings come in over MQTT, commands to devices go out; the one place in edge that knows paho.

A message is acknowledged to the broker only after the journal's commit, so a broker that keeps its sessions keeps what
we have not got, and sends no more than its window of it before we answer. Only what devices publish at QoS 0 has nobody
who keeps it: while the journal takes nothing, a bounded part of it waits here. MQTT 3.1.1, QoS 1, a persistent session.
"""

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import JournalError, Refused
from edge.site import Site
from edge.sources.births import Births
from edge.sources.nodes import Nodes
from edge.sources.payload import PAYLOAD_BYTES, readings
from edge.sources.refused import RefusedFolder
from edge.sources.sparkplug import NAMESPACE
from edge.sources.tap import Message, Tap
from edge.store.journal import Delivery, Journal, Offer
from edge.store.room import Room

USER = "outstation"  # as whom we log in where secrets/bus.password has a password
MESSAGES_PER_COMMIT = 1_000
BYTES_PER_COMMIT = 4 * 2**20  # of their payloads
PUBLISH_WAIT_S = 5.0
DISK_WAIT_S = 2.0
TOPICS_KNOWN = 100_000
ARRIVED_MOST = 4 * MESSAGES_PER_COMMIT  # that wait here; mosquitto sends beyond its window whoever is behind
ARRIVED_WAIT_S = 1.0  # at most, so that the connection is kept alive
UNKEPT_BYTES = 16 * 2**20  # of QoS 0 messages that wait here

SPARKPLUG = f"{NAMESPACE}/".encode()

log = structlog.get_logger()


class Bus:
    """A connection to the site's broker that takes readings and sends commands; reconnects by itself."""

    def __init__(self, site: Site, journal: Journal, refused: RefusedFolder, room: Room) -> None:
        settings = site.settings.bus
        assert settings is not None
        self._settings = settings
        self._zone = site.zone
        self._journal = journal
        self._refused = refused
        self._room = room
        self._topics = [(topic_filter(t.pattern), topic_regex(t.pattern)) for t in settings.topics]
        self._devices: dict[bytes, str | None] = {}  # by topic, of those that fit
        self._arrived: list[Message] = []
        self._unanswered: set[int] = set()  # the packet identifiers of what has come on this connection
        self._unkept_bytes = 0
        self._something = threading.Condition()
        self._stopping = threading.Event()
        self._tap: Tap | None = None  # the present connection
        self._granted = 0
        self.setbacks = 0
        self.let_go = 0
        self._client = _Client(f"outstation-{site.settings.name}", self._connected)
        if site.bus_password.exists():
            self._client.username_pw_set(USER, site.bus_password.read_text("utf-8").strip())
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = self._on_granted
        self._client.enable_logger()
        self._nodes = Nodes(Births(site.data / "births"), site.zone, self._client.publish)
        self._worker = threading.Thread(target=self._run, name="bus")

    @property
    def connected(self) -> bool:
        """Whether the broker is reached now."""
        return self._client.is_connected()

    @property
    def listening(self) -> bool:
        """Whether the broker has granted every subscription on the present connection."""
        return self._client.is_connected() and self._granted >= len(self._topics)

    def start(self) -> None:
        """Connect, now or as soon as the broker answers, and take what comes."""
        self._client.connect_async(self._settings.host, self._settings.port, keepalive=30)
        self._client.loop_start()
        self._worker.start()

    def stop(self) -> None:
        """Take what has arrived, acknowledge it, and disconnect; the broker keeps the rest for the next start."""
        with self._something:
            self._stopping.set()
            self._something.notify_all()
        self._worker.join()
        self._client.disconnect()
        self._client.loop_stop()

    def command(self, topic: str, payload: bytes) -> None:
        """Send a command to a device; returns when the broker has taken it (QoS 1).

        Raises ConnectionError when it did not within five seconds.
        """
        sent = self._client.publish(topic, payload, qos=1)
        try:
            sent.wait_for_publish(PUBLISH_WAIT_S)
        except (RuntimeError, ValueError) as error:
            raise ConnectionError(str(error)) from None
        if not sent.is_published():
            raise ConnectionError("the broker did not acknowledge the command")

    # ---- paho's thread ---------------------------------------------------------------------------------------

    def _subscribe(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.warning("the bus refused us", reason=str(reason))
            return
        self._granted = 0
        for pattern, _ in self._topics:
            client.subscribe(pattern, qos=1)

    def _on_granted(self, _client: mqtt.Client, _data: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        self._granted += 1

    def _connected(self, connected: socket.socket) -> Tap:
        """A connection is there, and nothing was said on it yet."""
        tap = Tap(connected, self._on_messages)
        with self._something:
            self._tap = tap
            # What was not acknowledged before the connection broke is delivered again.
            self._arrived = [message for message in self._arrived if not message.qos]
            self._unanswered.clear()
        return tap

    def _on_messages(self, messages: Sequence[Message]) -> None:
        with self._something:
            self._arrived += [message for message in messages if self._is_wanted(message)]
            self._something.notify_all()
            self._something.wait_for(
                lambda: len(self._arrived) < ARRIVED_MOST or self._stopping.is_set(), ARRIVED_WAIT_S
            )

    def _is_wanted(self, message: Message) -> bool:
        if message.qos:
            if message.again and message.mid in self._unanswered:
                return False  # it waits here already: a broker may send again what is not answered for long
            self._unanswered.add(message.mid)
        elif self._unkept_bytes + len(message.payload) <= UNKEPT_BYTES:
            self._unkept_bytes += len(message.payload)
        else:
            self.let_go += 1
            return False
        return True

    # ---- our thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._something:
                self._something.wait_for(lambda: self._arrived or self._stopping.is_set())
                batch = self._arrived[: _how_many(self._arrived)]
                del self._arrived[: len(batch)]
                self._something.notify_all()
                self._unkept_bytes -= sum(len(message.payload) for message in batch if not message.qos)
                tap = self._tap
                if not batch:
                    return
            self._take(tap, batch)

    def _take(self, tap: Tap | None, batch: Sequence[Message]) -> None:
        """Accept the messages that came on a connection, however long the disk makes us wait, then acknowledge them."""
        told = False
        while True:
            try:
                self._room.check()
                offers = [offer for message in batch if (offer := self._offer(message)) is not None]
                self._journal.accept(offers).result()
                break
            except (JournalError, OSError) as error:  # OSError: what is refused cannot be kept aside either
                self.setbacks += 1
                if not told:
                    log.error("readings wait, unacknowledged", reason=str(error))
                told = True
                if self._stopping.wait(DISK_WAIT_S):
                    return
        mids = [message.mid for message in batch if message.qos]
        with self._something:
            if tap is not self._tap:
                return  # a broker that forgot its session numbers anew: an old number may be another message now
            self._unanswered.difference_update(mids)
        if tap is not None:
            with contextlib.suppress(OSError):  # what it does not hear is delivered again
                tap.acknowledge(mids)

    def _offer(self, message: Message) -> Offer | None:
        """The readings in a message; None (kept aside) when there is one that does not fit."""
        payload = message.payload
        try:
            device, boot_id = self._device(message.topic), self._journal.boot_id
            if message.topic.startswith(SPARKPLUG):
                events = self._nodes.readings(message.topic.decode("utf-8", "replace"), payload, boot_id)
            else:
                events = readings(payload, source="bus", device=device, zone=self._zone, boot_id=boot_id)
        except Refused as refusal:
            topic = message.topic.decode("utf-8", "replace")
            self._refused.message(topic, payload[:PAYLOAD_BYTES], f"{topic}: {refusal}.")
            return None
        digest = hashlib.blake2b(message.topic + b"\0" + payload, digest_size=16).digest()
        delivery = Delivery(mid=message.mid, digest=digest, redelivered=message.again)
        return Offer(events=events, delivery=delivery if message.qos else None)

    def _device(self, topic: bytes) -> str | None:
        """The device that a topic names; None when its payload has to."""
        if topic not in self._devices:
            if len(self._devices) == TOPICS_KNOWN:
                self._devices.clear()
            self._devices[topic] = self._named_by(topic)
        return self._devices[topic]

    def _named_by(self, topic: bytes) -> str | None:
        text = topic.decode("utf-8", "replace")
        for _, regex in self._topics:
            found = regex.fullmatch(text)
            if found:
                return found.groupdict().get("device")
        raise Refused("no pattern of [[bus.topics]] in site.toml takes this topic")


class _Client(mqtt.Client):
    """paho, with our tap between it and each connection that it makes."""

    def __init__(self, client_id: str, connected: Callable[[socket.socket], Tap]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, protocol=mqtt.MQTTv311)
        self._connected = connected

    def _create_socket_connection(self) -> socket.socket:
        return self._connected(super()._create_socket_connection())


def _how_many(messages: Sequence[Message]) -> int:
    """How many of these go into one commit: at least one."""
    size = 0
    for count, message in enumerate(messages[:MESSAGES_PER_COMMIT]):
        size += len(message.payload)
        if count and size > BYTES_PER_COMMIT:
            return count
    return min(len(messages), MESSAGES_PER_COMMIT)


def topic_filter(pattern: str) -> str:
    """The MQTT subscription for a pattern: `mine/{device}/telemetry` → `mine/+/telemetry`."""
    return re.sub(r"\{\w+\}", "+", pattern)


def topic_regex(pattern: str) -> re.Pattern[str]:
    """A regular expression whose group `device` is the device's name in a topic that the pattern takes."""
    parts = []
    for level in pattern.split("/"):
        named = re.fullmatch(r"\{(\w+)\}", level)
        if named:
            parts.append(rf"(?P<{named.group(1)}>[^/]+)")
        elif level == "+":
            parts.append("[^/]+")
        else:
            parts.append(re.escape(level))
    tail = "/".join(parts)
    return re.compile(tail.removesuffix(re.escape("#")) + ".*" if pattern.endswith("#") else tail)
