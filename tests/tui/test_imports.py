"""The terminal is HTTP only: it runs on a device that has neither the gateway's code nor its libraries."""

import subprocess
import sys

LOADED = "import sys, tui.cli, tui.app; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def test_the_terminal_loads_nothing_of_the_gateway() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()
    assert "textual" in loaded
    assert not {"edge", "models", "sync", "numpy", "litestar", "apsw", "onnxruntime"} & set(loaded)
