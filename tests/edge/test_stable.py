"""What is acted on while it is being said: only words that have held still, each extent once."""

from hypothesis import given
from hypothesis import strategies as st

from edge.perceive.live import HOLD_S, Stable

STEP_S = HOLD_S / 2


def said(*texts: str) -> tuple[str, ...]:
    return texts


def test_a_word_counts_when_it_has_held_still_and_not_again() -> None:
    stable = Stable()
    assert stable.take(said("gas"), 1.0) == ()
    assert stable.take(said("gas", "smell"), 1.0 + HOLD_S) == said("gas")
    assert stable.take(said("gas", "smell"), 1.0 + HOLD_S * 1.5) == ()
    assert stable.take(said("gas", "smell"), 1.0 + HOLD_S * 2) == said("gas", "smell")
    assert stable.take(said("gas", "smell"), 2.0) == ()


def test_a_recogniser_that_changes_its_mind_is_believed_when_it_holds_still_again() -> None:
    stable = Stable()
    stable.take(said("mask", "tell"), 1.0)
    assert stable.take(said("mask", "tell"), 1.0 + HOLD_S) == said("mask", "tell")
    assert stable.take(said("gas", "smell"), 2.0) == ()
    assert stable.take(said("gas", "smell"), 2.0 + HOLD_S) == said("gas", "smell")


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), max_size=30))
def test_whatever_is_heard_only_what_was_the_same_for_long_enough_is_given(heard: list[list[str]]) -> None:
    stable = Stable()
    for turn, texts in enumerate(heard):
        given_words = stable.take(said(*texts), turn * STEP_S)
        if given_words:
            count = len(given_words)
            before = [earlier[:count] for earlier in heard[max(0, turn - 2) : turn + 1]]
            assert turn >= 2
            assert before == [texts[:count]] * 3


def test_a_pause_makes_all_words_count_at_once_and_once() -> None:
    stable = Stable()
    assert stable.take(said("gas", "smell"), 1.0, paused=True) == said("gas", "smell")
    assert stable.take(said("gas", "smell"), 1.1, paused=True) == ()
    assert stable.take(said("gas", "smells"), 1.2, paused=True) == said("gas", "smells")


def test_words_that_were_acted_on_in_the_middle_are_looked_at_again_at_the_pause() -> None:
    stable = Stable()
    stable.take(said("gas", "smell"), 1.0)
    assert stable.take(said("gas", "smell"), 1.0 + HOLD_S) == said("gas", "smell")
    assert stable.take(said("gas", "smell"), 1.0 + HOLD_S * 2, paused=True) == said("gas", "smell")
