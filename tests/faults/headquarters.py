"""The two HQs that a round may have.

`shipped` is HQ as people run it: TLS, its own broker's settings, enrolment by code, its receiver. `plain` has HQ's
store behind nats-server without TLS (tests/faults/plain_hq.py): what is garbled reaches the link, and whoever is
hostile reaches the broker.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from sync import keys
from tests.faults import plain_hq
from tests.faults.parts import OUTSTATION, Part

Kind = Literal["plain", "shipped"]
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}


def plain(folder: Path, port: int, log: Path) -> Part:
    """A plain HQ in `folder`, whose broker is at `port`."""
    command = [sys.executable, "-m", "tests.faults.plain_hq", str(folder), str(port)]
    return Part("HQ", command, log, ENVIRONMENT)


def shipped(folder: Path, port: int, log: Path) -> Part:
    """HQ as it ships in `folder`, whose broker is at `port`."""
    ports = ["--port", "0", "--mqtt-port", str(port), "--enrol-port", "0"]
    return Part("HQ", [*OUTSTATION, "hq", "run", "--dir", str(folder), *ports], log, ENVIRONMENT)


def enrol_plainly(folder: Path, site: str, site_folder: Path) -> None:
    """Have the plain HQ and a site know each other's keys."""
    secrets = site_folder / "secrets"
    public_key = keys.create(secrets / "site.key")
    (secrets / "site.pub").write_text(public_key + "\n", "ascii")
    plain_hq.enrol(folder, site, secrets)


def enrol(folder: Path, site: str, site_folder: Path) -> None:
    """Enrol a site as people do: the HQ that runs in `folder` makes a code, and the site uses it."""
    code = said("hq", "invite", site, "--dir", folder).splitlines()[-1]
    said("sync", "enrol", site_folder, code)


def said(*arguments: object) -> str:
    """What a command of ours prints."""
    command = [*OUTSTATION, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
