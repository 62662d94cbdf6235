"""What the daemon holds in memory: idle, with the English model, and at its peak while it listens to calls."""

import time
from collections.abc import Iterator
from pathlib import Path

from edge.bench.figure import Figure
from edge.bench.site import calls_waiting, running, sample_site
from edge.bench.waiting import until
from edge.site import SAMPLE

IDLE_MB, WITH_ENGLISH_MB = 120, 400
REST_S = 13.0
"""Within it the daemon has given back what it does not use, which it does every ten seconds."""


def measure() -> Iterator[Figure]:
    """Resident memory of the daemon's process (VmRSS), and its highest (VmHWM)."""
    with sample_site(inbox=False) as (folder, page), running(folder, page) as (process, _):
        yield _figure("idle, no speech", status_mb(process.pid, "VmRSS"), IDLE_MB)
        for path in (SAMPLE / "inbox").iterdir():
            part = folder / "inbox" / f"{path.name}.part"
            part.write_bytes(path.read_bytes())
            part.rename(folder / "inbox" / path.name)
        until(lambda: calls_waiting(page) > 0, "a call was accepted", timeout_s=30)
        until(lambda: calls_waiting(page) == 0, "all calls are transcribed", timeout_s=300)
        yield _figure("after the sample's calls, English model", status_mb(process.pid, "VmRSS"), WITH_ENGLISH_MB)
        time.sleep(REST_S)
        yield _figure("at rest after them", status_mb(process.pid, "VmRSS"), None)
        yield _figure("peak under that load", status_mb(process.pid, "VmHWM"), None)


def _figure(case: str, value: float, target: int | None) -> Figure:
    return Figure(
        bench="memory",
        case=case,
        metric="resident",
        value=value,
        unit="MB",
        target=None if target is None else f"≤ {target} MB",
        ok=None if target is None else value <= target,
    )


def status_mb(pid: int, field: str) -> float:
    """A field of /proc/PID/status that is in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)
