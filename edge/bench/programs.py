"""Where the programs of the operating system and what ships beside the code are."""

import os
import shutil
from pathlib import Path

from edge.errors import MissingPart

FIRMWARE = Path(__file__).parents[2] / "firmware-config"
# Services' programs are in /usr/sbin, which is not on everybody's path.
FOLDERS = os.pathsep.join((*os.get_exec_path(), "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """A program of the operating system. Raises MissingPart when it is not there."""
    found = shutil.which(name, path=FOLDERS)
    if found is None:
        raise MissingPart(f"{name} is not installed; run `firmware-config/packages.sh test` as root.")
    return found
