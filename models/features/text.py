"""What a text pack sees of a turn: the same hashed n-grams in training and on the device.

A turn is first written in one plain form, so that what somebody typed and what a recogniser wrote (all lower case, no
punctuation, Chinese words apart) give the same features: compatibility forms and accents resolved, case folded, every
number a single 0, apostrophes dropped, every other mark a word's end, nothing between Chinese characters. A feature
is a stretch of that plain form: a word, two words, 3 to 5 characters of a word and its borders, or 1 to 3 Chinese
characters; hence each of them is known by where it came from in the turn.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FEATURES = 2**16
MAX_CHARACTERS = 2000  # a turn is seldom longer than 500; beyond this it is cut
FEW = 10  # about as many features as two short words have

APOSTROPHES = "'’ʼ＇"
SPACE, ZERO = ord(" "), ord("0")
WORDS, PIECES, CHINESE = 1, 2, 3
PIECE_LENGTHS = (3, 4, 5)
CHINESE_LENGTHS = (1, 2, 3)
HASH_BASE = np.uint64(0x9E3779B97F4A7C15)
HASH_BASE_INVERSE = np.uint64(pow(int(HASH_BASE), -1, 2**64))

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class TextFeatures:
    """The features of a turn, one by one as they occur in it.

    `index` (int64, below FEATURES) says which feature, `value` (float32) how much of it, `start` and `end` which
    characters of the turn it came from. A feature that occurs n times shares out w = 1 + ln n, divided by the root of
    FEW + Σw²: the length (l2) of the whole is below 1, and well below for a turn of a word or two, which therefore
    proves little. `words` (n, 2) are the start and end of the words and the single Chinese characters that the
    features are made of.
    """

    index: Integers
    value: NDArray[np.float32]
    start: Integers
    end: Integers
    words: Integers

    @property
    def place(self) -> Integers:
        """Where in a row of `batch` each feature stands."""
        return np.arange(self.index.size)


def extract(text: str) -> TextFeatures:
    """The features of the first MAX_CHARACTERS characters of a turn; none when it has neither letter nor digit."""
    codes, chinese, start, end = _plain(text[:MAX_CHARACTERS])
    space = codes == SPACE
    latin = ~(space | chinese)
    word_first = np.flatnonzero(chinese[1:] | (latin[1:] & ~latin[:-1])) + 1
    word_last = np.flatnonzero(chinese[:-1] | (latin[:-1] & ~latin[1:]))
    first, last, kind = _stretches(space, chinese, word_first[latin[word_first]], word_last[latin[word_last]])
    index = _hashed(codes, first, last, kind)
    _, which, counts = np.unique(index, return_inverse=True, return_counts=True)
    weights = 1 + np.log(counts)
    value = (weights / counts / np.sqrt(FEW + np.sum(weights**2)))[which]
    return TextFeatures(
        index=index,
        value=value.astype(np.float32),
        start=start[first + space[first]],
        end=end[last - space[last]],
        words=np.stack([start[word_first], end[word_last]], axis=1),
    )


def batch(turns: Sequence[TextFeatures]) -> tuple[Integers, NDArray[np.float32]]:
    """The indices and values of several turns as two matrices, a turn a row, filled up with features of value 0."""
    width = max((turn.index.size for turn in turns), default=0)
    index = np.zeros((len(turns), width), np.int64)
    value = np.zeros((len(turns), width), np.float32)
    for row, turn in enumerate(turns):
        index[row, : turn.index.size] = turn.index
        value[row, : turn.value.size] = turn.value
    return index, value


def is_chinese(character: str) -> bool:
    """Whether a character is a Chinese ideograph."""
    return "一" <= character <= "鿿" or "㐀" <= character <= "䶿" or "\U00020000" <= character <= "\U0003ffff"


def _plain(text: str) -> tuple[NDArray[np.uint64], Flags, Integers, Integers]:
    """The plain form between two spaces: its code points, which are Chinese, and where in the text each stands."""
    codes, chinese, start, end = [SPACE], [False], [0], [0]
    apart = False
    for position, character in enumerate(text):
        letters = _letters(character)
        apart = apart or letters is None
        for letter, ideograph in letters or ():
            if letter == ZERO == codes[-1] and not apart:
                end[-1] = position + 1
                continue
            if codes[-1] != SPACE and (ideograph != chinese[-1] or (apart and not ideograph)):
                codes.append(SPACE)
                chinese.append(False)
                start.append(position)
                end.append(position)
            codes.append(letter)
            chinese.append(ideograph)
            start.append(position)
            end.append(position + 1)
            apart = False
    return (
        np.array([*codes, SPACE], np.uint64),
        np.array([*chinese, False]),
        np.array([*start, 0], np.int64),
        np.array([*end, 0], np.int64),
    )


@lru_cache(maxsize=8192)
def _letters(character: str) -> tuple[tuple[int, bool], ...] | None:
    """What a character is in the plain form: letters, each Chinese or not; None when it ends a word."""
    if character in APOSTROPHES or unicodedata.combining(character):
        return ()
    resolved = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    letters = ["0" if letter.isdecimal() else letter for letter in resolved if letter.isalnum()]
    return tuple((ord(letter), is_chinese(letter)) for letter in letters) or None


def _stretches(
    space: Flags, chinese: Flags, word_first: Integers, word_last: Integers
) -> tuple[Integers, Integers, Integers]:
    """The first and the last place of every feature in the plain form, and its kind, given the words not Chinese."""
    neighbours = word_last[:-1] + 2 == word_first[1:]
    found = [
        (word_first, word_last, WORDS),
        (word_first[:-1][neighbours], word_last[1:][neighbours], WORDS),
    ]
    spaces_before = np.concatenate([[0], np.cumsum(space)])
    others_before = np.concatenate([[0], np.cumsum(~chinese)])
    chinese_before = np.arange(space.size + 1) - others_before
    for length in PIECE_LENGTHS:
        first = np.arange(space.size - length + 1)
        last = first + length - 1
        inside = (spaces_before[last] == spaces_before[first + 1]) & (chinese_before[last + 1] == chinese_before[first])
        found.append((first[inside], last[inside], PIECES))
    for length in CHINESE_LENGTHS:
        first = np.arange(space.size - length + 1)
        last = first + length - 1
        inside = others_before[last + 1] == others_before[first]
        found.append((first[inside], last[inside], CHINESE))
    return (
        np.concatenate([first for first, _, _ in found]),
        np.concatenate([last for _, last, _ in found]),
        np.concatenate([np.full(first.size, kind) for first, _, kind in found]),
    )


def _hashed(codes: NDArray[np.uint64], first: Integers, last: Integers, kind: Integers) -> Integers:
    """The index of every stretch: a polynomial hash modulo 2^64 (Karp and Rabin 1987), mixed as MurmurHash3 ends."""
    powers = np.cumprod(np.full(codes.size, HASH_BASE))
    inverses = np.cumprod(np.full(codes.size, HASH_BASE_INVERSE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * powers)])
    mixed = (sums[last + 1] - sums[first]) * inverses[first] + kind.astype(np.uint64)
    for factor in (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * factor
    index: Integers = ((mixed ^ (mixed >> np.uint64(33))) % np.uint64(FEATURES)).astype(np.int64)
    return index
