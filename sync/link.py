"""The one place here that knows paho: an MQTT connection that comes back by itself, in our words.

paho holds what it is given in memory, resends it in its own way and backs off without jitter. So each connection is a
new client that never reconnects: what was under way in a lost one is forgotten here, because the sender's watermark
(sync.uplink) or the broker's session (sync.hq.receiver) brings it back.
"""

import contextlib
import queue
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sync import protocol

QOS = 1
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
# A connection that lasted less counts as one more failure, so that two links of one name do not hammer the broker.
STEADY_AFTER_S = 10.0
MAX_IN_FLIGHT = 64
MAX_UNHEARD = 64
CLOSE_TIMEOUT_S = 1.0


class Up(msgspec.Struct, frozen=True):
    """The broker is reached and all subscriptions stand."""


class Down(msgspec.Struct, frozen=True):
    """The broker is lost, or could not be reached; what was published may or may not have arrived."""

    reason: str


class Received(msgspec.Struct, frozen=True):
    """A message. `settle()` tells the broker that it need not come again; `retained` that it is not news."""

    topic: str
    payload: bytes
    retained: bool
    settle: Callable[[], object]


Word = Up | Down | Received


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a link connects to and as whom. With `persistent` the broker keeps the session under `client_id` while
    nobody is connected. `state_topic` is where birth and death are retained, if they are."""

    host: str
    port: int
    client_id: str
    subscriptions: tuple[str, ...]
    persistent: bool = False
    state_topic: str | None = None


class Link:
    """A connection to the broker of `plan`, kept up by a thread of its own from `start` to `close`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Bounded, so that whoever cannot keep up slows the broker down instead of filling the memory.
        self._words: queue.Queue[Word] = queue.Queue(MAX_UNHEARD)
        self._closing = threading.Event()
        self._connection: _Connection | None = None
        self._keeper = threading.Thread(target=self._keep_connected, name="link", daemon=True)

    def start(self) -> None:
        """Begin to connect; what comes of it is said by `words`."""
        self._keeper.start()

    def words(self, timeout_s: float) -> list[Word]:
        """What was heard since the last call, in order; waits up to `timeout_s` for the first word."""
        heard: list[Word] = []
        try:
            heard.append(self._words.get(timeout=timeout_s))
            while len(heard) < MAX_UNHEARD:
                heard.append(self._words.get_nowait())
        except queue.Empty:
            pass
        return heard

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hand a message to the broker at QoS 1; False if there is no connection, or no room for more under way."""
        connection = self._connection
        return connection is not None and connection.publish(topic, payload)

    def close(self) -> None:
        """Drop the connection and end the thread."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.drop()
        # Not longer: the thread may be inside a name look-up or a connect that nothing can interrupt.
        self._keeper.join(CLOSE_TIMEOUT_S)

    def _keep_connected(self) -> None:
        failures = 0
        while not self._closing.is_set():
            begun = time.monotonic()
            connection = _Connection(self._plan, self._say, self._stands)
            reason = connection.run(self._closing)
            self._connection = None
            self._say(Down(reason))
            failures = 0 if time.monotonic() - begun >= STEADY_AFTER_S else failures + 1
            longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures, 16))
            self._closing.wait(random.uniform(longest / 2, longest))

    def _stands(self, connection: "_Connection") -> None:
        self._connection = connection
        self._say(Up())

    def _say(self, word: Word) -> None:
        while not self._closing.is_set():
            try:
                self._words.put(word, timeout=0.5)
            except queue.Full:
                continue
            return


class _Connection:
    """One MQTT connection from CONNECT to its loss, over one paho client that is not used again."""

    def __init__(self, plan: Plan, say: Callable[[Word], None], stands: Callable[["_Connection"], None]) -> None:
        self._plan = plan
        self._say = say
        self._stands = stands
        self._lost = threading.Event()
        self._reason = ""
        self._state = protocol.State(state="up", connection=uuid.uuid4().hex, at=time.time_ns() // 1000)
        self._client = self._new_client()

    def run(self, closing: threading.Event) -> str:
        """Connect and stay until the connection is lost or `closing`; gives the reason of the loss."""
        try:
            self._client.connect(self._plan.host, self._plan.port, keepalive=KEEPALIVE_S)
        except (OSError, UnicodeError) as fault:  # UnicodeError: the host is no name that DNS can hold
            return str(fault)
        # paho sends from the caller's thread unless it knows of its own, which only loop_start tells it.
        self._client.loop_start()
        while not self._lost.wait(0.5) and not closing.is_set():
            pass
        self.drop()
        return self._reason

    def publish(self, topic: str, payload: bytes) -> bool:
        """True if the message is on its way."""
        if self._lost.is_set():
            return False
        return self._client.publish(topic, payload, QOS).rc == mqtt.MQTT_ERR_SUCCESS

    def drop(self) -> None:
        """End the connection as a fault would: without a DISCONNECT the broker publishes the last will, and nothing
        waits for a broker that has stopped reading."""
        connected = self._client.socket()
        if isinstance(connected, socket.socket):
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._plan.client_id,
            clean_session=not self._plan.persistent,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        # The second limit counts what is in flight too; equal, they leave nothing to wait in paho's own queue.
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.max_queued_messages_set(MAX_IN_FLIGHT)
        if self._plan.state_topic is not None:
            death = msgspec.structs.replace(self._state, state="down")
            client.will_set(self._plan.state_topic, protocol.encode(death), QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # An exception in a callback would end paho's thread without a word, so none of these lets one out.

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._reason = f"the broker refuses the connection: {code}"
            return
        if self._plan.state_topic is not None:
            client.publish(self._plan.state_topic, protocol.encode(self._state), QOS, retain=True)
        client.subscribe([(topic, QOS) for topic in self._plan.subscriptions])

    def _on_subscribe(self, client: mqtt.Client, _data: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._reason = "the broker refuses a subscription"
            client.disconnect()
            return
        self._stands(self)

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        def settle() -> object:
            return client.ack(message.mid, message.qos)

        try:
            topic = message.topic
        except UnicodeDecodeError:
            settle()
            return
        self._say(Received(topic, bytes(message.payload), message.retain, settle))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._reason = self._reason or f"the connection ended: {code}"
        self._lost.set()
