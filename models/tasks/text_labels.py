"""What a text pack says of a turn: every label with its probability, and what each word added to it.

The model's log-odds are a sum over what it sees of the turn: hashed features (models/features/text.py), the tokens of
an encoder (models/features/tokens.py), which sees the turns before it too, or both. It puts these parts out itself, so
the evidence is what it ran on and not a second account of it."""

import unicodedata
from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import runtime
from models.errors import PackInvalid
from models.features.text import batch, extract, is_chinese
from models.pack import Pack
from models.runtime import Model

HASHED = {"index", "value"}
TOKENS = {"ids", "kinds"}
BOTH = HASHED | TOKENS
TOKENIZER = "tokenizer.json"
OUTPUTS = ("contributions", "probabilities")
TURNS_A_RUN = 64
TURNS_BEFORE = 2
HEAVY_SHARE = 0.5
LATIN = ("LATIN", "FULLWIDTH LATIN")


def said_before(earlier: Sequence[str]) -> str:
    """What a text pack is told of the turns of a call before one, oldest first: the last TURNS_BEFORE of them."""
    return " | ".join(earlier[-TURNS_BEFORE:])


def language_of(text: str) -> str:
    """The language of a text of which nobody said it: `zh` if a third of its letters or more are Chinese, `und` if more
    than half of them are neither Chinese nor Latin, else `en`. A Chinese character says about as much as three
    letters."""
    letters = [character for character in text if character.isalpha()]
    chinese = sum(map(is_chinese, letters))
    others = sum(not is_chinese(letter) and not unicodedata.name(letter, "").startswith(LATIN) for letter in letters)
    if 2 * others > len(letters):
        return "und"
    return "zh" if 3 * chinese > len(letters) - chinese else "en"


class Seen(Protocol):
    """What a model saw of a turn, part by part: where in its row each part stands, and in the turn."""

    @property
    def place(self) -> NDArray[np.int64]: ...
    @property
    def start(self) -> NDArray[np.int64]: ...
    @property
    def end(self) -> NDArray[np.int64]: ...
    @property
    def words(self) -> NDArray[np.int64]: ...


class Parts(msgspec.Struct, frozen=True):
    """What a model saw of a turn, of several kinds, as one."""

    place: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    words: NDArray[np.int64]


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a composed pack knew beside the words: of what (`of`, '': of the turn) it knew what (`what`), from where (a
    table or pack, '': from the turn or by reckoning), and the value as people write it. `weight` is what it added to
    the log-odds (None: it is no sum)."""

    source: str
    what: str
    of: str
    value: str
    weight: float | None = None


class LabelScore(msgspec.Struct, frozen=True, kw_only=True):
    """A label with its calibrated probability (0 to 1) and the words behind it.

    `contributions` are (start, end, weight): a stretch of characters of the turn, and what it added to the log-odds,
    largest first. `known` is what a pack went by beside the words of the turn. With the weights among it, and the
    model's bias for the label, they add up to the log-odds.
    """

    label: str
    probability: float
    contributions: tuple[tuple[int, int, float], ...]
    known: tuple[Known, ...] = ()


class Speaking:
    """What a pack for text judges at all: turns with a word in them, in one of its languages (none: in any)."""

    languages: tuple[str, ...]

    def speaks(self, text: str, language: str = "") -> bool:
        """Whether a turn is in a language of the pack; `language` is what is known of it."""
        return not self.languages or (language or language_of(text)) in self.languages

    def abstains(self, text: str, language: str = "") -> str:
        """Why the pack has nothing to say of any such turn ('': it has); `language` is what is known of it."""
        if not any(character.isalnum() for character in text):
            return "there is no word in it"
        return "" if self.speaks(text, language) else f"it is not in {' or '.join(self.languages)}"


class TextLabels(Speaking):
    """A text pack that scores turns; its model is loaded when the first comes, since an encoder that nobody speaks to
    would only take memory. May be shared by threads."""

    def __init__(self, pack: Pack) -> None:
        """Raises PackInvalid when the pack is for another task, or its labels have no threshold or no output."""
        manifest, where = pack.manifest, pack.folder
        if manifest.task != "text-labels" or set(manifest.inputs) not in (HASHED, TOKENS, BOTH):
            raise PackInvalid(f"{where} is a pack for {manifest.task}, not one that labels text; name another pack.")
        if not set(OUTPUTS) <= set(manifest.outputs):
            raise PackInvalid(f"{where} does not put out {' and '.join(OUTPUTS)}; install the pack anew.")
        if set(manifest.thresholds) != set(manifest.labels):
            raise PackInvalid(f"{where}: `thresholds` and `labels` name different labels; install the pack anew.")
        if any(manifest.outputs[name].shape[-1] != len(manifest.labels) for name in OUTPUTS):
            raise PackInvalid(f"{where}: its model does not put out one value for each label; install the pack anew.")
        if set(manifest.inputs) >= TOKENS and TOKENIZER not in manifest.files:
            raise PackInvalid(f"{where} has no {TOKENIZER} among its files; install the pack anew.")
        self._pack = pack
        self._opened: tuple[Model, Reader] | None = None
        self._opening = Lock()
        self.name = manifest.name
        self.version = manifest.version
        self.languages = manifest.languages
        self.labels = manifest.labels
        self.thresholds = manifest.thresholds

    def open(self) -> tuple[Model, "Reader"]:
        """The model, and what reads turns for it, loaded if they are not yet. Raises ModelError."""
        with self._opening:
            if self._opened is None:
                self._opened = (runtime.load(self._pack), self._reader())
            return self._opened

    def _reader(self) -> "Reader":
        if set(self._pack.manifest.inputs) == HASHED:
            return read_hashed
        from models.features.tokens import TokenReader

        tokens = TokenReader(self._pack.folder / TOKENIZER).read
        return reads_both(tokens) if set(self._pack.manifest.inputs) == BOTH else tokens

    def score(
        self, texts: Sequence[str], before: Sequence[str] = (), _about: Sequence[object] = ()
    ) -> list[list[LabelScore]]:
        """For each turn its labels in the manifest's order; `before` is by turn what was said before it, if anything.

        A turn with neither letter nor digit in it gets an empty list: there is nothing to judge. Of a turn longer than
        MAX_CHARACTERS of the pack's features only the first so many characters are judged.
        """
        model, read = self.open()
        scores: list[list[LabelScore]] = []
        earlier = before or [""] * len(texts)
        for first in range(0, len(texts), TURNS_A_RUN):
            some = texts[first : first + TURNS_A_RUN]
            inputs, seen = read(some, earlier[first : first + TURNS_A_RUN])
            made = model.run(inputs)
            scores += [
                self._scores(text, turn, contributions[turn.place], probabilities)
                for text, turn, contributions, probabilities in zip(
                    some, seen, made["contributions"], made["probabilities"], strict=True
                )
            ]
        return scores

    def _scores(
        self, text: str, turn: Seen, contributions: NDArray[Any], probabilities: NDArray[Any]
    ) -> list[LabelScore]:
        if not turn.words.size:
            return []
        weights = by_word(turn, contributions.astype(np.float64))
        return [
            LabelScore(
                label=label,
                probability=float(probabilities[column]),
                contributions=phrases(text, turn, weights[:, column]),
            )
            for column, label in enumerate(self.labels)
        ]


class Reader(Protocol):
    """Gives the inputs of a model for some turns and what was said before each, and what it will see of each turn."""

    def __call__(
        self, turns: Sequence[str], before: Sequence[str], /
    ) -> tuple[dict[str, NDArray[Any]], Sequence[Seen]]: ...


def read_hashed(turns: Sequence[str], _: Sequence[str], /) -> tuple[dict[str, NDArray[Any]], Sequence[Seen]]:
    """As hashed features, which know nothing of the turns before."""
    features = [extract(turn) for turn in turns]
    index, value = batch(features)
    return {"index": index, "value": value}, features


def reads_both(tokens: Reader) -> Reader:
    """Reads turns as an encoder's tokens, by `tokens`, and as hashed features, which a model puts out after the
    tokens."""

    def read(turns: Sequence[str], before: Sequence[str], /) -> tuple[dict[str, NDArray[Any]], Sequence[Seen]]:
        inputs, as_tokens = tokens(turns, before)
        hashed, as_features = read_hashed(turns, before)
        width = inputs["ids"].shape[1]
        return inputs | hashed, [
            Parts(
                np.concatenate([one.place, width + other.place]),
                np.concatenate([one.start, other.start]),
                np.concatenate([one.end, other.end]),
                one.words,
            )
            for one, other in zip(as_tokens, as_features, strict=True)
        ]

    return read


def by_word(turn: Seen, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each word added to each label, of what each part that a model saw added [parts, labels]: a part is shared
    out evenly over the words it touches; what touches none, a mark, goes to the word before it, at the beginning to the
    first."""
    first = np.maximum(np.searchsorted(turn.words[:, 0], turn.start, side="right") - 1, 0)
    last = np.maximum(np.searchsorted(turn.words[:, 0], turn.end, side="left") - 1, first)
    share = contributions / (last - first + 1)[:, np.newaxis]
    steps = np.zeros((len(turn.words) + 1, contributions.shape[1]))
    np.add.at(steps, first, share)
    np.add.at(steps, last + 1, -share)
    weights: NDArray[np.float64] = np.cumsum(steps, axis=0)[:-1]
    return weights


def phrases(text: str, turn: Seen, weights: NDArray[np.float64]) -> tuple[tuple[int, int, float], ...]:
    """The words of a turn as (start, end, weight), largest first; `weights` is what each added to a label.

    Chinese has no spaces: neighbouring characters are one word when all of them weigh at least half as much as the
    heaviest in the turn, or all of them less, or all of them speak against the label.
    """
    grades = np.where(weights < 0, -1, weights >= HEAVY_SHARE * weights.max())
    phrases: list[tuple[int, int, float]] = []
    grade_before = None
    for (start, end), weight, grade in zip(turn.words.tolist(), weights.tolist(), grades.tolist(), strict=True):
        adjoins = phrases and phrases[-1][1] == start and is_chinese(text[start - 1]) and is_chinese(text[start])
        if adjoins and grade == grade_before:
            begin, _, before = phrases[-1]
            phrases[-1] = (begin, end, before + weight)
        else:
            phrases.append((start, end, weight))
        grade_before = grade
    return tuple(sorted(phrases, key=lambda phrase: -phrase[2]))
