"""The device bus beside Node-RED: the same broker, publisher and payloads, one after the other on the same cores.

Node-RED takes JSON in, keeps a running mean and deviation of each sensor in a function node, and appends how far the
furthest reading is from its mean to a file, which nothing forces onto the disk; it acknowledges a message when it
comes. The gateway scores each reading by a model, asks the plays, and acknowledges after a durable commit.
`tests/bench/peers.sh` installs Node-RED. Environment: BENCH_CASES, BENCH_SECONDS.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import paho.mqtt.publish

from edge.bench import bus
from edge.bench.broker import Broker
from edge.bench.bus import PASSWORDS, SECONDS, WARM_S, Run, publishing
from edge.bench.figure import Figure
from edge.bench.memory import status_mb
from edge.bench.processes import Spent
from edge.bench.publisher import USER
from edge.bench.waiting import free_port, until
from edge.errors import MissingPart

CASES = os.environ.get("BENCH_CASES", "10x1,1000x1,1000x10,1000x50,10000x1,10000x10")
NODE_RED = Path(__file__).parents[2] / "var/peers/node-red/node_modules/.bin/node-red"
QUIET_S = 5.0  # after so long without another message those that are missing are lost

FUNCTION = """
const known = context.get("known") || new Map();
context.set("known", known);
let furthest = 0;
for (const [sensor, value] of Object.entries(msg.payload)) {
  if (sensor === "time") continue;
  const name = msg.topic + "/" + sensor;
  let one = known.get(name);
  if (!one) known.set(name, (one = { count: 0, mean: 0, squares: 0 }));
  const from = value - one.mean;
  if (one.count > 10 && one.squares > 0)
    furthest = Math.max(furthest, Math.abs(from) / Math.sqrt(one.squares / (one.count - 1)));
  one.count += 1;
  one.mean += from / one.count;
  one.squares += from * (value - one.mean);
}
return { payload: msg.payload.time + " " + furthest.toFixed(3) };
"""


def measure() -> Iterator[Figure]:
    """For each case what Node-RED takes, and what the gateway takes."""
    if not NODE_RED.exists():
        raise MissingPart(f"{NODE_RED} is not there; run tests/bench/peers.sh.")
    for case in CASES.split(","):
        devices, _, readings = case.partition("x")
        peer = list(_node_red(int(devices), int(readings)))
        yield from peer
        ours = next(bus.measure_case(int(devices), int(readings)))
        yield Figure(
            bench="peers",
            case=ours.case,
            metric="messages",
            value=ours.value,
            unit="msg/s",
            peer="Node-RED",
            ratio=ours.value / peer[0].value,
            target="> 1 × Node-RED",
            ok=ours.value > peer[0].value,
        )


def _node_red(devices: int, readings: int) -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        Broker(Path(scratch, "mosquitto"), PASSWORDS, site_settings="autosave_interval 1000000\n") as broker,
        _running(Path(scratch, "node-red"), broker.port) as (process, out),
        publishing(broker.port, devices, readings) as publisher,
        out.open("rb") as file,
    ):
        lines = _Lines(file)
        before = lines.count()
        run = Run(lambda: lines.count() - before, publisher)
        run.keep_up(WARM_S)
        first, began_s, spent = run.concluded, time.monotonic(), Spent({"Node-RED": [process.pid]})
        run.keep_up(SECONDS)
        took_s, cores = time.monotonic() - began_s, spent.seconds()
        last = run.concluded
        sent = run.finish(QUIET_S)
        peak_mb = status_mb(process.pid, "VmHWM")
        times = [int(line.split()[0]) for line in out.read_text().splitlines()[before:]]
    ages_ms = run.ages_ms(np.array(list(enumerate(times, 1)), np.int64)[first:last])
    case = f"{devices:,} devices, {readings} a message, Node-RED"
    yield Figure(bench="peers", case=case, metric="messages", value=(last - first) / took_s, unit="msg/s")
    for name, part in {"p50": 50, "p99": 99}.items():
        value = float(np.percentile(ages_ms, part))
        yield Figure(bench="peers", case=case, metric=f"age in the file {name}", value=value, unit="ms")
    yield Figure(bench="peers", case=case, metric="lost", value=sent - len(times), unit=f"of {sent:,}")
    yield Figure(bench="peers", case=case, metric="peak", value=peak_mb, unit="MB")
    yield Figure(bench="peers", case=case, metric="processor", value=cores["Node-RED"] / took_s, unit="cores")


@contextmanager
def _running(folder: Path, broker_port: int) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Node-RED with the flow, once a message has gone through it: its process, and the file that it appends to."""
    folder.mkdir()
    out = folder / "out.txt"
    (folder / "flows.json").write_bytes(msgspec.json.encode(_flow(broker_port, out)))
    (folder / "flows_cred.json").write_bytes(
        msgspec.json.encode({"broker": {"user": "outstation", "password": PASSWORDS["outstation"]}})
    )
    (folder / "settings.js").write_text(
        "module.exports = { flowFile: 'flows.json', credentialSecret: false, httpAdminRoot: false, uiHost: '127.0.0.1',"
        f" uiPort: {free_port()}, logging: {{ console: {{ level: 'warn' }} }} }};\n"
    )
    command = [str(NODE_RED), "--userDir", str(folder), "--settings", str(folder / "settings.js")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _gets_through(broker_port, out), "a message goes through Node-RED", timeout_s=60)
        yield process, out
    finally:
        process.terminate()
        process.wait(30)


def _gets_through(broker_port: int, out: Path) -> bool:
    paho.mqtt.publish.single(
        f"mine/{USER}/probe",
        '{"time": 1, "s": 1}',
        qos=1,
        hostname="127.0.0.1",
        port=broker_port,
        auth={"username": USER, "password": PASSWORDS[USER]},
    )
    time.sleep(0.5)
    return out.exists() and out.stat().st_size > 0


def _flow(broker_port: int, out: Path) -> list[dict[str, object]]:
    broker: dict[str, object] = {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker_port)}
    broker |= {"clientid": "node-red", "autoConnect": True, "protocolVersion": "4", "cleansession": True}
    take: dict[str, object] = {"id": "in", "type": "mqtt in", "z": "flow", "broker": "broker", "wires": [["score"]]}
    take |= {"topic": f"mine/{USER}/+", "qos": "1", "datatype": "json"}
    score: dict[str, object] = {"id": "score", "type": "function", "z": "flow", "func": FUNCTION, "wires": [["out"]]}
    score |= {"outputs": 1}
    write: dict[str, object] = {"id": "out", "type": "file", "z": "flow", "filename": str(out), "wires": [[]]}
    write |= {"filenameType": "str", "appendNewline": True, "overwriteFile": "false", "encoding": "none"}
    return [{"id": "flow", "type": "tab", "label": "bench"}, broker, take, score, write]


class _Lines:
    """How many lines a file has, as it grows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0

    def count(self) -> int:
        """So many now."""
        self._count += self._file.read().count(b"\n")
        return self._count
