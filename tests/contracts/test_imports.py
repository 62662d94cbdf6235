"""What may be loaded where, seen from a real process."""

import subprocess
import sys

import pytest

import edge
import models
import sync
import tui


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import edge.daemon", {"models.train", "sklearn", "onnx", "sqlite3", "sync", "tui"}),
        ("import sync.uplink", {"edge", "models", "numpy", "onnxruntime", "vosk"}),
        ("import sync.hq.run", {"edge", "models", "numpy", "onnxruntime", "vosk"}),
        ("import tui.app", {"edge", "models", "sync", "numpy"}),
        ("import edge.cli", {"numpy", "litestar", "textual", "vosk", "onnxruntime"}),
    ],
)
def test_a_process_loads_only_what_it_is_for(statement: str, never: set[str]) -> None:
    assert loaded_by(statement) & never == set()


def test_the_general_names_of_our_packages_are_ours() -> None:
    parents = {str(package.__path__[0]).rsplit("/", 1)[0] for package in (edge, models, sync, tui)}
    assert len(parents) == 1
