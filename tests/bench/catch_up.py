"""Who is behind with readings: how fast they are taken, most of them from the disk."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from edge.bench.figure import Figure
from edge.bench.site import sample_site
from edge.daemon import open_site
from edge.events import Event, Reading, now_us
from edge.site import read_site
from edge.store.journal import Offer

DEVICES, SENSORS, MESSAGES = 1_000, 10, 60_000
AT_ONCE = 2_000


def measure() -> Iterator[Figure]:
    """Messages a second of a pipeline that begins when all of them are in the journal."""
    with ExitStack() as stack:
        folder, _ = stack.enter_context(sample_site(inbox=False))
        opened = open_site(read_site(folder), stack)
        stack.callback(opened.listener.stop)
        random, now = np.random.default_rng(0), now_us()
        for first in range(0, MESSAGES, AT_ONCE):
            events = [
                Event(
                    at=now + 1_000 * number,
                    source="bus",
                    subject=f"device-{number % DEVICES:04}",
                    received_at=now + 1_000 * number,
                    boot_id=opened.journal.boot_id,
                    data=Reading(values={f"s{s}": float(v) for s, v in enumerate(random.normal(size=SENSORS))}),
                )
                for number in range(first, first + AT_ONCE)
            ]
            opened.journal.accept([Offer(events=[(None, event) for event in events])]).result()
        began_s = time.monotonic()
        opened.pipeline.drain()
        rate = MESSAGES / (time.monotonic() - began_s)
        behind = MESSAGES - sum(opened.journal.readings_by_device().values())
        assert not behind, f"{behind} of {MESSAGES} messages were not concluded"
    case = f"{DEVICES:,} devices of {SENSORS} sensors, {MESSAGES:,} messages"
    yield Figure(bench="catch-up", case=case, metric="messages", value=rate, unit="msg/s")
