"""`./build.sh bench [NAME…]`: what `outstation bench` measures, and what needs a development machine."""

from edge.bench.cli import BENCHES, ON_REQUEST, command
from tests.bench import catch_up, fleet, floods, names, peers, replica, soak, store, sync, week, wer

DEVELOPMENT = {
    "wer": wer.measure,
    "names": names.measure,
    "replica": replica.measure,
    "restore": replica.measure_restore,
    "store": store.measure,
    "sync": sync.measure,
    "fleet": fleet.measure,
    "week": week.measure,
    "catch-up": catch_up.measure,
    "soak": soak.measure,
    "floods": floods.measure,
    "peers": peers.measure,
}

command({**BENCHES, **DEVELOPMENT}, ON_REQUEST | {"restore", "sync", "fleet", "week", "soak", "floods", "peers"})()
