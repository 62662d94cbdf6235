"""What goes along with a goal, set apart from what moved it.

Whatever was there before the outcome may go along with it: a label that was heard, a step that somebody did. The
difference between subjects with and without it is an association; who did the step chose whom to do it for. Only a
trial that was drawn (edge/decide/experiments.py) says what moves the goal.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

LEAST = 5  # outcomes with a feature, and as many without, before anything is said of it
SURE_DEVIATIONS = 1.96


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome (0 to 1), and what was there before it: labels heard, steps done."""

    value: float
    features: frozenset[str]


class Association(msgspec.Struct, frozen=True, kw_only=True):
    """How much higher the mean outcome is with a feature than without (-1 to 1), between 95 % bounds, and of how many
    outcomes each. It is no effect."""

    feature: str
    difference: float
    low: float
    high: float
    having: int
    lacking: int


def associations(seen: Sequence[Seen]) -> list[Association]:
    """What goes along with the outcome, the strongest first. Bounds after Agresti and Caffo (2000): one outcome of each
    kind is added to both sides, so that few outcomes claim little."""
    found = []
    for feature in sorted({feature for one in seen for feature in one.features}):
        having = np.array([one.value for one in seen if feature in one.features])
        lacking = np.array([one.value for one in seen if feature not in one.features])
        if min(len(having), len(lacking)) < LEAST:
            continue
        means = [(side.sum() + 1) / (len(side) + 2) for side in (having, lacking)]
        spread = (
            sum(mean * (1 - mean) / (len(side) + 2) for mean, side in zip(means, (having, lacking), strict=True)) ** 0.5
        )
        middle = means[0] - means[1]
        found.append(
            Association(
                feature=feature,
                difference=float(middle),
                low=float(max(-1.0, middle - SURE_DEVIATIONS * spread)),
                high=float(min(1.0, middle + SURE_DEVIATIONS * spread)),
                having=len(having),
                lacking=len(lacking),
            )
        )
    return sorted(found, key=lambda one: -abs(one.low + one.high))
