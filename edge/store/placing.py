"""A file that appears whole or not at all, and is on the disk when whoever put it there goes on."""

import os
from pathlib import Path


def put_in_place(unfinished: Path, path: Path) -> None:
    """Let a finished file take its name, in the place of an older one, once it is on the disk. Raises OSError."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
