"""Names in what was heard: put right where they sound alike and the recogniser doubted, and nowhere else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.events import Utterance, Word
from edge.perceive.names import Names
from edge.site import SAMPLE
from edge.vocabulary import Term, read_vocabulary

NAMES = Names(read_vocabulary(SAMPLE / "vocabulary.toml"))


def heard(text: str, *, language: str = "en", doubtful: str = "", confidence: float = 0.6) -> Utterance:
    """Words a second each; the recogniser was sure but of those in `doubtful`."""
    unsure = doubtful.split()
    words = tuple(
        Word(text=word, start_s=float(place), end_s=place + 1.0, confidence=confidence if word in unsure else 1.0)
        for place, word in enumerate(text.split())
    )
    end_s = float(len(words))
    return Utterance(channel="customer", language=language, text=text, start_s=0.0, end_s=end_s, words=words)


def test_a_name_that_was_misheard_is_put_right_and_the_original_kept() -> None:
    right = NAMES.correct(heard("ask masterly about the mechanical see all", doubtful="masterly see all"))
    assert right.text == "ask Master Liu about the mechanical seal"
    assert right.heard == "ask masterly about the mechanical see all"
    assert [(name.kind, name.name, name.heard) for name in right.names] == [
        ("person", "master-liu", "masterly"),
        ("part", "mechanical-seal", "mechanical see all"),
    ]
    assert [(word.text, word.start_s, word.end_s) for word in right.words[:3]] == [
        ("ask", 0.0, 1.0),
        ("Master", 1.0, 1.5),
        ("Liu", 1.5, 2.0),
    ]
    assert right.words[-1].end_s == right.end_s


def test_what_the_recogniser_was_sure_of_stays() -> None:
    text = "the pump seat is worn"
    assert NAMES.correct(heard(text)) == heard(text)
    assert NAMES.correct(heard(text, doubtful="seat", confidence=0.2)).text == "the pump seal is worn"


def test_a_name_as_the_vocabulary_spells_it_is_found_and_nothing_changed() -> None:
    said = heard("The drainage pump three leaks")
    found = NAMES.correct(said)
    assert (found.text, found.heard, found.words) == (said.text, "", said.words)
    assert [(name.name, name.said) for name in found.names] == [("pump-03", "drainage pump three")]


@pytest.mark.parametrize(
    ("text", "doubtful", "right", "names"),
    [
        ("七号 体生机 又 坏 了", "体生机", "七号提升机 又 坏 了", ["hoist-07"]),
        ("你 找 刘 师父 过来", "师父", "你 找 刘师傅 过来", ["master-liu"]),
        ("那个轴成 响 得 厉害", "那个轴成", "那 个 轴承 响 得 厉害", ["bearing"]),
        ("周三 有 空", "", "周三 有 空", []),
    ],
)
def test_chinese_names_are_put_right_by_their_syllables(text: str, doubtful: str, right: str, names: list[str]) -> None:
    found = NAMES.correct(heard(text, language="zh", doubtful=doubtful, confidence=0.3))
    assert found.text == right
    assert [name.name for name in found.names] == names


def test_a_note_is_not_corrected_but_its_names_are_found() -> None:
    note = Utterance(channel="note", language="", text="Masterly was here, 三号水泵 leaks; hoist seven runs")
    found = NAMES.correct(note)
    assert (found.text, found.heard) == (note.text, "")
    assert {name.name for name in found.names} == {"pump-03", "hoist-07"}


def test_a_short_name_is_only_found_as_it_is_written() -> None:
    names = Names([Term(kind="person", name="dan", en=("Dan",), zh=())])
    assert names.correct(heard("then den said", doubtful="then den said", confidence=0.0)).names == ()
    assert [name.name for name in names.correct(heard("dan said")).names] == ["dan"]


def test_what_was_heard_as_a_short_word_is_no_name() -> None:
    text = "we have an offer from somebody else"  # the site has an Anna
    assert NAMES.correct(heard(text, doubtful="an", confidence=0.3)).text == text


def test_a_site_without_a_vocabulary_has_no_names(tmp_path: Path) -> None:
    said = heard("ask masterly", doubtful="masterly")
    assert Names(()).correct(said) == said


WORDS = st.lists(
    st.sampled_from(
        ["masterly", "hoist", "seven", "see", "all", "七号", "体生机", "提", "刘", "师父", "x", "brake", "pads"]
    ),
    min_size=1,
    max_size=12,
)


@given(WORDS, st.sampled_from(["en", "zh", ""]), st.floats(0, 1))
def test_times_stay_in_order_and_within_what_was_said(texts: list[str], language: str, confidence: float) -> None:
    said = heard(" ".join(texts), language=language, doubtful=" ".join(texts), confidence=confidence)
    right = NAMES.correct(said)
    edges = [edge for word in right.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (0.0, said.end_s)
    assert right.text == " ".join(word.text for word in right.words)
    assert NAMES.correct(said) == right
