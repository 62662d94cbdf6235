"""The one place here that knows paho: an MQTT connection that comes back by itself, in our words.

paho holds what it is given in memory, resends it in its own way and backs off without jitter. So each connection is a
new client that never reconnects: what was under way in a lost one is forgotten here, and the sender (sync.uplink)
sends it again.
"""

import contextlib
import ipaddress
import queue
import random
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from sync.errors import LinkPartMissing, LinkSettingsError
from sync.settings import LinkSettings

UP_QOS = 1
DOWN_QOS = 0
"""HQ's words are said again when they are asked for, so the broker need not keep them."""
KEEPALIVE_S = 8
"""A broker that stays silent for twice as long is lost."""
LONGEST_KEEPALIVE_S = 128
TCP_SILENCE_MS = 15_000
CONNECT_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
# A connection that lasted less counts as one more failure, so that two links of one name do not hammer the broker.
STEADY_AFTER_S = 10.0
MAX_UNHEARD = 1024
CLOSE_TIMEOUT_S = 1.0


class Up(msgspec.Struct, frozen=True):
    """The broker is reached and all subscriptions stand; `connection` is the name that the last will has."""

    connection: str


class Down(msgspec.Struct, frozen=True):
    """The broker is lost, or could not be reached; what was published may or may not have arrived."""

    reason: str


class Arrived(msgspec.Struct, frozen=True):
    """The broker has what `publish` gave this token for."""

    token: int


class Received(msgspec.Struct, frozen=True):
    """A message."""

    topic: str
    payload: bytes


Word = Up | Down | Arrived | Received


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a link connects to and as whom: any of `hosts` will do. `last_will` gives what the broker retains on
    `will_topic` when a connection of that name dies. Without `tls` nothing is encrypted."""

    hosts: tuple[str, ...]
    port: int
    client_id: str
    subscriptions: tuple[str, ...]
    will_topic: str
    last_will: Callable[[str], bytes]
    tls: ssl.SSLContext | None = None


def security(settings: LinkSettings) -> ssl.SSLContext | None:
    """The TLS of an enrolled site; None for a broker on this box that needs none.

    Raises LinkPartMissing when the site is not enrolled, and LinkSettingsError when its certificates do not load.
    """
    hosts = settings.hq.hosts if settings.hq is not None else ()
    if not settings.hq_ca.exists():
        if not all(_is_here(host) for host in hosts):
            raise LinkPartMissing(
                f"{settings.hq_ca} is not there, and HQ is not on this box; run `outstation sync enrol`."
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # HQ's own authority signs brokers for TLS servers and sites for TLS clients, nobody else: whoever has such a
    # certificate is HQ's broker, by whatever name or address a site reaches it.
    context.check_hostname = False
    try:
        context.load_verify_locations(settings.hq_ca)
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as fault:
        folder = settings.hq_ca.parent
        raise LinkSettingsError(
            f"{folder}: the certificates for HQ cannot be used ({fault}); run `outstation sync enrol` again."
        ) from None
    return context


class Link:
    """A connection to one of the brokers of `plan`, kept up by a thread of its own from `start` to `close`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        # Messages are bounded, so that whoever cannot keep up slows the broker down instead of filling the memory. The
        # word that an envelope arrived must never wait: paho holds a lock while it gives it that `publish` needs, and
        # there are no more of them than envelopes under way.
        self._room = threading.Semaphore(MAX_UNHEARD)
        self._closing = threading.Event()
        self._hurried = threading.Event()
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
        for word in heard:
            if isinstance(word, Received):
                self._room.release()
        return heard

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand a message to the broker at QoS 1. Gives its token, or None if there is no connection."""
        connection = self._connection
        return None if connection is None else connection.publish(topic, payload, retain)

    def hurry(self) -> None:
        """Do not wait before the next attempt to connect."""
        self._hurried.set()

    def close(self) -> None:
        """Drop the connection and end the thread."""
        self._closing.set()
        self._hurried.set()
        connection = self._connection
        if connection is not None:
            connection.drop()
        # Not longer: the thread may be inside a name look-up or a connect that nothing can interrupt.
        self._keeper.join(CLOSE_TIMEOUT_S)

    def _keep_connected(self) -> None:
        failures, keepalive_s = 0, KEEPALIVE_S
        hosts: list[str] = []
        while not self._closing.is_set():
            hosts = hosts or random.sample(self._plan.hosts, len(self._plan.hosts))
            begun_s = time.monotonic()
            connection = _Connection(self._plan, hosts.pop(), keepalive_s, self._say, self._stands)
            reason = connection.run(self._closing)
            self._connection = None
            self._say(Down(reason))
            # One large message may take a slow link longer than that to send; it would be cut off for ever.
            keepalive_s = min(LONGEST_KEEPALIVE_S, 2 * keepalive_s) if connection.was_sending else KEEPALIVE_S
            failures = 0 if time.monotonic() - begun_s >= STEADY_AFTER_S else failures + 1
            if hosts and failures:
                continue
            longest_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures, 16))
            self._hurried.wait(random.uniform(longest_s / 2, longest_s))
            if not self._closing.is_set():
                self._hurried.clear()

    def _stands(self, connection: "_Connection") -> None:
        self._connection = connection
        self._say(Up(connection.name))

    def _say(self, word: Word) -> None:
        while isinstance(word, Received) and not self._room.acquire(timeout=0.5):
            if self._closing.is_set():
                return
        self._words.put(word)


class _Connection:
    """One MQTT connection from CONNECT to its loss, over one paho client that is not used again."""

    def __init__(
        self,
        plan: Plan,
        host: str,
        keepalive_s: int,
        say: Callable[[Word], None],
        stands: Callable[["_Connection"], None],
    ) -> None:
        self.name = uuid.uuid4().hex
        self.was_sending = False
        self._plan = plan
        self._host = host
        self._keepalive_s = keepalive_s
        self._say = say
        self._stands = stands
        self._lost = threading.Event()
        self._reason = ""
        self._client = self._new_client()

    def run(self, closing: threading.Event) -> str:
        """Connect and stay until the connection is lost or `closing`; gives the reason of the loss."""
        try:
            self._client.connect(self._host, self._plan.port, keepalive=self._keepalive_s)
        except (OSError, UnicodeError) as fault:  # UnicodeError: the host is no name that DNS can hold
            return f"{self._host}:{self._plan.port}: {fault}"
        # paho sends from the caller's thread unless it knows of its own, which only loop_start tells it.
        self._client.loop_start()
        while not self._lost.wait(0.5) and not closing.is_set():
            pass
        self.drop()
        return self._reason

    def publish(self, topic: str, payload: bytes, retain: bool) -> int | None:
        """The token of the message if it is on its way."""
        if self._lost.is_set():
            return None
        sent = self._client.publish(topic, payload, UP_QOS, retain)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

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
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        # Whoever publishes bounds what is under way, by bytes.
        client.max_inflight_messages_set(0)
        client.will_set(self._plan.will_topic, self._plan.last_will(self.name), UP_QOS, retain=True)
        if self._plan.tls is not None:
            client.tls_set_context(self._plan.tls)
            client.tls_insecure_set(True)  # paho has a second check of names; see `security`
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # An exception in a callback would end paho's thread without a word, so none of these lets one out.

    def _on_socket_open(self, _client: mqtt.Client, _data: Any, opened: Any) -> None:
        # Bytes that nobody confirms, and a peer that is gone while nothing is said, end the connection.
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_SILENCE_MS)

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._reason = f"{self._host}:{self._plan.port}: the broker refuses the connection: {code}"
            return
        client.subscribe([(topic, DOWN_QOS) for topic in self._plan.subscriptions])

    def _on_subscribe(self, client: mqtt.Client, _data: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._reason = f"{self._host}:{self._plan.port}: the broker refuses a subscription"
            client.disconnect()
            return
        self._stands(self)

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, _code: Any, _properties: Any) -> None:
        self._say(Arrived(mid))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._say(Received(topic, bytes(message.payload)))

    def _on_disconnect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.was_sending = client.want_write()
        self._reason = self._reason or f"{self._host}:{self._plan.port}: the connection ended: {code}"
        self._lost.set()


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
