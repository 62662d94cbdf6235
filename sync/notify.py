"""Tells systemd that the link is ready and, again and again, that it is alive, where systemd asks (sd_notify(3))."""

import os
import socket
import time


class Notify:
    """Speaks to $NOTIFY_SOCKET; without one it is silent."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._interval_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self._due_s = 0.0

    def ready(self) -> None:
        """The link has read its settings and works."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Called at each turn of the link's loop; passes it on twice in each of the watchdog's times."""
        now_s = time.monotonic()
        if self._interval_s and now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            self._tell("WATCHDOG=1")

    def _tell(self, word: str) -> None:
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.sendto(word.encode(), self._address)
