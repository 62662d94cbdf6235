"""What waits to be sent: bounded, in order, each thing once."""

from tui.client import Move
from tui.waiting import Waiting

ACCEPT, DECLINE, OTHER = (
    Move(card_id="1", verb="accept", by="zhang"),
    Move(card_id="1", verb="decline", by="zhang"),
    Move(card_id="2", verb="accept", by="zhang"),
)


def test_the_same_thing_waits_once() -> None:
    waiting = Waiting()
    assert [waiting.add(move) for move in (ACCEPT, OTHER, ACCEPT)] == ["added", "added", "already"]
    assert [item.what for item in waiting] == [ACCEPT, OTHER]


def test_what_does_not_fit_is_refused_and_what_was_there_stays() -> None:
    waiting = Waiting(most=1)
    waiting.add(ACCEPT)
    assert waiting.add(OTHER) == "full"
    assert waiting.first().what == ACCEPT


def test_the_oldest_is_sent_first() -> None:
    waiting = Waiting()
    for move in (OTHER, ACCEPT, DECLINE):
        waiting.add(move)
    assert waiting.first().what == OTHER
    waiting.remove(waiting.first())
    assert waiting.first().what == ACCEPT


def test_of_several_decisions_about_a_card_the_last_counts() -> None:
    waiting = Waiting()
    waiting.add(ACCEPT)
    waiting.add(DECLINE)
    assert waiting.verb_for("1") == "decline"
    assert waiting.verb_for("2") is None
