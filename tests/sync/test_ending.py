"""A program that is told to end does, whatever it was doing when the word came, and however often it comes."""

import os
import signal
import subprocess
import sys

import pytest

SIGNALS = 2000

# It looks at the event as the link does, so that most signals find it inside; a handler that set it would stand still.
PROGRAM = """
from sync.ending import ending
asked = ending()
print("ready", flush=True)
while not asked.is_set():
    asked.wait(0.0001)
for _ in range(20_000):
    asked.set()
print("ended", flush=True)
"""


@pytest.mark.parametrize("attempt", range(5))  # a handler that sets the event stands still in two of five
def test_a_program_that_is_told_again_and_again_ends(attempt: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        for _ in range(SIGNALS):
            os.kill(program.pid, signal.SIGTERM)
        assert program.communicate(timeout=20)[0] == "ended\n"
        assert program.returncode == 0
