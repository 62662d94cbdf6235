"""What a rep did and the gateway has not heard yet: in order, each thing once, and no more than fits in the head."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from tui.client import Move, NewNote, NewOutcome, Verb

MOST = 100
What = Move | NewNote | NewOutcome


@dataclass(eq=False)
class Item:
    """One thing to send. `begun` once it is being sent, so that the gateway may have heard it already, `tried` once
    that has failed; `leads` when it is there only for the sake of the next."""

    what: What
    begun: bool = False
    tried: bool = False
    leads: bool = False


class Waiting:
    """The things to send, oldest first, at most `most`."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def add(self, what: What, *, leads: bool = False) -> Literal["added", "already", "full"]:
        """Append `what`, unless the same waits already or there is no room. What is told of a decision takes the place
        of what was to be told of it before."""
        if isinstance(what, NewOutcome):
            self._items = [item for item in self._items if item.begun or not _is_about(item, what.decision_id)]
        if what in self._in_force(what):
            return "already"
        if len(self._items) >= self.most:
            return "full"
        self._items.append(Item(what, leads=leads))
        return "added"

    def first(self) -> Item:
        """The oldest; raises IndexError when nothing waits."""
        return self._items[0]

    def remove(self, item: Item) -> None:
        """Take `item` out: the gateway has answered it."""
        self._items.remove(item)

    def take_back(self, card_id: str) -> bool:
        """Take out what was decided last about a card, with what led to it; whether nothing of that can have been
        heard by the gateway. What may have been heard stays."""
        last, *before = reversed(self._moves_of(card_id))
        decided = [last, *takewhile(lambda item: item.leads, before)]
        self._items = [item for item in self._items if item.begun or item not in decided]
        return not any(item.begun for item in decided)

    def forget_undo(self, card_id: str) -> None:
        """Take out the taking back of a card's move: the gateway has refused that move, and what would be taken back
        is somebody else's."""
        undone = [item for item in self._moves_of(card_id)[1:2] if _verb(item) == "undo"]
        self._items = [item for item in self._items if item not in undone]

    def verb_for(self, card_id: str) -> Verb | None:
        """The last thing decided about a card that the gateway has not answered, if any."""
        moves = self._moves_of(card_id)
        return _verb(moves[-1]) if moves else None

    def value_for(self, decision_id: str) -> float | None:
        """What was told of a decision that the gateway has not answered, if anything."""
        told = [item.what for item in self._items if _is_about(item, decision_id)]
        return told[-1].value if told and isinstance(told[-1], NewOutcome) else None

    def _moves_of(self, card_id: str) -> list[Item]:
        return [item for item in self._items if isinstance(item.what, Move) and item.what.card_id == card_id]

    def _in_force(self, what: What) -> list[What]:
        """What waits and would make `what` a repetition: what was taken back or corrected since does not count."""
        if isinstance(what, Move):
            moves = self._moves_of(what.card_id)
            if what.verb == "undo":
                return [item.what for item in moves[-1:]]
            return [item.what for item in takewhile(lambda one: _verb(one) != "undo", reversed(moves))]
        if isinstance(what, NewOutcome):
            return [item.what for item in self._items if _is_about(item, what.decision_id)][-1:]
        return [item.what for item in self._items]


def _verb(item: Item) -> Verb | None:
    return item.what.verb if isinstance(item.what, Move) else None


def _is_about(item: Item, decision_id: str) -> bool:
    return isinstance(item.what, NewOutcome) and item.what.decision_id == decision_id
