"""eKuiper as a peer on the device bus: a rule in its SQL that keeps a running mean and deviation of each sensor.

Its accumulating functions begin anew for each topic. Its file sink writes when it has four kilobytes together.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from edge.bench.bus import PASSWORDS
from edge.bench.publisher import USER
from edge.bench.waiting import free_port, until

HOME = Path(__file__).parents[2] / "var/peers/ekuiper"
PROGRAM = HOME / "kuiperd"
WAITING = 100_000  # messages between its steps; with the 1,024 it comes with it drops what a burst brings more


@contextmanager
def running(folder: Path, broker_port: int, out: Path, readings: int) -> Iterator["subprocess.Popen[bytes]"]:
    """eKuiper on its own files in `folder`, with a rule that appends a line to `out` for each message."""
    shutil.copytree(HOME / "etc", folder / "etc")
    for name in ("data", "log", "plugins"):
        (folder / name).mkdir()
    source = {"server": f"tcp://127.0.0.1:{broker_port}", "username": "outstation", "qos": 1}
    source |= {"password": PASSWORDS["outstation"], "protocolVersion": "3.1.1", "useInt64ForWholeNumber": True}
    # JSON is YAML.
    (folder / "etc/mqtt_source.yaml").write_bytes(msgspec.json.encode({"default": source}))
    port = free_port()
    settings = {"IP": "127.0.0.1", "PORT": str(free_port()), "RESTIP": "127.0.0.1", "RESTPORT": str(port)}
    settings |= {"PPROF": "false", "LOGLEVEL": "warn"}
    process = subprocess.Popen(
        [str(PROGRAM)],
        env={**os.environ, "KuiperBaseKey": str(folder), **{f"KUIPER__BASIC__{k}": v for k, v in settings.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as rest:
            until(lambda: _answers(rest), "eKuiper answers", timeout_s=60)
            for path, asked in _rule(out, readings).items():
                rest.post(path, json=asked).raise_for_status()
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _answers(rest: httpx.Client) -> bool:
    try:
        return rest.get("/").is_success
    except httpx.TransportError:
        return False


def _rule(out: Path, readings: int) -> dict[str, object]:
    """What to post where."""
    stream = f'CREATE STREAM bus () WITH (DATASOURCE="mine/{USER}/+", TYPE="mqtt", FORMAT="json")'
    distances = ", ".join(f"{_distance(f's{sensor:02}')} AS d{sensor:02}" for sensor in range(readings))
    file = {"path": str(out), "fileType": "lines", "format": "delimited", "delimiter": " ", "sendSingle": True}
    file["fields"] = ["time", *(f"d{sensor:02}" for sensor in range(readings))]
    file["bufferLength"] = WAITING
    sql = f"SELECT time, {distances} FROM bus"
    rule: dict[str, object] = {"id": "furthest", "sql": sql, "actions": [{"file": file}]}
    rule["options"] = {"bufferLength": WAITING}
    return {"/streams": {"sql": stream}, "/rules": rule}


def _distance(sensor: str) -> str:
    """How many deviations a reading is from its mean, in eKuiper's SQL."""
    mean, square = (f"acc_avg({what}) OVER (PARTITION BY meta(topic))" for what in (sensor, f"{sensor} * {sensor}"))
    return f"abs({sensor} - {mean}) / sqrt(0.000001 + abs({square} - power({mean}, 2)))"
