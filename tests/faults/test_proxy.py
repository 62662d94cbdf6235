"""The proxy does to a connection what its name says, so that the faults are the ones that are counted."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from edge.bench.waiting import free_port, until
from tests.faults.proxy import Line, Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before a server that sends back whatever comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listener.accept()
                threading.Thread(target=_echo, args=(taken,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    running = Proxy(free_port(), listener.getsockname()[1])
    running.start()
    yield running
    running.stop()
    listener.close()


def _echo(taken: socket.socket) -> None:
    with taken, contextlib.suppress(OSError):
        while data := taken.recv(65536):
            taken.sendall(data)


def connect(proxy: Proxy) -> socket.socket:
    taken = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    assert ask(taken, b"hello") == b"hello"
    return taken


def ask(taken: socket.socket, data: bytes) -> bytes:
    """What comes back for `data`, at most as much."""
    back = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        taken.sendall(data)
        while len(back) < len(data) and (more := taken.recv(65536)):
            back += more
    return back


def test_bytes_pass_unchanged(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        sent = bytes(range(256)) * 1000
        assert ask(taken, sent) == sent


def test_a_cut_is_a_reset_and_the_next_connection_is_good(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            taken.recv(1)
    with connect(proxy) as again:
        assert ask(again, b"x") == b"x"


def test_a_line_that_refuses_takes_no_connection(proxy: Proxy) -> None:
    proxy.set(Line(refusing=True))
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as taken:
        assert ask(taken, b"x") == b""
    proxy.heal()
    connect(proxy).close()


def test_a_cut_inside_a_packet_passes_half_of_it(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.set(Line(cut_inside=frozenset({"down"})))
        taken.sendall(b"0123456789")
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while more := taken.recv(100):
                got += more
        assert got in (b"", b"01234")  # RST may overtake what was sent before it


def test_what_is_swallowed_never_comes_and_nobody_is_told(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.set(Line(swallowed=frozenset({"up"})))
        taken.sendall(b"lost")
        until(lambda: any(connection.dead for connection in proxy._connections), "the proxy has swallowed it")
        proxy.heal()
        taken.sendall(b"lost as well")
        taken.settimeout(0.3)
        with pytest.raises(TimeoutError):
            taken.recv(1)


def test_what_is_held_comes_later(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.set(Line(held=frozenset({"up", "down"})))
        taken.sendall(b"late")
        taken.settimeout(0.3)
        with pytest.raises(TimeoutError):
            taken.recv(4)
        proxy.heal()
        taken.settimeout(5)
        assert taken.recv(4) == b"late"


def test_delay_and_throttle_take_the_time_that_they_say(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.set(Line(delay_s=0.2))
        began_s = time.monotonic()
        assert ask(taken, b"x") == b"x"
        assert time.monotonic() - began_s > 0.35  # both ways
        proxy.set(Line(bytes_per_s=20_000))
        began_s = time.monotonic()
        assert ask(taken, bytes(10_000)) == bytes(10_000)
        assert time.monotonic() - began_s > 0.4


def test_garbled_bytes_differ_in_one_bit(proxy: Proxy) -> None:
    with connect(proxy) as taken:
        proxy.set(Line(garbled=frozenset({"up"})))
        got = ask(taken, b"12345")
        assert sum((a ^ b).bit_count() for a, b in zip(got, b"12345", strict=True)) == 1
