"""Made machines: several sensors that hang together as in pumps, valve loops, motors, heat exchangers, with operating
points, warming up, weather and wandering, and faults that push several sensors a little or change how they hang
together.

The equations are those of textbooks (affinity laws and system curve of a centrifugal pump, flow through a valve, losses
that heat a mass, effectiveness of a heat exchanger), their constants drawn wide; nothing is taken from a recorded
machine. Every machine comes from its own seed, whatever else is made beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from models.train.series import Floats

UNDISTURBED = 500  # rows at the beginning without a fault
ROWS = (1100, 2000)  # of a machine
FAULT_ROWS = (100, 800)
FAULTY_SHARE = 0.75  # of machines
SMALLEST, LARGEST = 1.0, 8.0  # of a fault: deviations of the sensor that shows most of it
VISIBLE = 0.3  # of its size, from which a fault that grows is judged
SETTLED_AFTER = 40  # rows after a fault until the machine counts as normal again

Truth = NDArray[np.bool_]
Parts = Mapping[str, Floats]  # what a fault changes: factors [n] by the name of the part, 1 without a fault
Physics = Callable[[Parts], dict[str, Floats]]  # readings [n] by sensor, without their noise


@dataclass(frozen=True)
class MadeMachine:
    """Rows [n, sensors] of a machine. `faulty` marks those under its fault, `judged` those whose label is beyond
    doubt."""

    sensors: tuple[str, ...]
    values: Floats
    faulty: Truth
    judged: Truth
    kind: str
    fault: str = ""


def made_machines(seed: int, count: int, faulty_share: float = FAULTY_SHARE) -> list[MadeMachine]:
    """`count` machines of 1,100 to 2,000 rows, `faulty_share` of them with one fault."""
    machines = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        machines.append(_machine(random, int(random.integers(*ROWS)), random.random() < faulty_share))
    return machines


def _machine(r: Generator, n: int, with_fault: bool) -> MadeMachine:
    kind = str(r.choice(list(KINDS)))
    build, faults = KINDS[kind]
    physics = build(r, n)
    usual = physics(_Unchanged(n))
    chosen = sorted(r.choice(len(usual), int(r.integers(3, len(usual) + 1)), replace=False).tolist())
    sensors = tuple(list(usual)[place] for place in chosen)
    still = np.stack([usual[name] for name in sensors], axis=1)
    noise = _noise(r, still)
    values, faulty, judged, fault = still + noise, np.zeros(n, bool), np.ones(n, bool), ""
    if with_fault:
        fault = str(r.choice([*faults, "sensor"]))
        start = int(r.integers(UNDISTURBED, n - FAULT_ROWS[0]))
        end = min(n, start + int(np.exp(r.uniform(*np.log(FAULT_ROWS)))))
        course = _course_of_fault(r, n, start, end)
        if fault == "sensor":
            pushed = np.zeros_like(still)
            pushed[:, r.integers(len(sensors))] = course
        else:
            changed = physics(_Unchanged(n, {part: 1 + by * course for part, by in faults[fault](r).items()}))
            pushed = np.stack([changed[name] for name in sensors], axis=1) - still
        values = values + _sized(r, pushed, values, faulty_from=start, faulty_to=end)
        faulty[start:end] = True
        judged[start:end] = course[start:end] >= VISIBLE
        judged[end : end + SETTLED_AFTER] = False
    return MadeMachine(sensors, _read(r, values), faulty, judged, kind, fault)


def _sized(r: Generator, pushed: Floats, values: Floats, faulty_from: int, faulty_to: int) -> Floats:
    """What a fault does, as large as SMALLEST to LARGEST deviations of the sensor that shows it most."""
    deviation = values[:UNDISTURBED].std(axis=0) + 1e-12
    shown = np.sqrt(np.square(pushed[faulty_from:faulty_to]).mean(axis=0)) / deviation
    sized: Floats = pushed * (np.exp(r.uniform(np.log(SMALLEST), np.log(LARGEST))) / max(float(shown.max()), 1e-9))
    return sized


def _course_of_fault(r: Generator, n: int, start: int, end: int) -> Floats:
    """How much of a fault there is at each row, 0 to 1: at once, growing, in thrusts, or coming and going."""
    t = np.linspace(0, 1, end - start)
    shape = r.random()
    if shape < 0.45:
        part = np.minimum(1.0, t * (end - start) / r.uniform(1, 20))
    elif shape < 0.75:
        part = np.minimum(1.0, t / r.uniform(0.3, 1))
    elif shape < 0.9:
        part = np.ceil(t * r.integers(2, 5) + 1e-9) / r.integers(4, 6)
    else:
        part = 0.65 + 0.35 * np.sin(2 * np.pi * t * r.uniform(1, 6))
    course = np.zeros(n)
    course[start:end] = np.minimum(part, 1.0)
    return course


def _noise(r: Generator, still: Floats) -> Floats:
    """Each sensor's own noise: some quiet and some loud against what its course shows, some that remembers."""
    n, count = still.shape
    shown = np.maximum(still[:UNDISTURBED].std(axis=0), 0.003 * np.abs(still).mean(axis=0))
    size = shown * 10 ** r.uniform(-1, 0.5, count)
    noise = r.normal(size=(n, count))
    heavy = np.flatnonzero(r.random(count) < 0.25)
    noise[:, heavy] = r.standard_t(4, size=(n, len(heavy))) / np.sqrt(2)
    for column in np.flatnonzero(r.random(count) < 0.4).tolist():
        noise[:, column] = relaxing(r, n, r.uniform(0.03, 0.6))
    hiss: Floats = noise * size
    return hiss


def _read(r: Generator, values: Floats) -> Floats:
    """As instruments give them: in their own units and in steps."""
    units = 10 ** r.uniform(-1, 2, values.shape[1])
    steps = values.std(axis=0) * np.where(r.random(values.shape[1]) < 0.4, 10 ** r.uniform(-1.5, 0, values.shape[1]), 0)
    stepped = np.where(steps > 0, np.round(values / np.where(steps > 0, steps, 1)) * steps, values)
    read: Floats = stepped * units
    return read


class _Unchanged(dict[str, Floats]):
    """Every part that is not named as it should be."""

    def __init__(self, n: int, changed: Parts | None = None) -> None:
        super().__init__(changed or {})
        self._n = n

    def __missing__(self, part: str) -> Floats:
        return np.ones(self._n)


# ---- what drives a machine ---------------------------------------------------------------------------------------


def relaxing(r: Generator, n: int, pull: float) -> Floats:
    """Noise that remembers, of deviation 1: each value is the one before, less `pull` of it, and a push."""
    start = [r.normal() * (1 - pull)]
    return np.asarray(lfilter([np.sqrt(pull * (2 - pull))], [1, pull - 1], r.normal(size=n), zi=start)[0])


def _operation(r: Generator, n: int, middle: float, wide: float) -> Floats:
    """A setting around `middle`: kept, changed by hand now and then, wandering with demand, or in a cycle."""
    kind = r.random()
    t = np.arange(n)
    if kind < 0.4:
        course = np.zeros(n)
    elif kind < 0.6:
        levels = r.normal(size=int(r.integers(2, 5)))
        stays = np.repeat(r.integers(len(levels), size=n), r.integers(20, 160, size=n))[:n]
        course = levels[stays] * 0.7
    elif kind < 0.85:
        course = relaxing(r, n, 10 ** r.uniform(-2.3, -0.7))
    else:
        course = np.sin(2 * np.pi * t / r.uniform(30, 300) + r.uniform(0, 6))
    jitter = 0.1 * relaxing(r, n, r.uniform(0.1, 1))
    driven = follows(course, r.uniform(1, 8))
    return np.asarray(middle * (1 + wide * (driven + jitter)))


def follows(course: Floats, rows: float) -> Floats:
    """What comes after `course` with a delay of about so many rows."""
    keep = float(np.exp(-1 / rows))
    return np.asarray(lfilter([1 - keep], [1, -keep], course, zi=[keep * course[0]])[0])


def _warms(r: Generator, heat: Floats, weather: Floats) -> Floats:
    """A temperature: losses heat a mass, in half of the machines still while they are learnt, and weather adds."""
    rows = 10 ** r.uniform(1.2, 2.5)
    settled = follows(heat, rows)
    cold = float(heat[0]) * r.uniform(0.02, 0.5) * (r.random() < 0.5)
    before = r.uniform(0, 3)  # time constants that it has been running
    warmed: Floats = settled - cold * np.exp(-np.arange(len(heat)) / rows - before) + weather
    return warmed


def _weather(r: Generator, n: int) -> Floats:
    day = r.uniform(600, 20_000)
    swing = 3 * r.uniform(0, 1) * np.sin(2 * np.pi * np.arange(n) / day + r.uniform(0, 6))
    return np.asarray(20 + swing + 0.5 * r.uniform(0, 1) * relaxing(r, n, 0.005))


def _up(r: Generator) -> float:
    return float(r.uniform(0.05, 0.5))


# ---- machines ----------------------------------------------------------------------------------------------------


def _pump(r: Generator, n: int) -> Physics:
    speed = _operation(r, n, r.uniform(0.6, 1.0), r.uniform(0.005, 0.06))
    opening = _operation(r, n, r.uniform(0.4, 0.9), r.uniform(0.005, 0.08))
    mains = 1 + 0.01 * r.uniform(0.2, 1) * relaxing(r, n, r.uniform(0.02, 0.5))
    weather = _weather(r, n)
    shut, static, steep = r.uniform(1.2, 1.6), r.uniform(0, 0.25), r.uniform(0.1, 0.5)
    load, shakes, warm = r.uniform(0.2, 0.5), r.uniform(0.5, 3), r.uniform(10, 40)
    thermal = [np.random.default_rng(seed) for seed in r.integers(2**31, size=2)]
    state = [one.bit_generator.state for one in thermal]

    def physics(parts: Parts) -> dict[str, Floats]:
        for one, begin in zip(thermal, state, strict=True):
            one.bit_generator.state = begin
        turning = speed * parts["speed"]
        resistance = parts["pipe"] / np.square(opening)
        lift = np.maximum(shut * parts["wheel"] * np.square(turning) - static, 0.01)
        flow = np.sqrt(lift / (steep + 0.6 * resistance))
        pressure = static + 0.6 * resistance * np.square(flow)
        power = (load * turning**3 + pressure * flow * 0.6) * parts["friction"]
        current = power / (mains * parts["mains"])
        shaking = shakes * (0.2 + np.square(turning)) * parts["balance"] * (1 + 0.1 * (flow - flow.mean()))
        return {
            "flow": flow * parts["leak"],
            "pressure": pressure * (2 - parts["leak"]) ** -0.5,
            "suction": 0.3 - 0.1 * np.square(flow) * parts["inlet"],
            "speed": turning,
            "current": current,
            "voltage": 400 * mains * parts["mains"],
            "motor temperature": _warms(thermal[0], warm * np.square(current) * parts["cooling"], weather),
            "bearing temperature": _warms(thermal[1], 15 * turning * parts["bearing"], weather),
            "vibration": shaking * parts["bearing"] ** 0.5,
            "vibration across": shaking * 0.7 * parts["bearing"] ** 0.3,
        }

    return physics


PUMP_FAULTS: dict[str, Callable[[Generator], dict[str, float]]] = {
    "blocked pipe": lambda r: {"pipe": _up(r)},
    "open pipe": lambda r: {"pipe": -_up(r) / 2},
    "worn wheel": lambda r: {"wheel": -_up(r) / 2},
    "leak": lambda r: {"leak": -_up(r) / 2},
    "blocked inlet": lambda r: {"inlet": _up(r), "wheel": -_up(r) / 5, "balance": _up(r)},
    "bearing": lambda r: {"bearing": _up(r), "friction": _up(r) / 5},
    "unbalance": lambda r: {"balance": _up(r)},
    "friction": lambda r: {"friction": _up(r), "speed": -_up(r) / 20},
    "weak mains": lambda r: {"mains": -_up(r) / 4},
    "cooling": lambda r: {"cooling": _up(r)},
}


def _valve(r: Generator, n: int) -> Physics:
    wanted = _operation(r, n, r.uniform(0.3, 0.8), r.uniform(0.01, 0.12))
    supply = _operation(r, n, r.uniform(2, 8), r.uniform(0.003, 0.03))
    air = 6 + 0.1 * relaxing(r, n, r.uniform(0.01, 0.3))
    medium = _weather(r, n) + r.uniform(0, 60)
    behind, lag = r.uniform(0.2, 2), r.uniform(1, 6)

    def physics(parts: Parts) -> dict[str, Floats]:
        position = np.clip(follows(wanted, lag) * parts["stem"], 0.02, 1.2)
        resistance = 1 / np.square(position * parts["seat"])
        before = supply * parts["supply"]
        flow = np.sqrt(before / (resistance + behind * parts["pipe"]))
        after = behind * parts["pipe"] * np.square(flow)
        return {
            "wanted": wanted,
            "position": position,
            "flow": flow,
            "pressure before": before - 0.05 * np.square(flow),
            "pressure after": after,
            "pressure drop": before - after,
            "air": air * parts["air"] - 0.2 * np.abs(np.gradient(position)),
            "temperature": medium * parts["heat"],
        }

    return physics


VALVE_FAULTS: dict[str, Callable[[Generator], dict[str, float]]] = {
    "stem slips": lambda r: {"stem": _up(r) * r.choice([-0.5, 0.5])},
    "worn seat": lambda r: {"seat": _up(r) / 2},
    "deposit": lambda r: {"seat": -_up(r) / 2},
    "supply": lambda r: {"supply": _up(r) * r.choice([-0.4, 0.4])},
    "blocked behind": lambda r: {"pipe": _up(r)},
    "leak behind": lambda r: {"pipe": -_up(r) / 2},
    "air": lambda r: {"air": -_up(r) / 2, "stem": -_up(r) / 10},
    "hot": lambda r: {"heat": _up(r) / 2},
}


def _motor(r: Generator, n: int) -> Physics:
    load = _operation(r, n, r.uniform(0.4, 0.9), r.uniform(0.01, 0.15))
    mains = 1 + 0.01 * r.uniform(0.2, 1) * relaxing(r, n, r.uniform(0.02, 0.5))
    weather = _weather(r, n)
    slip, idle, shakes = r.uniform(0.01, 0.05), r.uniform(0.1, 0.4), r.uniform(0.5, 3)
    thermal = [np.random.default_rng(seed) for seed in r.integers(2**31, size=3)]
    state = [one.bit_generator.state for one in thermal]

    def physics(parts: Parts) -> dict[str, Floats]:
        for one, begin in zip(thermal, state, strict=True):
            one.bit_generator.state = begin
        volts = mains * parts["mains"]
        torque = load * parts["load"] + 0.1 * parts["friction"]
        current = np.sqrt(np.square(torque / volts) + np.square(idle * volts)) * parts["winding"]
        turning = 1 - slip * torque / np.square(volts)
        shaking = shakes * np.square(turning) * (1 + 0.2 * torque) * parts["balance"]
        return {
            "speed": 1500 * turning,
            "torque": torque,
            "current": current,
            "voltage": 400 * volts,
            "power": torque * turning / 0.9 * parts["winding"],
            "winding": _warms(thermal[0], 50 * np.square(current) * parts["cooling"], weather),
            "bearing": _warms(thermal[1], 15 * turning * parts["friction"], weather),
            "oil": _warms(thermal[2], 20 * torque * parts["gear"], weather),
            "vibration": shaking * parts["friction"] ** 0.5,
            "gear vibration": shaking * (0.5 + torque) * parts["gear"],
        }

    return physics


MOTOR_FAULTS: dict[str, Callable[[Generator], dict[str, float]]] = {
    "heavy": lambda r: {"load": _up(r)},
    "runs free": lambda r: {"load": -_up(r)},
    "bearing": lambda r: {"friction": 2 * _up(r)},
    "winding": lambda r: {"winding": _up(r)},
    "weak mains": lambda r: {"mains": -_up(r) / 4},
    "unbalance": lambda r: {"balance": _up(r)},
    "gear": lambda r: {"gear": _up(r), "friction": _up(r) / 3},
    "cooling": lambda r: {"cooling": _up(r)},
}


def _exchanger(r: Generator, n: int) -> Physics:
    hot, cold = _operation(r, n, r.uniform(0.5, 1.5), 0.04), _operation(r, n, r.uniform(0.5, 1.5), r.uniform(0.01, 0.1))
    enters, cools = r.uniform(60, 95) + _weather(r, n) / 4, _weather(r, n)
    transfer, lag = r.uniform(0.6, 2.5), 10 ** r.uniform(0.5, 1.8)

    def physics(parts: Parts) -> dict[str, Floats]:
        warm, cool = hot * parts["hot"], cold * parts["cold"]
        least = np.minimum(warm, cool)
        share = 1 - np.exp(-transfer * parts["wall"] / least)  # effectiveness, the other stream's capacity aside
        heat = share * least * (enters * parts["source"] - cools)
        return {
            "hot flow": warm,
            "cold flow": cool,
            "hot in": enters * parts["source"],
            "hot out": follows(enters * parts["source"] - heat / warm, lag),
            "cold in": cools,
            "cold out": follows(cools + heat / cool, lag),
            "hot drop": np.square(warm) * parts["deposit"],
            "cold drop": 0.7 * np.square(cool) * parts["silt"],
        }

    return physics


EXCHANGER_FAULTS: dict[str, Callable[[Generator], dict[str, float]]] = {
    "deposit": lambda r: {"wall": -_up(r), "deposit": _up(r)},
    "silt": lambda r: {"silt": _up(r), "cold": -_up(r) / 4},
    "air inside": lambda r: {"wall": -_up(r)},
    "hot side starved": lambda r: {"hot": -_up(r) / 2},
    "source": lambda r: {"source": _up(r) * r.choice([-0.3, 0.3])},
    "leak": lambda r: {"cold": _up(r) / 3, "hot": -_up(r) / 3},
}

KINDS: dict[str, tuple[Callable[[Generator, int], Physics], Mapping[str, Callable[[Generator], dict[str, float]]]]] = {
    "pump": (_pump, PUMP_FAULTS),
    "valve": (_valve, VALVE_FAULTS),
    "motor": (_motor, MOTOR_FAULTS),
    "exchanger": (_exchanger, EXCHANGER_FAULTS),
}
