"""What performing an action does, by channel: a card is in front of its reader already; a device gets a command over
the bus; a webhook is a JSON file that a system on site picks up; a message is one that whatever sends messages to
customers picks up.

Performing the same action twice does no harm: the file has the action's id for its name, and the command carries it, so
that a device can tell a repeat.
"""

from pathlib import Path
from typing import Protocol

import msgspec

from edge.events import Action
from edge.store.placing import put_in_place


class CommandsDevices(Protocol):
    """What sends a command to a device: the bus."""

    def command(self, topic: str, payload: bytes) -> None:
        """Returns when the broker has taken it; raises ConnectionError when it has not."""


class Channels:
    """Performs actions, and takes them back. `bus` is None on a site without one; `webhooks` and `messages` are the
    folders of the JSON files."""

    def __init__(self, bus: CommandsDevices | None, webhooks: Path, messages: Path) -> None:
        self._bus = bus
        self._folders = {"webhook": webhooks, "message": messages}
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def perform(self, action: Action) -> None:
        """Do it. Raises ConnectionError or OSError when it cannot be done now."""
        match action.channel:
            case "card":
                return
            case "device":
                self._command(action, action.payload)
            case "webhook" | "message":
                _write(self._folders[action.channel] / f"{action.id}.json", action)

    def take_back(self, action: Action) -> None:
        """Take back what was done, by the action's payload for that: another command; or a file beside the first that
        says so, or, where that one was not picked up yet, its removal. Raises ConnectionError or OSError."""
        undone = msgspec.structs.replace(action, payload=action.payload | action.terms.undo)
        match action.channel:
            case "card" | "message":
                return
            case "device":
                self._command(undone, undone.payload)
            case "webhook":
                folder = self._folders["webhook"]
                try:
                    (folder / f"{action.id}.json").unlink()
                except FileNotFoundError:
                    _write(folder / f"{action.id}.undo.json", undone)

    def _command(self, action: Action, payload: dict[str, str]) -> None:
        if self._bus is None:
            raise ConnectionError("this site has no [bus] in site.toml")
        said = {key: value for key, value in payload.items() if key != "topic"}
        self._bus.command(payload["topic"], msgspec.json.encode({"id": action.id, **said}))


def _write(path: Path, action: Action) -> None:
    unfinished = path.with_name(f".{path.stem}.part")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(action)))
    put_in_place(unfinished, path)
