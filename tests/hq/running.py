"""HQ as a process, and sites that enrol at it as people do."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apsw
import httpx
import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.bench.waiting import free_port, until

OUTSTATION = [sys.executable, "-m", "edge.cli"]


class RunningHq:
    """`outstation hq run` in `folder`, with a broker of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.mqtt_port = free_port()
        self._log = folder.with_name(f"{folder.name}.log")
        ports = ["--port", "0", "--mqtt-port", str(self.mqtt_port), "--enrol-port", str(free_port())]
        self._command = [*OUTSTATION, "hq", "run", "--dir", str(folder), *ports, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it receives."""
        before = self.said().count("connected to the broker")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(lambda: self.said().count("connected to the broker") > before, "HQ receives")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Receiver, page and enrolment stand still until `thaw`; the broker goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def page(self, path: str) -> str:
        """A page of HQ, in English, or its JSON."""
        address = self.said().rpartition("HQ's page: ")[2].splitlines()[0]
        return httpx.get(f"{address}{path.lstrip('/')}", params={"lang": "en"}).raise_for_status().text

    def site(self, name: str) -> dict[str, Any]:
        """What `outstation hq sites` says of a site."""
        lines = map(msgspec.json.decode, self.command("sites", "--json").splitlines())
        return next(site for site in lines if site["site"] == name)

    def end(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(15)

    @property
    def pid(self) -> int:
        """Of HQ's process."""
        assert self._process is not None
        return self._process.pid

    def broker_pid(self) -> int:
        """Of nats-server."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()[0])

    def kill_broker(self) -> None:
        """kill -9 for nats-server alone."""
        os.kill(self.broker_pid(), signal.SIGKILL)

    def said(self) -> str:
        """All that it has written."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def command(self, *arguments: str) -> str:
        """What `outstation hq …` prints."""
        command = [*OUTSTATION, "hq", arguments[0], "--dir", str(self.folder), *arguments[1:]]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def invite(self, site: str) -> str:
        """A code for `site`."""
        return self.command("invite", site).splitlines()[-1]

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of its store."""
        connection = apsw.Connection(str(self.folder / "hq.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        return connection.execute(query).fetchall()

    def ids(self) -> dict[tuple[int, str, int], str]:
        """The id of every record, as site_end.Journal.ids has them."""
        found = self.select("SELECT epoch, lane, seq, id FROM received")
        return {(epoch, lane, seq): id for epoch, lane, seq, id in found}


def make_site(folder: Path, name: str) -> Path:
    """A site folder that is not enrolled."""
    folder.mkdir()
    (folder / "site.toml").write_text(f'name = "{name}"\n', "utf-8")
    return folder


def enrol(folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    """`outstation sync enrol`."""
    return subprocess.run([*OUTSTATION, "sync", "enrol", str(folder), code], capture_output=True, text=True)


def start_link(folder: Path) -> "subprocess.Popen[bytes]":
    """The link of a site."""
    with (folder / "link.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "sync.uplink", str(folder)], stdout=log, stderr=log)


class MqttClient:
    """Somebody at HQ's broker with the certificate in `secrets` (None: with none)."""

    def __init__(self, port: int, secrets: Path, certificate: bool = True) -> None:
        self.connected = ""
        self.subscribed: list[bool] = []
        self.heard: list[str] = []
        self.lost = False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(secrets / "hq-ca.crt")
        if certificate:
            context.load_cert_chain(secrets / "site.crt", secrets / "site.key")
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311, reconnect_on_failure=False)
        self.client.tls_set_context(context)
        self.client.on_connect = lambda *heard: setattr(self, "connected", str(heard[3]))
        self.client.on_disconnect = lambda *_: setattr(self, "lost", True)
        self.client.on_subscribe = lambda *heard: self.subscribed.extend(not code.is_failure for code in heard[3])
        self.client.on_message = lambda _client, _data, message: self.heard.append(message.topic)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(lambda: self.connected or self.lost, "the broker answers")

    def may_subscribe(self, topic: str) -> bool:
        """Whether the broker grants it."""
        before = len(self.subscribed)
        self.client.subscribe(topic, 1)
        until(lambda: len(self.subscribed) > before, "the broker answers")
        return self.subscribed[-1]

    def publish(self, topic: str, payload: bytes) -> None:
        """At QoS 1, until the broker has it."""
        self.client.publish(topic, payload, 1).wait_for_publish(10)

    def close(self) -> None:
        """End it."""
        self.client.disconnect()
        self.client.loop_stop()


def feed(add: Any, seconds: float) -> None:
    """Call `add` again and again for so long."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        add()
        time.sleep(0.01)


def code_parts(code: str) -> tuple[str, str]:
    """Address and digits of a code."""
    found = re.fullmatch(r"(.+:\d+)/([0-9A-Z-]+)", code)
    assert found is not None
    return found[1], found[2]
