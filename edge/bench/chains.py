"""Which steps together: the exact search beside going through all sets, on made-up steps."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from edge.bench.figure import Figure
from edge.decide.chains import Best, Option, best_chain, log_odds, odds

SIZES, MOST = (3, 10, 30, 100, 300), (3, 5)
INSTANCES = 100
ALL_SETS = 200_000
"""As many sets as can be gone through one after the other for each instance that is held against them."""
HELD_AGAINST = 5
ROLES = ("rep", "engineer", "manager", "finance", "warehouse")
BEFORE, WITHIN_MINUTES, WORTH = 0.5, 60.0, 100.0
TARGET_MS = 50.0
SAME = 1e-6


def measure() -> Iterator[Figure]:
    """Each number of steps, with at most three and five of them in a chain."""
    for most in MOST:
        for size in SIZES:
            yield from measure_size(size, most, INSTANCES)


def measure_size(size: int, most: int, instances: int) -> Iterator[Figure]:
    """p50 and p99 (ms) of a search through `size` steps, beside all sets where these are few, and how many of the sets
    were looked at. Raises ArithmeticError when a set is better than what was found."""
    random = np.random.default_rng(size)
    made = [options(random, size) for _ in range(instances)]
    sets = sum(math.comb(size, number) for number in range(most + 1))
    found, times_ms = zip(*(_timed(one, most) for one in made), strict=True)
    case = f"{size} steps, at most {most}"
    peer_ms = _all_sets_ms(made[:HELD_AGAINST], found, most) if sets <= ALL_SETS else None
    p50, p99 = (float(np.percentile(times_ms, percentile)) for percentile in (50, 99))
    yield Figure(
        bench="chains",
        case=case,
        metric="p50",
        value=p50,
        unit="ms",
        peer=None if peer_ms is None else "all sets",
        ratio=None if peer_ms is None else p50 / peer_ms,
    )
    yield Figure(
        bench="chains",
        case=case,
        metric="p99",
        value=p99,
        unit="ms",
        target=f"≤ {TARGET_MS:g} ms",
        ok=p99 <= TARGET_MS,
    )
    looked_at = float(np.mean([one.looked_at for one in found]))
    yield Figure(
        bench="chains",
        case=case,
        metric="sets looked at",
        value=looked_at,
        unit="sets",
        peer=f"all {sets:,}",
        ratio=looked_at / sets,
    )


def options(random: np.random.Generator, size: int) -> list[Option]:
    """Steps of several roles, some of which do harm, that take minutes and cost something."""
    gains = random.normal(0.2, 0.3, size)
    return [
        Option(
            name=str(number),
            role=ROLES[random.integers(len(ROLES))],
            minutes=float(random.uniform(2, 45)),
            cost=float(random.exponential(2.0)),
            gain=float(gain),
            low=float(gain) - 0.2,
            high=float(gain) + 0.2,
            proven=bool(random.random() < 0.5),
        )
        for number, gain in enumerate(gains)
    ]


def worth_of(steps: Sequence[Option]) -> float:
    """What a set of steps is worth; less than nothing when a role has not the time for its steps."""
    busy = {role: sum(one.minutes for one in steps if one.role == role) for role in ROLES}
    if max(busy.values()) > WITHIN_MINUTES:
        return -math.inf
    return odds(log_odds(BEFORE) + sum(one.gain for one in steps)) - sum(one.cost for one in steps) / WORTH


def _timed(steps: Sequence[Option], most: int) -> tuple[Best, float]:
    began_ns = time.perf_counter_ns()
    best = best_chain(BEFORE, steps, WITHIN_MINUTES, most=most, worth=WORTH)
    return best, (time.perf_counter_ns() - began_ns) / 1e6


def _all_sets_ms(made: Sequence[Sequence[Option]], found: Sequence[Best], most: int) -> float:
    """How long it takes to go through all sets, which must not show a better one."""
    times_ms = []
    for steps, best in zip(made, found, strict=False):
        began_ns = time.perf_counter_ns()
        most_worth = max(worth_of(some) for number in range(most + 1) for some in itertools.combinations(steps, number))
        times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        if abs(worth_of(best.steps) - most_worth) > SAME:
            raise ArithmeticError(f"of {len(steps)} steps the best are worth {most_worth}, not {worth_of(best.steps)}")
    return float(np.median(times_ms))
