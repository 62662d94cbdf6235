"""What the terminal knows at this moment: the cards, which one is chosen, how the link is, what waits, what to say."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tui.client import Card, Chain, Health, Move, NewNote, NewOutcome, Verb, Wanted
from tui.waiting import Waiting, What
from tui.words import Language, role_name, say, state_name, translated

Answer = Literal["accept", "decline", "done"]
BECOMES: dict[Answer, str] = {"accept": "accepted", "decline": "declined", "done": "done"}


class News(NamedTuple):
    """A card that asks for an answer, and why the rep is called to it: it is new, it is asked for again, or another
    role has it now."""

    why: Literal["new_card", "asked_again", "passed_on"]
    card: Card


@dataclass
class Board:
    """The state that the screen paints. `since_us` is when the link changed last, by the terminal's clock; `trouble`
    why there is none, by language; `said` the last thing to tell the rep; `moved` the card that this rep moved last.
    `questions` is what is asked about each play's decisions, `told` what this rep has told of decisions."""

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
    moved: Card | None = None
    chains: list[Chain] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    questions: dict[str, dict[str, str]] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)

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

    def put(self, card: Card) -> list[News]:
        """Take `card` in as it is now; gives what the rep has to be called to.

        The chosen card stays when it is over, so that nothing else slides under a finger that presses twice.
        """
        news = self._news([card])
        self.cards[card.id] = card
        if self.moved and self.moved.id == card.id:
            self.moved = card
        if self.chosen is None and card.is_open:
            self.chosen_id = card.id
        self._drop_what_is_over()
        return news

    def replace(self, cards: list[Card]) -> list[News]:
        """Forget all cards and take these; gives what the rep has to be called to, unless these are the first."""
        news = self._news(cards) if self.loaded else []
        place = self.in_order().index(self.chosen) if self.chosen else 0
        self.cards = {card.id: card for card in cards}
        self.loaded = True
        if self.chosen is None:
            order = self.in_order()
            self.chosen_id = order[min(place, len(order) - 1)].id if order else None
        if self.moved:
            self.moved = self.cards.get(self.moved.id, self.moved)
        return news

    def decide(self, verb: Answer) -> None:
        """Keep what the rep decided about the chosen card for sending, and say what became of that."""
        card = self.chosen
        if card is None:
            return
        waits = self.waiting.verb_for(card.id)
        state = becomes(card, waits)
        if waits is None and (state == BECOMES[verb] or not card.is_open):
            self.said = say(self.language, "already", state=state_name(self.language, state))
            return
        if state == "proposed" and verb == "done":
            # The gateway finishes only what somebody has accepted.
            self._keep(Move(card_id=card.id, verb="accept", by=self.name), leads=True)
        self._move(card, verb)

    def hand_over(self) -> None:
        """Keep for sending that the chosen card goes to the role that its play names."""
        card = self.chosen
        if card is None:
            return
        state = becomes(card, self.waiting.verb_for(card.id))
        if state not in ("proposed", "accepted"):
            self.said = say(self.language, "already", state=state_name(self.language, state))
        elif not card.hand_over:
            self.said = say(self.language, "nobody_to_hand_to")
        else:
            self._move(card, "hand_over")

    def undo(self, now_us: int) -> None:
        """Take back what was decided last about the chosen card, or, when nothing of that can be taken back, about the
        card that this rep moved last; what still waits is not sent at all. Say which card that was."""
        card = next((one for one in (self.chosen, self.moved) if one and self._can_take_back(one, now_us)), None)
        if card is None:
            self.said = say(self.language, "nothing_to_undo")
            return
        about = {"title": translated(self.language, card.title), "subject": card.subject}
        waits = self.waiting.verb_for(card.id)
        if waits and waits != "undo" and self.waiting.take_back(card.id):
            self.said = say(self.language, "not_sent", **about)
            return
        self._move(card, "undo")
        if card.id != self.chosen_id:
            which = say(self.language, "undo_of_last", **about)
            self.said = f"{which} {self.said}".strip()

    def note(self, note: NewNote) -> None:
        """Keep a note for sending."""
        self._keep(note)

    def tell(self, decision_id: str, value: float) -> None:
        """Keep for sending what came of a decision (0 to 1)."""
        if self.value_of(decision_id) == value:
            self.said = say(self.language, "told_already")
            return
        self._keep(NewOutcome(decision_id=decision_id, value=value, by=self.name))

    def value_of(self, decision_id: str) -> float | None:
        """What this rep says came of a decision; None: nothing yet."""
        waits = self.waiting.value_for(decision_id)
        return self.told.get(decision_id) if waits is None else waits

    def unanswered(self) -> list[Wanted]:
        """The decisions of which nobody has told what came, nor is going to when the link is back."""
        return [one for one in self.wanted if self.value_of(one.decision_id) is None]

    def chain_of(self, card: Card, now_us: int) -> Chain | None:
        """What it is best to do now for the goal of a card, with it or without it; None: nothing, or it is too late."""
        live = [chain for chain in self.chains if chain.until > now_us and chain.steps]
        with_it = (chain for chain in live if chain.place_of(card.id))
        beside = (chain for chain in live if card.goal and (chain.subject, chain.goal) == (card.subject, card.goal))
        return next(with_it, None) or next(beside, None)

    def answered(self, card: Card, verb: Verb) -> None:
        """The gateway has done what was asked with `card`."""
        self.put(card)
        language = self.language
        title, state = translated(language, card.title), state_name(language, card.state)
        if verb == "undo":
            self.said = say(language, "taken_back", state=state, title=title, subject=card.subject)
        elif verb == "hand_over":
            self.said = say(language, "handed", role=role_name(language, card.role), title=title)
        else:
            self.said = say(language, "moved", state=state, title=title)

    def _news(self, cards: list[Card]) -> list[News]:
        """What the rep has to be called to, of cards that have come; not what the rep did."""
        found = []
        for card in cards:
            before = self.cards.get(card.id)
            if card.state != "proposed" or card.by == self.name:
                continue
            if before is None:
                found.append(News("new_card", card))
            elif card.role != before.role:
                found.append(News("passed_on", card))
            elif card.asked > before.asked:
                found.append(News("asked_again", card))
        return found

    def _can_take_back(self, card: Card, now_us: int) -> bool:
        return self.waiting.verb_for(card.id) is not None or card.can_be_undone(now_us)

    def _move(self, card: Card, verb: Verb) -> None:
        self.moved = card
        waits = self.waiting.verb_for(card.id) is not None
        mover = (self.name if waits else card.by or "") if verb == "undo" else ""
        self._keep(Move(card_id=card.id, verb=verb, by=self.name, mover=mover))

    def _keep(self, what: What, *, leads: bool = False) -> None:
        match self.waiting.add(what, leads=leads):
            case "added":
                self.said = "" if self.link == "connected" else say(self.language, "kept")
            case "already":
                self.said = say(self.language, "kept_already")
            case "full":
                self.said = say(self.language, "full", count=self.waiting.most)

    def _drop_what_is_over(self) -> None:
        self.cards = {card.id: card for card in self.cards.values() if card.is_open or card.id == self.chosen_id}


def becomes(card: Card, verb: Verb | None) -> str:
    """The state of a card once the gateway has done what was decided about it (None: nothing)."""
    match verb:
        case None:
            return card.state
        case "hand_over":
            return "proposed"
        case "undo":
            return "proposed" if card.state in ("proposed", "accepted", "declined") else "undone"
        case _:
            return BECOMES[verb]


def moment(card: Card) -> int:
    """When a card's time is up: it is due, or, while nobody has answered, it acts by itself."""
    if card.state == "proposed" and card.fires_at is not None:
        return min(card.due, card.fires_at)
    return card.due
