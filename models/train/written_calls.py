"""Calls written as time lines (models/train/calls), and the turns of models/train/turns, as what a pack for moods
learns from: each a turn of a customer, what stood on the time line then, and the moods that held.

A call in a file, fields apart by ` | `:

    call ID | what it is about before | STEP AGE | …            what happened with the customer before, newest last or
    not: `called 6d` device | device_anomaly AGE | …  what their machines reported WHO | START | END | MOODS | TEXT  c
    (customer) or a (agent), seconds, `-` or u (upset) and n (urgent: now), what is said

A word in TEXT that a recogniser would be unsure of has `~` after it. A recogniser is unsure of others, too, and does
not tell to the tenth of a second when somebody begins and ends; `as_heard` adds that, or the signs would be too sharp.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.features.text import extract
from models.features.time_line import STEPS, Step, TimeLine, Turn
from models.train.labelled import LANGUAGES, MOODS, Truth, read_turns

CALLS = Path(__file__).with_name("calls")
LETTERS = {"u": "upset", "n": "urgent"}
AGE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd])")
JITTER_S = 0.3
UNSURE_SHARE = 0.05  # of the words of calm people on a telephone line
SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's turn, what stood on its time line, and the moods of its speaker then; `line` is None for a turn that
    stands alone, as it was typed."""

    scenario: str
    language: str
    text: str
    line: TimeLine | None
    moods: tuple[str, ...]


def read_moments() -> list[Moment]:
    """Every turn of a customer: those of written calls first, then those that are judged by their words."""
    return [*read_calls(), *_alone()]


def read_calls(folder: Path = CALLS) -> list[Moment]:
    """The customers' turns of all calls, in the order of the files. Raises ValueError naming a line that does not
    fit."""
    moments: list[Moment] = []
    for language in LANGUAGES:
        path = folder / f"{language}.txt"
        call: list[str] = []
        for number, line in enumerate([*path.read_text("utf-8").splitlines(), "call "], 1):
            if line.startswith("call ") and call:
                try:
                    moments += _moments(language, call)
                except (ValueError, KeyError, AttributeError) as error:
                    raise ValueError(f"{path}, before line {number}: {error!r}; see models/train/calls.") from None
                call = []
            if line.strip():
                call.append(line)
    return moments


def _moments(language: str, call: Sequence[str]) -> Iterator[Moment]:
    (named, _), *rows = ([part.strip() for part in line.split("|")] for line in call)
    steps: list[Step] = []
    turns: list[Turn] = []
    for first, *rest in rows:
        if first in ("before", "device"):
            steps += [_step(one) for one in rest if one]
            continue
        start, end, moods, text = rest
        turn = _turn(first, float(start), float(end), text)
        if turn.own:
            yield Moment(
                scenario=named.removeprefix("call "),
                language=language,
                text=turn.text,
                line=TimeLine(turn=turn, earlier=tuple(turns), steps=tuple(steps)),
                moods=tuple(LETTERS[letter] for letter in moods.strip("-")),
            )
        turns.append(turn)


def _turn(who: str, start_s: float, end_s: float, text: str) -> Turn:
    if who not in ("a", "c") or not 0 <= start_s < end_s:
        raise ValueError(f"{who} | {start_s} | {end_s}")
    said = text.replace("~", "")
    words = len(extract(said).words)
    return Turn(who == "c", said, start_s, end_s, text.count("~") / words if words else None)


def as_heard(moments: Sequence[Moment], seed: int) -> list[Moment]:
    """Moments with times and doubts as a recogniser has them."""
    draw = np.random.default_rng(seed)
    return [
        one
        if one.line is None
        else msgspec.structs.replace(
            one,
            line=TimeLine(
                turn=None if one.line.turn is None else _heard(one.line.turn, draw),
                earlier=tuple(_heard(turn, draw) for turn in one.line.earlier),
                steps=one.line.steps,
            ),
        )
        for one in moments
    ]


def _heard(turn: Turn, draw: np.random.Generator) -> Turn:
    early_s, late_s = draw.uniform(-JITTER_S, JITTER_S, 2)
    words = len(extract(turn.text).words)
    doubts = draw.binomial(words, UNSURE_SHARE) / words if words else 0.0
    return msgspec.structs.replace(
        turn,
        start_s=turn.start_s + early_s,
        end_s=max(turn.end_s + late_s, turn.start_s + early_s + 0.1),
        unsure=None if turn.unsure is None else min(turn.unsure + doubts, 1.0),
    )


def _step(written: str) -> Step:
    what, age = written.split()
    match = AGE.fullmatch(age)
    if what not in STEPS or match is None:
        raise ValueError(written)
    return Step(what, float(match["number"]) * SECONDS[match["unit"]])


def _alone() -> Iterator[Moment]:
    for turn in read_turns():
        if turn.moods is not None:
            yield Moment(scenario=turn.scenario, language=turn.language, text=turn.text, line=None, moods=turn.moods)


def truth_of(moments: Sequence[Moment]) -> Truth:
    """(moments, MOODS): which mood holds in which."""
    return np.array([[mood in moment.moods for mood in MOODS] for moment in moments])
