"""The units that ship: systemd takes them without a word, and shuts them off from the rest of the box."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench.programs import FIRMWARE, program

UNITS = ("outstation.service", "outstation-link.service", "outstation-replica.service")
# systemd's own measure of what a unit can reach, from 0 to 10: above 2 is more than ours need.
MOST_EXPOSED = "2.0"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, their programs in /opt/outstation replaced by one that is here."""
    for unit in UNITS:
        text = (FIRMWARE / "systemd" / unit).read_text()
        (tmp_path / unit).write_text(
            re.sub(r"^(Exec\w+=)/opt/outstation/\S+", r"\1/bin/true", text, flags=re.MULTILINE)
        )
    return tmp_path


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit_without_a_word(units: Path, unit: str) -> None:
    verified = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", str(units / unit)], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_reaches_little_of_the_box(units: Path, unit: str) -> None:
    scored = security(units / unit, threshold=MOST_EXPOSED)
    assert scored.returncode == 0, scored.stdout


def test_mosquitto_takes_our_addition_to_its_unit_and_reaches_less_by_it(tmp_path: Path) -> None:
    program("mosquitto")
    shutil.copy("/lib/systemd/system/mosquitto.service", tmp_path)
    assert security(tmp_path / "mosquitto.service", threshold="3.0").returncode != 0
    addition = tmp_path / "mosquitto.service.d" / "outstation.conf"
    addition.parent.mkdir()
    shutil.copy(FIRMWARE / "systemd" / "mosquitto.conf", addition)
    verified = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", str(tmp_path / "mosquitto.service")],
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    assert security(tmp_path / "mosquitto.service", threshold="3.0").returncode == 0


def security(unit: Path, threshold: str) -> subprocess.CompletedProcess[str]:
    """systemd's judgement; its code is not 0 when the unit is more exposed than the threshold (0 to 10)."""
    tenths = str(round(float(threshold) * 10))
    return subprocess.run(
        [program("systemd-analyze"), "security", "--no-pager", "--offline=true", f"--threshold={tenths}", str(unit)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("unit", "table"), [("outstation-link", "hq"), ("outstation-replica", "replica")])
@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ("[TABLE]\nsupervised = false\n", True),
        ("[TABLE]\n  supervised=false # the unit does it\n", True),
        ("[TABLE]\nsupervised = true\n", False),
        ("[TABLE]\n# supervised = false\n", False),
        ("[other]\nsupervised = false\n", False),
        ("[TABLE\nsupervised = false\n", False),
        ("", False),
    ],
)
def test_a_unit_starts_only_what_the_daemon_does_not_start(
    tmp_path: Path, unit: str, table: str, said: str, runs: bool
) -> None:
    text = (FIRMWARE / "systemd" / f"{unit}.service").read_text()
    condition = re.search(r"^ExecCondition=(.+)$", text, re.MULTILINE)
    assert condition is not None
    _, *arguments = shlex.split(condition[1])
    site = tmp_path / "site.toml"
    site.write_text(said.replace("TABLE", table))
    arguments[arguments.index("/var/lib/outstation/site/site.toml")] = str(site)
    assert (subprocess.run([sys.executable, *arguments], stderr=subprocess.DEVNULL).returncode == 0) is runs
