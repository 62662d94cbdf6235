"""An HQ without TLS and without a page: nats-server without authorisation, and what HQ makes of what it hears.

    python -m tests.faults.plain_hq FOLDER PORT

It is there for what TLS would hide: bytes that are garbled on the wire reach the broker and the link as they are.
"""

import contextlib
import ctypes
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sync import keys
from sync.broker import Health
from sync.errors import SyncError
from sync.hq.errors import StoreFailed
from sync.hq.store import Store, store_path
from sync.hq.taking import take
from sync.protocol import Hello, ack_topic
from sync.sealed import seal

# Without max_file_store a broker that is started on a full disk allows itself 0 bytes, and takes nothing while it runs.
BROKER = """
server_name: hq
host: 127.0.0.1
port: -1
log_file: "{folder}/broker.log"
max_payload: 4MB
jetstream {{ store_dir: "{folder}/store", max_file_store: 2GB, max_memory_store: 32MB }}
mqtt {{ host: 127.0.0.1, port: {port} }}
"""
RESTART_S = 0.3
PDEATHSIG = 1


class PlainHq:
    """Receives from the broker at `port` into the store in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self._key: Ed25519PrivateKey = keys.load(folder / "secrets" / "hq.key")
        self._path = store_path(folder)
        self._store = Store.open(self._path)
        self._heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hq")
        self._client.on_connect = self._connected
        self._client.on_message = lambda _client, _data, message: self._heard.put(
            (message.topic, bytes(message.payload))
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def work(self, for_s: float) -> None:
        """Take what comes within this time."""
        try:
            topic, payload = self._heard.get(timeout=for_s)
        except queue.Empty:
            return
        try:
            answers = take(self._store, [(topic, payload)], _now_us())
        except StoreFailed as fault:
            print(fault, flush=True)  # nothing was acknowledged, so it comes again
            return
        for where, message in answers.messages(_now_us()):
            self._say(where, message)

    def close(self) -> None:
        """Leave the broker and close the store."""
        self._client.disconnect()
        self._client.loop_stop()
        self._store.close()

    def _hear(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload)))

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([("outstation/v1/+/up/#", 1), ("outstation/v1/+/state", 1)])
        with contextlib.closing(Store.open(self._path)) as store:  # a store is for one thread
            for site, _key in store.enrolled():
                self._say(ack_topic(site), Hello(site=site, at=_now_us()))

    def _say(self, topic: str, message: Any) -> None:
        self._client.publish(topic, seal(self._key, topic, message), 0)


def enrol(folder: Path, site: str, site_secrets: Path) -> None:
    """Have HQ and the site know each other's keys, as enrolment does."""
    secrets = folder / "secrets"
    if not (secrets / "hq.key").exists():
        keys.create(secrets / "hq.key")
    (site_secrets / "hq.pub").write_text(keys.public_text(keys.load(secrets / "hq.key").public_key()), "utf-8")
    with contextlib.closing(Store.open(store_path(folder))) as store:
        store.enrol(site, (site_secrets / "site.pub").read_text("utf-8").strip())


class Broker:
    """nats-server, started again when it has ended, and when a full disk has made it sick."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(exist_ok=True)
        self._config = folder / "nats.conf"
        self._settings = BROKER.format(folder=folder, port=port)
        self._health = Health(folder / "broker.log")
        self._process = self._started()

    def watch(self) -> None:
        """Start it again if need be."""
        if self._process.poll() is not None:
            time.sleep(RESTART_S)
            self._process = self._started()
        elif self._health.is_sick:
            print("the broker is sick and is started again", flush=True)
            self._health.forget()
            self.stop()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        with contextlib.suppress(OSError):  # on a full disk the old one serves
            self._config.write_text(self._settings, "utf-8")
        prctl = ctypes.CDLL(None).prctl
        return subprocess.Popen(
            [Path(sys.executable).with_name("nats-server"), "-c", self._config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: prctl(PDEATHSIG, signal.SIGKILL),
        )


def main(arguments: list[str]) -> int:
    """Run until SIGTERM."""
    folder, port = Path(arguments[0]), int(arguments[1])
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    broker = Broker(folder / "broker", port)
    try:
        hq = PlainHq(folder, port)
    except SyncError as fault:  # the disk is full; whoever started us does so again
        print(fault, flush=True)
        return 1
    while not ending:
        hq.work(0.1)
        broker.watch()
    hq.close()
    broker.stop()
    return 0


def _now_us() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
