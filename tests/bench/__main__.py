"""`./build.sh bench [NAME…] [--json]`: the benchmarks of docs/benchmarks.md, on the machine that it runs on."""

from collections.abc import Callable, Iterator

import click

from tests.bench import (
    bus,
    fleet,
    floods,
    live,
    memory,
    noise,
    predict,
    recordings,
    replica,
    soak,
    start,
    store,
    sync,
    week,
    wer,
)
from tests.bench.figure import Figure, show

BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "recordings": recordings.measure,
    "predict": predict.measure,
    "start": start.measure,
    "memory": memory.measure,
    "wer": wer.measure,
    "noise": noise.measure,
    "replica": replica.measure,
    "restore": replica.measure_restore,
    "store": store.measure,
    "sync": sync.measure,
    "fleet": fleet.measure,
    "week": week.measure,
    "bus": bus.measure,
    "live": live.measure,
    "soak": soak.measure,
    "floods": floods.measure,
}
ON_REQUEST = {"restore", "sync", "fleet", "week", "bus", "live", "soak", "floods"}
"""Those that take minutes: measured when they are named."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def bench(names: tuple[str, ...], as_json: bool) -> None:
    """Measure, by default everything but what takes minutes."""
    for name in names or [name for name in BENCHES if name not in ON_REQUEST]:
        for figure in BENCHES[name]():
            show(figure, as_json)


bench()
