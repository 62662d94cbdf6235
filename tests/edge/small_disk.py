"""A site on a small disk of its own, which fills as far as a test wants."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.site import Disk as DiskSettings
from edge.site import Site, SiteSettings
from tests.faults.parts import Disk, can_mount

MB = 2**20
SIZE_MB, LOW_MB, FLOOR_MB = 96, 32, 8

needs_mount = pytest.mark.skipif(not can_mount(), reason="a small disk cannot be mounted here")


class SmallDisk(Disk):
    """A disk that can also be filled up to the last megabytes."""

    def leave(self, megabytes: float) -> None:
        """Have just so much free."""
        self.free()
        status = os.statvfs(self.folder)
        size = status.f_bavail * status.f_frsize - int(megabytes * MB)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A disk of 96 MB at a folder."""
    disk = SmallDisk(folder, SIZE_MB)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def small_site(folder: Path) -> Site:
    """A site whose disk is low below 32 MB and at the floor below 8, and whose readings may go at once."""
    disk = DiskSettings(low_mb=LOW_MB, floor_mb=FLOOR_MB, keep_readings_hours=0.0)
    site = Site(folder=folder, settings=SiteSettings(name="small", disk=disk))
    for part in (site.inbox, site.audio, site.logs):
        part.mkdir(parents=True)
    return site
