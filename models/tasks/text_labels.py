"""What a text pack says of a turn: every label with its probability, and what each word added to it.

The model is a sum: every feature of the turn adds its own part to the log-odds of every label. It puts these parts
out itself, so the evidence is what it ran on and not a second account of it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import PackInvalid
from models.features.text import TextFeatures, batch, extract, is_chinese
from models.runtime import Model

INPUTS = ("index", "value")
OUTPUTS = ("contributions", "probabilities")
TURNS_A_RUN = 64
HEAVY_SHARE = 0.5


class LabelScore(msgspec.Struct, frozen=True, kw_only=True):
    """A label with its calibrated probability (0 to 1) and the words behind it.

    `contributions` are (start, end, weight): a stretch of characters of the turn, and what it added to the log-odds,
    largest first. With the model's bias for the label they add up to the log-odds.
    """

    label: str
    probability: float
    contributions: tuple[tuple[int, int, float], ...]


class TextLabels:
    """A text pack ready to score turns. May be shared by threads."""

    def __init__(self, model: Model) -> None:
        """Raises PackInvalid when the pack is for another task, or its labels have no threshold or no output."""
        manifest = model.pack.manifest
        where = model.pack.folder
        if manifest.task != "text-labels" or set(manifest.inputs) != set(INPUTS):
            raise PackInvalid(f"{where} is a pack for {manifest.task}, not one that labels text; name another pack.")
        if not set(OUTPUTS) <= set(manifest.outputs):
            raise PackInvalid(f"{where} does not put out {' and '.join(OUTPUTS)}; install the pack anew.")
        if set(manifest.thresholds) != set(manifest.labels):
            raise PackInvalid(f"{where}: `thresholds` and `labels` name different labels; install the pack anew.")
        if any(manifest.outputs[name].shape[-1] != len(manifest.labels) for name in OUTPUTS):
            raise PackInvalid(f"{where}: its model does not put out one value for each label; install the pack anew.")
        self._model = model
        self.name = manifest.name
        self.version = manifest.version
        self.labels = manifest.labels
        self.thresholds = manifest.thresholds

    def score(self, texts: Sequence[str]) -> list[list[LabelScore]]:
        """For each turn its labels in the manifest's order.

        A turn with neither letter nor digit in it gets an empty list: there is nothing to judge. Of a turn longer than
        models.features.text.MAX_CHARACTERS only the first so many characters are judged.
        """
        scores: list[list[LabelScore]] = []
        for first in range(0, len(texts), TURNS_A_RUN):
            some = texts[first : first + TURNS_A_RUN]
            turns = [extract(text) for text in some]
            index, value = batch(turns)
            made = self._model.run({"index": index, "value": value})
            scores += [
                self._scores(text, turn, contributions[: turn.index.size], probabilities)
                for text, turn, contributions, probabilities in zip(
                    some, turns, made["contributions"], made["probabilities"], strict=True
                )
            ]
        return scores

    def _scores(
        self, text: str, turn: TextFeatures, contributions: NDArray[Any], probabilities: NDArray[Any]
    ) -> list[LabelScore]:
        if not turn.index.size:
            return []
        by_word = _by_word(turn, contributions.astype(np.float64))
        return [
            LabelScore(
                label=label,
                probability=float(probabilities[column]),
                contributions=_phrases(text, turn, by_word[:, column]),
            )
            for column, label in enumerate(self.labels)
        ]


def _by_word(turn: TextFeatures, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each word added to each label: a feature's part is shared out evenly over the words it touches."""
    first = np.searchsorted(turn.words[:, 0], turn.start, side="right") - 1
    last = np.searchsorted(turn.words[:, 0], turn.end, side="left") - 1
    share = contributions / (last - first + 1)[:, np.newaxis]
    steps = np.zeros((len(turn.words) + 1, contributions.shape[1]))
    np.add.at(steps, first, share)
    np.add.at(steps, last + 1, -share)
    by_word: NDArray[np.float64] = np.cumsum(steps, axis=0)[:-1]
    return by_word


def _phrases(text: str, turn: TextFeatures, weights: NDArray[np.float64]) -> tuple[tuple[int, int, float], ...]:
    """The words with their weights, largest first.

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
