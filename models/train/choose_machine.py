"""Chooses the constants of models.features.machine on made machines, and on nothing else.

    python -m models.train.choose_machine

From where it begins it goes through the constants, one or a few at a time, tries all combinations of some values and
keeps the one with the best F1 of rows over all machines. Prints what it tried (F1, false and missing alarm rate), how
the choice does on machines that it was not chosen on, and the constants to write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import click
import numpy as np
from msgspec.structs import replace

from models.features.machine import LEARNT, Constants, Machines
from models.train.machines import MadeMachine, made_machines
from models.train.series import Floats

TO_CHOOSE, TO_TEST = (21, 300), (22, 300)  # seed, machines
BEGIN = Constants(smooth=8.0, lasting=8.0, furthest=6.0, few=30.0, least=1e-3, rare=0.99, above=2.0, followed=200.0)
STEPS: tuple[dict[str, tuple[float, ...]], ...] = (
    {"smooth": (5.0, 8.0, 12.0, 18.0), "above": (1.5, 2.0, 3.0, 4.5), "followed": (100.0, 200.0, 400.0)},
    {"few": (0.0, 10.0, 30.0, 100.0, 300.0)},
    {"least": (1e-5, 1e-3, 1e-2, 1e-1)},
    {"lasting": (2.0, 5.0, 8.0, 12.0), "above": (1.5, 2.0, 3.0, 4.5)},
    {"furthest": (3.0, 4.0, 6.0, 10.0)},
    {"rare": (0.95, 0.99, 1.0), "above": (1.5, 2.0, 3.0, 4.5)},
)
CALM = 20  # rows without alarm that end an episode of alarms


@dataclass(frozen=True)
class Judged:
    """A machine with the log-odds [n] of its rows."""

    machine: MadeMachine
    log_odds: Floats


@click.command()
def main() -> None:
    """Print the grid, what the choice is worth, and the constants."""
    machines = made_machines(*TO_CHOOSE)
    chosen = BEGIN
    for step in STEPS:
        tried = [replace(chosen, **dict(zip(step, values, strict=True))) for values in product(*step.values())]
        rates = [rates_of(list(judged(machines, one))) for one in tried]
        for one, its in zip(tried, rates, strict=True):
            click.echo(f"{' '.join(f'{name} {getattr(one, name):g}' for name in step)}: {_shown(its)}")
        chosen = tried[int(np.argmax([f1 for f1, *_ in rates]))]
    click.echo(f"on the machines it was chosen on: {_shown(rates_of(list(judged(machines, chosen))))}")
    tests = list(judged(made_machines(*TO_TEST), chosen))
    click.echo(f"on others: {_shown(rates_of(tests))}")
    for kind, some in groupby(sorted(tests, key=lambda one: one.machine.kind), lambda one: one.machine.kind):
        click.echo(f"  {kind}: {_shown(rates_of(list(some)))}")
    sound = [one for one in tests if not one.machine.fault]
    rows = sum(len(one.log_odds) - LEARNT for one in sound)
    false = sum(episodes(one.log_odds) for one in sound)
    click.echo(f"false episodes of machines without a fault: {1e4 * false / rows:.1f} in 10,000 rows")
    click.echo(f"chosen: {chosen}")


def judged(machines: Sequence[MadeMachine], by: Constants) -> Iterator[Judged]:
    """What the method says of each machine by these constants; all with as many sensors are read in step."""
    for width, some in groupby(sorted(machines, key=_width), _width):
        longest_first = sorted(some, key=lambda one: -len(one.values))
        lengths = np.array([len(one.values) for one in longest_first])
        log_odds = np.empty((lengths[0], len(lengths)))
        watched = Machines(width, by)
        for turn in range(lengths[0]):
            slots = np.arange(np.count_nonzero(lengths > turn))
            rows = np.stack([one.values[turn] for one in longest_first[: len(slots)]])
            log_odds[turn, slots], _ = watched.update(slots, rows)
        for slot, one in enumerate(longest_first):
            yield Judged(one, log_odds[: lengths[slot], slot])


def rates_of(some: Sequence[Judged]) -> tuple[float, float, float]:
    """F1, false and missing alarm rate of the judged rows of all machines after those learnt from."""
    alarm = np.concatenate([one.log_odds[LEARNT:] >= 0 for one in some])
    truth = np.concatenate([one.machine.faulty[LEARNT:] for one in some])
    counts = np.concatenate([one.machine.judged[LEARNT:] for one in some])
    right = np.count_nonzero(counts & alarm & truth)
    false, missed = np.count_nonzero(counts & alarm & ~truth), np.count_nonzero(counts & ~alarm & truth)
    sound = np.count_nonzero(counts & ~truth)
    return 2 * right / (2 * right + false + missed), false / sound, missed / (right + missed or 1)


def episodes(log_odds: Floats) -> int:
    """Stretches of alarms, with fewer than CALM rows without one in between."""
    alarms = np.flatnonzero(log_odds >= 0)
    return int(np.count_nonzero(np.diff(alarms) > CALM)) + 1 if len(alarms) else 0


def _width(machine: MadeMachine) -> int:
    return len(machine.sensors)


def _shown(rates: tuple[float, float, float]) -> str:
    return "/".join(f"{rate:.3f}" for rate in rates)


if __name__ == "__main__":
    main()
