"""Node-RED as a peer on the device bus: a flow that keeps a running mean and deviation of each sensor."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.bench.bus import PASSWORDS
from edge.bench.publisher import USER
from edge.bench.waiting import free_port

PROGRAM = Path(__file__).parents[2] / "var/peers/node-red/node_modules/.bin/node-red"

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


@contextmanager
def running(folder: Path, broker_port: int, out: Path, _readings: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Node-RED on its own files in `folder`, which appends a line to `out` for each message."""
    (folder / "flows.json").write_bytes(msgspec.json.encode(_flow(broker_port, out)))
    (folder / "flows_cred.json").write_bytes(
        msgspec.json.encode({"broker": {"user": "outstation", "password": PASSWORDS["outstation"]}})
    )
    (folder / "settings.js").write_text(
        "module.exports = { flowFile: 'flows.json', credentialSecret: false, httpAdminRoot: false, uiHost: '127.0.0.1',"
        f" uiPort: {free_port()}, logging: {{ console: {{ level: 'warn' }} }} }};\n"
    )
    command = [str(PROGRAM), "--userDir", str(folder), "--settings", str(folder / "settings.js")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


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
