"""The device bus: readings come in over MQTT, commands to devices go out; the one place in edge that knows paho.

A message is acknowledged to the broker only after the journal's commit, so a broker that keeps its sessions keeps what
we have not got, and sends no more than its window of it before we answer. Only what devices publish at QoS 0 has nobody
who keeps it: while the journal takes nothing, a bounded part of it waits here. MQTT 3.1.1, QoS 1, a persistent session.
"""

import hashlib
import re
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import JournalError, Refused
from edge.site import Site
from edge.sources.readings import reading
from edge.sources.refused import RefusedFolder
from edge.store.journal import Delivery, Journal, Offer
from edge.store.room import Room

USER = "outstation"  # as whom we log in where secrets/bus.password has a password
PAYLOAD_BYTES = 1024 * 1024
READINGS_PER_MESSAGE = 10_000
MESSAGES_PER_COMMIT = 1_000
PUBLISH_WAIT_S = 5.0
DISK_WAIT_S = 2.0
UNKEPT_BYTES = 16 * 2**20  # of QoS 0 messages that wait here

log = structlog.get_logger()


class Bus:
    """A connection to the site's broker that takes readings and sends commands; reconnects by itself."""

    def __init__(self, site: Site, journal: Journal, refused: RefusedFolder, room: Room) -> None:
        settings = site.settings.bus
        assert settings is not None
        self._site = site
        self._settings = settings
        self._journal = journal
        self._refused = refused
        self._room = room
        self._topics = [(topic_filter(t.pattern), topic_regex(t.pattern)) for t in settings.topics]
        self._arrived: list[mqtt.MQTTMessage] = []
        self._unanswered: set[int] = set()  # the packet identifiers of what has come on this connection
        self._unkept_bytes = 0
        self._something = threading.Condition()
        self._stopping = threading.Event()
        self._connection = 0
        self._granted = 0
        self.setbacks = 0
        self.let_go = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"outstation-{site.settings.name}",
            clean_session=False,
            protocol=mqtt.MQTTv311,
            manual_ack=True,
        )
        if site.bus_password.exists():
            self._client.username_pw_set(USER, site.bus_password.read_text("utf-8").strip())
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = self._on_granted
        self._client.on_message = self._on_message
        self._client.enable_logger()
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
            self._something.notify()
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
        with self._something:
            self._connection += 1
            self._granted = 0
            # What was not acknowledged before the connection broke is delivered again.
            self._arrived = [message for message in self._arrived if not message.qos]
            self._unanswered.clear()
        for pattern, _ in self._topics:
            client.subscribe(pattern, qos=1)

    def _on_granted(self, _client: mqtt.Client, _data: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        self._granted += 1

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._something:
            if message.qos:
                if message.dup and message.mid in self._unanswered:
                    return  # it waits here already: a broker may send again what is not answered for long
                self._unanswered.add(message.mid)
            elif self._unkept_bytes + len(message.payload) <= UNKEPT_BYTES:
                self._unkept_bytes += len(message.payload)
            else:
                self.let_go += 1
                return
            self._arrived.append(message)
            self._something.notify()

    # ---- our thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._something:
                self._something.wait_for(lambda: self._arrived or self._stopping.is_set())
                batch = self._arrived[:MESSAGES_PER_COMMIT]
                del self._arrived[:MESSAGES_PER_COMMIT]
                self._unkept_bytes -= sum(len(message.payload) for message in batch if not message.qos)
                connection = self._connection
                if not batch:
                    return
            self._take(connection, batch)

    def _take(self, connection: int, batch: Sequence[mqtt.MQTTMessage]) -> None:
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
        with self._something:
            if connection != self._connection:
                return  # a broker that forgot its session numbers anew: an old number may be another message now
            self._unanswered.difference_update(message.mid for message in batch)
        for message in batch:
            self._client.ack(message.mid, message.qos)

    def _offer(self, message: mqtt.MQTTMessage) -> Offer | None:
        """The readings in a message; None (kept aside) when there is one that does not fit."""
        payload = bytes(message.payload)
        try:
            device = self._device(message.topic)
            events = [
                reading(
                    fields,
                    source="bus",
                    device=device,
                    zone=self._site.zone,
                    boot_id=self._journal.boot_id,
                )
                for fields in decode(payload)
            ]
        except Refused as refusal:
            self._refused.message(message.topic, payload[:PAYLOAD_BYTES], f"{message.topic}: {refusal}.")
            return None
        digest = hashlib.blake2b(message.topic.encode() + b"\0" + payload, digest_size=16).digest()
        delivery = Delivery(mid=message.mid, digest=digest, redelivered=message.dup)
        return Offer(events=events, delivery=delivery if message.qos else None)

    def _device(self, topic: str) -> str | None:
        """The device that a topic names; None when its payload has to."""
        for _, regex in self._topics:
            found = regex.fullmatch(topic)
            if found:
                return found.groupdict().get("device")
        raise Refused("no pattern of [[bus.topics]] in site.toml takes this topic")


def decode(payload: bytes) -> list[dict[str, Any]]:
    """The readings in a message: one JSON object, or a list of them.

    Raises Refused when it is too large or is neither.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise Refused(f"payload: {len(payload):,} bytes; at most {PAYLOAD_BYTES:,} are taken")
    try:
        decoded = msgspec.json.decode(payload, type=dict[str, Any] | list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"payload: not a JSON object of readings ({error})") from None
    readings = decoded if isinstance(decoded, list) else [decoded]
    if len(readings) > READINGS_PER_MESSAGE:
        raise Refused(f"payload: {len(readings):,} readings; at most {READINGS_PER_MESSAGE:,} are taken")
    return readings


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
