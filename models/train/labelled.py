"""Turns of calls with what each means, as models/train/turns has them, and which of them are never learnt from.

Scenarios, never single turns, are held out: turns of one scenario share their words. A fifth of them is the test part.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.time_line import SIGNALS
from models.tasks.text_labels import said_before

TURNS = Path(__file__).with_name("turns")
LABELS = SIGNALS
MOODS = ("upset", "urgent")
LANGUAGES = ("en", "zh")
SAFETY = LABELS.index("safety_hazard")

Truth = NDArray[np.bool_]


class Scene(Protocol):
    """What is held out as a whole: what was written for one scenario of a language."""

    @property
    def scenario(self) -> str: ...
    @property
    def language(self) -> str: ...


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one speaker, the scenario that it was written for, and what was said before it in the same call ('':
    it stands alone). `moods` are those of a customer then (None: nobody asked, as of an agent)."""

    scenario: str
    language: str
    labels: tuple[str, ...]
    text: str
    before: str = ""
    moods: tuple[str, ...] | None = None


def read_turns(folder: Path = TURNS) -> list[Turn]:
    """The turns of every language: tab-separated scenario, language, speaker, labels (commas between, or `none`), moods
    (likewise; `-`: nobody asked), text.

    Where a scenario's rows name their speakers it is one call, and its rows are in the order in which they were said.
    """
    turns: list[Turn] = []
    for language in LANGUAGES:
        scenario_before = ""
        earlier: list[str] = []
        for line in (folder / f"{language}.tsv").read_text("utf-8").splitlines()[1:]:
            scenario, written, speaker, labels, moods, text = line.split("\t")
            if written != language:
                raise ValueError(f"{folder / language}.tsv: {line!r} is of another language.")
            if scenario != scenario_before:
                scenario_before, earlier = scenario, []
            before = said_before(earlier) if speaker != "-" else ""
            turns.append(
                Turn(
                    scenario=scenario,
                    language=language,
                    labels=_names(labels, LABELS),
                    text=text,
                    before=before,
                    moods=None if moods == "-" else _names(moods, MOODS),
                )
            )
            earlier.append(text)
    return turns


def _names(written: str, known: Sequence[str]) -> tuple[str, ...]:
    names = () if written == "none" else tuple(written.split(","))
    if not set(names) <= set(known):
        raise ValueError(f"{written!r} is none of {', '.join(known)}.")
    return names


def read_heard(language: str, folder: Path = TURNS) -> dict[str, str]:
    """What a recogniser wrote of turns that a voice spoke (models/train/heard.py), by the turn's text; may be empty."""
    path = folder / f"heard.{language}.tsv"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return dict(line.split("\t") for line in lines)


def draw(scene: Scene) -> int:
    """A number drawn for a scenario; it stays when scenarios are added."""
    digest = hashlib.sha256(f"{scene.language}/{scene.scenario}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def is_test(scene: Scene) -> bool:
    """Whether what was written for a scenario is of the fifth of them that is never learnt from."""
    return draw(scene) % 5 == 0


def fold_of(scene: Scene, folds: int) -> int:
    """The fold of what may be learnt from; all of a scenario is in one."""
    return draw(scene) // 5 % folds


def truth_of(turns: Sequence[Turn]) -> Truth:
    """(turns, labels): which label holds for which turn."""
    return np.array([[label in turn.labels for label in LABELS] for turn in turns])
