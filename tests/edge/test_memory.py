"""Free memory goes back to the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
from pathlib import Path
from edge.memory import give_back

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

# Blocks of the C library's own heap, the last of which stays in use: nothing before it goes back by itself.
before = resident_mb()
blocks = [b"x" * 65_536 for _ in range(3_200)]
last = b"x" * 65_536
held = resident_mb()
del blocks
give_back()
print(held - before, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what is free")
def test_what_is_free_goes_back_also_from_below_what_is_in_use() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    held_mb, kept_mb = map(float, done.stdout.split())
    assert held_mb > 150
    assert kept_mb < 20
