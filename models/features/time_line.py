"""What stands on the time line of a call up to a turn, as numbers: how the turn is spoken, its marks, and what came
before the call. Each is absent (NaN) where it is not known, as in a note, which nobody spoke.

What passes counts for less as time goes: half after a half-life. Pace is in words a second, of Chinese in characters,
as `models.features.text` counts them; everything is held within a range, so that no input can weigh without bound."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.text import TextFeatures, extract, is_chinese

SPOKEN = ("words_a_second", "characters_a_second", "pace_change", "gap", "overlap", "unsure")
MARKS = {"exclamations": "!！", "questions": "?？", "trails_off": "…"}
PUNCTUATION = frozenset("".join(MARKS.values()) + ".。,，;；")
SIGNALS = (
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
"""What a turn of a call may say: the labels of call-signals."""
STEPS = (
    "called",
    "note",
    *SIGNALS,
    "done",
    "expired",
    "declined",
    "device_anomaly",
)
COLUMNS = (*SPOKEN, *MARKS, *STEPS)

SAID_HALF_LIFE_S = 20.0
STEP_HALF_LIFE_S = 7 * 86_400.0
DEVICE_HALF_LIFE_S = 3_600.0
TURNS_KEPT = 12
LEAST_WORDS = 4  # a pace of fewer says nothing
LEAST_S = 0.5
LONGEST_GAP_S, LONGEST_OVERLAP_S = 10.0, 3.0
MOST_MARKS, MOST_STEPS = 3, 4.0

Row = NDArray[np.float32]


class Turn(msgspec.Struct, frozen=True):
    """A turn on the time line: whether it is of the speaker who is judged, what was said from when to when (seconds of
    the call), and the share of its words (0 to 1) of which the recogniser was unsure (None: not known)."""

    own: bool
    text: str
    start_s: float
    end_s: float
    unsure: float | None = None


class Step(msgspec.Struct, frozen=True):
    """What happened with a customer before, one of STEPS, and how long ago, in seconds."""

    what: str
    ago_s: float


class TimeLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a turn is judged: the turn itself if it was spoken, those before it in the call, oldest first,
    and the steps before the call (None: nobody knows)."""

    turn: Turn | None = None
    earlier: tuple[Turn, ...] = ()
    steps: tuple[Step, ...] | None = None


def row_of(text: str, line: TimeLine | None) -> Row:
    """The numbers of a turn, float32 [COLUMNS]; NaN where one is absent."""
    found: dict[str, float] = {}
    if PUNCTUATION & set(text):
        found |= {name: min(sum(map(text.count, marks)), MOST_MARKS) for name, marks in MARKS.items()}
    if line is not None and line.turn is not None:
        found |= _spoken(line.turn, line.earlier)
    if line is not None and line.steps is not None:
        found |= _before(line.steps)
    return np.array([found.get(name, np.nan) for name in COLUMNS], np.float32)


@lru_cache(maxsize=128)
def features_of(text: str) -> TextFeatures:
    """The features of a turn's words, which are looked at again with every turn after it."""
    return extract(text)


def faded(turn: Turn, earlier: Sequence[Turn]) -> list[tuple[Turn, float]]:
    """The speaker's own turns before one, oldest first, each with what its words still count for (0 to 1)."""
    return [
        (one, 0.5 ** (max(turn.start_s - one.end_s, 0.0) / SAID_HALF_LIFE_S))
        for one in earlier[-TURNS_KEPT:]
        if one.own
    ]


def shown(name: str, value: float, line: TimeLine | None) -> str:
    """A number of a row as people read it; of a step how long ago its newest was."""
    if name in STEPS:
        return _ago(min(step.ago_s for step in (line.steps if line and line.steps else ()) if step.what == name))
    match name:
        case "words_a_second" | "characters_a_second":
            return f"{np.exp(value):.1f}/s"
        case "pace_change":
            return f"{np.expm1(value):+.0%}"
        case "gap":
            return f"{np.expm1(value):.1f} s"
        case "overlap":
            return f"{value:.1f} s"
        case "unsure":
            return f"{value:.0%}"
    return f"{value:.0f}"


# ---- how it is spoken --------------------------------------------------------------------------------------------


def _spoken(turn: Turn, earlier: Sequence[Turn]) -> dict[str, float]:
    found = _between(turn, earlier[-TURNS_KEPT:])
    if turn.unsure is not None:
        found["unsure"] = turn.unsure
    pace = _pace(turn)
    if pace is not None:
        name, each_second = pace
        found[name] = float(np.log(each_second))
        before = [own[1] for one in earlier[-TURNS_KEPT:] if one.own and (own := _pace(one)) and own[0] == name]
        if before:
            found["pace_change"] = float(np.clip(np.log(each_second / np.mean(before)), -1.0, 1.0))
    return found


def _pace(turn: Turn) -> tuple[str, float] | None:
    """What is counted, and how many of them a second; None: too short to say."""
    words = features_of(turn.text).words
    seconds = turn.end_s - turn.start_s
    if len(words) < LEAST_WORDS or seconds < LEAST_S:
        return None
    chinese = 2 * sum(is_chinese(turn.text[start]) for start in words[:, 0].tolist()) > len(words)
    return "characters_a_second" if chinese else "words_a_second", len(words) / seconds


def _between(turn: Turn, earlier: Sequence[Turn]) -> dict[str, float]:
    """How long after the other speaker's end a turn begins, or how far it cuts in; nothing when its speaker goes on."""
    last = max(earlier, key=lambda one: one.end_s, default=None)
    if last is None or last.own:
        return {}
    late_s = turn.start_s - last.end_s
    return {
        "gap": float(np.log1p(min(max(late_s, 0.0), LONGEST_GAP_S))),
        "overlap": min(max(-late_s, 0.0), LONGEST_OVERLAP_S),
    }


# ---- what came before --------------------------------------------------------------------------------------------


def _before(steps: Sequence[Step]) -> dict[str, float]:
    found = dict.fromkeys(STEPS, 0.0)
    for step in steps:
        if step.what in found:
            half_life_s = DEVICE_HALF_LIFE_S if step.what == "device_anomaly" else STEP_HALF_LIFE_S
            found[step.what] += 0.5 ** (max(step.ago_s, 0.0) / half_life_s)
    return {name: min(value, MOST_STEPS) for name, value in found.items()}


def _ago(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 min"
