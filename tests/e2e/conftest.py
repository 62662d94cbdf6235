"""The sample site, made anew for each test by the command that users call, and the English speech pack for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from edge.bench.waiting import free_port
from edge.site import Site, read_site

OUTSTATION = [sys.executable, "-m", "edge.cli"]


@pytest.fixture
def make_site(tmp_path: Path, packs: Path) -> Callable[..., Path]:
    """Makes a sample site with ports of its own; by default without bus and HQ."""

    def make(name: str = "site", *, bus: bool = False, hq_port: int | None = None) -> Path:
        folder = tmp_path / name
        subprocess.run([*OUTSTATION, "init", "--sample", str(folder)], check=True, capture_output=True)
        text = (folder / "site.toml").read_text("utf-8")
        kept = []
        table = ""
        for line in text.splitlines():
            if line.startswith("["):
                table = line.strip("[] ").partition(".")[0]
            if (table == "bus" and not bus) or (table == "hq" and hq_port is None):
                continue
            if line.startswith("port"):
                line = f"port = {hq_port if table == 'hq' else free_port()}"
            kept.append(line)
        (folder / "site.toml").write_text("\n".join(kept) + "\n", "utf-8")
        return folder

    return make


@pytest.fixture
def site(make_site: Callable[..., Path]) -> Site:
    """The sample site with an empty inbox: only orders and notes move."""
    folder = make_site()
    for path in (folder / "inbox").iterdir():
        path.unlink()
    return read_site(folder)


def in_use(client: httpx.Client) -> dict[str, str]:
    """The packs that predict now, with their versions."""
    return {pack["name"]: pack["version"] for pack in client.get("/api/packs").json()}
