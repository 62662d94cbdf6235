"""Shows a download's progress on stderr: a bar on a terminal, now and then a line elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from models.fetch import Report

LINE_EVERY = 0.1  # of the whole


@contextmanager
def progress(name: str) -> Iterator[Report]:
    """Gives a function that takes the bytes that are there and those there will be (0: unknown)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name).show
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole or None)


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._next_bytes = 0.0

    def show(self, done: int, whole: int) -> None:
        if done < self._next_bytes and done != whole:
            return
        self._next_bytes = done + (LINE_EVERY * whole or 8e6)
        of = f" of {whole / 1e6:.1f}" if whole else ""
        print(f"{self._name}: {done / 1e6:.1f}{of} MB", file=sys.stderr)
