"""A real Chromium without a window, driven over its DevTools protocol: enough to look at the page and press on it."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 20.0


class Tab:
    """One tab of the browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: Any) -> Any:
        """Ask the browser for something; raises AssertionError with its own words when it will not."""
        self._sent += 1
        self._connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while (answer := json.loads(self._connection.recv(timeout=PATIENCE_S))).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show an address in a window of this size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")  # an address that differs in its fragment only loads nothing
        self.send("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        return patient(lambda: self.evaluate(script), script)

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, as a person would."""
        self.wait(f"document.querySelector({selector!r}) !== null")
        middle = self.evaluate(
            f"(() => {{ const it = document.querySelector({selector!r}); it.scrollIntoView({{block: 'center'}});"
            " const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in a field for one."""
        found = self.send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.send("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key: a letter, or a name such as Enter."""
        text = {"Enter": "\r"}.get(key, key)
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


def patient(condition: Callable[[], Any], what: str) -> Any:
    """The value of a condition as soon as it is true; raises AssertionError when that takes too long."""
    until_s = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < until_s, f"waited {PATIENCE_S:.0f} s in vain for: {what}"
        time.sleep(0.02)
    return value


@contextmanager
def browsing(profile: Path) -> Iterator[Tab]:
    """A browser with one tab until the block ends; its settings lie in the folder `profile`."""
    program = shutil.which("chromium")
    assert program, "there is no chromium on this machine: install the packages in firmware-config/packages.sh"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--hide-scrollbars"]
    # In a container /dev/shm may be too small for the page's pictures; nothing is to be fetched or asked for.
    quiet = ["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--mute-audio"]
    address = profile / "DevToolsActivePort"
    browser = subprocess.Popen(
        [program, *options, *quiet, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = patient(lambda: address.is_file() and address.read_text().partition("\n")[0], "chromium to start")
        with connect(_tab(port), max_size=None) as connection:
            yield Tab(connection)
    finally:
        browser.terminate()
        browser.wait(timeout=PATIENCE_S)


def _tab(port: str) -> str:
    tabs = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
