"""How often the bounds of an effect miss the truth when they are looked at after every outcome, and how wide they are.

Experiments are made up: an outcome is yes or no, and more likely with a covariate. Their numbers come from the
product's `Augmented`, and the product's `Bettor` bets against the truth in all of them at once: the bounds miss it at
some time only when it wins. Beside it is what an interval for a fixed sample does under the same looks: the difference
of the two means with 1.96 standard errors (Wald), once there are 20 outcomes of each arm.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bench.figure import Figure
from edge.decide.uplift import SURE, Augmented, Bettor, Uplift

EXPERIMENTS, OUTCOMES = 1_000, 2_000
WHOLE = 20
"""So many experiments are gone through by `Uplift` itself, for the width of its bounds."""
SHARES, EFFECTS = (0.1, 0.3, 0.5), (0.0, 0.1, -0.1)
BASE, EXTREMES = 0.3, (0.02, 0.98)
SLOPE = 0.8
"""How far the covariate moves the base rate, of how far it could."""
LOOKED_FROM, DEVIATIONS = 20, 1.96
JUST_ABOVE, JUST_BELOW = 0.001, -0.001
"""The values next to 0 at which the bounds of an effect can lie."""


class Numbers(NamedTuple):
    """What outcomes say of the effect, and between which bounds each was known to lie, by outcome and experiment."""

    value: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]


class Made(NamedTuple):
    """Made-up experiments, by outcome and experiment: who was treated, what came of it, what was known before."""

    treated: NDArray[np.bool_]
    values: NDArray[np.float64]
    covariates: NDArray[np.float64]


def measure() -> Iterator[Figure]:
    """Every share and effect at the usual base rate, and no effect at rare and at nearly certain outcomes."""
    for share in SHARES:
        for effect in EFFECTS:
            yield from measure_case(share, BASE, effect, EXPERIMENTS, OUTCOMES)
        for base in EXTREMES:
            yield from measure_case(share, base, 0.0, EXPERIMENTS, OUTCOMES)


def measure_case(share: float, base: float, effect: float, experiments: int, outcomes: int) -> Iterator[Figure]:
    """The part of the experiments in which bounds ever miss, widths at the end, and how many outcomes it takes until an
    effect is shown."""
    case = f"share {share:g}, base {base:g}, effect {effect:+g}"
    made = make(share, base, effect, experiments, outcomes)
    numbers = numbers_of(made, share)
    missed = first_of(won(numbers, effect)) < outcomes
    means, errors = wald(made)
    fewest = np.minimum(np.cumsum(made.treated, 0), np.cumsum(~made.treated, 0))
    off = (np.abs(means - effect) > DEVIATIONS * errors) & (fewest >= LOOKED_FROM)
    missed_fixed = float(off.any(0).mean())
    target = 1 - SURE
    yield Figure(
        bench="uplift",
        case=case,
        metric="bounds ever miss the truth",
        value=100 * float(missed.mean()),
        unit="%",
        peer="a fixed-sample interval's misses",
        ratio=float(missed.mean()) / missed_fixed if missed_fixed else None,
        target=f"≤ {100 * target:g} %",
        ok=float(missed.mean()) <= target,
    )
    yield Figure(bench="uplift", case=case, metric="a fixed-sample interval", value=100 * missed_fixed, unit="%")
    width = float(np.mean([width_of(made, share, number) for number in range(min(WHOLE, experiments))]))
    width_fixed = float(2 * DEVIATIONS * errors[-1].mean())
    yield Figure(
        bench="uplift",
        case=case,
        metric=f"width after {outcomes:,}",
        value=width,
        unit="",
        peer="a fixed-sample interval's",
        ratio=width / width_fixed,
    )
    if effect:
        yield _until_shown(case, numbers, effect, outcomes)


def make(share: float, base: float, effect: float, experiments: int, outcomes: int) -> Made:
    """Experiments with such an effect; the same each time."""
    random = np.random.default_rng([round(1000 * one) for one in (share, base, 1 + effect)])
    shape = (outcomes, experiments)
    covariates = random.random(shape)
    treated = random.random(shape) >= share
    slope = SLOPE * (min(base, 1 - base) - abs(effect))
    chance = base + slope * (2 * covariates - 1) + effect * treated
    return Made(treated, (random.random(shape) < chance).astype(float), covariates)


def numbers_of(made: Made, share: float) -> Numbers:
    """What each outcome says of its experiment's effect, and its bounds, by outcome and experiment."""
    outcomes, experiments = made.values.shape
    numbers = np.empty((3, outcomes, experiments))
    for experiment in range(experiments):
        augmented = Augmented(share)
        numbers[:, :, experiment] = np.transpose([augmented.number(*row) for row in _rows(made, experiment)])
    return Numbers(*numbers)


def won(numbers: Numbers, point: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """By outcome and experiment whether the effect is above a point for sure, and whether it is below it."""
    bettor = Bettor(np.array([point]), numbers.value.shape[1])
    sides = [bettor.add(*row) for row in zip(numbers.value, numbers.least, numbers.most, strict=True)]
    return np.array([above[:, 0] for above, _ in sides]), np.array([below[:, 0] for _, below in sides])


def first_of(sides: tuple[NDArray[np.bool_], ...]) -> NDArray[np.int64]:
    """By experiment the place of the first outcome after which it was so on a side; their number when it never was."""
    either = np.logical_or.reduce(sides)
    return np.where(either.any(0), either.argmax(0), len(either))


def wald(made: Made) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The difference of the means of both arms and its standard error, after each outcome."""
    means, variances = [], []
    for arm in (made.treated, ~made.treated):
        count = np.maximum(np.cumsum(arm, 0), 1)
        mean = np.cumsum(arm * made.values, 0) / count
        means.append(mean)
        variances.append(mean * (1 - mean) / count)
    return means[0] - means[1], np.sqrt(variances[0] + variances[1])


def width_of(made: Made, share: float, experiment: int) -> float:
    """How wide the bounds are at the end of an experiment."""
    uplift = Uplift(share)
    for row in _rows(made, experiment):
        uplift.add(*row)
    return uplift.effect.high - uplift.effect.low


def _rows(made: Made, experiment: int) -> Iterator[tuple[bool, float, tuple[float]]]:
    for treated, value, covariate in zip(*(one[:, experiment] for one in made), strict=True):
        yield bool(treated), float(value), (float(covariate),)


def _until_shown(case: str, numbers: Numbers, effect: float, outcomes: int) -> Figure:
    above, below = won(numbers, JUST_ABOVE if effect > 0 else JUST_BELOW)
    shown_after = np.median(first_of((above if effect > 0 else below,))) + 1
    return Figure(
        bench="uplift",
        case=case,
        metric="outcomes until it is shown, median" + (" (more than)" if shown_after > outcomes else ""),
        value=float(min(shown_after, outcomes)),
        unit="",
    )
