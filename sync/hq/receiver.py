"""Takes what sites send from the broker into the store, and answers them once it is committed.

All receivers pull from one consumer of one stream, which is how they share the work. What arrived while the last
transaction was written is the next one, up to BATCH_BYTES, so that one flush to disk serves many envelopes and none
waits for more than one flush. The broker is told that a message need not come again after its transaction only; while
the store fails, nothing is.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import nats
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import BadRequestError

from sync import log
from sync.broker import NATS_USER, replicas
from sync.hq.errors import StoreFailed
from sync.hq.store import Store
from sync.hq.taking import Answers, take
from sync.protocol import (
    Hello,
    Refused,
    ack_topic,
)
from sync.sealed import seal

STREAM, CONSUMER = "OUTSTATION", "receivers"
SUBJECTS = ["outstation.v1.*.up.*", "outstation.v1.*.state"]
STREAM_BYTES = 512 << 20
STREAM_AGE_S = 3600.0
"""What waited longer was sent again long ago."""
BATCH_MESSAGES = 32
BATCH_BYTES = 1 << 20
PULL_BYTES = 6 << 20  # the broker refuses to hand out a message that is larger than what was asked for
PULL_EXPIRES_S = 5.0
ACK_WAIT_S = 30.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 15.0
REFUSED_EVERY_S = 30.0


class Brokers(msgspec.Struct, frozen=True, kw_only=True):
    """Where receivers reach the broker: host:port of any node, the password, and TLS where it is not on this box."""

    addresses: tuple[str, ...]
    password: str
    tls: ssl.SSLContext | None = None


class Receiver:
    """One receiver on the store at `where`; `key` seals what HQ says."""

    def __init__(self, where: str | Path, brokers: Brokers, key: Ed25519PrivateKey) -> None:
        self.problem = ""
        """Why nothing is taken now, as one sentence for people; empty when all is well."""
        self._where = where
        self._brokers = brokers
        self._key = key
        self._store: Store | None = None
        self._refused_at_s: dict[str, float] = {}
        # A store is for one thread, and a slow disk must not keep this one from answering the broker.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Raises LinkSettingsError when the store cannot be opened at the start."""
        try:
            self._writer.submit(self._open).result()
            asyncio.run(self._until(stopping))
        finally:
            self._writer.submit(self._close).result()
            self._writer.shutdown()

    def _open(self) -> None:
        self._store = Store.open(self._where)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()

    async def _until(self, stopping: threading.Event) -> None:
        work = asyncio.create_task(self._work())
        while not stopping.is_set() and not work.done():
            await asyncio.wait([work], timeout=0.1)
        while not work.done():
            # Once is not enough: Python 3.11's wait_for swallows a cancellation that comes with what it waits for.
            work.cancel()
            await asyncio.wait([work], timeout=1)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _work(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            begun_s = time.monotonic()
            try:
                await self._serve()
            except (NatsError, OSError, TimeoutError) as fault:
                self._say(f"no connection to the broker: {str(fault) or type(fault).__name__}")
            delay_s = FIRST_DELAY_S if time.monotonic() - begun_s > LONGEST_DELAY_S else delay_s
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S / 5)

    async def _serve(self) -> None:
        """From connecting to the loss of the broker, which raises."""
        lost = asyncio.Event()

        async def on_loss(*_: object) -> None:
            lost.set()

        async def ignore(_: Exception) -> None:
            # Said by the exception that `_serve` raises.
            pass

        client = await nats.connect(
            [f"{'tls' if self._brokers.tls else 'nats'}://{address}" for address in self._brokers.addresses],
            user=NATS_USER,
            password=self._brokers.password,
            tls=self._brokers.tls,
            tls_hostname="outstation" if self._brokers.tls else None,
            allow_reconnect=False,
            connect_timeout=2,
            disconnected_cb=on_loss,
            closed_cb=on_loss,
            error_cb=ignore,
        )
        try:
            feed = Feed(client, replicas(len(self._brokers.addresses)))
            await feed.open()
            log.info("connected to the broker")
            self.problem = ""
            # Whatever was on its way before is not known here: every site says what it has, and is told what HQ has.
            await self._greet(client)
            while not lost.is_set():
                messages = await feed.next()
                if messages:
                    await self._take(client, messages)
            raise NatsError("the broker is gone")
        finally:
            await client.close()

    async def _greet(self, client: Client) -> None:
        try:
            enrolled = await self._in_store(self._enrolled)
        except StoreFailed as fault:
            self._say(str(fault))
            return
        for site, _key_id in enrolled:
            await self._publish(client, ack_topic(site), Hello(site=site, at=_now_us()))

    async def _take(self, client: Client, messages: Sequence[Msg]) -> None:
        """Apply, answer, settle; while the store fails, try again."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                answers: Answers = await self._in_store(self._apply, messages)
            except StoreFailed as fault:
                self._say(str(fault))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
                # Otherwise the broker hands them to others meanwhile, or again to us.
                for message in messages:
                    await message.in_progress()
                continue
            break
        self._say("")
        for topic, answer in answers.messages(_now_us()):
            await self._publish(client, topic, answer)
        for site, reason in answers.refused.items():
            await self._refuse(client, site, reason)
        for message in messages:
            await message.ack()

    async def _refuse(self, client: Client, site: str, reason: str) -> None:
        now_s = time.monotonic()
        if now_s - self._refused_at_s.get(site, -REFUSED_EVERY_S) < REFUSED_EVERY_S:
            return
        if len(self._refused_at_s) > 1000:
            self._refused_at_s.clear()
        self._refused_at_s[site] = now_s
        await self._publish(client, ack_topic(site), Refused(site=site, at=_now_us(), reason=reason[:300]))

    async def _publish(self, client: Client, topic: str, message: msgspec.Struct) -> None:
        await client.publish(topic.replace("/", "."), seal(self._key, topic, message))

    async def _in_store(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *arguments)

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("HQ takes no records now", reason=problem)
        elif self.problem and not problem:
            log.info("HQ takes records again")
        self.problem = problem

    # ---- in the store's thread ---------------------------------------------------------------------------------

    def _enrolled(self) -> list[tuple[str, str]]:
        assert self._store is not None
        return self._store.enrolled()

    def _apply(self, messages: Sequence[Msg]) -> Answers:
        assert self._store is not None
        return take(
            self._store, [(message.subject.replace(".", "/"), bytes(message.data)) for message in messages], _now_us()
        )


class Feed:
    """A standing request to the consumer that all receivers share."""

    def __init__(self, client: Client, on_nodes: int) -> None:
        self._client = client
        self._on_nodes = on_nodes
        self._heard: asyncio.Queue[Msg] = asyncio.Queue()
        self._inbox = client.new_inbox()
        self._asked_for = 0
        self._asked_at_s = 0.0

    async def open(self) -> None:
        """Make stream and consumer if the broker has none (any more)."""
        jetstream = self._client.jetstream(timeout=10)
        stream = StreamConfig(
            name=STREAM,
            subjects=SUBJECTS,
            # What is settled is deleted: the stream holds what waits, and of that the newest when there is no room.
            retention=RetentionPolicy.WORK_QUEUE,
            max_bytes=STREAM_BYTES,
            max_age=STREAM_AGE_S,
            num_replicas=self._on_nodes,
        )
        try:
            await jetstream.add_stream(stream)
        except BadRequestError:  # it is there with other settings, those of an older version
            await jetstream.update_stream(stream)
        await jetstream.add_consumer(
            STREAM,
            ConsumerConfig(
                durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=1024
            ),
        )
        await self._client.subscribe(self._inbox, cb=self._hear)

    async def next(self) -> list[Msg]:
        """What has arrived: at most BATCH_MESSAGES and about BATCH_BYTES; waits up to PULL_EXPIRES_S for the first.
        Raises NatsError when the consumer is gone."""
        if self._asked_for <= 0:
            await self._ask()
        messages: list[Msg] = []
        room = BATCH_BYTES
        try:
            message = await asyncio.wait_for(self._heard.get(), PULL_EXPIRES_S + 2)
            while True:
                if self._is_message(message):
                    messages.append(message)
                    room -= len(message.data)
                if room <= 0 or len(messages) == BATCH_MESSAGES:
                    break
                message = self._heard.get_nowait()
        except asyncio.QueueEmpty:
            pass
        except TimeoutError:
            # The broker ends every request; if it forgot this one, its consumer may be gone too.
            raise NatsError("the broker does not answer requests for messages") from None
        if messages and self._asked_for <= 0:
            await self._ask()  # so that the next ones are here when these are committed
        return messages

    async def _ask(self) -> None:
        self._asked_for = BATCH_MESSAGES
        self._asked_at_s = time.monotonic()
        request = {"batch": BATCH_MESSAGES, "max_bytes": PULL_BYTES, "expires": int(PULL_EXPIRES_S * 1e9)}
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}", msgspec.json.encode(request), reply=self._inbox
        )

    async def _hear(self, message: Msg) -> None:
        await self._heard.put(message)

    def _is_message(self, message: Msg) -> bool:
        """False for the broker's word that a request has ended."""
        status = (message.headers or {}).get("Status")
        if status is None:
            self._asked_for -= 1
            return True
        self._asked_for = 0
        description = (message.headers or {}).get("Description", "")
        if status in ("404", "408") or (status == "409" and "Consumer" not in description):
            return False
        raise NatsError(f"the broker has no consumer for HQ any more (status {status} {description})")


def _now_us() -> int:
    return time.time_ns() // 1000
