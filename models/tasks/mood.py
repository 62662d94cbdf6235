"""What a pack for moods says of a turn: whether its speaker is upset, whether something presses, and what made it say
so.

The log-odds are a sum over one time line: the words of the turn, those of the speaker's turns before it, which fade,
how it is spoken, its marks, and what happened with the customer before the call (models/features/time_line.py). What is
absent adds nothing. The model puts the parts out itself, so the evidence is what it ran on and not a second account of
it."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import runtime
from models.errors import PackInvalid
from models.features.text import TextFeatures, batch
from models.features.time_line import COLUMNS, STEPS, TimeLine, Turn, faded, features_of, row_of, shown
from models.pack import Pack
from models.runtime import Model
from models.tasks.labelling import About
from models.tasks.text_labels import Known, LabelScore, Speaking, by_word, phrases

INPUTS = {"index", "value", "moments"}
OF_WORDS, OF_MOMENTS, LOG_ODDS, PROBABILITIES = "contributions", "of_moments", "log_odds", "probabilities"
EARLIER, NOTHING_ELSE = "said_before", "nothing_else"
QUOTED = 40  # characters of an earlier turn

Floats = NDArray[np.float32]


class Mood(Speaking):
    """A pack for moods; its model is loaded when the first turn comes. May be shared by threads."""

    def __init__(self, pack: Pack) -> None:
        """Raises PackInvalid when the pack is for another task, or its model does not fit the time line."""
        manifest, where = pack.manifest, pack.folder
        if manifest.task != "mood" or set(manifest.inputs) != INPUTS:
            raise PackInvalid(f"{where} is a pack for {manifest.task}, not one that judges moods; name another pack.")
        if set(manifest.thresholds) != set(manifest.labels):
            raise PackInvalid(f"{where}: `thresholds` and `labels` name different labels; install the pack anew.")
        count, labels = len(COLUMNS), len(manifest.labels)
        shapes = {name: tensor.shape for name, tensor in (*manifest.inputs.items(), *manifest.outputs.items())}
        if shapes != {
            "index": (-1, -1),
            "value": (-1, -1),
            "moments": (-1, count),
            OF_WORDS: (-1, -1, labels),
            OF_MOMENTS: (-1, count, labels),
            LOG_ODDS: (-1, labels),
            PROBABILITIES: (-1, labels),
        }:
            raise PackInvalid(f"{where}: its model does not fit the time line of this version; install the pack anew.")
        self._pack = pack
        self._model: Model | None = None
        self._opening = Lock()
        self.name, self.version, self.languages = manifest.name, manifest.version, manifest.languages
        self.labels, self.thresholds = manifest.labels, manifest.thresholds

    def open(self) -> Model:
        """The model, loaded if it is not yet. Raises ModelError."""
        with self._opening:
            if self._model is None:
                self._model = runtime.load(self._pack)
            return self._model

    def score(
        self, texts: Sequence[str], _before: Sequence[str] = (), about: Sequence[About] = (), /
    ) -> list[list[LabelScore]]:
        """See `models.tasks.labelling.Labeller.score`. What was said before is read from the time line in `about`, with
        its times; a turn without one is judged by its words and marks. One with neither letter nor digit gets an empty
        list."""
        if not texts:
            return []
        lines = [what.line for what in about] or [None] * len(texts)
        seen = see(texts, lines)
        made = self.open().run(inputs_of(seen))
        return [
            self._scores(one, of_words, of_moments, probabilities)
            for one, of_words, of_moments, probabilities in zip(
                seen, made[OF_WORDS], made[OF_MOMENTS], made[PROBABILITIES], strict=True
            )
        ]

    def _scores(self, seen: "Sight", of_words: Floats, of_moments: Floats, probabilities: Floats) -> list[LabelScore]:
        if not seen.words.words.size:
            return []
        weights = by_word(seen.words, of_words[: seen.words.index.size].astype(np.float64))
        return [
            LabelScore(
                label=label,
                probability=float(probabilities[column]),
                contributions=phrases(seen.text, seen.words, weights[:, column]),
                known=_known(seen, of_words[:, column], of_moments[:, column]),
            )
            for column, label in enumerate(self.labels)
        ]


class Sight:
    """A turn as the model sees it: the features of its words, those of its speaker's turns before, and the numbers."""

    def __init__(self, text: str, line: TimeLine | None) -> None:
        self.text = text
        self.line = line
        self.words = features_of(text)
        spoken = line is not None and line.turn is not None
        self.earlier = [
            (turn, features_of(turn.text), share)
            for turn, share in (faded(line.turn, line.earlier) if spoken else ())  # type: ignore[union-attr,arg-type]
        ]
        self.moments = row_of(text, line)

    @property
    def features(self) -> TextFeatures:
        """All words in one row: the turn's own, then those of the turns before, worth what they still count for."""
        parts = [self.words, *(words for _, words, _ in self.earlier)]
        shares = [1.0, *(share for *_, share in self.earlier)]
        return TextFeatures(
            index=np.concatenate([part.index for part in parts]),
            value=np.concatenate([part.value * np.float32(share) for part, share in zip(parts, shares, strict=True)]),
            start=self.words.start,
            end=self.words.end,
            words=self.words.words,
        )


def see(texts: Sequence[str], lines: Sequence[TimeLine | None]) -> list[Sight]:
    """Turns as the model sees them, on the device and in training."""
    return [Sight(text, line) for text, line in zip(texts, lines, strict=True)]


def inputs_of(seen: Sequence[Sight]) -> dict[str, NDArray[Any]]:
    """The inputs of the model for some turns."""
    index, value = batch([one.features for one in seen])
    return {"index": index, "value": value, "moments": np.stack([one.moments for one in seen])}


def _known(seen: Sight, of_words: Floats, of_moments: Floats) -> tuple[Known, ...]:
    """What weighed beside the words of the turn, the heaviest first: the turns before it, the numbers, and that nothing
    else happened before the call."""
    known = []
    place = seen.words.index.size
    for turn, words, _ in seen.earlier:
        weight = float(of_words[place : place + words.index.size].sum())
        place += words.index.size
        known.append(Known("", EARLIER, "", _quoted(turn), weight))
    nothing = 0.0
    for name, value, weight in zip(COLUMNS, seen.moments.tolist(), of_moments.tolist(), strict=True):
        if name in STEPS and value == 0:
            nothing += weight
        elif weight:
            known.append(Known("", name, "", shown(name, value, seen.line), weight))
    if nothing:
        known.append(Known("", NOTHING_ELSE, "", "", nothing))
    return tuple(sorted(known, key=lambda one: -(one.weight or 0.0)))


def _quoted(turn: Turn) -> str:
    text = turn.text if len(turn.text) <= QUOTED else turn.text[:QUOTED] + " …"
    return f"{turn.start_s:.0f} s: {text}"
