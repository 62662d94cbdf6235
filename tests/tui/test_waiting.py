"""What waits to be sent: bounded, in order, each thing once."""

from tui.client import Move, NewOutcome
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


def test_what_was_taken_back_can_be_decided_again() -> None:
    waiting = Waiting()
    undo = Move(card_id="1", verb="undo", by="zhang")
    assert [waiting.add(move) for move in (ACCEPT, undo, undo, ACCEPT, ACCEPT, undo)] == [
        "added",
        "added",
        "already",
        "added",
        "already",
        "added",
    ]


def test_only_the_last_decision_is_taken_back() -> None:
    waiting = Waiting()
    for move in (ACCEPT, OTHER, DECLINE):
        waiting.add(move)
    assert waiting.take_back("1")
    assert [item.what for item in waiting] == [ACCEPT, OTHER]


def test_a_refused_move_takes_its_undo_with_it() -> None:
    waiting = Waiting()
    for move in (ACCEPT, OTHER, Move(card_id="1", verb="undo", by="zhang")):
        waiting.add(move)
    waiting.forget_undo("1")
    assert [item.what for item in waiting] == [ACCEPT, OTHER]


def test_an_outcome_that_may_have_been_heard_is_corrected_after_it() -> None:
    waiting = Waiting()
    yes, no = (NewOutcome(decision_id="d", value=value, by="zhang") for value in (1.0, 0.0))
    waiting.add(yes)
    waiting.first().begun = True
    waiting.add(no)
    assert [item.what for item in waiting] == [yes, no]
    assert waiting.value_for("d") == 0.0
    assert waiting.value_for("e") is None
