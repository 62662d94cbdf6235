"""What a rep did and the gateway has not heard yet: in order, each thing once, and no more than fits in the head."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tui.client import Move, NewNote, Verb

MOST = 100


@dataclass
class Item:
    """One thing to send. `tried` once a sending of it has failed, so that the gateway may have heard it already."""

    what: Move | NewNote
    tried: bool = False


class Waiting:
    """The things to send, oldest first, at most `most`."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def add(self, what: Move | NewNote) -> Literal["added", "already", "full"]:
        """Append `what`, unless the same waits already or there is no room."""
        if any(item.what == what for item in self._items):
            return "already"
        if len(self._items) >= self.most:
            return "full"
        self._items.append(Item(what))
        return "added"

    def first(self) -> Item:
        """The oldest; raises IndexError when nothing waits."""
        return self._items[0]

    def remove(self, item: Item) -> None:
        """Take `item` out: the gateway has answered it."""
        self._items.remove(item)

    def verb_for(self, card_id: str) -> Verb | None:
        """The last thing decided about a card that the gateway has not answered, if any."""
        verbs = [item.what.verb for item in self._items if isinstance(item.what, Move) and item.what.card_id == card_id]
        return verbs[-1] if verbs else None
