"""Devices that publish as fast as they may: `python -m edge.bench.publisher PORT PASSWORD DEVICES READINGS`.

A load generator and no more, so that it costs as little as it can of the cores that it shares with what is measured:
packets of MQTT 3.1.1 at QoS 1 made before the start, in which only the time is written anew, to a bare socket. Each
number on standard input is how many messages may have been sent by then; at its end the publisher waits for what the
broker has not acknowledged yet, and prints how many it has sent.
"""

import os
import random
import select
import socket
import struct
import sys
import time

USER = "bench"  # devices publish to mine/bench/DEVICE, as the shipped rights let this user
RING = 20_000  # messages with values and a packet identifier of their own
UNACKNOWLEDGED = 10_000
AT_ONCE = 100


def main() -> None:
    port, password, devices, readings = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    ring = [packet(number, number % devices, readings) for number in range(RING - RING % devices)]
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        broker.sendall(connect(password))
        if (answer := broker.recv(4, socket.MSG_WAITALL)) != b"\x20\x02\x00\x00":
            raise SystemExit(f"the broker refused us: {answer.hex()}")
        print("ready", flush=True)
        print(publish(broker, ring), flush=True)


def publish(broker: socket.socket, ring: list[tuple[bytes, bytes]]) -> int:
    """Send what may be sent until standard input ends; how many messages that were, all acknowledged."""
    sent = acknowledged_bytes = allowed = last_us = 0
    ended = False
    told = b""
    while not ended or acknowledged_bytes < 4 * sent:
        free = min(allowed - sent, UNACKNOWLEDGED - sent + acknowledged_bytes // 4, AT_ONCE)
        waits = [broker] if ended else [broker, sys.stdin]
        ready = select.select(waits, [], [], 0 if free > 0 and not ended else 1)[0]
        if broker in ready:
            acknowledged_bytes += len(broker.recv(1 << 16))  # a PUBACK has four bytes, and nothing else comes
        if sys.stdin in ready:
            told += os.read(0, 1 << 16)
            ended = not told.endswith(b"\n")
            whole = told.split(b"\n")
            if len(whole) > 1 and whole[-2]:
                allowed = int(whole[-2])
            told = whole[-1]
        if free > 0 and not ended:
            last_us = max(time.time_ns() // 1000, last_us) + 1  # no two messages have the same time
            parts: list[bytes] = []
            for number in range(free):
                head, tail = ring[(sent + number) % len(ring)]
                parts += head, b"%d" % (last_us + number), tail
            last_us += free
            broker.sendall(b"".join(parts))
            sent += free
    return sent


def packet(number: int, device: int, readings: int) -> tuple[bytes, bytes]:
    """A PUBLISH packet before and after its time, which has 16 digits: µs since 1970."""
    rnd = random.Random(number)
    values = ",".join(f'"s{sensor:02}":{rnd.gauss(50 + sensor, 3):.3f}' for sensor in range(readings))
    topic = f"mine/{USER}/device-{device:05}".encode()
    head, tail = b'{"time":', b"," + values.encode() + b"}"
    variable = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number + 1)
    return b"\x32" + length(len(variable) + len(head) + 16 + len(tail)) + variable + head, tail


def connect(password: str) -> bytes:
    """A CONNECT packet with a clean session, a name and a password, without a keep-alive."""
    fields = b"".join(struct.pack(">H", len(text)) + text.encode() for text in ("bench", USER, password))
    variable = b"\x00\x04MQTT\x04\xc2\x00\x00"
    return b"\x10" + length(len(variable) + len(fields)) + variable + fields


def length(size: int) -> bytes:
    """The remaining length of a packet: seven bits a byte, the lowest first."""
    coded = bytearray()
    while size > 127:
        coded.append(size % 128 | 128)
        size //= 128
    return bytes([*coded, size])


if __name__ == "__main__":
    main()
