"""What an encoder sees of a turn: the tokens of the turns before it, then its own, and where in the turn each of those
stands. The same in training and on the device."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.errors import PackInvalid

IDS, KINDS = "ids", "kinds"
MOST_TOKENS = 128
MOST_TOKENS_BEFORE = 48
MAX_CHARACTERS = 2000  # a turn is seldom longer than 500; beyond this it is cut
PAD = 0
"""The id that stands for no token; a tokenizer gives it to nothing else (models/train/pretrained.py)."""

# A Chinese character by itself, or a run of other letters and digits.
_WORDS = re.compile(
    r"[一-鿿㐀-䶿\U00020000-\U0003ffff]|(?:(?![一-鿿㐀-䶿\U00020000-\U0003ffff])[^\W_])+(?:['’](?:[^\W_])+)*"
)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """The tokens of one turn: at which places of its row they stand, and `start` and `end` in the turn. `words` (n, 2)
    are the start and end of the words and the single Chinese characters of the turn."""

    place: Integers
    start: Integers
    end: Integers
    words: Integers


class TokenReader:
    """Reads turns by a pack's own tokenizer. May be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Raises PackInvalid when the file is no tokenizer."""
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise PackInvalid(f"{path} is no tokenizer: {error}; install the pack anew.") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def read(self, turns: Sequence[str], before: Sequence[str]) -> tuple[dict[str, Integers], list[Tokens]]:
        """The inputs of one run, `ids` and `kinds` [turns, tokens] (kind 1: of the turn itself), and by turn its
        tokens.

        `before` is by turn what was said before it, '' if nothing. Of a turn that is too long its beginning is read, of
        what was before it the end.
        """
        earlier = self._tokenizer.encode_batch([text[-MAX_CHARACTERS:] for text in before], add_special_tokens=False)
        own = self._tokenizer.encode_batch([text[:MAX_CHARACTERS] for text in turns], add_special_tokens=False)
        pairs = []
        for first, second in zip(earlier, own, strict=True):
            second.truncate(MOST_TOKENS)
            first.truncate(MOST_TOKENS_BEFORE, direction="left")
            pairs.append(self._tokenizer.post_process(first, second, add_special_tokens=True))
        width = max((len(pair.ids) for pair in pairs), default=0)
        ids, kinds = np.full((len(pairs), width), PAD, np.int64), np.zeros((len(pairs), width), np.int64)
        for row, pair in enumerate(pairs):
            ids[row, : len(pair.ids)] = pair.ids
            kinds[row, : len(pair.ids)] = pair.type_ids
        return {IDS: ids, KINDS: kinds}, [
            _tokens(text, kinds[row], np.array(pair.offsets, np.int64).reshape(-1, 2))
            for row, (text, pair) in enumerate(zip(turns, pairs, strict=True))
        ]


def _tokens(text: str, kinds: Integers, offsets: Integers) -> Tokens:
    place = np.flatnonzero(kinds)
    words = np.array([match.span() for match in _WORDS.finditer(text[:MAX_CHARACTERS])], np.int64).reshape(-1, 2)
    return Tokens(place=place, start=offsets[place, 0], end=offsets[place, 1], words=words)
