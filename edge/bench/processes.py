"""What processes cost: their time on the processors and the memory that they hold."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Spent:
    """Processor time of named groups of processes from now on."""

    def __init__(self, parts: Mapping[str, Iterable[int]]) -> None:
        self._before = {name: {pid: cpu_s(pid) for pid in pids} for name, pids in parts.items()}

    def seconds(self) -> dict[str, float]:
        """By name what was used since; a process that has ended counts no more."""
        return {
            name: sum(cpu_s(pid) - before for pid, before in pids.items() if Path(f"/proc/{pid}").exists())
            for name, pids in self._before.items()
        }
