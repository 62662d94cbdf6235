"""PUBLISH packets taken off a connection: none is lost, cut or doubled, however they arrive; the rest is paho's."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from edge.sources.tap import Message, Tap

PING, SUBACK = b"\xd0\x00", b"\x90\x03\x00\x01\x01"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Tap, list[Message]]]:
    """The broker's end, ours, and what was taken."""
    broker, ours = socket.socketpair()
    taken: list[Message] = []
    tap = Tap(ours, taken.extend)
    tap.setblocking(False)
    yield broker, tap, taken
    tap.close()
    broker.close()


def length(size: int) -> bytes:
    coded = bytearray()
    while size > 127:
        coded.append(size & 127 | 128)
        size >>= 7
    return bytes([*coded, size])


def publish(message: Message) -> bytes:
    head = 0x30 | message.qos << 1 | (8 if message.again else 0)
    mid = message.mid.to_bytes(2, "big") if message.qos else b""
    body = len(message.topic).to_bytes(2, "big") + message.topic + mid + message.payload
    return bytes([head]) + length(len(body)) + body


def read(tap: Tap, size: int = 10_000) -> bytes:
    got = b""
    with suppress(BlockingIOError):
        while True:
            got += tap.recv(size)
    return got


def test_messages_are_taken_and_every_other_packet_is_passed_on(ends: tuple[socket.socket, Tap, list[Message]]) -> None:
    broker, tap, taken = ends
    first = Message(b"mine/p", b"one", 7, 1, False)
    second = Message(b"mine/q", b"", 0, 0, False)
    broker.sendall(publish(first) + SUBACK + publish(second) + PING)
    assert tap.recv(1) == SUBACK[:1]
    assert taken == [first, second]
    assert tap.pending() == len(SUBACK) - 1 + len(PING)
    assert read(tap, 2) == SUBACK[1:] + PING
    assert tap.pending() == 0


def test_a_stream_gives_the_same_messages_wherever_it_is_cut(ends: tuple[socket.socket, Tap, list[Message]]) -> None:
    broker, tap, taken = ends
    rnd = random.Random(4)
    said = [
        Message(
            b"mine/" + b"t" * rnd.randrange(40),
            rnd.randbytes(rnd.choice([0, 1, 100, 127, 128, 5_000, 20_000])),
            number + 1 if number % 3 else 0,
            1 if number % 3 else 0,
            bool(number % 3 and number % 5 == 0),
        )
        for number in range(200)
    ]
    stream = b"".join(publish(message) + (PING if message.mid % 7 == 1 else b"") for message in said)
    others = b""
    at = 0
    while at < len(stream):
        size = rnd.choice([1, 2, 3, 50, 3_000, 30_000])
        broker.sendall(stream[at : at + size])
        others += read(tap)
        at += size
    assert taken == said
    assert others == PING * sum(message.mid % 7 == 1 for message in said)


def test_a_large_message_is_taken_whole(ends: tuple[socket.socket, Tap, list[Message]]) -> None:
    broker, tap, taken = ends
    large = Message(b"mine/p", random.Random(1).randbytes(3_000_000), 1, 1, True)
    sender = threading.Thread(target=broker.sendall, args=(publish(large) + PING,))
    sender.start()
    others = b""
    while not others:
        others = read(tap)
    sender.join()
    assert taken == [large]
    assert others == PING


@pytest.mark.parametrize(
    "stream", [b"\x30\xff\xff\xff\xff\x01", b"\x32\x03\x00\x09a", b"\x32\x03\x00\x01a", b"0\x02\x00\x01"]
)
def test_what_is_not_mqtt_ends_the_connection(ends: tuple[socket.socket, Tap, list[Message]], stream: bytes) -> None:
    broker, tap, taken = ends
    broker.sendall(stream)
    with pytest.raises(ConnectionError):
        tap.recv(1)
    assert not taken


def test_an_end_of_the_connection_is_passed_on(ends: tuple[socket.socket, Tap, list[Message]]) -> None:
    broker, tap, _ = ends
    broker.close()
    assert tap.recv(1) == b""


def test_acknowledgements_and_other_packets_are_sent_whole_by_two_threads(
    ends: tuple[socket.socket, Tap, list[Message]],
) -> None:
    broker, tap, _ = ends
    acknowledged = [threading.Thread(target=tap.acknowledge, args=(range(1, 30_001),)) for _ in range(2)]
    others = threading.Thread(target=lambda: [tap.send(b"\x32\x05\x00\x01tab") for _ in range(5_000)])
    threads = [*acknowledged, others]
    for thread in threads:
        thread.start()
    size = 2 * 30_000 * 4 + 5_000 * 7
    stream = b""
    while len(stream) < size:
        stream += broker.recv(1 << 16)
    for thread in threads:
        thread.join()
    at, mids, commands = 0, [], 0
    while at < size:
        if stream[at] == 0x40:
            mids.append(int.from_bytes(stream[at + 2 : at + 4], "big"))
            at += 4
        else:
            assert stream[at : at + 7] == b"\x32\x05\x00\x01tab"
            commands += 1
            at += 7
    assert sorted(mids) == sorted([*range(1, 30_001)] * 2)
    assert commands == 5_000
