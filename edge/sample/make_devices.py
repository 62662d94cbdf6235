"""Makes the sample's hour of device readings: a mine hoist whose bearing begins to fail, and a pump that runs well.

    python edge/sample/make_devices.py

Writes inbox/hoist-07.csv and inbox/pump-03.csv beside this file; the same seed gives the same bytes. Everything but the
hoist's vibration and bearing temperature after FAULT_AT_S is normal, however odd: a light load, a long wait at the
bottom, two lost messages, a pump that rests while its sump fills.
"""

import csv
import datetime as dt
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

INBOX = Path(__file__).with_name("inbox")
SEED = 7
BEGIN = dt.datetime(2026, 3, 12, 6, 0, tzinfo=dt.UTC)
SECONDS = 3600
EVERY_S = 2
FAULT_AT_S = 38 * 60

SPEED_M_S = 4.0
ACCELERATION_M_S2 = 0.5
TRAVEL_S = 46.0  # at full speed
LOADING_S, UNLOADING_S = 24.0, 18.0
SKIP_KN, PAYLOAD_KN = 38.0, 62.0
LIGHT_LOADS = (5, 19)  # trips
LONG_WAIT = (12, 25.0)  # trip, seconds
LOST = (811, 812)  # readings that never arrived
TEMPERATURE_LAG_S = 600.0

Course = NDArray[np.float64]


def main() -> None:
    """Write both logs."""
    write("hoist-07", hoist(np.random.default_rng([SEED, 7])), lost=LOST)
    write("pump-03", pump(np.random.default_rng([SEED, 3])))


def hoist(r: Generator) -> dict[str, Course]:
    """A skip that goes up full and down empty: sensor → its readings."""
    t = np.arange(0, SECONDS, EVERY_S, dtype=np.float64)
    speed, full = _trips(r, t)
    n = len(t)
    acceleration = np.gradient(speed, EVERY_S)
    tension = SKIP_KN + full * PAYLOAD_KN + 2.5 * np.abs(acceleration) + r.normal(0, 0.6, n)
    pull = np.where(full > 0, 1.9, 0.35) * np.abs(speed) * tension / 10 + 60 * np.maximum(
        acceleration * np.sign(speed), 0
    )
    current = 18 + pull + r.normal(0, 1.2, n)
    age = np.clip((t - FAULT_AT_S) / (SECONDS - FAULT_AT_S), 0, 1)  # of the fault, 1 at the end of the hour
    turning = np.abs(speed) / SPEED_M_S
    vibration = 0.35 + 1.8 * turning * (1 + 2.6 * age**0.8) + np.abs(r.normal(size=n)) * (0.09 + 0.5 * age * turning)
    heating = 33 * turning * (1 + 1.9 * age)
    temperature = 31 + _lagging(heating, TEMPERATURE_LAG_S) + r.normal(0, 0.08, n)
    return {
        "motor_current_a": np.round(current, 1),
        "bearing_temp_c": np.round(temperature, 1),
        "vibration_mm_s": np.round(vibration, 2),
        "rope_tension_kn": np.round(tension, 1),
        "speed_m_s": np.round(np.abs(speed + np.where(speed != 0, r.normal(0, 0.02, n), 0)), 2),
    }


def _trips(r: Generator, t: Course) -> tuple[Course, Course]:
    """The speed (up is positive), and the share of a payload in the skip."""
    ramp = SPEED_M_S / ACCELERATION_M_S2
    corners, speeds = [0.0], [0.0]
    loaded: list[tuple[float, float]] = [(0.0, 0.0)]  # from when, how full
    now, trip = float(r.uniform(0, 10)), 0
    while now < SECONDS:
        wait = LOADING_S + r.normal(0, 2) + (LONG_WAIT[1] if trip == LONG_WAIT[0] else 0.0)
        share = r.uniform(0.3, 0.4) if trip in LIGHT_LOADS else r.normal(1, 0.04)
        for pause, sign, load in ((wait, 1.0, share), (UNLOADING_S + r.normal(0, 1.5), -1.0, 0.0)):
            loaded.append((now + pause / 2, load))
            now += pause
            for seconds, level in ((0.0, 0.0), (ramp, sign), (TRAVEL_S, sign), (ramp, 0.0)):
                now += seconds
                corners.append(now)
                speeds.append(SPEED_M_S * level)
        trip += 1
    since, share_of = np.array(loaded).T
    return np.interp(t, corners, speeds), share_of[np.searchsorted(since, t, side="right") - 1]


def pump(r: Generator) -> dict[str, Course]:
    """A sump pump that runs until the sump is low and rests until it is high: sensor → its readings."""
    n = SECONDS // EVERY_S
    level: Course = np.zeros(n)
    running: Course = np.zeros(n)
    now, on = 1.6, True
    for place in range(n):
        now += EVERY_S * ((-0.011 if on else 0.0) + 0.0055 + r.normal(0, 0.0004))
        on = now > 1.2 if on else now >= 2.0
        level[place], running[place] = now, on
    follow = _lagging(running, 4.0, start=1.0)
    inlet = 24 + 0.4 * np.sin(2 * np.pi * np.arange(n) / n)
    flow: Course = 118 * follow + r.normal(0, 0.3, n) + r.normal(0, 1.1, n) * running
    return {
        "motor_current_a": np.round(41 * follow + r.normal(0, 0.4, n) * (0.2 + running), 1),
        "flow_m3_h": flow.round(1),
        "pressure_bar": np.round(1.1 + 5.3 * follow + r.normal(0, 0.04, n), 2),
        "sump_level_m": np.round(level + r.normal(0, 0.004, n), 3),
        "motor_temp_c": np.round(
            inlet + 26 + _lagging(9 * running, TEMPERATURE_LAG_S, start=4.5) + r.normal(0, 0.06, n), 1
        ),
    }


def _lagging(course: Course, lag_s: float, start: float | None = None) -> Course:
    """What follows `course` with a delay, beginning at `start` or at its mean in the first five minutes."""
    followed = np.empty(len(course))
    now = float(np.mean(course[: 300 // EVERY_S])) if start is None else start
    for place, value in enumerate(course):
        now += (value - now) * (1 - np.exp(-EVERY_S / lag_s))
        followed[place] = now
    return followed


def write(device: str, sensors: dict[str, Course], lost: tuple[int, ...] = ()) -> None:
    """Write a device's log into the inbox, without the readings that were lost."""
    with (INBOX / f"{device}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["time", "device", *sensors])
        for place, values in enumerate(zip(*sensors.values(), strict=True)):
            if place not in lost:
                time = BEGIN + dt.timedelta(seconds=place * EVERY_S)
                rows.writerow([time.isoformat().replace("+00:00", "Z"), device, *map(float, values)])


if __name__ == "__main__":
    main()
