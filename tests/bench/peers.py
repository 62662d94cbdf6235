"""The device bus beside Node-RED and eKuiper: the same broker, publisher and payloads, one after the other on the same
cores.

Both take JSON in, keep a running mean and deviation of each sensor, and append how far readings are from their mean to
a file, which nothing forces onto the disk; both acknowledge a message when it comes. The gateway scores each reading by
a model, asks the plays, and acknowledges after a durable commit. `tests/bench/peers.sh` installs both. Environment:
BENCH_CASES, BENCH_SECONDS, BENCH_PEERS.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import paho.mqtt.publish

from edge.bench import bus
from edge.bench.broker import Broker
from edge.bench.bus import PASSWORDS, SECONDS, WARM_S, Run, publishing
from edge.bench.figure import Figure
from edge.bench.memory import status_mb
from edge.bench.processes import Spent
from edge.bench.publisher import USER
from edge.bench.waiting import until
from edge.errors import MissingPart
from tests.bench import ekuiper, node_red

CASES = os.environ.get("BENCH_CASES", "10x1,1000x1,1000x10,1000x50,10000x1,10000x10")
QUIET_S = 5.0  # after so long without another message those that are missing are lost
PROBES, PROBE_TIME = 500, "1"
"""Messages that are to be in the file before the start: eKuiper writes when it has four kilobytes together."""


class Peer(NamedTuple):
    """One that does the work on the bus: a context in which it runs, given its folder, the broker's port, the file that
    it appends to, and how many readings a message has."""

    program: Path
    running: Callable[[Path, int, Path, int], AbstractContextManager["subprocess.Popen[bytes]"]]


PEERS = {
    "Node-RED": Peer(node_red.PROGRAM, node_red.running),
    "eKuiper": Peer(ekuiper.PROGRAM, ekuiper.running),
}
CHOSEN = os.environ.get("BENCH_PEERS", ",".join(PEERS)).split(",")


def measure() -> Iterator[Figure]:
    """For each case what the peers take, and what the gateway takes."""
    for name in CHOSEN:
        if not PEERS[name].program.exists():
            raise MissingPart(f"{PEERS[name].program} is not there; run tests/bench/peers.sh.")
    for case in CASES.split(","):
        devices, _, readings = case.partition("x")
        theirs = {name: list(_peer(name, int(devices), int(readings))) for name in CHOSEN}
        for figures in theirs.values():
            yield from figures
        ours = next(bus.measure_case(int(devices), int(readings)))
        for name, figures in theirs.items():
            yield Figure(
                bench="peers",
                case=ours.case,
                metric="messages",
                value=ours.value,
                unit="msg/s",
                peer=name,
                ratio=ours.value / figures[0].value,
                target=f"> 1 × {name}",
                ok=ours.value > figures[0].value,
            )


def _peer(name: str, devices: int, readings: int) -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        Broker(Path(scratch, "mosquitto"), PASSWORDS, site_settings="autosave_interval 1000000\n") as broker,
    ):
        out = Path(scratch, "out.txt")
        Path(scratch, "peer").mkdir()
        out.touch()
        with (
            PEERS[name].running(Path(scratch, "peer"), broker.port, out, readings) as process,
            publishing(broker.port, devices, readings) as publisher,
            out.open("rb") as file,
        ):
            until(lambda: _gets_through(broker.port, out, readings), f"messages go through {name}", timeout_s=60)
            lines = _Lines(file)
            before = lines.count()
            run = Run(lambda: lines.count() - before, publisher)
            run.keep_up(WARM_S)
            first, began_s, spent = run.concluded, time.monotonic(), Spent({name: [process.pid]})
            run.keep_up(SECONDS)
            took_s, cores = time.monotonic() - began_s, spent.seconds()
            last = run.concluded
            sent = run.finish(QUIET_S)
            peak_mb = status_mb(process.pid, "VmHWM")
        written = [line.split(maxsplit=1)[0] for line in out.read_text().splitlines()]
        times = [int(time_us) for time_us in written if time_us != PROBE_TIME]
    ages_ms = run.ages_ms(np.array(list(enumerate(times, 1)), np.int64)[first:last])
    case = f"{devices:,} devices, {readings} a message, {name}"
    yield Figure(bench="peers", case=case, metric="messages", value=(last - first) / took_s, unit="msg/s")
    for which, part in {"p50": 50, "p99": 99}.items():
        value = float(np.percentile(ages_ms, part))
        yield Figure(bench="peers", case=case, metric=f"age in the file {which}", value=value, unit="ms")
    yield Figure(bench="peers", case=case, metric="lost", value=sent - len(times), unit=f"of {sent:,}")
    yield Figure(bench="peers", case=case, metric="peak", value=peak_mb, unit="MB")
    yield Figure(bench="peers", case=case, metric="processor", value=cores[name] / took_s, unit="cores")


def _gets_through(broker_port: int, out: Path, readings: int) -> bool:
    values = ", ".join(f'"s{sensor:02}": 1.5' for sensor in range(readings))
    payload = f'{{"time": {PROBE_TIME}, {values}}}'
    paho.mqtt.publish.multiple(
        [(f"mine/{USER}/probe", payload, 1, False)] * PROBES,
        hostname="127.0.0.1",
        port=broker_port,
        auth={"username": USER, "password": PASSWORDS[USER]},
    )
    time.sleep(0.5)
    return out.stat().st_size > 0


class _Lines:
    """How many lines a file has, as it grows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0

    def count(self) -> int:
        """So many now."""
        self._count += self._file.read().count(b"\n")
        return self._count
