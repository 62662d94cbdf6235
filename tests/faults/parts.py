"""The real parts as processes that can be killed, the small disks that they write to, and the clock that they see."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

CLOCK_SOURCE = Path(__file__).with_name("clock.c")
OUTSTATION = (sys.executable, "-m", "edge.cli")
RESTART_S = 0.5
STOP_S = 30.0


class Part:
    """A program that is kept running as systemd would (Restart=always), except while a fault holds it down."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.starts = 0
        self.codes: list[int] = []
        """How it ended when nobody had killed it."""
        self._command = command
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._not_before_s = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def said(self) -> str:
        """All that it has written."""
        return self._log.read_text("utf-8", errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Have it run from now on."""
        self._wanted = True
        self._not_before_s = 0.0
        self.keep_running()

    def keep_running(self) -> None:
        """Start it if it should run and does not."""
        if not self._wanted or self.pid is not None:
            return
        if self._process is not None:
            self.codes.append(self._process.returncode)
            self._process = None
            self._not_before_s = time.monotonic() + RESTART_S
        if time.monotonic() >= self._not_before_s:
            self.starts += 1
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=self._environment
                )

    def kill(self) -> None:
        """SIGKILL, and down until the next `start`."""
        self._wanted = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int | None:
        """SIGTERM, and down until the next `start`; gives the exit code (None: it did not run)."""
        self._wanted = False
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -signal.SIGKILL
        self._process = None
        return code

    def child(self, word: str) -> int | None:
        """The child process whose command line has `word` in it."""
        for pid in _children(self.pid):
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    def kill_child(self, word: str) -> bool:
        """SIGKILL for that child; False when there is none now."""
        pid = self.child(word)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True


def _children(pid: int | None) -> list[int]:
    if pid is None:
        return []
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(int(child) for child in thread.read_text("ascii").split())
    return found


class Disk:
    """A folder on a small file system of its own (tmpfs), which can be filled."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._filler = folder / "filler"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "none", str(folder)], check=True)

    def fill(self) -> None:
        """Leave no free byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)


def can_mount() -> bool:
    """Whether this process may mount: it runs in a mount namespace of its own, or as root."""
    with tempfile.TemporaryDirectory() as folder:
        program = "mount -t tmpfs none $0 && umount $0"
        tried = subprocess.run(["sh", "-c", program, folder], capture_output=True, check=False)
    return tried.returncode == 0


class Clock:
    """The wall clock that the processes of a site see (tests/faults/clock.c); the time since boot goes on as it is.

    The daemon hands none of its environment but PATH to its children, so a `setpriv` of our own at the head of PATH
    gives them the clock before it becomes the real one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._offset = folder / "offset"
        self._offset.write_bytes(bytes(8))
        self._environment: dict[str, str] = {}
        library = folder / "clock.so"
        if can_set_clock():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK_SOURCE)], check=True)
            self._environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._offset)}
            shim = folder / "setpriv"
            exports = "".join(f"export {name}='{value}'\n" for name, value in self._environment.items())
            shim.write_text(f'#!/bin/sh\n{exports}exec {shutil.which("setpriv")} "$@"\n')
            shim.chmod(0o755)
        self._path = f"{folder}:{os.environ.get('PATH', '')}"

    def environment(self) -> dict[str, str]:
        """What a process has to be started with to see this clock."""
        return {**os.environ, **self._environment, "PATH": self._path}

    def set(self, offset_s: int) -> None:
        """Let the clock be wrong by so many seconds from now on."""
        with self._offset.open("r+b", buffering=0) as file:
            file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))


def can_set_clock() -> bool:
    """Whether the library that sets a process's clock can be made here: it needs a C compiler."""
    return shutil.which("cc") is not None
