"""Turns of calls with what each means, as models/train/turns has them, and which of them are never learnt from.

Scenarios, never single turns, are held out: turns of one scenario share their words. A fifth of them is the test part.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.tasks.text_labels import said_before

TURNS = Path(__file__).with_name("turns")
LABELS = (
    "budget_concern",
    "competitor_mention",
    "purchase_intent",
    "spare_part_request",
    "fault_report",
    "complaint",
    "churn_risk",
    "renewal",
    "delivery_query",
    "warranty_doubt",
    "safety_hazard",
    "callback_request",
    "praise",
)
LANGUAGES = ("en", "zh")
SAFETY = LABELS.index("safety_hazard")

Truth = NDArray[np.bool_]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one speaker, the scenario that it was written for, and what was said before it in the same call ('':
    it stands alone)."""

    scenario: str
    language: str
    labels: tuple[str, ...]
    text: str
    before: str = ""


def read_turns(folder: Path = TURNS) -> list[Turn]:
    """The turns of every language: tab-separated scenario, language, speaker, labels (commas between, or
    `none`), text.

    Where a scenario's rows name their speakers it is one call, and its rows are in the order in which they were said.
    """
    turns: list[Turn] = []
    for language in LANGUAGES:
        scenario_before = ""
        earlier: list[str] = []
        for line in (folder / f"{language}.tsv").read_text("utf-8").splitlines()[1:]:
            scenario, written, speaker, labels, text = line.split("\t")
            names = () if labels == "none" else tuple(labels.split(","))
            if written != language or not set(names) <= set(LABELS):
                raise ValueError(f"{folder / language}.tsv: {line!r} is of another language or has an unknown label.")
            if scenario != scenario_before:
                scenario_before, earlier = scenario, []
            before = said_before(earlier) if speaker != "-" else ""
            turns.append(Turn(scenario=scenario, language=language, labels=names, text=text, before=before))
            earlier.append(text)
    return turns


def read_heard(language: str, folder: Path = TURNS) -> dict[str, str]:
    """What a recogniser wrote of turns that a voice spoke (models/train/heard.py), by the turn's text; may be empty."""
    path = folder / f"heard.{language}.tsv"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return dict(line.split("\t") for line in lines)


def draw(turn: Turn) -> int:
    """A number drawn for the turn's scenario; it stays when scenarios are added."""
    digest = hashlib.sha256(f"{turn.language}/{turn.scenario}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def is_test(turn: Turn) -> bool:
    """Whether a turn is of the fifth of the scenarios that is never learnt from."""
    return draw(turn) % 5 == 0


def fold_of(turn: Turn, folds: int) -> int:
    """The fold of a turn that may be learnt from; all turns of a scenario are in one."""
    return draw(turn) // 5 % folds


def truth_of(turns: Sequence[Turn]) -> Truth:
    """(turns, labels): which label holds for which turn."""
    return np.array([[label in turn.labels for label in LABELS] for turn in turns])
