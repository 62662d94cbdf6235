"""HQ's process: broker, receiver, enrolment and page, started in this order, watched, and ended together."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
import uvicorn
from litestar import Litestar

from sync import keys, log
from sync.broker import Broker, Node, nats_password
from sync.certificates import Authority, certify_broker, open_authority
from sync.errors import LinkPartMissing, LinkSettingsError
from sync.hq import enrolment, page
from sync.hq.errors import StoreFailed
from sync.hq.receiver import Brokers, Receiver
from sync.hq.store import Store

WATCH_S = 0.2
GRACE_S = 3


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where HQ is: its folder, its store (a path or a DSN), by which `hosts` sites reach it, and its ports.

    `brokers` are host:port of the NATS listeners of a cluster; none: HQ starts a broker of its own.
    """

    folder: Path
    store: str | Path
    hosts: tuple[str, ...] = ("127.0.0.1",)
    page_port: int
    mqtt_port: int
    enrol_port: int
    brokers: tuple[str, ...] = ()

    @property
    def secrets(self) -> Path:
        """Where HQ's keys and certificates lie."""
        return self.folder / "secrets"

    @property
    def listen(self) -> str:
        """Off this box only if a host is."""
        return "127.0.0.1" if all(map(is_here, self.hosts)) else "0.0.0.0"

    @property
    def address_file(self) -> Path:
        """Where it is written down at which address sites enrol."""
        return self.folder / "enrol.address"


def run(place: Place, stopping: threading.Event, ready: Callable[[str], None]) -> None:
    """Work until `stopping`; `ready` is told the page's address.

    Raises LinkPartMissing when the broker does not come up or a port is taken, and LinkSettingsError when the store or
    the secrets cannot be used.
    """
    with ExitStack() as parts:
        authority = prepare(place.secrets, place.hosts)
        hq_key = keys.load_or_create(place.secrets / "hq.key")
        hq_public_key = keys.public_text(hq_key.public_key())
        keys.write_private(place.secrets / "hq.pub", f"{hq_public_key}\n".encode())
        store = Store.open(place.store)
        parts.callback(store.close)
        page_listener = parts.enter_context(_listen("127.0.0.1", place.page_port, "the page", "--port"))
        enrol_listener = parts.enter_context(_listen(place.listen, place.enrol_port, "enrolment", "--enrol-port"))
        enrol_port = enrol_listener.getsockname()[1]
        place.address_file.write_text(f"{at(place.hosts[0], enrol_port)}\n", "utf-8")
        broker = None if place.brokers else _own_broker(place)
        if broker is not None:
            parts.callback(broker.stop)
            broker.admit(store.enrolled())
            broker.start()
        receiver = Receiver(place.store, _brokers(place, broker), hq_key)
        endpoint = enrolment.build(place.store, authority, hq_public_key, place.hosts, place.mqtt_port)
        servers = (
            (_server(page.build(place.store)), page_listener),
            (_server(endpoint, place.secrets), enrol_listener),
        )
        workers = parts.enter_context(ThreadPoolExecutor(3))
        ending = threading.Event()
        for server, _ in servers:
            parts.callback(setattr, server, "should_exit", True)
        parts.callback(ending.set)
        working = [workers.submit(receiver.run, ending)]
        working += [workers.submit(server.run, [listener]) for server, listener in servers]
        ready(f"http://127.0.0.1:{page_listener.getsockname()[1]}/")
        while not stopping.wait(WATCH_S):
            for work in working:
                if work.done():
                    work.result()
                    raise LinkPartMissing("a part of HQ ended by itself; its last lines above say more.")
            if broker is not None:
                keep(broker, store)


def run_node(
    folder: Path, secrets: Path, store: str | Path, node: Node, hosts: tuple[str, ...], stopping: threading.Event
) -> None:
    """Run one node of HQ's cluster until `stopping`; the sites that it lets in are those of the store. Raises as `run`
    does."""
    prepare(secrets, hosts)
    with ExitStack() as parts:
        opened = Store.open(store)
        parts.callback(opened.close)
        broker = Broker(folder, secrets, node)
        parts.callback(broker.stop)
        broker.admit(opened.enrolled())
        broker.start()
        log.info("the broker answers", name=node.name)
        while not stopping.wait(WATCH_S):
            keep(broker, opened)


def prepare(secrets: Path, hosts: tuple[str, ...]) -> Authority:
    """The authority in `secrets`, and a broker's certificate for `hosts` and this box, made if there are none."""
    authority = open_authority(secrets)
    certify_broker(secrets, authority, [*hosts, "127.0.0.1", "localhost"])
    return authority


def keep(broker: Broker, store: Store) -> None:
    """Start the broker again if it has ended, and let in whom the store names."""
    # The receiver says why the store fails; whoever was let in stays, as no revocation can have been written either.
    with contextlib.suppress(StoreFailed, LinkSettingsError):
        broker.admit(store.enrolled())
    if broker.pid is None or broker.is_sick:
        log.warning("the broker ended, or a full disk made it sick, and is started again")
        try:
            broker.start()
        except (LinkPartMissing, LinkSettingsError) as fault:  # the disk is full: it is tried again
            log.error("the broker cannot be started now", reason=str(fault))


def at(host: str, port: int) -> str:
    """host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_here(host: str) -> bool:
    """Whether a host is this box as it calls itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_broker(place: Place) -> Broker:
    node = Node(listen=place.listen, mqtt_port=place.mqtt_port, nats_port=_any_port())
    return Broker(place.folder / "broker", place.secrets, node)


def _brokers(place: Place, broker: Broker | None) -> Brokers:
    password = nats_password(place.secrets)
    if broker is not None:
        return Brokers(addresses=(f"127.0.0.1:{broker.node.nats_port}",), password=password)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # HQ's authority vouches for HQ's brokers only
    tls.load_verify_locations(place.secrets / "ca.crt")
    return Brokers(addresses=place.brokers, password=password, tls=tls)


def _any_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _server(application: Litestar, secrets: Path | None = None) -> uvicorn.Server:
    """A server of `application`, over TLS if it is told where the broker's certificate lies."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=secrets / "broker.crt" if secrets else None,
            ssl_keyfile=secrets / "broker.key" if secrets else None,
        )
    )


def _listen(host: str, port: int, what: str, option: str) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError:
        raise LinkPartMissing(f"port {port} on {host} is taken; choose another for {what} with {option}.") from None
