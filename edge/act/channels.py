"""What performing an action does, by channel: a card is in front of its reader already; a device gets a command over
the bus; a webhook is a JSON file that a system on site picks up.

Performing the same action twice does no harm: the file has the action's id for its name, and the command carries it, so
that a device can tell a repeat.
"""

import os
from pathlib import Path
from typing import Protocol

import msgspec

from edge.events import Action


class CommandsDevices(Protocol):
    """What sends a command to a device: the bus."""

    def command(self, topic: str, payload: bytes) -> None:
        """Returns when the broker has taken it; raises ConnectionError when it has not."""


class Channels:
    """Performs actions. `bus` is None on a site without one; `webhooks` is the folder of the JSON files."""

    def __init__(self, bus: CommandsDevices | None, webhooks: Path) -> None:
        self._bus = bus
        self._webhooks = webhooks
        webhooks.mkdir(parents=True, exist_ok=True)

    def perform(self, action: Action) -> None:
        """Do it. Raises ConnectionError or OSError when it cannot be done now."""
        match action.channel:
            case "card":
                return
            case "device":
                self._command(action)
            case "webhook":
                self._write(action)

    def _command(self, action: Action) -> None:
        if self._bus is None:
            raise ConnectionError("this site has no [bus] in site.toml")
        payload = {key: value for key, value in action.payload.items() if key != "topic"}
        self._bus.command(action.payload["topic"], msgspec.json.encode({"id": action.id, **payload}))

    def _write(self, action: Action) -> None:
        unfinished = self._webhooks / f".{action.id}.part"
        with unfinished.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(action)))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._webhooks / f"{action.id}.json")
