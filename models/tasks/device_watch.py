"""What is said of a device's row of readings: by the pack of each sensor, and by what was learnt of this very device.

Three look at a row. The pack knows what faults look like in one sensor. The machine (`models.features.machine`) knows
how this device's sensors stand together. The course (`models.features.course`) knows the rhythm of a sensor that is
read every minute or more seldom; once it does, the pack must be surer of that sensor, because its running means take a
day's rhythm for drifts. The row is as anomalous as the loudest of them says.

The last two have no weights: all they know was learnt on the site. They count log-odds from where something should be
said, and the pack's threshold is put there, so that a play is called by them as by the pack.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from models.features.course import Course
from models.features.machine import Machine

SLOW_US = 60_000_000  # between a sensor's readings, from which its course is watched
FIRST_GAPS = 8  # whose middle one says how slow it is
SURER = 6.0  # log-odds, of a sensor whose course is known
MACHINES, COURSES = 2_000, 2_000  # watched at most, the first that come; each takes up to some 100 kB

By = Literal["sensor", "machine", "course"]


class Verdict(msgspec.Struct, frozen=True):
    """How likely a row is anomalous (0 to 1), who says so, the sensor that makes it so, and why: what each sensor or
    reading added to the log-odds, the largest part first; nothing where the pack says it, which explains itself."""

    probability: float
    by: By
    sensor: str
    weights: tuple[tuple[str, float], ...] = ()


class DeviceWatch:
    """All devices, with what was learnt of each."""

    def __init__(self, threshold: float) -> None:
        """`threshold` is the pack's probability from which something is said, between 0 and 1."""
        self._threshold = math.log(threshold / (1 - threshold))
        self._machines: dict[tuple[str, tuple[str, ...]], Machine] = {}
        self._courses: dict[tuple[str, str], _Paced | None] = {}

    def update(self, device: str, at_us: int, values: Mapping[str, float], said: Sequence[float]) -> Verdict:
        """Take a row of finite readings by sensor, at least one; `said` [sensors] are the pack's probabilities.

        Rows of a device count as they come; those with other sensors are another machine.
        """
        machine = self._of_machine(device, values)
        verdicts = [
            self._of_sensor(device, at_us, sensor, value, probability)
            for (sensor, value), probability in zip(values.items(), said, strict=True)
        ]
        return max(verdicts if machine is None else [*verdicts, machine], key=lambda verdict: verdict.probability)

    def _of_sensor(self, device: str, at_us: int, sensor: str, value: float, said: float) -> Verdict:
        paced = self._paced(device, sensor)
        odd = paced.update(at_us, value) if paced else -math.inf
        if paced and not paced.slow:
            self._courses[device, sensor] = None  # it has shown that it is read often
        by_pack = _logistic(_log_odds(said) - SURER) if odd > -math.inf else said
        by_course = _logistic(odd + self._threshold)
        if paced is None or by_pack >= by_course:
            return Verdict(by_pack, "sensor", sensor)
        return Verdict(by_course, "course", sensor, paced.course.explain() if odd >= 0 else ())

    def _of_machine(self, device: str, values: Mapping[str, float]) -> Verdict | None:
        """None while it is not known, or when the device has but one sensor."""
        if len(values) < 2:
            return None
        name = (device, tuple(values))
        machine = self._machines.get(name)
        if machine is None:
            if len(self._machines) >= MACHINES:
                return None
            machine = self._machines[name] = Machine(name[1])
        log_odds = machine.update(np.fromiter(values.values(), np.float64, len(values)))
        if log_odds == -math.inf:
            return None
        weights = machine.explain()
        return Verdict(
            _logistic(log_odds + self._threshold), "machine", weights[0][0], weights if log_odds >= 0 else ()
        )

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


def _log_odds(probability: float) -> float:
    within = min(max(float(probability), 1e-7), 1 - 1e-7)
    return math.log(within / (1 - within))


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
