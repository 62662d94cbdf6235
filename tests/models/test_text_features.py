"""The features of a turn: the same on every machine, for every spelling of it, alone or among others."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.text import FEATURES, MAX_CHARACTERS, batch, extract

turns = st.text(st.sampled_from("ab c'.,9٣é①泵漏 气㎏ﷺ\u0301\ud800İß"), max_size=40) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "golden"),
    [
        ("the pump is leaking again, 40 bar", "dd3af47e7653b76d"),
        ("三号泵 漏油了", "c16f13f85fb5a752"),
        ("PLC报警", "9f1bf2de8d171a43"),
    ],
)
def test_a_turn_has_the_features_that_the_packs_were_trained_on(text: str, golden: str) -> None:
    turn = extract(text)
    told = np.sort(turn.index).astype("<i8").tobytes() + np.sort(turn.value).round(4).astype("<f4").tobytes()
    assert hashlib.sha256(told).hexdigest()[:16] == golden


@pytest.mark.parametrize(
    ("typed", "recognised"),
    [
        ("The pump isn’t working: 40 bar!", "the pump isnt working 7 bar"),
        ("Où est le café?", "ou est le cafe"),
        ("ＰＬＣ报警了，３号泵不上水。", "plc 报警 了 35 号 泵 不 上水"),
        ("It's  DEAD\n\n", "its dead"),
    ],
)
def test_what_is_typed_and_what_is_recognised_have_the_same_features(typed: str, recognised: str) -> None:
    assert sorted(extract(typed).index) == sorted(extract(recognised).index)


def test_each_feature_is_a_stretch_of_the_turn() -> None:
    text = "Hot pump，漏油"
    turn = extract(text)
    stretches = sorted(text[start:end] for start, end in zip(turn.start, turn.end, strict=True))
    words = ["Hot", "pump", "Hot pump"]
    pieces_of_hot = ["Ho", "Hot", "ot", "Hot", "Hot", "Hot"]  # of " hot ": _ho hot ot_ _hot hot_ _hot_
    pieces_of_pump = ["pu", "pum", "ump", "mp", "pum", "pump", "ump", "pump", "pump"]
    assert stretches == sorted([*words, *pieces_of_hot, *pieces_of_pump, "漏", "油", "漏油"])


def test_words_and_chinese_characters_are_the_words() -> None:
    text = "PLC-2报警 isn't"
    assert [text[start:end] for start, end in extract(text).words] == ["PLC", "2", "报", "警", "isn't"]


@settings(deadline=None)
@given(turns)
def test_every_feature_has_its_place_and_the_whole_is_shorter_than_one(text: str) -> None:
    turn = extract(text)
    assert ((turn.index >= 0) & (turn.index < FEATURES)).all()
    assert ((turn.start >= 0) & (turn.start < turn.end) & (turn.end <= len(text))).all()
    assert np.linalg.norm(np.bincount(turn.index, turn.value)) < 1


def test_a_single_word_weighs_less_than_a_sentence() -> None:
    lengths = [
        np.linalg.norm(np.bincount(extract(text).index, extract(text).value)) for text in ("到", "我的货到了没有")
    ]
    assert lengths[0] < 0.5 < lengths[1]


@settings(deadline=None)
@given(st.lists(turns, max_size=5))
def test_a_turn_has_the_same_features_alone_and_in_a_batch(texts: list[str]) -> None:
    index, value = batch([extract(text) for text in texts])
    for row, text in enumerate(texts):
        alone = extract(text)
        assert (index[row, : alone.index.size] == alone.index).all()
        assert (value[row, : alone.value.size] == alone.value).all()
        assert not value[row, alone.value.size :].any()


def test_a_long_turn_is_judged_by_its_beginning() -> None:
    text = "smoke in the fan house 风机冒烟 " * 50_000
    assert len(text) > 1_000_000
    assert (extract(text).index == extract(text[:MAX_CHARACTERS]).index).all()


@pytest.mark.parametrize("text", ["", "   ", "…！?", "\u0301\u200d", "🔥"])
def test_a_turn_without_letters_and_digits_has_no_features(text: str) -> None:
    assert extract(text).index.size == 0
