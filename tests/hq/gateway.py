"""A whole gateway of a site as a process, the link with it, and somebody who writes notes."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import apsw
import httpx
import msgspec
from click.testing import CliRunner

from edge.bench.waiting import answers, free_port, until
from edge.site import make_site
from sync.cli import sync
from tests.hq.running import OUTSTATION, RunningHq, enrol


class Gateway:
    """`outstation run` in `folder`, where there is a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def enrolled(cls, hq: RunningHq, folder: Path, name: str) -> "Gateway":
        """A new one that HQ knows."""
        make_site(folder, sample=False)
        (folder / "site.toml").write_text(f'name = "{name}"\nlanguage = "en"\n[web]\nport = 0\n', "utf-8")
        gateway = cls(folder)
        gateway.enrol(hq)
        return gateway

    def copy(self, folder: Path) -> "Gateway":
        """All of it once more, as it is."""
        shutil.copytree(self.folder, folder)
        return Gateway(folder)

    @property
    def name(self) -> str:
        """The site's."""
        return (self.folder / "site.toml").read_text("utf-8").split('"')[1]

    def enrol(self, hq: RunningHq) -> None:
        """By a new code, as people do."""
        made = enrol(self.folder, hq.invite(self.name))
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """Start it and wait until its page answers."""
        self._port = free_port()
        toml = self.folder / "site.toml"
        text = toml.read_text("utf-8")
        begin = text.index("port = ", text.index("[web]"))
        toml.write_text(text[:begin] + f"port = {self._port}" + text[text.index("\n", begin) :], "utf-8")
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen([*OUTSTATION, "run", str(self.folder)], stdout=log, stderr=log)
        until(lambda: answers(self._port), "the gateway's page answers")

    def end(self) -> None:
        """SIGTERM, and wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def write(self, number: int) -> None:
        """So many notes of which nothing follows: each is one record for HQ, once it was taken."""
        for _ in range(number):
            note = {"subject": "Red Ridge", "author": "Lin", "text": "ok"}
            assert httpx.post(f"http://127.0.0.1:{self._port}/api/notes", json=note, timeout=10).status_code == 201

    def numbers(self) -> dict[tuple[int, str, int], str]:
        """The id of every record for HQ, by epoch, lane and number."""
        connection = apsw.Connection(str(self.folder / "data" / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        found: list[Any] = connection.execute("SELECT epoch, lane, seq, id FROM outbox").fetchall()
        connection.close()
        return {(epoch, lane, seq): id for epoch, lane, seq, id in found}

    def ids(self) -> list[str]:
        """Of every record for HQ."""
        return sorted(self.numbers().values())

    def epoch(self) -> int:
        """The newest."""
        return max(epoch for epoch, _, _ in self.numbers())

    def status(self) -> dict[str, Any]:
        """What `outstation sync status` says of the link; `waiting` are the records of all lanes that wait."""
        said = CliRunner().invoke(sync, ["status", str(self.folder), "--json"], catch_exceptions=False).output
        *lanes, link = map(msgspec.json.decode, said.splitlines())
        return {**link, "waiting": sum(lane["waiting"] for lane in lanes)}

    def flush(self) -> "subprocess.CompletedProcess[str]":
        """`outstation sync flush`: the link introduces itself at once, and this waits until HQ has everything."""
        command = [*OUTSTATION, "sync", "flush", str(self.folder), "--timeout", "30"]
        return subprocess.run(command, capture_output=True, text=True)
