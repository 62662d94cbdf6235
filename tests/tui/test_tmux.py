"""The terminal in a real terminal: tmux draws it, and tells what it drew."""

import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge.events import SpokenEvidence
from tests.tui.conftest import PATIENCE_S, Site

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

CODE = "from tui.cli import tui; tui()"
SPOKEN = SpokenEvidence(event_id="e", channel="customer", start_s=87.2, end_s=92.4, text="比预算贵")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Pane:
    """One terminal of tmux with a server of its own."""

    def __init__(self, folder: str) -> None:
        self._tmux = ["tmux", "-S", f"{folder}/tmux", "-f", "/dev/null", "-u"]

    def start(self, command: list[str], environment: dict[str, str], size: tuple[int, int]) -> None:
        """Run `command` in it."""
        columns, rows = map(str, size)
        variables = [f"{name}={value}" for name, value in environment.items()]
        self._do("new-session", "-d", "-x", columns, "-y", rows, "env", "-u", "NO_COLOR", *variables, *command)

    def press(self, *keys: str) -> None:
        """Press keys."""
        self._do("send-keys", *keys)

    def drawn(self, *options: str) -> str:
        """What is on it; with `-e`, colours too."""
        return self._do("capture-pane", "-p", *options)

    def see(self, text: str) -> str:
        """Wait until `text` is drawn; gives the whole pane."""
        self.until(lambda: text in self.drawn())
        return self.drawn()

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, self.drawn()
            time.sleep(0.05)

    def end(self) -> None:
        """End the program and this tmux."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def pane() -> Iterator[Pane]:
    """A terminal. Its socket's path must be short, which pytest's folders are not."""
    with TemporaryDirectory() as folder:
        pane = Pane(folder)
        yield pane
        pane.end()


def _start(pane: Pane, site: Site, size: tuple[int, int], **environment: str) -> None:
    environment = {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2])} | environment
    pane.start([sys.executable, "-c", CODE, "--url", site.url, "--name", "zhang"], environment, size)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def test_a_rep_sees_a_card_and_accepts_it(pane: Pane, site: Site) -> None:
    card = site.put_card()
    _start(pane, site, (80, 24))
    pane.see("Offer two instalments.")
    pane.press("a")
    pane.see("accepted by zhang")
    assert site.moves(card) == [("accepted", "zhang")]
    pane.press("q")
    # tmux goes when its last program has ended.
    pane.until(lambda: subprocess.run([*pane._tmux, "has-session"], capture_output=True, check=False).returncode != 0)


def test_chinese_columns_line_up_on_a_real_terminal(pane: Pane, site: Site) -> None:
    for subject, role in (("西山矿", "安全员"), ("Red Ridge", "sales"), ("3号风机", "维修班班长")):
        site.put_card(subject=subject, role=role, evidence=SPOKEN)
    _start(pane, site, (80, 24), LC_ALL="zh_CN.UTF-8", LANG="zh_CN.UTF-8")
    lines = pane.see("「比预算贵」").splitlines()
    rows = [line for line in lines[1:5] if line.strip()]
    starts = [
        _columns(row[: row.rindex(subject)])
        for row, subject in zip(rows, ("对象", "西山矿", "Red Ridge", "3号风机"), strict=True)
    ]
    assert len(set(starts)) == 1, "\n".join(lines)
    assert max(map(_columns, lines)) <= 80


@pytest.mark.parametrize(
    "environment", [{"TERM": "linux"}, {"TERM": "vt100", "NO_COLOR": "1"}, {"TERM": "dumb"}], ids=lambda e: e["TERM"]
)
def test_poor_terminals_show_readable_text(pane: Pane, site: Site, environment: dict[str, str]) -> None:
    site.put_card(due_in_min=-3.5)
    site.put_card("call-back", subject="fan-2", due_in_min=2)
    _start(pane, site, (80, 24), **environment)
    drawn = pane.see("Offer two instalments.")
    assert drawn.replace("中文", "").isascii()
    assert "late 3 min" in drawn
    codes = "".join(COLOURS.findall(pane.drawn("-e")))
    # Sixteen colours at most; none where none are wanted.
    assert "38;" not in codes
    assert "48;" not in codes
    if "NO_COLOR" in environment:
        assert not re.search(r"[;\[](3[0-7]|9[0-7]|4[0-7])[;m]", codes)
