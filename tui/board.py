"""What the terminal knows at this moment: the cards, which one is chosen, how the link is, what waits, what to say."""

from dataclasses import dataclass, field
from typing import Literal

from tui.client import Card, Health, Move, NewNote, Verb
from tui.waiting import Waiting
from tui.words import Language, say, state_name, translated

BECOMES: dict[Verb, str] = {"accept": "accepted", "decline": "declined", "done": "done"}


@dataclass
class Board:
    """The state that the screen paints. `since_us` is when the link changed last, by the terminal's clock; `trouble`
    why there is none, by language; `said` the last thing to tell the rep."""

    language: Language
    name: str
    site: str = ""
    cards: dict[str, Card] = field(default_factory=dict)
    chosen_id: str | None = None
    waiting: Waiting = field(default_factory=Waiting)
    link: Literal["connecting", "connected", "no_link"] = "connecting"
    since_us: int = 0
    loaded: bool = False
    trouble: dict[str, str] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    said: str = ""

    def in_order(self) -> list[Card]:
        """The cards, the most urgent first."""
        return sorted(self.cards.values(), key=lambda card: (moment(card), card.id))

    @property
    def chosen(self) -> Card | None:
        """The card that the keys act on."""
        return self.cards.get(self.chosen_id) if self.chosen_id else None

    def choose(self, steps: int) -> None:
        """Move the choice `steps` down (negative: up), not beyond the ends; a card that is over then leaves."""
        cards = self.in_order()
        if not cards:
            return
        places = [card.id for card in cards]
        place = places.index(self.chosen.id) if self.chosen else 0
        self.chosen_id = places[min(max(place + steps, 0), len(places) - 1)]
        self._drop_what_is_over()

    def put(self, card: Card) -> list[Card]:
        """Take `card` in as it is now; gives it back if it is a new one that asks for an answer.

        The chosen card stays when it is over, so that nothing else slides under a finger that presses twice.
        """
        new = self._new([card])
        self.cards[card.id] = card
        if self.chosen is None and card.is_open:
            self.chosen_id = card.id
        self._drop_what_is_over()
        return new

    def replace(self, cards: list[Card]) -> list[Card]:
        """Forget all cards and take these; gives the new ones that ask for an answer, unless these are the first."""
        new = self._new(cards) if self.loaded else []
        place = self.in_order().index(self.chosen) if self.chosen else 0
        self.cards = {card.id: card for card in cards}
        self.loaded = True
        if self.chosen is None:
            order = self.in_order()
            self.chosen_id = order[min(place, len(order) - 1)].id if order else None
        return new

    def decide(self, verb: Verb) -> None:
        """Keep what the rep decided about the chosen card for sending, and say what became of that."""
        card = self.chosen
        if card is None:
            return
        waits = self.waiting.verb_for(card.id)
        state = card.state if waits is None else BECOMES[waits]
        if waits is None and (state == BECOMES[verb] or not card.is_open):
            self.said = say(self.language, "already", state=state_name(self.language, state))
            return
        if state == "proposed" and verb == "done":
            # The gateway finishes only what somebody has accepted.
            self._keep(Move(card_id=card.id, verb="accept", by=self.name))
        self._keep(Move(card_id=card.id, verb=verb, by=self.name))

    def note(self, note: NewNote) -> None:
        """Keep a note for sending."""
        self._keep(note)

    def answered(self, card: Card) -> None:
        """The gateway has done what was asked with `card`."""
        self.put(card)
        state = state_name(self.language, card.state)
        self.said = say(self.language, "moved", state=state, title=translated(self.language, card.title))

    def _new(self, cards: list[Card]) -> list[Card]:
        return [card for card in cards if card.state == "proposed" and card.id not in self.cards]

    def _keep(self, what: Move | NewNote) -> None:
        match self.waiting.add(what):
            case "added":
                self.said = "" if self.link == "connected" else say(self.language, "kept")
            case "already":
                self.said = say(self.language, "kept_already")
            case "full":
                self.said = say(self.language, "full", count=self.waiting.most)

    def _drop_what_is_over(self) -> None:
        self.cards = {card.id: card for card in self.cards.values() if card.is_open or card.id == self.chosen_id}


def moment(card: Card) -> int:
    """When a card's time is up: it is due, or, while nobody has answered, it acts by itself."""
    if card.state == "proposed" and card.fires_at is not None:
        return min(card.due, card.fires_at)
    return card.due
