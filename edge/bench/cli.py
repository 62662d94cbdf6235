"""`outstation bench`: how fast this box is."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import click

from edge.bench import (
    audit,
    bus,
    chains,
    countdowns,
    decisions,
    live,
    memory,
    noise,
    predict,
    recordings,
    start,
    uplift,
)
from edge.bench.document import write
from edge.bench.figure import Figure, show

BENCHES: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "recordings": recordings.measure,
    "predict": predict.measure,
    "start": start.measure,
    "memory": memory.measure,
    "noise": noise.measure,
    "bus": bus.measure,
    "live": live.measure,
    "decisions": decisions.measure,
    "chains": chains.measure,
    "countdowns": countdowns.measure,
    "audit": audit.measure,
    "uplift": uplift.measure,
}
ON_REQUEST = frozenset({"bus", "live", "audit", "uplift"})
"""Those that take minutes: measured when they are named."""


def command(benches: Mapping[str, Callable[[], Iterator[Figure]]], on_request: Collection[str]) -> click.Command:
    """A command that runs these, by default all but those on request."""

    @click.command(name="bench", epilog=f"On request, as they take minutes: {', '.join(sorted(on_request))}.")
    @click.argument("names", nargs=-1, type=click.Choice(list(benches)))
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.option(
        "--write", "document", type=click.Path(path_type=Path, dir_okay=False), help="Also into a Markdown document."
    )
    def bench(names: tuple[str, ...], as_json: bool, document: Path | None) -> None:
        """Measure this box: by default everything but what takes minutes."""
        for name in names or [name for name in benches if name not in on_request]:
            figures = []
            for figure in benches[name]():
                show(figure, as_json)
                figures.append(figure)
            if document is not None and figures:
                write(document, figures)

    return bench


bench = command(BENCHES, ON_REQUEST)
