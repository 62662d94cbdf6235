"""The processes that the daemon starts and watches: the embedded broker, the link to HQ and the journal's replica.

One that ends is started again, ever more slowly; all end with the daemon, even when it is killed (setpriv's
--pdeathsig: the kernel tells them).
"""

import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from edge.errors import MissingPart
from edge.site import Site

BROKER_CONFIG = Path(__file__).parents[1] / "firmware-config" / "broker" / "nats-server.conf"
STOP_WAIT_S = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
STEADY_S = 60.0

log = structlog.get_logger()


# setpriv has the kernel end a process when its parent dies, but says so only after the fork: a parent that died in
# between would leave a process behind that nobody ends. So the child looks whether its parent is still the one that
# started it.
_WHILE_PARENT_LIVES = ("setpriv", "--pdeathsig", "TERM", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


class Child:
    """A watched process. `environment` is all that it gets to see of ours."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.starts = 0
        self._command = [*_WHILE_PARENT_LIVES, str(os.getpid()), *command]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watch-{name}")

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's id, while it is alive."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self) -> None:
        """Start the process and watch it. Raises MissingPart when there is no such program."""
        self._thread.start()
        self._started.wait()
        if self._process is None:
            self._thread.join()
            raise MissingPart(f"{self._command[0]} cannot be started; install Outstation anew with ./build.sh.")

    def stop(self) -> None:
        """End the process: asked first, killed if it does not listen within ten seconds."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()

    def _watch(self) -> None:
        # The kernel's word on a parent's death is about the thread that forked, so this thread forks and stays.
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            try:
                self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL)
            except OSError as error:
                log.error("cannot be started", child=self.name, reason=str(error))
                self._started.set()
                return
            self.starts += 1
            self._started.set()
            try:
                self._process.wait(STEADY_S)
            except subprocess.TimeoutExpired:
                wait_s = FIRST_WAIT_S
                self._process.wait()
            if self._stopping.is_set():
                return
            log.warning("ended; starting it again", child=self.name, code=self._process.returncode, wait_s=wait_s)
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def broker(site: Site) -> Child | None:
    """nats-server as the site's own device bus, when site.toml asks for one."""
    bus = site.settings.bus
    if bus is None or not bus.embedded:
        return None
    site.bus_store.mkdir(parents=True, exist_ok=True)
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    environment = {
        "OUTSTATION_MQTT_PORT": str(bus.port),
        "OUTSTATION_BROKER_STORE": f'"{site.bus_store / "store"}"',
        "OUTSTATION_BROKER_LOG": f'"{site.bus_store / "broker.log"}"',
        "OUTSTATION_BROKER_SYNC": "always",
    }
    return Child("broker", [str(program), "-c", str(BROKER_CONFIG)], environment)


def link(site: Site) -> Child | None:
    """The link to HQ, when site.toml names one: a process of its own that knows the outbox and nothing else of us."""
    if site.settings.hq is None or not site.settings.hq.supervised:
        return None
    return Child("link", [sys.executable, "-m", "sync.uplink", str(site.folder)], {"PATH": os.environ.get("PATH", "")})


def replica(site: Site) -> Child | None:
    """What keeps the journal's replica, when site.toml says where: a process of its own, which runs litestream."""
    if site.settings.replica is None or not site.settings.replica.supervised:
        return None
    command = [sys.executable, "-m", "sync.replica", str(site.folder)]
    return Child("replica", command, {"PATH": os.environ.get("PATH", "")})
