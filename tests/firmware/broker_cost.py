"""What it costs the devices' broker to save, and what its death then costs, by how many messages it saves at once.

`python -m tests.firmware.broker_cost` prints a line {bench, case, metric, value, unit} for each figure.
"""

import json
import tempfile
import time
from pathlib import Path

from edge.bench.broker import Broker
from tests.firmware.client import Client

MESSAGES = 3_000
PAYLOAD = bytes(300)
PASSWORDS = {"outstation": "gateway's own", "pump-1": "one"}


def main() -> None:
    for autosave in (1, 10, 100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            settings = f"autosave_interval {autosave}\n"
            with Broker(Path(folder, "mosquitto"), PASSWORDS, site_settings=settings) as broker:
                measure(broker, f"autosave_interval={autosave}")


def measure(broker: Broker, case: str) -> None:
    """Messages a second with the gateway there and away, and how many were lost when the broker was killed."""
    topic = "devices/pump-1/readings"
    with gateway(broker) as daemon, device(broker) as pump:
        daemon.subscribe("devices/#")
        began_s = time.monotonic()
        for _ in range(MESSAGES - 1):
            pump.publish(topic, PAYLOAD)
        pump.publish(topic, b"the last")
        daemon.messages(last=b"the last")
        report(case, "gateway there", MESSAGES / (time.monotonic() - began_s), "messages/s")
    with device(broker) as pump:
        began_s = time.monotonic()
        for info in [pump.publish(topic, PAYLOAD) for _ in range(MESSAGES)]:
            info.wait_for_publish(60)
        report(case, "gateway away", MESSAGES / (time.monotonic() - began_s), "messages/s")
        broker.kill()
    broker.start()
    with gateway(broker) as daemon:
        daemon.acknowledged("devices/itself", b"the end")
        waited = [message for message in daemon.messages(last=b"the end") if message == PAYLOAD]
        report(case, "lost by kill -9", MESSAGES - len(waited), "messages")


def gateway(broker: Broker) -> Client:
    return Client(broker.port, "outstation", PASSWORDS["outstation"], session=True)


def device(broker: Broker) -> Client:
    return Client(broker.port, "pump-1", PASSWORDS["pump-1"])


def report(case: str, metric: str, value: float, unit: str) -> None:
    line = {"bench": "broker", "case": case, "metric": metric, "value": round(value), "unit": unit}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
