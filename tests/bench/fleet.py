"""HQ with one site, with a hundred and with a thousand: the records that it takes, how soon it says so, and its cost.

The sites are simulated in this process (tests.bench.fleet_site), on the same processors as HQ. They are enrolled in
HQ's store and certified by its authority without the HTTP request in between.
"""

import asyncio
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bench.figure import Figure
from edge.bench.processes import Spent, resident_mb
from sync import keys
from sync.hq.run import prepare
from sync.hq.store import Store
from tests.bench import backlog
from tests.bench.fleet_site import FleetSite
from tests.bench.hq import Hq
from tests.hq.cluster import cluster

SIZES = (1, 100, 1000)
WARM_S, MEASURED_S = 5.0, 30.0
PULSE_S = 60.0
CONNECTING_AT_ONCE = 20
LONGEST_S = 180.0
TARGET_P99_S = 2.0

Wait = Callable[[FleetSite], Awaitable[None]]


async def _a_second(_: FleetSite) -> None:
    await asyncio.sleep(1)


async def _acknowledged(site: FleetSite) -> None:
    await site.settled()


class _Fleet:
    """So many sites of one HQ, which does not run yet."""

    def __init__(self, hq: Hq, size: int) -> None:
        self._hq = hq
        self._took_s: list[float] = []
        self._authority = prepare(hq.folder / "secrets", ("127.0.0.1",))
        store = Store.open(hq.store)
        self._sites = []
        for number in range(size):
            key, name = Ed25519PrivateKey.generate(), f"site-{size}-{number}"
            store.enrol(name, keys.public_text(key.public_key()))
            certificate = self._authority.certify_site(key.public_key())
            records = backlog.records(random.Random(number))
            self._sites.append(FleetSite(name, key, certificate, records, self._took_s.append))
        store.close()

    async def measure(self, store: str, ways: dict[str, Wait]) -> list[Figure]:
        """Connect all, then let them send in each of these ways."""
        hq_key = keys.parse_public((self._hq.folder / "secrets" / "hq.pub").read_text())
        turns = asyncio.Semaphore(CONNECTING_AT_ONCE)

        async def connect(site: FleetSite) -> None:
            async with turns, asyncio.timeout(LONGEST_S):
                await site.connect(self._hq.mqtt_port, self._authority.pem, hq_key)

        await asyncio.gather(*map(connect, self._sites))
        figures = []
        for way, wait in ways.items():
            figures += await self._send(f"{store}, sites: {len(self._sites):,}, {way}", wait)
        await asyncio.gather(*(site.close() for site in self._sites))
        return figures

    async def _send(self, case: str, wait: Wait) -> list[Figure]:
        until_s = time.monotonic() + WARM_S + MEASURED_S

        async def run(site: FleetSite) -> None:
            await asyncio.sleep(random.random())
            await site.run(wait, until_s, PULSE_S)

        async with asyncio.timeout(WARM_S + MEASURED_S + LONGEST_S):
            sending = asyncio.gather(*map(run, self._sites))
            await asyncio.sleep(WARM_S)
            parts = self._hq.parts()
            spent = Spent({**parts, "the simulated sites": [os.getpid()]})
            self._took_s.clear()
            began_s = time.monotonic()
            await asyncio.sleep(MEASURED_S)
            took_s, passed_s, seconds = sorted(self._took_s), time.monotonic() - began_s, spent.seconds()
            await sending
        p99 = took_s[int(0.99 * len(took_s))]
        return [
            _figure(case, "records that HQ takes", len(took_s) / passed_s, "records/s"),
            _figure(case, "acknowledged after, p50", statistics.median(took_s), "s"),
            _figure(case, "acknowledged after, p99", p99, "s", f"≤ {TARGET_P99_S} s", p99 <= TARGET_P99_S),
            *(_figure(case, f"CPU of {name}", 100 * s / passed_s, "% of a core") for name, s in seconds.items()),
            *(_figure(case, f"memory of {name}", resident_mb(parts[name][0]), "MB") for name in ("receiver", "broker")),
        ]


def measure() -> Iterator[Figure]:
    """Each site sends a record a second, in an envelope of its own; at last a thousand send the next one as soon as HQ
    has the one before."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for size in SIZES:
        yield from _fleet("SQLite", None, size)
    for size in SIZES:
        with cluster(durable=True) as dsn:
            yield from _fleet("PostgreSQL", dsn, size)


def _fleet(store: str, dsn: str | None, size: int) -> Iterator[Figure]:
    ways: dict[str, Wait] = {"a record a second each": _a_second}
    if size == max(SIZES):
        ways["as fast as HQ takes it"] = _acknowledged
    with tempfile.TemporaryDirectory() as folder:
        hq = Hq(Path(folder) / "hq", dsn)
        fleet = _Fleet(hq, size)
        with hq.running():
            yield from asyncio.run(fleet.measure(store, ways))


def _figure(
    case: str, metric: str, value: float, unit: str, target: str | None = None, ok: bool | None = None
) -> Figure:
    return Figure(bench="fleet", case=case, metric=metric, value=value, unit=unit, target=target, ok=ok)
