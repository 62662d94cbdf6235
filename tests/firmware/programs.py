"""Where the programs are that these tests run; one that is missing fails the test with what to do about it."""

import os
import shutil
from pathlib import Path

FIRMWARE = Path(__file__).parents[2] / "firmware-config"
# Services' programs are in /usr/sbin, which is not on everybody's path.
FOLDERS = os.pathsep.join((*os.get_exec_path(), "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """A program of the operating system. Raises FileNotFoundError when it is not there."""
    found = shutil.which(name, path=FOLDERS)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; run `firmware-config/packages.sh test` as root.")
    return found
