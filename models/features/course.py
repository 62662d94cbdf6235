"""Whether the course of a slow sensor's last readings is one that it has not taken before.

For a sensor read every minute or more seldom, a day's rhythm is longer than what running means remember. Here the last
readings are laid over all that came before: how far they are from the course most like them is the distance of a left
discord (Keogh, Lin, Fu, HOT SAX, 2005; Lu et al., DAMP, 2022). Odd is what is further than anything was lately, so the
sensor's own unrest is the measure and nothing is assumed of its distribution. It is done twice: for the last LENGTH
readings, and for as many means of BLOCK readings, which see what is odd for the day.

It costs a pass over MEMORY readings, some 50 µs, and 120 kB a sensor: not for sensors that speak every second.
"""

import numpy as np
from numpy.typing import NDArray

LENGTH = 36  # readings, or means of them, in a course
BLOCK = 8  # readings in a mean
MEMORY = 3000  # readings, or means, in which a course is looked for
SETTLED, SETTLED_MEANS = 600, 125  # readings, means until something is said
FORGOTTEN_AFTER = 8000.0  # readings, of the largest distance
SLIGHT = 0.1  # usual deviations, which count as nothing
BEYOND = 0.05  # by how much of an e-fold a distance must exceed the largest
STEEPNESS = 6.0  # log-odds for each e-fold
SPARE = 512  # places after which what is forgotten makes room

Floats = NDArray[np.float64]


class Course:
    """What one sensor's courses have been."""

    def __init__(self) -> None:
        self._fine = _Scale(SETTLED, FORGOTTEN_AFTER)
        self._coarse = _Scale(SETTLED_MEANS, FORGOTTEN_AFTER / BLOCK)
        self._block: list[float] = []
        self._oddest = self._fine

    def update(self, value: float) -> float:
        """Take a finite reading. Gives the log-odds that the sensor's course is odd less those at which it should be
        said: it should at 0 and above. -inf for the first SETTLED readings."""
        self._oddest = self._fine
        log_odds = self._fine.update(value)
        self._block.append(value)
        if len(self._block) == BLOCK:
            over_means = self._coarse.update(sum(self._block) / BLOCK)
            self._block = []
            if over_means > log_odds:
                self._oddest, log_odds = self._coarse, over_means
        return log_odds

    def explain(self) -> tuple[tuple[str, float], ...]:
        """The readings of the oddest course with what each added to the last one's log-odds, the largest part first:
        `readings` or `means`, with a sign that says whether they were higher or lower than in the course most like
        it, and how many readings or means came after.

        The parts add up to the log-odds less those of a course that was taken before.
        """
        name = "readings" if self._oddest is self._fine else "means"
        apart, parts = self._oddest.parts()
        return tuple(
            (f"{name} {'+' if apart[place] >= 0 else '-'} {LENGTH - 1 - place}", float(parts[place]))
            for place in np.argsort(-parts, kind="stable").tolist()
        )


class _Scale:
    """Courses of readings, or of means of them."""

    def __init__(self, settled: int, forgotten_after: float) -> None:
        self._settled = settled
        self._keeps = float(np.exp(-1 / forgotten_after))
        self._values: Floats = np.zeros(MEMORY + LENGTH + SPARE)
        self._squares: Floats = np.zeros_like(self._values)  # of the course that ends at each reading
        self._end = 0  # readings in the arrays
        self._seen = 0
        self._first = 0.0  # all readings are taken relative to it, so that squares keep their digits
        self._slight = 0.0
        self._largest = 0.0
        self._evidence = 0.0
        self._apart: Floats = np.zeros(LENGTH)

    def update(self, value: float) -> float:
        self._append(value)
        if self._seen == self._settled:
            self._slight = SLIGHT * float(np.std(self._values[: self._end])) + 1e-9 * (1 + abs(self._first))
        if self._seen < 2 * LENGTH:
            return -np.inf
        distance = self._distance()
        log_odds = -np.inf
        if self._seen > self._settled:
            self._evidence = float(np.log1p(distance / self._slight))
            log_odds = STEEPNESS * (self._evidence - float(np.log1p(self._largest / self._slight)) - BEYOND)
        self._largest = max((self._largest + self._slight) * self._keeps - self._slight, distance)
        return log_odds

    def parts(self) -> tuple[Floats, Floats]:
        """How far each reading of the last course is from the one most like it, and its part of the log-odds."""
        shares = np.square(self._apart)
        return self._apart, STEEPNESS * self._evidence * shares / max(float(shares.sum()), 1e-300)

    def _append(self, value: float) -> None:
        if not self._seen:
            self._first = value
        if self._end == len(self._values):
            kept = MEMORY + LENGTH
            for one in (self._values, self._squares):
                one[:kept] = one[-kept:].copy()
            self._end = kept
        self._values[self._end] = value - self._first
        self._end += 1
        self._seen += 1
        course = self._values[max(self._end - LENGTH, 0) : self._end]
        self._squares[self._end - 1] = course @ course

    def _distance(self) -> float:
        """Root mean square of what is between the last course and the one before it that is most like it."""
        last = self._end - LENGTH
        course = self._values[last : self._end]
        first = max(last - MEMORY, 0)
        products = np.correlate(self._values[first:last], course, "valid")
        squares = self._squares[first + LENGTH - 1 : last] - 2 * products
        nearest = first + int(np.argmin(squares))
        self._apart = course - self._values[nearest : nearest + LENGTH]
        return float(np.sqrt(np.mean(np.square(self._apart))))
