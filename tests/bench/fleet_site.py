"""One of many simulated sites: what HQ hears of a link, in the product's own envelopes and sealed messages, over TLS
with the site's certificate. The product's link keeps a thread for its connection; a thousand share one loop here."""

import asyncio
import random
import ssl
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge.events import Record, boot_id, mono_us, now_us
from edge.store.rows import kind_of, lane_of
from sync.envelope import Row, pack
from sync.protocol import (
    Ack,
    Answer,
    Have,
    Lane,
    LaneState,
    State,
    StateTopic,
    UpTopic,
    ack_topic,
    chunk_topic,
    offer_topic,
)
from sync.sealed import seal, unseal

EPOCH = 1
KEEPALIVE_S = 60
_CONNECT, _PUBLISH, _SUBSCRIBE = b"\x10", b"\x32", b"\x82"
_PUBLISH_RETAINED = b"\x33"
_CONNACK, _HEARD, _SUBACK = 2, 3, 9
_CLEAN_WITH_WILL = 0x02 | 0x04 | 0x08 | 0x20  # its will is retained, at QoS 1


class FleetSite:
    """A site that is enrolled with `key`; what it sends is taken from `records`, each in an envelope of its own. `took`
    is told when one was acknowledged: after how many seconds."""

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        certificate: bytes,
        records: Iterator[Record],
        took: Callable[[float], None],
    ) -> None:
        self.name = name
        self.under_way = 0
        self._key = key
        self._certificate = certificate
        self._records = records
        self._took = took
        self._state_topic = str(StateTopic(name))
        self._connection = uuid.uuid4().hex
        self._newest: dict[Lane, int] = {"now": 0, "day": 0}
        self._left_s: dict[tuple[Lane, int], float] = {}
        self._mid = 0
        self._answered = asyncio.Event()
        self._settled = asyncio.Event()

    async def connect(self, port: int, authority: bytes, hq_key: Ed25519PublicKey) -> None:
        """Connect, subscribe, introduce itself, and wait for HQ's word on what it has."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, ssl=self._tls(authority))
        will = seal(self._key, self._state_topic, self._state("down"))
        self._send(
            _CONNECT,
            b"\x00\x04MQTT\x04",
            bytes([_CLEAN_WITH_WILL]),
            KEEPALIVE_S.to_bytes(2, "big"),
            *map(_field, (f"fleet-{self._connection}".encode(), self._state_topic.encode(), will)),
        )
        await self._read(_CONNACK)
        topics = (ack_topic(self.name), offer_topic(self.name), chunk_topic(self.name))
        self._send(_SUBSCRIBE, self._next_mid(), *(_field(topic.encode()) + b"\x00" for topic in topics))
        await self._read(_SUBACK)
        self._hearing = asyncio.create_task(self._hear(hq_key))
        self._pulse()
        await self._answered.wait()

    async def run(self, wait: Callable[["FleetSite"], Awaitable[None]], until_s: float, pulse_s: float) -> None:
        """Send a record after each `wait`, and a pulse every so often, until then (monotonic seconds)."""
        pulse_due_s = time.monotonic() + random.uniform(0, pulse_s)
        while time.monotonic() < until_s:
            self._send_record()
            if time.monotonic() >= pulse_due_s:
                pulse_due_s += pulse_s
                self._pulse()
            await wait(self)
        while self.under_way:
            await self.settled()

    async def settled(self) -> None:
        """Return when HQ has acknowledged something."""
        self._settled.clear()
        await self._settled.wait()

    async def close(self) -> None:
        """Drop the connection."""
        self._hearing.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._hearing, return_exceptions=True)

    def _send_record(self) -> None:
        record = next(self._records)
        lane: Lane = "now" if lane_of(record) == "now" else "day"
        self._newest[lane] += 1
        seq = self._newest[lane]
        encoded = msgspec.Raw(msgspec.msgpack.encode(record))
        row = Row(seq, kind_of(record), record.id, now_us(), boot_id(), mono_us(), encoded)
        self._left_s[lane, seq] = time.monotonic()
        self.under_way += 1
        self._publish(
            str(UpTopic(self.name, lane)), pack(self._key, site=self.name, epoch=EPOCH, lane=lane, rows=[row])
        )

    def _pulse(self) -> None:
        self._publish(self._state_topic, seal(self._key, self._state_topic, self._state("up")), retain=True)

    def _state(self, state: str) -> State:
        lanes = [
            LaneState(epoch=EPOCH, lane=lane, newest_seq=newest, waiting=0, waiting_since=None)
            for lane, newest in self._newest.items()
        ]
        return State(
            site=self.name,
            state="up" if state == "up" else "down",
            connection=self._connection,
            introduction=self._connection,
            at=now_us(),
            boot=boot_id(),
            mono=mono_us(),
            lanes=tuple(lanes),
        )

    async def _hear(self, hq_key: Ed25519PublicKey) -> None:
        topic = ack_topic(self.name)
        while True:
            body = await self._read(_HEARD)
            length = int.from_bytes(body[:2], "big")
            if body[2 : 2 + length].decode() != topic:
                continue
            answer: Answer = unseal(body[2 + length :], topic, hq_key, Answer)
            match answer:
                case Have():
                    self._answered.set()
                case Ack():
                    for taken in answer.taken:
                        self._take(taken.lane, taken.first_seq, taken.last_seq)
                    self._settled.set()

    def _take(self, lane: Lane, first: int, last: int) -> None:
        now_s = time.monotonic()
        for seq in range(first, last + 1):
            left_s = self._left_s.pop((lane, seq), None)
            if left_s is not None:
                self.under_way -= 1
                self._took(now_s - left_s)

    # ---- MQTT 3.1.1, as much of it as that takes

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._send(_PUBLISH_RETAINED if retain else _PUBLISH, _field(topic.encode()), self._next_mid(), payload)

    def _next_mid(self) -> bytes:
        self._mid = self._mid % 0xFFFF + 1
        return self._mid.to_bytes(2, "big")

    def _send(self, kind: bytes, *parts: bytes) -> None:
        body = b"".join(parts)
        self._writer.write(kind + _length(len(body)) + body)

    async def _read(self, wanted: int) -> bytes:
        """The next packet of that kind; others, PUBACK among them, are passed over."""
        while True:
            kind, size, shift = (await self._reader.readexactly(1))[0] >> 4, 0, 0
            while True:
                digit = (await self._reader.readexactly(1))[0]
                size |= (digit & 0x7F) << shift
                shift += 7
                if not digit & 0x80:
                    break
            body = await self._reader.readexactly(size)
            if kind == wanted:
                return body

    def _tls(self, authority: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=authority.decode("ascii"))
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.TemporaryDirectory() as folder:  # ssl reads certificates from files only
            file = Path(folder) / "site.pem"
            file.write_bytes(pem + self._certificate)
            context.load_cert_chain(file)
        return context


def _field(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def _length(size: int) -> bytes:
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(digits)
