"""What a pack for machines' lives says: how many cycles are left, between which bounds, and which sensors say so.

The model has one hidden layer. Beside the cycles left it puts out how many of them each sensor, with all its features,
took or gave against a machine in good order: the integrated gradients (Sundararajan et al., 2017) along the straight
line from there, in closed form as in `device_anomaly`, computed with the weights that it ran on.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import PackInvalid
from models.features.life import BEGINNING, CAUSES, FEATURES, UnitLife
from models.runtime import Model

INPUT = "features"
LIFE, WEIGHTS, FURTHEST = "life", "weights", "furthest"
CAP = 125.0
"""Cycles: more than these are not told apart, since a machine in good order does not show how long it will be so."""
COVERS = 0.8
"""Share of machines whose life is to end between the bounds."""
KNOWN = 20.0
"""Standard deviations from a machine in good order, beyond which the pack has learnt nothing."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """The cycles that a machine has left, at most CAP: `low` and `high` are the bounds of COVERS of all machines.

    `weights` are the causes with the cycles that each took or gave, largest part first; with `usual`, what a machine in
    good order has, they add up to `cycles`. Where `abstains` says why, nothing else counts.
    """

    cycles: float = 0.0
    low: float = 0.0
    high: float = 0.0
    usual: float = 0.0
    weights: tuple[tuple[str, float], ...] = ()
    abstains: str = ""


class DeviceRul:
    """A pack for machines' lives ready to predict. May be shared by threads."""

    def __init__(self, model: Model) -> None:
        """Raises PackInvalid when the pack is for another task or for other features."""
        manifest = model.pack.manifest
        where = model.pack.folder
        if manifest.task != "device-rul":
            raise PackInvalid(f"{where} is a pack for {manifest.task}, not for machines' lives; name another pack.")
        shapes = {name: tensor.shape for name, tensor in (*manifest.inputs.items(), *manifest.outputs.items())}
        if shapes != {INPUT: (-1, len(FEATURES)), LIFE: (-1, 3), WEIGHTS: (-1, len(CAUSES)), FURTHEST: (-1, 1)}:
            raise PackInvalid(f"{where} was not made for this version's features; install the pack anew.")
        self._model = model
        self.name = manifest.name
        self.version = manifest.version

    def predict(self, features: NDArray[np.float32]) -> list[Life]:
        """The life left of each of some machines, of their features [n, len(FEATURES)].

        Raises InputInvalid when `features` has another type or shape.
        """
        if not len(features):
            return []
        made = self._model.run({INPUT: features})
        return [
            _life(*rows)
            for rows in zip(made[LIFE].tolist(), made[WEIGHTS].tolist(), made[FURTHEST][:, 0].tolist(), strict=True)
        ]


def _life(life: list[float], weights: list[float], furthest: float) -> Life:
    """What the model put out, within 0 and CAP and in order. What these bounds take or give is a cause too."""
    if not furthest <= KNOWN:
        return Life(abstains=f"its sensors are {furthest:.0f} deviations from any machine that was learnt from")
    cycles, low, high = (min(max(value, 0.0), CAP) for value in life)
    causes = [*zip(CAUSES, weights, strict=True)]
    if cycles != life[0]:
        causes.append(("limit of 0" if cycles == 0 else f"limit of {CAP:.0f}", cycles - life[0]))
    return Life(
        cycles=cycles,
        low=min(low, cycles),
        high=max(high, cycles),
        usual=life[0] - sum(weights),
        weights=tuple(sorted(causes, key=lambda cause: -abs(cause[1]))),
    )


def refuses(unit: UnitLife, cycle: float) -> str:
    """Why a reading at `cycle` cannot be of this unit, or "": each must be later than the one before, from cycle 0."""
    if cycle < 0:
        return f"its cycle is {cycle:g}, and none comes before 0"
    if unit.readings and cycle <= unit.last_cycle:
        return f"cycle {cycle:g} comes after cycle {unit.last_cycle:g}"
    return ""


def too_young(unit: UnitLife) -> str:
    """Why nothing can be said of a unit yet, or "": its first BEGINNING readings are what it is compared with."""
    if unit.first_cycle > BEGINNING:
        return f"its readings begin at cycle {unit.first_cycle:g}; those of its first {BEGINNING} cycles are needed"
    if unit.readings < BEGINNING:
        return f"it has {unit.readings} readings so far; {BEGINNING} are needed"
    return ""
