"""The scripts that ship: sound shell, and what they leave behind on a box."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from edge.bench.programs import FIRMWARE, program

SCRIPTS = sorted(FIRMWARE.rglob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(FIRMWARE)))
def test_shellcheck_finds_nothing(script: Path) -> None:
    checked = subprocess.run([program("shellcheck"), str(script)], capture_output=True, text=True)
    assert checked.stdout == ""
    assert os.access(script, os.X_OK)


def test_packages_that_are_there_are_not_touched() -> None:
    for name in ("mosquitto", "shellcheck", "systemd-analyze"):
        program(name)
    done = subprocess.run([str(FIRMWARE / "packages.sh"), "test", "site"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("groups", "sentence"), [([], "say which group: "), (["tset"], "there is no group 'tset'")])
def test_packages_asked_for_wrongly_say_what_there_is(groups: list[str], sentence: str) -> None:
    done = subprocess.run([str(FIRMWARE / "packages.sh"), *groups], capture_output=True, text=True)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert re.search(r"\bsite\b", done.stderr)


# ---- install.sh, into an image's root -----------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of an image that has the program and mosquitto, as far as install.sh looks at them."""
    if os.geteuid() != 0:
        pytest.skip("install.sh makes folders of another user, which only root may")
    for name in ("opt/outstation/.venv/bin/outstation", "usr/sbin/mosquitto"):
        executable = tmp_path / name
        executable.parent.mkdir(parents=True)
        executable.touch(mode=0o755)
    units = tmp_path / "lib" / "systemd" / "system"
    units.mkdir(parents=True)
    program("mosquitto")
    shutil.copy("/lib/systemd/system/mosquitto.service", units)
    return tmp_path


def install(image: Path) -> subprocess.CompletedProcess[str]:
    """Run install.sh on an image."""
    script = str(FIRMWARE / "install.sh")
    return subprocess.run([script, "--root", str(image)], capture_output=True, text=True)


def tree(root: Path) -> dict[str, tuple[str, int, bytes | str]]:
    """Every file and folder: mode, owner, and what is in it."""
    found: dict[str, tuple[str, int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        inside = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path.relative_to(root))] = (stat.filemode(status.st_mode), status.st_uid, inside)
    return found


def test_an_installed_image_starts_all_parts_and_a_second_installation_changes_nothing(image: Path) -> None:
    first = install(image)
    assert first.returncode == 0, first.stderr
    once = tree(image)
    starts = {path.name for path in (image / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert starts == {
        "mosquitto.service",
        "outstation.service",
        "outstation-link.service",
        "outstation-replica.service",
    }
    user = re.search(r"^outstation:x:(\d+):", (image / "etc/passwd").read_text(), re.MULTILINE)
    assert user is not None
    assert once["var/lib/outstation"][:2] == ("drwxr-x---", int(user[1]))
    assert once["var/lib/outstation/replica"][:2] == ("drwx------", int(user[1]))
    assert install(image).returncode == 0
    assert tree(image) == once


def test_an_installation_keeps_what_a_site_has_settled_for_itself(image: Path) -> None:
    install(image)
    names = image / "etc/mosquitto/outstation.acl"
    names.write_text("user outstation\ntopic readwrite #\n")
    override = image / "etc/systemd/system/outstation.service.d/override.conf"
    override.parent.mkdir(exist_ok=True)
    override.write_text("[Service]\nMemoryMax=2G\n")
    assert install(image).returncode == 0
    assert names.read_text() == "user outstation\ntopic readwrite #\n"
    assert override.exists()


def test_without_the_program_the_installation_says_so_and_changes_nothing(image: Path) -> None:
    (image / "opt/outstation/.venv/bin/outstation").unlink()
    before = tree(image)
    refused = install(image)
    assert refused.returncode == 3
    assert "opt/outstation/.venv/bin/outstation is not there" in refused.stderr
    assert tree(image) == before
