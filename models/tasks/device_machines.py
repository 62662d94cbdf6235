"""The machines of a site by name: a device with the sensors that it sends together is one, and a batch of rows of many
becomes a few arrays.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.features.machine import Machines

SENSORS = 16_000  # of all machines together; one takes 3 kB while its machine is learnt, some 300 bytes after
WIDEST = 32  # sensors of a machine: 400 rows tell nothing of how more hang together
SILENT = 10_000  # batches, after which a machine may give up its place
LEAST = 1e-7  # probability
GIVEN_UP = 0.02  # of the sensors at once, so that making room is rare

Weights = tuple[tuple[str, float], ...]
Name = tuple[str, tuple[str, ...]]  # a device, and the sensors of its rows
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class DeviceMachines:
    """All machines of a site.

    Machines of at most `sensors` sensors in all are watched. When more come, those that have been silent for long give
    up their places; should one of them speak again, it is new. While all speak the others are not watched: were they
    to take turns, none would ever be known. Rows of one sensor, or of more than WIDEST, are no
    machine's.
    """

    def __init__(self, sensors: int = SENSORS) -> None:
        self._limit = sensors
        self._machines: dict[int, Machines] = {}  # by the number of sensors
        self._slots: dict[Name, int] = {}  # among the machines with as many sensors
        self._free: dict[int, list[int]] = {}
        self._spoke: dict[int, Ints] = {}  # by slot, the batch in which a machine last had a row
        self._batch = 0
        self._taken = 0  # sensors

    def __len__(self) -> int:
        """Machines that are watched."""
        return len(self._slots)

    def update(self, names: Sequence[Name], values: Floats) -> tuple[Floats, Floats]:
        """Take rows, one for each of `names`; `values` are the readings of all of them one after the other, nan or
        infinite where there is none.

        Gives of each row the log-odds that its machine does not run as usual, less those at which it should be said
        (-inf where nothing is known), and of each reading what it added to them.
        """
        self._batch += 1
        fresh = [name for name in set(names) if name not in self._slots and 2 <= len(name[1]) <= WIDEST]
        if fresh:
            self._admit(sorted(fresh))
        widths = np.array([len(sensors) for _, sensors in names], np.int64)
        slots = np.array([self._slots.get(name, -1) for name in names], np.int64)
        first = np.cumsum(widths) - widths
        log_odds, parts = np.full(len(names), -np.inf), np.zeros(len(values))
        for width in np.unique(widths[slots >= 0]).tolist():
            rows = np.flatnonzero((widths == width) & (slots >= 0))
            self._spoke[width][slots[rows]] = self._batch
            places = first[rows, np.newaxis] + np.arange(width)
            log_odds[rows], parts[places] = self._machines[width].update(slots[rows], values[places])
        return log_odds, parts

    def snapshot(self) -> bytes:
        """Everything that is known, as bytes for `restore`."""
        return msgspec.msgpack.encode(
            _Kept(list(self._slots.items()), {width: one.snapshot() for width, one in self._machines.items()})
        )

    def restore(self, kept: bytes) -> None:
        """Take over what `snapshot` gave, in place of all that is known.

        Raises InputInvalid when `kept` is damaged or of another version: then let the rows pass through `update`.
        """
        try:
            found = msgspec.msgpack.decode(kept, type=_Kept)
        except msgspec.MsgspecError:
            raise InputInvalid("these are no machines that were kept; build them anew from the readings.") from None
        machines = {width: Machines(width) for width in found.machines}
        counts = {width: one.restore(found.machines[width]) for width, one in machines.items()}
        free = {width: set(range(count)) for width, count in counts.items()}
        for (_, sensors), slot in found.slots:
            if slot not in free.get(len(sensors), ()):
                raise InputInvalid("these machines are incomplete; build them anew from the readings.")
            free[len(sensors)].remove(slot)
        self._machines, self._slots = machines, dict(found.slots)
        self._free = {width: sorted(slots) for width, slots in free.items()}
        self._spoke, self._batch = {width: np.zeros(count, np.int64) for width, count in counts.items()}, 0
        self._taken = sum(len(sensors) for _, sensors in self._slots)

    def _admit(self, fresh: Sequence[Name]) -> None:
        """Give places to these machines, as far as there is room beside those that still speak."""
        lacking = self._taken + sum(len(sensors) for _, sensors in fresh) - self._limit
        if lacking > 0:
            self._make_room(max(lacking, int(GIVEN_UP * self._limit)))
        for name in fresh:
            width = len(name[1])
            if self._taken + width > self._limit:
                continue
            if width not in self._machines:
                self._machines[width], self._free[width] = Machines(width), []
                self._spoke[width] = np.zeros(0, np.int64)
            if not self._free[width]:
                have = len(self._spoke[width])
                self._free[width] = list(range(have, 2 * have + 1))
                self._spoke[width] = np.concatenate([self._spoke[width], np.zeros(have + 1, np.int64)])
            slot = self._slots[name] = self._free[width].pop()
            self._spoke[width][slot] = self._batch
            self._taken += width

    def _make_room(self, sensors: int) -> None:
        spoke = {name: int(self._spoke[len(name[1])][slot]) for name, slot in self._slots.items()}
        for name in sorted((one for one in spoke if self._batch - spoke[one] > SILENT), key=spoke.__getitem__):
            if sensors <= 0:
                break
            width, slot = len(name[1]), self._slots.pop(name)
            self._machines[width].forget(slot)
            self._free[width].append(slot)
            self._taken -= width
            sensors -= width


def logistic(log_odds: Floats, at_0: float | Floats) -> Floats:
    """The probability of log-odds that are counted from a probability, 0 to 1."""
    within = np.minimum(np.maximum(at_0, LEAST), 1 - LEAST)
    with np.errstate(over="ignore"):
        probability: Floats = 1 / (1 + np.exp(-log_odds) * (1 - within) / within)
    return probability


def why(sensors: Sequence[str], parts: Floats) -> Weights:
    """The sensors of a row with what each added to its log-odds, the largest part first, whichever way it points."""
    return tuple((sensors[place], float(parts[place])) for place in np.argsort(-np.abs(parts), kind="stable").tolist())


class _Kept(msgspec.Struct, array_like=True):
    slots: list[tuple[Name, int]]
    machines: dict[int, bytes]
