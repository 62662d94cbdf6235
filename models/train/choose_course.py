"""Chooses the constants of models.features.course, and of how sure a pack must be where a course is known, on NAB.

    python -m models.train.choose_course --data FOLDER [--pack FOLDER]

Every combination of a grid is scored on every series by NAB's standard profile at the pack's own threshold. What it is
worth is cross-validated: the constants for each group of series are those that do best on all the others. It prints the
best combinations, what was chosen without each group, and what to write as the constants.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import numpy as np

from models.features.course import SETTLED, STEEPNESS, Constants, Courses, settling
from models.pack import read_pack
from models.runtime import load
from models.tasks.device_anomaly import DeviceAnomaly
from models.train.nab import points_of, score_of
from models.train.recorded import Watched, read_nab
from models.train.series import Floats
from models.train.windowed import Rows, features_of

LENGTHS, BLOCKS = (24, 36, 48, 72), (4, 8, 12)
FORGOTTEN_AFTER, SLIGHT = (2000.0, 4000.0, 8000.0, 32_000.0), (0.05, 0.1, 0.2, 0.4)
BEYOND, SURER = (0.0, 0.05, 0.1, 0.2, 0.4), (3.0, 6.0, 12.0)
GROUPS = 11
SHOWN = 12
PACK = Path(__file__).parents[1] / "packs" / "device-anomaly"


@dataclass(frozen=True)
class Choice:
    """A combination: the constants of courses, and the log-odds that the pack must be surer where one is known."""

    course: Constants
    surer: float


GRID = tuple(
    Choice(Constants(length, block, forgotten_after, slight, beyond), surer)
    for length, block, forgotten_after, slight, beyond, surer in product(
        LENGTHS, BLOCKS, FORGOTTEN_AFTER, SLIGHT, BEYOND, SURER
    )
)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--pack", type=click.Path(path_type=Path, file_okay=False, exists=True), default=PACK)
def main(data: Path, pack: Path) -> None:
    """Print the grid on NAB and the constants to write."""
    series = read_nab(data / "nab")
    trials = Trials(DeviceAnomaly(load(read_pack(pack))), series)
    windows = sum(len(one.windows) for one in series)
    totals = trials.points.sum(axis=1)
    for place in np.argsort(-totals, kind="stable")[:SHOWN].tolist():
        click.echo(f"{score_of(totals[place], windows):6.1f}  {GRID[place]}")
    for group in range(GROUPS):
        names = ", ".join(one.name for one in series[group::GROUPS])
        click.echo(f"without {names}: {GRID[trials.best_without(group)]}")
    out = sum(float(trials.points[trials.best_without(group), group::GROUPS].sum()) for group in range(GROUPS))
    click.echo(f"on series that the constants were not chosen on: {score_of(out, windows):.1f}")
    click.echo(f"chosen: {GRID[trials.best]}")


class Trials:
    """What every combination of the grid does on every series."""

    def __init__(self, anomaly: DeviceAnomaly, series: Sequence[Watched]) -> None:
        features = features_of([(one.at_us, one.values) for one in series])
        self._series = [
            _Prepared(one, anomaly.score(its), anomaly.threshold) for one, its in zip(series, features, strict=True)
        ]
        # [len(GRID), series] NAB's points at the pack's threshold
        self.points = np.array(
            [[points_of(one.watched, one.log_odds(choice) >= 0) for one in self._series] for choice in GRID]
        )

    @property
    def best(self) -> int:
        """The place in the grid of what does best on all series."""
        return int(np.argmax(self.points.sum(axis=1)))

    def best_without(self, group: int) -> int:
        """The place in the grid of what does best on the series that are not in a group."""
        others = np.arange(len(self._series)) % GROUPS != group
        return int(np.argmax(self.points[:, others].sum(axis=1)))

    def out_of_sample(self) -> Iterator[Floats]:
        """Of each series the log-odds [n] less those at which something is said, by what was chosen without it."""
        for place, one in enumerate(self._series):
            yield one.log_odds(GRID[self.best_without(place % GROUPS)])


class _Prepared:
    """A series with what does not depend on most of the constants."""

    def __init__(self, watched: Watched, said: Rows, threshold: float) -> None:
        self.watched = watched
        within = np.clip(said.astype(np.float64), 1e-7, 1 - 1e-7)
        self._pack = np.log(within / (1 - within)) - np.log(threshold / (1 - threshold))
        self._of_readings = {length: distances(watched.values, length) for length in LENGTHS}
        self._of_means = {
            (length, block): distances(means(watched.values, block), length) for length in LENGTHS for block in BLOCKS
        }

    def log_odds(self, choice: Choice) -> Floats:
        """As models.tasks.device_watch gives them, less those of the pack's threshold."""
        by = choice.course
        course = odd(self._of_readings[by.length], self._of_means[by.length, by.block], self.watched.values, by)
        known = np.arange(len(course)) >= SETTLED
        pack: Floats = self._pack - np.where(known, choice.surer, 0.0)
        return np.maximum(pack, course)


def means(values: Floats, block: int) -> Floats:
    """The means of each whole block of values."""
    blocks: Floats = values[: len(values) // block * block].reshape(-1, block).mean(axis=1)
    return blocks


def distances(values: Floats, length: int) -> Floats:
    """How far the course that ends at each of some values [n] is from the one before most like it."""
    courses = Courses(length)
    return np.array([courses.update(value) for value in values.tolist()])


def odd(of_readings: Floats, of_means: Floats, values: Floats, by: Constants) -> Floats:
    """What models.features.course gives of values [n] one by one, all at once, of distances that are known."""
    log_odds = _odd(of_readings, values, SETTLED, by, by.forgotten_after)
    blocks, settled = means(values, by.block), settling(by.length, by.block)
    over_means = _odd(of_means, blocks, settled, by, by.forgotten_after / by.block)
    ends = np.arange(1, len(blocks) + 1) * by.block - 1
    log_odds[ends] = np.maximum(log_odds[ends], over_means)
    return log_odds


def _odd(apart: Floats, values: Floats, settled: int, by: Constants, forgotten_after: float) -> Floats:
    log_odds = np.full(len(apart), -np.inf)
    if len(apart) > settled:
        slight = by.slight * (float(np.std(values[:settled])) + 1e-9 * (1 + abs(float(values[0]))))
        sizes = np.log(apart[settled - 1 :] + slight)
        sizes[0] = np.log(apart[:settled].max() + slight)
        faded = np.arange(len(sizes)) / forgotten_after
        largest = np.maximum.accumulate(sizes + faded) - faded
        log_odds[settled:] = STEEPNESS * (sizes[1:] - largest[:-1] - by.beyond)
    return log_odds


if __name__ == "__main__":
    main()
