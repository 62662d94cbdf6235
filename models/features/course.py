"""Whether the course of a slow sensor's last readings is one that it has not taken before.

For a sensor read every minute or more seldom, a day's rhythm is longer than what running means remember. Here the last
readings are laid over all that came before: how far they are from the course most like them is the distance of a left
discord (Keogh, Lin, Fu, HOT SAX, 2005; Lu et al., DAMP, 2022). Odd is what is further than anything was lately, so the
sensor's own unrest is the measure and nothing is assumed of its distribution. It is done twice: for the last readings,
and for as many means of a block of readings, which see what is odd for the day.

It costs a pass over MEMORY readings, some 50 µs, and 120 kB a sensor: not for sensors that speak every second.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

MEMORY = 3000  # readings, or means, in which a course is looked for
SETTLED = 600  # readings until something is said
SPARE = 512  # places after which what is forgotten makes room
STEEPNESS = 6.0  # log-odds for each e-fold

Floats = NDArray[np.float64]


class Constants(msgspec.Struct, frozen=True):
    """What decides how courses are judged; `python -m models.train.choose_course` chooses them."""

    length: int  # readings, or means of them, in a course
    block: int  # readings in a mean
    forgotten_after: float  # readings, of the largest distance
    slight: float  # of the deviation of the first readings, which counts as nothing
    beyond: float  # by how much of an e-fold a distance must exceed the largest


CHOSEN = Constants(length=36, block=8, forgotten_after=4000.0, slight=0.1, beyond=0.05)


class Course:
    """What one sensor's courses have been."""

    def __init__(self, constants: Constants = CHOSEN) -> None:
        self._by = constants
        settled, forgotten_after = settling(constants.length, constants.block), constants.forgotten_after
        self._readings = _Scale(constants, SETTLED, forgotten_after)
        self._means = _Scale(constants, settled, forgotten_after / constants.block)
        self._block: list[float] = []
        self._oddest = self._readings

    def update(self, value: float) -> float:
        """Take a finite reading. Gives the log-odds that the sensor's course is odd less those at which it should be
        said: it should at 0 and above. -inf for the first SETTLED readings."""
        self._oddest = self._readings
        log_odds = self._readings.update(value)
        self._block.append(value)
        if len(self._block) == self._by.block:
            over_means = self._means.update(sum(self._block) / self._by.block)
            self._block = []
            if over_means > log_odds:
                self._oddest, log_odds = self._means, over_means
        return log_odds

    def explain(self) -> tuple[tuple[str, float], ...]:
        """The readings of the oddest course with what each added to the last one's log-odds, the largest part first:
        `readings` or `means`, with a sign that says whether they were higher or lower than in the course most like
        it, and how many readings or means came after.

        The parts add up to the log-odds less those of a course that was taken before.
        """
        name = "readings" if self._oddest is self._readings else "means"
        apart, parts = self._oddest.parts()
        return tuple(
            (f"{name} {'+' if apart[place] >= 0 else '-'} {len(parts) - 1 - place}", float(parts[place]))
            for place in np.argsort(-parts, kind="stable").tolist()
        )


class Courses:
    """One sensor's readings, or means of them, so far: how far each course is from the one before most like it."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._values: Floats = np.zeros(MEMORY + length + SPARE)
        self._squares: Floats = np.zeros_like(self._values)  # of the course that ends at each reading
        self._end = 0  # readings in the arrays
        self._first = 0.0  # all readings are taken relative to it, so that squares keep their digits
        self.seen = 0
        self.apart: Floats = np.zeros(length)  # of the last course, reading by reading

    def update(self, value: float) -> float:
        """Take a value. Gives the root mean square of what is between the last course and the one before it that is
        most like it; 0 for the first ones, before there is another to compare with."""
        if not self.seen:
            self._first = value
        if self._end == len(self._values):
            kept = MEMORY + self._length
            for one in (self._values, self._squares):
                one[:kept] = one[-kept:].copy()
            self._end = kept
        self._values[self._end] = value - self._first
        self._end += 1
        self.seen += 1
        course = self._values[max(self._end - self._length, 0) : self._end]
        self._squares[self._end - 1] = course @ course
        return self._distance() if self.seen >= 2 * self._length else 0.0

    def deviation(self) -> float:
        """Of what is remembered, and above 0."""
        return float(np.std(self._values[: self._end])) + 1e-9 * (1 + abs(self._first))

    def _distance(self) -> float:
        last = self._end - self._length
        course = self._values[last : self._end]
        first = max(last - MEMORY, 0)
        products = np.correlate(self._values[first:last], course, "valid")
        squares = self._squares[first + self._length - 1 : last] - 2 * products
        nearest = first + int(np.argmin(squares))
        self.apart = course - self._values[nearest : nearest + self._length]
        return float(np.sqrt(np.mean(np.square(self.apart))))


class _Scale:
    """Courses of readings, or of means of them, with what was the furthest."""

    def __init__(self, constants: Constants, settled: int, forgotten_after: float) -> None:
        self._by = constants
        self._courses = Courses(constants.length)
        self._settled = settled
        self._forgets = 1 / forgotten_after
        self._slight = 0.0
        self._largest = 0.0  # distance; once something is said its logarithm
        self._evidence = 0.0

    def update(self, value: float) -> float:
        distance = self._courses.update(value)
        if self._courses.seen < self._settled:
            self._largest = max(self._largest, distance)
            return -math.inf
        if self._courses.seen == self._settled:
            self._slight = self._by.slight * self._courses.deviation()
            self._largest = math.log(max(self._largest, distance) + self._slight)
            return -math.inf
        size = math.log(distance + self._slight)
        self._evidence = size - math.log(self._slight)
        log_odds = STEEPNESS * (size - self._largest - self._by.beyond)
        self._largest = max(self._largest - self._forgets, size)
        return log_odds

    def parts(self) -> tuple[Floats, Floats]:
        """How far each reading of the last course is from the one most like it, and its part of the log-odds."""
        shares = np.square(self._courses.apart)
        total = max(float(shares.sum()), 1e-300)
        return self._courses.apart, STEEPNESS * self._evidence * shares / total


def settling(length: int, block: int) -> int:
    """Means of `block` readings until something is said of courses of `length` of them."""
    return max(SETTLED // block, 3 * length)
