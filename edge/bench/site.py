"""A sample site in a temporary folder, as the benchmarks run it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from edge.bench.waiting import free_port, until

OUTSTATION = [sys.executable, "-m", "edge.cli"]


@contextmanager
def sample_site(*, inbox: bool) -> Iterator[tuple[Path, str]]:
    """The sample site without bus and HQ, with or without its inbox: its folder and its page's address."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "site"
        subprocess.run([*OUTSTATION, "init", "--sample", str(folder)], check=True, capture_output=True)
        if not inbox:
            for path in (folder / "inbox").iterdir():
                path.unlink()
        port = free_port()
        (folder / "site.toml").write_text(f'name = "bench"\nlanguage = "en"\n[web]\nport = {port}\n')
        yield folder, f"http://127.0.0.1:{port}"


@contextmanager
def running(folder: Path, page: str, log: Path = Path(os.devnull)) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The daemon on a site, once it is ready: its process, and how many seconds that took."""
    began_s = time.monotonic()
    with log.open("ab") as stderr:
        process = subprocess.Popen([*OUTSTATION, "run", str(folder)], stderr=stderr)
    try:
        until(lambda: is_ready(page), "the daemon is ready", timeout_s=60)
        yield process, time.monotonic() - began_s
    finally:
        process.terminate()
        process.wait(30)


def is_ready(page: str) -> bool:
    """Whether the page answers and says that the daemon takes events."""
    try:
        return bool(httpx.get(f"{page}/api/health", timeout=2).json()["ready"])
    except httpx.HTTPError:
        return False


def calls_waiting(page: str) -> int:
    """How many calls have no complete transcript."""
    return int(httpx.get(f"{page}/api/health", timeout=10).json()["calls_waiting"])
