"""Figures into a document: a table for each benchmark, between two marks, in the place of an earlier one."""

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from edge.bench.figure import Figure


def write(document: Path, figures: Sequence[Figure]) -> None:
    """Put the figures of one benchmark, measured now on this box, into a Markdown document; the rest of it stays.

    Raises OSError.
    """
    bench = figures[0].bench
    begin, end = f"<!-- figures of {bench} -->\n", f"<!-- end of {bench} -->\n"
    text = document.read_text("utf-8") if document.exists() else ""
    before, found, after = text.partition(begin)
    after = after.partition(end)[2] if found else ""
    if not found and before:
        before = before.rstrip("\n") + "\n\n"
    document.write_text(f"{before}{begin}{_table(figures)}{end}{after}", "utf-8")


def _table(figures: Sequence[Figure]) -> str:
    rows = "".join(f"| {' | '.join(_cells(figure))} |\n" for figure in figures)
    head = "| case | figure | here | target |\n|---|---|---|---|\n"
    return f"`bench {figures[0].bench}`, {date.today()}, {_box()}:\n\n{head}{rows}\n"


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    here = f"{figure.value:,.4g} {figure.unit}"
    if figure.ratio is not None:
        here += f", {figure.ratio:.3g} × {figure.peer}"
    verdict = {None: "", True: ": met", False: ": **short of it**"}[figure.ok]
    return figure.case, figure.metric, here, f"{figure.target or ''}{verdict}"


def _box() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{os.cpu_count()} cores of {_processor()}, {memory_gb:.0f} GB, {platform.system()}, Python {python}"


def _processor() -> str:
    """What the processor calls itself; some architectures tell it nowhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
