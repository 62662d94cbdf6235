"""What devices publish is taken off the broker's connection here, before paho sees it: all that has come at once.

paho reads a byte at a time and wakes up for each packet, which is most of what a small message would cost. So the
PUBLISH packets are cut out of the stream and handed over together, and they are acknowledged together. Every other
packet goes on to paho, whose connecting, subscribing, keeping alive and publishing stay as they are. MQTT 3.1.1.
"""

import select
import socket
import threading
from collections.abc import Callable, Iterable

import msgspec

READ_BYTES = 256 * 1024
SEND_WAIT_S = 5.0

_PUBLISH, _PUBACK = 0x30, b"\x40\x02"


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a device published; `mid` is the packet identifier under which it is acknowledged (0 at QoS 0)."""

    topic: bytes
    payload: bytes
    mid: int
    qos: int
    again: bool


class Tap(socket.socket):
    """A connection to a broker, in place of the one that it is made of; `take` is called in the reading thread."""

    def __init__(self, connected: socket.socket, take: Callable[[list[Message]], None]) -> None:
        super().__init__(fileno=connected.detach())
        self._take = take
        self._rest = bytearray()  # a packet that has not come whole
        self._wanted = 0  # how many bytes it has
        self._others = bytearray()  # packets that are paho's
        self._sending = threading.Lock()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Bytes of packets that are not PUBLISH. Raises BlockingIOError when there are none now, and ConnectionError
        when the broker sends what MQTT does not know."""
        if not self._others:
            came = super().recv(READ_BYTES, flags)
            if not came:
                return b""
            self._cut(came)
            if not self._others:
                raise BlockingIOError
        given = bytes(self._others[:size])
        del self._others[:size]
        return given

    def pending(self) -> int:
        """How many bytes `recv` has without waiting; paho asks before it waits for the connection."""
        return len(self._others)

    def send(self, packets: "bytes | bytearray | memoryview", flags: int = 0, /) -> int:  # type: ignore[override]
        """Send all of it: paho's packets and acknowledgements come from two threads, and neither may cut the other."""
        with self._sending:
            left = memoryview(packets)
            while left:
                try:
                    left = left[super().send(left, flags) :]
                except BlockingIOError:
                    if not select.select([], [self], [], SEND_WAIT_S)[1]:
                        raise ConnectionError("the broker takes nothing") from None
        return len(packets)

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Tell the broker that it need not keep these any longer. Raises OSError when the connection is gone."""
        self.send(b"".join([_PUBACK + mid.to_bytes(2, "big") for mid in mids]))

    def _cut(self, came: bytes) -> None:
        """Hand over the messages that have come whole, and keep the other packets for paho."""
        self._rest += came
        if len(self._rest) < self._wanted:
            return
        stream = bytes(self._rest)
        messages: list[Message] = []
        at = self._wanted = 0
        while (body := _body(stream, at)) is not None:
            start, end = body
            if end > len(stream):
                self._wanted = end - at
                break
            if stream[at] & 0xF0 == _PUBLISH:
                messages.append(_message(stream[at], stream[start:end]))
            else:
                self._others += stream[at:end]
            at = end
        self._rest = bytearray(stream[at:])
        if messages:
            self._take(messages)


def _body(stream: bytes, at: int) -> tuple[int, int] | None:
    """Where what follows the length of the packet at `at` begins and will end; None when its length has not come."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, len(stream))):
        length |= (stream[place] & 127) << shift
        if stream[place] < 128:
            return place + 1, place + 1 + length
        shift += 7
    if len(stream) >= at + 5:
        raise ConnectionError("a packet without a length")
    return None


def _message(head: int, body: bytes) -> Message:
    """A PUBLISH packet from its first byte and what follows its length."""
    qos = head >> 1 & 3
    topic_end = 2 + int.from_bytes(body[:2], "big")
    payload_start = topic_end + (2 if qos else 0)
    if len(body) < payload_start:
        raise ConnectionError("a message that ends within its head")
    mid = int.from_bytes(body[topic_end:payload_start], "big")
    return Message(body[2:topic_end], body[payload_start:], mid, qos, bool(head & 8))
