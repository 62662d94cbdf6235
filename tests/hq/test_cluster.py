"""Three brokers and two receivers on one PostgreSQL: any of them may die under load."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from edge.bench.waiting import free_port, until
from tests.hq.running import OUTSTATION, enrol, feed, make_site, start_link
from tests.sync.site_end import Journal


class Part:
    """One process of HQ, its output in a file."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._log = log
        self._command = [*OUTSTATION, "hq", *map(str, arguments)]
        self.start()

    def start(self) -> None:
        """Start it, also again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def says(self, words: str) -> None:
        """Wait until it has said so."""
        until(lambda: words in self._log.read_text("utf-8"), f"{self._log.name} says {words}", timeout_s=60)

    def kill(self) -> None:
        """kill -9; a broker's nats-server ends with it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def parts() -> Iterator[list[Part]]:
    """What is killed at the end."""
    started: list[Part] = []
    yield started
    for part in started:
        part.kill()


def test_a_broker_and_a_receiver_die_under_load_and_nothing_is_lost_or_doubled(
    tmp_path: Path, postgres: str, parts: list[Part]
) -> None:
    names = ("n1", "n2", "n3")
    mqtt, nats, cluster = ({name: free_port() for name in names} for _ in range(3))
    first = tmp_path / "hq"
    for name in names:
        routes = [option for other in names if other != name for option in ("--route", f"127.0.0.1:{cluster[other]}")]
        ports = ["--mqtt-port", mqtt[name], "--nats-port", nats[name], "--cluster-port", cluster[name]]
        parts.append(
            Part(
                tmp_path / f"{name}.log", "broker", "--dir", first, "--store", postgres, "--name", name, *ports, *routes
            )
        )
        parts[-1].says("the broker answers")
    brokers = [option for name in names for option in ("--broker", f"127.0.0.1:{nats[name]}")]
    receivers: list[Part] = []
    for folder in (first, tmp_path / "second"):
        if folder != first:
            shutil.copytree(first / "secrets", folder / "secrets")
        ports = ["--port", 0, "--mqtt-port", mqtt["n2"], "--enrol-port", free_port()]
        receivers.append(
            Part(tmp_path / f"{folder.name}-run.log", "run", "--dir", folder, "--store", postgres, *ports, *brokers)
        )
        parts.append(receivers[-1])
        receivers[-1].says("connected to the broker")
    invited = subprocess.run(
        [*OUTSTATION, "hq", "invite", "mine-3", "--dir", first, "--store", postgres],
        capture_output=True,
        text=True,
        check=True,
    )
    site = make_site(tmp_path / "site", "mine-3")
    made = enrol(site, invited.stdout.splitlines()[-1])
    assert made.returncode == 0, made.stderr
    journal = Journal(site / "data" / "journal.db")
    link = start_link(site)

    def at_hq() -> dict[tuple[int, str, int], str]:
        with psycopg.connect(postgres) as connection:
            found = connection.execute("SELECT epoch, lane, seq, id FROM received").fetchall()
        return {(epoch, lane, seq): id for epoch, lane, seq, id in found}

    try:
        journal.add("day", 50)
        until(lambda: len(at_hq()) == 50, "the first records are at HQ", timeout_s=60)
        feed(lambda: journal.add("day", 20), 0.5)
        parts[0].kill()
        # Two nodes do for a site that connects anew, too.
        link.kill()
        link.wait()
        link = start_link(site)
        feed(lambda: journal.add("now", 5), 0.5)
        receivers[0].kill()
        feed(lambda: journal.add("bulk", 20), 0.5)
        # A message in the hands of a dead receiver comes again after 30 s.
        until(lambda: at_hq() == journal.ids(), "HQ has what the journal has", timeout_s=120)
    finally:
        link.kill()
        link.wait()
        journal.close()
