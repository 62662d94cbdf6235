"""The daemon and the link tell what happens in one way: JSON for who keeps it, a line for people on a terminal."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = "import structlog; from edge.log import configure; configure(); log = structlog.get_logger()"
SAYS = {"daemon": SETUP, "link": "from sync import log"}
SAID = "log.warning('ended; starting it again', child='link', code=None, wait_s=0.5, reason='it\\nended')"


def piped(code: str) -> list[dict[str, object]]:
    """What a process with this code writes to a pipe: every line has to be an object."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout == b""
    return [dict(json.loads(line)) for line in done.stderr.splitlines()]


def on_a_terminal(code: str) -> str:
    """What a process with this code writes to a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=60)
    written = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(theirs)
    os.close(ours)
    return written


@pytest.mark.parametrize("who", SAYS)
def test_a_line_has_the_same_keys_in_the_same_order_whoever_wrote_it(who: str) -> None:
    (line,) = piped(f"{SAYS[who]}; {SAID}")
    assert list(line) == ["at", "level", "event", "child", "code", "wait_s", "reason"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line.pop("at")))
    assert line == {
        "level": "warning",
        "event": "ended; starting it again",
        "child": "link",
        "code": None,
        "wait_s": 0.5,
        "reason": "it\nended",
    }


@pytest.mark.parametrize("who", SAYS)
def test_on_a_terminal_it_is_a_line_to_read(who: str) -> None:
    told = on_a_terminal(f"{SAYS[who]}; {SAID}")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning ended; starting it again "
        r'child="link" code=null wait_s=0\.5 reason="it\\nended"\n',
        told,
    )


def test_what_libraries_say_comes_the_same_way_and_only_what_matters() -> None:
    lines = piped(
        f"{SETUP}; import logging, warnings; paho = logging.getLogger('paho.mqtt.client'); "
        "paho.debug('Received PUBLISH'); paho.warning('failed to receive on socket: %s', 'reset'); "
        "logging.getLogger('uvicorn.error').info('Shutting down'); warnings.warn('old')"
    )
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("warning", "paho.mqtt.client"),
        ("info", "uvicorn.error"),
        ("warning", "py.warnings"),
    ]
    assert lines[0]["event"] == "failed to receive on socket: reset"


def test_a_fault_that_nobody_caught_is_one_line_with_its_traceback_in_any_thread() -> None:
    in_thread, in_main = piped(
        f"{SETUP}; import threading\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='inbox')\n"
        "thread.start()\nthread.join()\nraise KeyError('main')"
    )
    assert (in_thread["level"], in_thread["event"], in_thread["thread"]) == ("error", "fault", "inbox")
    assert "ZeroDivisionError" in str(in_thread["exception"])
    assert (in_main["thread"], "KeyError" in str(in_main["exception"])) == ("MainThread", True)


def test_no_event_of_a_log_is_put_together_so_that_one_can_look_for_it() -> None:
    root = Path(__file__).parents[2]
    for path in [*root.glob("edge/**/*.py"), *root.glob("sync/**/*.py")]:
        found = re.findall(r"\blog\.(?:info|warning|error)\((?!\s*\")[^)\n]*", path.read_text("utf-8"))
        assert not found, f"{path.name}: {found}"
