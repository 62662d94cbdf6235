"""The board: which card is chosen, and what a key on it means."""

from tests.tui.cards import NOW_US, a_card
from tui.board import Board, News
from tui.client import Chain, ChainStep, Move, NewOutcome, Wanted
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
    assert board.put(a_card("1")) == [News("new_card", a_card("1"))]
    assert board.put(a_card("1", state="accepted")) == []
    assert board.put(a_card("2", state="fired")) == []
    assert board.replace([a_card("1"), a_card("3")]) == [News("new_card", a_card("3"))]


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


def test_a_card_that_is_asked_for_again_or_passed_on_rings_but_not_what_the_rep_did() -> None:
    board = Board(language="en", name="zhang", loaded=True)
    board.put(a_card("1"))
    again, passed = a_card("1", asked=1, by="gateway"), a_card("1", asked=1, role="manager", by="gateway")
    assert board.put(again) == [News("asked_again", again)]
    assert board.put(again) == []
    assert board.put(passed) == [News("passed_on", passed)]
    assert board.put(a_card("1", asked=1, role="finance", by="zhang")) == []
    assert board.replace([a_card("1", asked=2, role="finance", by="gateway")])[0].why == "asked_again"


def test_undo_of_what_waits_takes_it_out_with_what_led_to_it() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("1"))
    board.decide("done")
    assert [item.what.verb for item in board.waiting if isinstance(item.what, Move)] == ["accept", "done"]
    board.undo(NOW_US)
    assert not board.waiting
    assert board.said == "Taken back before it was sent: Fit the offer to the budget (Red Ridge mine)"


def test_undo_of_what_may_have_been_heard_is_sent_after_it_and_once() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("1"))
    board.decide("accept")
    board.waiting.first().begun = True
    board.undo(NOW_US)
    board.undo(NOW_US)
    assert [item.what.verb for item in board.waiting if isinstance(item.what, Move)] == ["accept", "undo"]
    assert board.said.startswith("Kept already")


def test_undo_acts_on_the_chosen_card_even_if_it_is_over() -> None:
    board = Board(language="en", name="zhang")
    board.put(a_card("1"))
    board.put(a_card("1", state="declined", by="li", undo_until=NOW_US + 1))
    board.undo(NOW_US)
    assert [item.what for item in board.waiting] == [Move(card_id="1", verb="undo", by="zhang", mover="li")]


def test_undo_acts_on_what_the_rep_did_last_and_says_so() -> None:
    board = Board(language="en", name="zhang", link="connected")
    board.put(a_card("1", subject="hoist-7"))
    board.put(a_card("2", due_in_min=60))
    board.decide("decline")
    board.waiting.remove(board.waiting.first())
    board.answered(a_card("1", subject="hoist-7", state="declined", undo_until=NOW_US + 1), "decline")
    board.choose(1)
    assert "1" not in board.cards
    board.undo(NOW_US)
    assert [item.what for item in board.waiting] == [Move(card_id="1", verb="undo", by="zhang")]
    assert board.said == "Undo of what you did last: Fit the offer to the budget (hoist-7)."


def test_what_is_too_late_to_undo_is_not_sent() -> None:
    board = Board(language="en", name="zhang")
    board.undo(NOW_US)
    board.put(a_card("1", state="accepted", undo_until=NOW_US))
    board.undo(NOW_US)
    assert not board.waiting
    assert board.said == "Nothing can be undone now."


def test_a_card_is_handed_over_once_and_only_to_whom_it_names() -> None:
    board = Board(language="en", name="zhang")
    board.hand_over()
    board.put(a_card("1"))
    board.hand_over()
    assert board.said == "This card names nobody to hand it to."
    board.put(a_card("1", hand_over="finance"))
    board.hand_over()
    board.hand_over()
    assert [item.what for item in board.waiting] == [Move(card_id="1", verb="hand_over", by="zhang")]
    board.put(a_card("1", hand_over="finance", state="done"))
    board.waiting.remove(board.waiting.first())
    board.hand_over()
    assert board.said == "This card is done already."


def test_an_outcome_is_told_once_and_a_correction_takes_its_place() -> None:
    board = Board(language="en", name="zhang")
    board.wanted = [Wanted(decision_id="d", play="p", title={}, subject="s", at=NOW_US)]
    board.tell("d", 1.0)
    board.tell("d", 1.0)
    assert board.said == "Told so already."
    board.tell("d", 0.0)
    assert [item.what for item in board.waiting] == [NewOutcome(decision_id="d", value=0.0, by="zhang")]
    assert board.unanswered() == []


def test_a_chain_is_shown_with_its_steps_and_beside_them_until_it_is_too_late() -> None:
    board = Board(language="en", name="zhang")
    chain = Chain(
        goal="order",
        subject="Red Ridge mine",
        before=0.5,
        after=0.6,
        low=0.5,
        high=0.7,
        until=NOW_US + 1,
        steps=(ChainStep(card_id="1"),),
    )
    board.chains = [chain]
    assert board.chain_of(a_card("1"), NOW_US) == chain
    assert board.chain_of(a_card("2", goal="order"), NOW_US) == chain
    assert board.chain_of(a_card("2"), NOW_US) is None
    assert board.chain_of(a_card("1"), NOW_US + 1) is None
