"""What the documents say can be typed, can be typed; what must not be in the repository is not."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from edge.cli import outstation

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("**/*.md"))]
HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "maven" + ".org",
    "npmjs" + ".org",
    "debian" + ".org",
    "crates" + ".io",
)


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists(document: Path) -> None:
    context = click.Context(outstation)
    for words in re.findall(r"(?:^|bin/)outstation ([a-z][a-z -]*)", "\n".join(_code(document)), re.MULTILINE):
        command: click.Command | None = outstation
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(context, word)
            assert command is not None, f"{document.name} names `outstation {words.strip()}`, which there is not"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_picture_in_a_document_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), f"{document.name} points to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_build_command_in_a_document_exists(document: Path) -> None:
    script = (ROOT / "build.sh").read_text("utf-8")
    for command in re.findall(r"\./build\.sh ([a-z]+)", document.read_text("utf-8")):
        assert re.search(rf"^  {command}\)", script, re.MULTILINE), f"{document.name} names ./build.sh {command}"


def test_no_tracked_file_names_a_registry_host_or_a_path_of_a_developers_machine() -> None:
    private = ("/" + "work/main", "/" + "root/", "/" + "work/shared")
    for path in tracked():
        text = path.read_bytes()
        for bad in (*HOSTS, *private):
            assert bad.encode() not in text, f"{path.relative_to(ROOT)} names {bad}"


def _code(document: Path) -> list[str]:
    text = document.read_text("utf-8")
    return re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
