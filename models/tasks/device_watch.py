"""What is said of a device's row of readings: by the pack of each sensor, and by what was learnt of this very device.

Three look at a row. The pack knows what faults look like in one sensor. The machine (`models.features.machine`) knows
how this device's sensors stand together. The course (`models.features.course`) knows the rhythm of a sensor that is
read every minute or more seldom; once it does, the pack must be surer of that sensor, because its running means take a
day's rhythm for drifts. The row is as anomalous as the loudest of them says.

The last two have no weights: all they know was learnt on the site. They count log-odds from where something should be
said, and the pack's threshold is put there, so that a play is called by them as by the pack.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.course import Course
from models.tasks.device_machines import LEAST, DeviceMachines, Weights, why

SLOW_US = 60_000_000  # between a sensor's readings, from which its course is watched
FIRST_GAPS = 8  # whose middle one says how slow it is
SURER = 12.0  # log-odds, of a sensor whose course is known; chosen with the constants of courses
COURSES = 2_000  # watched at most, the first that come; each takes 120 kB

By = Literal["sensor", "machine", "course"]
Row = tuple[str, int, Mapping[str, float]]  # a device, µs since the epoch, finite readings by sensor


class Verdict(msgspec.Struct, frozen=True):
    """How likely a row is anomalous (0 to 1), who says so, the sensor that makes it so, and why: what each sensor or
    reading added to the log-odds, the largest part first; nothing where the pack says it, which explains itself."""

    probability: float
    by: By
    sensor: str
    weights: Weights = ()


class DeviceWatch:
    """All devices, with what was learnt of each."""

    def __init__(self, threshold: float) -> None:
        """`threshold` is the pack's probability from which something is said, between 0 and 1."""
        self._threshold = threshold
        self._machines = DeviceMachines()
        self._courses: dict[tuple[str, str], _Paced | None] = {}

    def update(self, rows: Sequence[Row], said: NDArray[Any]) -> list[Verdict]:
        """Take rows of at least one reading; `said` are the pack's probabilities of their readings, one after the
        other. Rows of a device count as they come; those with other sensors are another machine."""
        readings = np.array([value for *_, values in rows for value in values.values()], np.float64)
        of_machines, parts = self._machines.update([(device, tuple(values)) for device, _, values in rows], readings)
        probabilities, verdicts, first = said.tolist(), [], 0
        for (device, at_us, values), log_odds in zip(rows, of_machines.tolist(), strict=True):
            end = first + len(values)
            found = list(self._of_sensors(device, at_us, values, probabilities[first:end]))
            if log_odds > -math.inf:
                weights = why(list(values), parts[first:end])
                sensor = max(weights, key=lambda weight: weight[1])[0]
                probability = _logistic(log_odds, self._threshold)
                found.append(Verdict(probability, "machine", sensor, weights if log_odds >= 0 else ()))
            verdicts.append(max(found, key=lambda verdict: verdict.probability))
            first = end
        return verdicts

    def _of_sensors(
        self, device: str, at_us: int, values: Mapping[str, float], said: Sequence[float]
    ) -> Iterator[Verdict]:
        for (sensor, value), probability in zip(values.items(), said, strict=True):
            paced = self._paced(device, sensor)
            odd = paced.update(at_us, value) if paced else -math.inf
            if paced and not paced.slow:
                self._courses[device, sensor] = None  # it has shown that it is read often
            by_pack = _logistic(-SURER, probability) if odd > -math.inf else probability
            by_course = _logistic(odd, self._threshold)
            if paced is None or by_pack >= by_course:
                yield Verdict(by_pack, "sensor", sensor)
            else:
                yield Verdict(by_course, "course", sensor, paced.course.explain() if odd >= 0 else ())

    def _paced(self, device: str, sensor: str) -> "_Paced | None":
        name = (device, sensor)
        if name not in self._courses and len(self._courses) < COURSES:
            self._courses[name] = _Paced()
        return self._courses.get(name)


class _Paced:
    """A sensor's course, and how slowly it is read."""

    def __init__(self) -> None:
        self.course = Course()
        self.slow = True
        self._gaps: list[int] = []
        self._at_us: int | None = None

    def update(self, at_us: int, value: float) -> float:
        if self._at_us is not None and len(self._gaps) < FIRST_GAPS:
            self._gaps.append(at_us - self._at_us)
            self.slow = len(self._gaps) < FIRST_GAPS or sorted(self._gaps)[FIRST_GAPS // 2] >= SLOW_US
        self._at_us = at_us
        return self.course.update(value)


def _logistic(log_odds: float, at_0: float) -> float:
    """models.tasks.device_machines.logistic of one number, which is faster so."""
    within = min(max(at_0, LEAST), 1 - LEAST)
    return 1 / (1 + math.exp(-log_odds) * (1 - within) / within) if log_odds > -700 else 0.0
