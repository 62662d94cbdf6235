"""An MQTT client of the device bus that waits for what it asks for."""

import queue
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

DEADLINE_S = 10.0


class Client:
    """A client of MQTT 3.1.1, connected while in its `with`; one with a `session` finds what came while it was away."""

    def __init__(self, port: int, name: str, password: str, session: bool = False) -> None:
        self._port = port
        self._words: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=not session, protocol=mqtt.MQTTv311
        )
        self._client.username_pw_set(name, password)
        self._client.max_queued_messages_set(0)
        self._client.on_connect = lambda _c, _d, _f, reason, _p: self._words.put(f"connected: {reason}")
        self._client.on_disconnect = lambda _c, _d, _f, _r, _p: self._words.put("disconnected")
        self._client.on_subscribe = lambda _c, _d, _m, _r, _p: self._words.put("subscribed")
        self._client.on_message = lambda _c, _d, message: self._messages.put(bytes(message.payload))

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self.hears("connected: Success")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def hears(self, word: str) -> None:
        """Wait for the next word about the connection, which must be this one."""
        assert self._words.get(timeout=DEADLINE_S) == word

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1, and wait until the broker has."""
        self._client.subscribe(topic, qos=1)
        self.hears("subscribed")

    def publish(self, topic: str, payload: bytes) -> mqtt.MQTTMessageInfo:
        """Send at QoS 1."""
        return self._client.publish(topic, payload, qos=1)

    def acknowledged(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1 and wait until the broker has acknowledged it."""
        self.publish(topic, payload).wait_for_publish(DEADLINE_S)

    def messages(self, last: bytes) -> list[bytes]:
        """What comes, up to and with `last`."""
        got = [self._messages.get(timeout=DEADLINE_S)]
        while got[-1] != last:
            got.append(self._messages.get(timeout=DEADLINE_S))
        return got
