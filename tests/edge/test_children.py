"""What the daemon starts ends with it, however soon it dies."""

import subprocess
import sys
from pathlib import Path

from edge.bench.waiting import until

# A parent that is killed in the moment after it has started a child; the child says its number, if it comes to that.
PARENT = """
import os, signal
from edge.children import Child
child = Child("child", ["sh", "-c", "echo $$; exec sleep 60 >&-"], {"PATH": os.environ["PATH"]})
if os.fork() == 0:
    os.execvpe(child._command[0], child._command, child._environment)
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_whose_parent_dies_at_once_does_not_live_on() -> None:
    for _ in range(10):
        parent = [sys.executable, "-c", PARENT]
        said = subprocess.run(parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
        until(lambda said=said: not said or not is_alive(said), "the child is gone", 5.0)  # type: ignore[misc]
