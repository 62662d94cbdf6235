"""The board: which card is chosen, and what a key on it means."""

from tests.tui.cards import a_card
from tui.board import Board
from tui.client import Move
from tui.waiting import Waiting


def test_a_more_urgent_card_does_not_slip_under_the_finger() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("calm", due_in_min=60))
    board.put(a_card("urgent", due_in_min=1))
    assert [card.id for card in board.in_order()] == ["urgent", "calm"]
    assert board.chosen_id == "calm"


def test_only_a_new_card_that_asks_for_an_answer_rings() -> None:
    board = Board(language="en", name="zhang")
    assert board.replace([a_card("0")]) == []
    assert board.put(a_card("1")) == [a_card("1")]
    assert board.put(a_card("1", state="accepted")) == []
    assert board.put(a_card("2", state="fired")) == []
    assert board.replace([a_card("1"), a_card("3")]) == [a_card("3")]


def test_a_card_that_is_over_leaves_unless_it_is_chosen() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("1"))
    board.put(a_card("2"))
    board.put(a_card("2", state="done"))
    board.put(a_card("1", state="expired"))
    assert list(board.cards) == ["1"]


def test_after_a_reload_the_choice_stays_or_moves_to_a_neighbour() -> None:
    board = Board(language="en", name="zhang")
    cards = [a_card(name, due_in_min=minute) for minute, name in enumerate("abc")]
    board.replace(cards)
    board.choose(1)
    board.replace(cards)
    assert board.chosen_id == "b"
    board.replace([cards[0], cards[2]])
    assert board.chosen_id == "c"
    board.replace([])
    assert board.chosen is None


def test_accepting_what_is_accepted_sends_nothing() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("1", state="accepted"))
    board.decide("accept")
    assert not board.waiting
    assert board.said == "This card is accepted already."


def test_a_key_without_a_card_does_nothing() -> None:
    board = Board(language="en", name="zhang")
    board.decide("accept")
    board.choose(1)
    assert not board.waiting


def test_when_too_much_waits_the_rep_is_told() -> None:
    board = Board(language="en", name="zhang", waiting=Waiting(most=1))
    for name in "ab":
        board.put(a_card(name))
        board.choose(1)
        board.decide("accept")
    assert [item.what for item in board.waiting] == [Move(card_id="a", verb="accept", by="zhang")]
    assert board.said == "1 are waiting to be sent already; this one was not kept."
