"""How alike two stretches of text sound.

English by their consonants in order (Metaphone, Philips 1990, over the words run together, since a recogniser puts
its spaces elsewhere) and, less, by their letters; Chinese by syllables (pinyin without tones), of which those that are
often taken for one another count half.
"""

import os
from functools import lru_cache

import jellyfish
from rapidfuzz.distance import Levenshtein

from models.features.text import is_chinese

CODE_SHARE = 0.7  # what the consonants count against the letters
NEAR_SYLLABLE = 0.5
# What many speakers and recognisers do not tell apart: retroflex and flat sibilants, n and l, f and h, -n and -ng.
_NEAR_BEGINNINGS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("f", "h"), ("r", "l"))
_NEAR_ENDINGS = (("ang", "an"), ("eng", "en"), ("ing", "in"))
# The readings of whole words take 46 MB more; what was heard and the name are read alike without them.
os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")


def likeness(heard: str, said: str, least: float = 0.0) -> float:
    """How alike two stretches of text sound: 0 (nothing in common) to 1 (the same); 0 also where it would be below
    `least`. One with Chinese characters in it is like none without."""
    ours, theirs = _chinese(heard), _chinese(said)
    if ours != theirs:
        return 0.0
    return _syllables_alike(heard, said) if ours else _letters_alike(heard, said, least)


def _letters_alike(heard: str, said: str, least: float) -> float:
    one, other = _code(heard), _code(said)
    if not one or not other:
        return 0.0
    codes = Levenshtein.normalized_similarity(one, other)
    if CODE_SHARE * codes + (1 - CODE_SHARE) < least:
        return 0.0
    letters = Levenshtein.normalized_similarity(_letters(heard), _letters(said))
    return CODE_SHARE * codes + (1 - CODE_SHARE) * letters


def _syllables_alike(heard: str, said: str) -> float:
    one, other = _syllables(heard), _syllables(said)
    if len(one) != len(other) or not one:
        return 0.0
    return sum(_alike(a, b) for a, b in zip(one, other, strict=True)) / len(one)


def _alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    return NEAR_SYLLABLE if _plain(one) == _plain(other) else 0.0


@lru_cache(maxsize=4096)
def _plain(syllable: str) -> str:
    """A syllable without the differences that are often not heard."""
    for long, short in _NEAR_BEGINNINGS:
        if syllable.startswith(long):
            syllable = short + syllable[len(long) :]
            break
    for long, short in _NEAR_ENDINGS:
        if syllable.endswith(long):
            return syllable[: -len(long)] + short
    return syllable


@lru_cache(maxsize=16384)
def _code(text: str) -> str:
    return jellyfish.metaphone(_letters(text)).replace(" ", "")


@lru_cache(maxsize=16384)
def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


@lru_cache(maxsize=16384)
def _syllables(text: str) -> tuple[str, ...]:
    """The pinyin of Chinese characters; what is between them as it is."""
    import pypinyin  # takes 12 MB, which a site where nobody speaks Chinese need not have

    kept = "".join(character for character in text.casefold() if character.isalnum())
    return tuple(pypinyin.lazy_pinyin(kept))


@lru_cache(maxsize=16384)
def _chinese(text: str) -> bool:
    return any(map(is_chinese, text))
