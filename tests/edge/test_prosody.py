"""How a call was spoken, from who said what when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.events import Utterance, Word
from edge.perceive.prosody import talk


def said(channel: str, start_s: float, end_s: float, words: int = 1) -> Utterance:
    word = Word(text="w", start_s=start_s, end_s=end_s, confidence=1.0)
    return Utterance(channel=channel, language="en", text="w", start_s=start_s, end_s=end_s, words=(word,) * words)


def test_shares_rates_pauses_and_overlap() -> None:
    found = talk([said("agent", 0, 6, words=18), said("customer", 5, 7, words=4), said("agent", 10, 10.5, words=1)])
    assert found.talk_share == {
        "agent": pytest.approx(6.5 / 8.5, abs=1e-4),
        "customer": pytest.approx(2 / 8.5, abs=1e-4),
    }
    assert found.words_per_minute == {"agent": pytest.approx(60 * 19 / 6.5, abs=0.1), "customer": 120.0}
    assert (found.pauses, found.longest_pause_s, found.overlap_s) == (1, 3.0, 1.0)


def test_a_call_without_a_word_has_no_shares() -> None:
    assert talk([]).talk_share == {}


SPANS = st.tuples(st.sampled_from(["agent", "customer"]), st.floats(0, 100), st.floats(0, 20))


@given(st.lists(SPANS, min_size=1, max_size=30))
def test_figures_stay_in_their_ranges_in_any_order(spans: list[tuple[str, float, float]]) -> None:
    utterances = [said(channel, start, start + length) for channel, start, length in spans]
    found = talk(utterances)
    assert found == talk(utterances[::-1])
    assert all(0 <= share <= 1 for share in found.talk_share.values())
    assert found.overlap_s >= -1e-6
    assert found.longest_pause_s == 0 or found.longest_pause_s >= 1
