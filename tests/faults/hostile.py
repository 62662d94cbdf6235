"""Somebody with every right at HQ's broker who alters, repeats and forges; only keys are out of his reach."""

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sync.protocol import LANES, Ack, Have, Held, Hello, Refused, Taken, ack_topic
from sync.sealed import seal

REMEMBERED = 300
MOST = 40


class Hostile:
    """Listens at the broker on `port` of 127.0.0.1 and, when told, says what it should not."""

    def __init__(self, port: int, site: str, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._heard: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)
        self._key = Ed25519PrivateKey.generate()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hostile")
        self._client.on_connect = lambda client, *_: client.subscribe("outstation/v1/+/#", 0)
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, keepalive=10)

    def start(self) -> None:
        """Begin to listen."""
        self._client.loop_start()

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def alter(self) -> None:
        """Say what the site and HQ said, each with one bit or its end changed."""
        for topic, payload in self._some():
            cut = self._chance.randrange(len(payload))
            flipped = payload[:cut] + bytes([payload[cut] ^ 1 << self._chance.randrange(8)]) + payload[cut + 1 :]
            self._say(topic, self._chance.choice((flipped, payload[:cut], payload + b"\0")))

    def repeat(self) -> None:
        """Say what the site said again, in another order."""
        heard = [(topic, payload) for topic, payload in self._some() if not topic.endswith("/ack")]
        self._chance.shuffle(heard)
        for topic, payload in heard:
            self._say(topic, payload)

    def forge(self, places: Iterable[tuple[int, str, int]]) -> None:
        """Tell the site, without HQ's key, that HQ has everything, knows nothing of it, or refuses it. `places` are
        numbers that the site has given."""
        epochs = {epoch for epoch, _, _ in places} or {1}
        everything = [(epoch, lane) for epoch in epochs for lane in LANES]
        words: list[Any] = [
            Ack(
                site=self._site,
                at=1,
                taken=tuple(Taken(epoch=epoch, lane=lane, first_seq=1, last_seq=2**40) for epoch, lane in everything),
            ),
            Have(
                site=self._site,
                introduction="any",
                at=1,
                lanes=tuple(Held(epoch=epoch, lane=lane, runs=((1, 2**40),)) for epoch, lane in everything),
            ),
            Hello(site=self._site, at=1),
            Refused(site=self._site, at=1, reason="go away"),
        ]
        topic = ack_topic(self._site)
        for word in words:
            self._say(topic, seal(self._key, topic, word))
        for payload in (b"", bytes(64), self._chance.randbytes(2000)):
            self._say(topic, payload)

    def _some(self) -> list[tuple[str, bytes]]:
        heard = [(topic, payload) for topic, payload in list(self._heard) if payload]
        return self._chance.sample(heard, min(MOST, len(heard)))

    def _hear(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._heard.append((message.topic, bytes(message.payload)))

    def _say(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, 0)
