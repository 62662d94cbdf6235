"""The table of words: both languages say the same, and every word is said somewhere."""

import re
import string
import unicodedata
from pathlib import Path

import pytest

import tui
from tui.words import WORDS, duration, language_of_environment, translated

# All that says words: the modules, without the table itself.
SOURCE = "\n".join(
    path.read_text("utf-8").partition("def say(")[2] if path.stem == "words" else path.read_text("utf-8")
    for path in Path(tui.__path__[0]).glob("*.py")
)


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_tell_the_same(key: str) -> None:
    chinese, english = WORDS[key]
    assert chinese
    assert english
    assert _fields(chinese) == _fields(english)


@pytest.mark.parametrize("key", WORDS)
def test_no_word_has_a_character_of_ambiguous_width(key: str) -> None:
    assert not [character for character in "".join(WORDS[key]) if unicodedata.east_asian_width(character) == "A"]


def test_every_key_that_is_said_is_in_the_table() -> None:
    said = set(re.findall(r'\b(?:say|both)\((?:[\w.]+, )?"([a-z_.0-9]+)"', SOURCE))
    assert len(said) > 30
    assert said - {"zh", "en"} <= WORDS.keys()


def test_every_word_of_the_table_is_said() -> None:
    unsaid = [key for key in WORDS if f'"{key}"' not in SOURCE and f"{key.partition('.')[0]}.{{" not in SOURCE]
    assert unsaid == []


@pytest.mark.parametrize(
    ("seconds", "chinese", "english"),
    [
        (0, "0秒", "0 s"),
        (119, "119秒", "119 s"),
        (120, "2分", "2 min"),
        (7199, "119分", "119 min"),
        (7200, "2小时", "2 h"),
        (3 * 86400, "3天", "3 d"),
    ],
)
def test_a_length_of_time_is_short(seconds: int, chinese: str, english: str) -> None:
    assert (duration("zh", seconds), duration("en", seconds)) == (chinese, english)


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_that_of_the_locale(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], language: str
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language_of_environment() == language


def test_a_card_without_the_language_shows_the_one_it_has() -> None:
    assert translated("zh", {"en": "Call back"}) == "Call back"
    assert translated("zh", {"en": "Call back", "zh": "回电"}) == "回电"
    assert translated("en", {}) == ""
