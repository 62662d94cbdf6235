"""One round of faults, in a process (and where allowed in namespaces) of its own, so that nothing of it is left behind.

    python -m tests.faults.one_round FOLDER NUMBER SEED FAULTS

Its last line is the Round as JSON. A bad round keeps its folder, and says its schedule.
"""

import shutil
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import msgspec

from tests.faults import headquarters
from tests.faults.compare import Verdict
from tests.faults.parts import can_mount, can_set_clock
from tests.faults.schedule import KINDS, Fault, schedule
from tests.faults.tally import Round
from tests.faults.world import World

TOLD = 20


@cache
def namespaces() -> tuple[str, ...]:
    """The command before a round's: mounts and processes of its own, if the kernel allows that here. A round that is
    killed then takes every process and every mount of its with it."""
    command = ("unshare", "-rmpf", "--kill-child", "--mount-proc", "--")
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def command(folder: Path, number: int, seed: int, count: int) -> list[str]:
    """The command of a round."""
    arguments = map(str, (folder, number, seed, count))
    return [*namespaces(), sys.executable, "-m", "tests.faults.one_round", *arguments]


def hq_of(number: int) -> headquarters.Kind:
    """The HQ of a round: every other one has the one that ships."""
    return "shipped" if number % 2 else "plain"


def skipped() -> dict[str, str]:
    """The kinds of fault that cannot be done here, and why."""
    reasons: dict[str, str] = {}
    for kind in KINDS:
        if kind.part == "clock" and not can_set_clock():
            reasons[kind.name] = "there is no C compiler"
        if kind.part in ("site disk", "hq disk") and not can_mount():
            reasons[kind.name] = "a small disk cannot be mounted here"
    return reasons


def play(folder: Path, number: int, seed: int, count: int) -> Round:
    """Do a round of `count` faults in a new `folder`, and judge it; what a person needs to look into stays there."""
    without, hq = skipped(), hq_of(number)
    faults = schedule(seed, count, frozenset(without) | {kind.name for kind in KINDS if kind.hq not in ("", hq)})
    began_s = time.monotonic()
    world = World(folder, seed, hq, disks="fill HQ's disk" not in without)
    try:
        world.start()
        world.suffer(faults)
        verdict, drain_s = world.drain()
    finally:
        world.stop()
    _tell(folder, faults, verdict)
    bad = bool(world.remarks or verdict.misdated) or not verdict.good
    if bad:
        world.keep()
    return Round(
        number=number,
        seed=seed,
        faults=dict(Counter(fault.kind for fault in faults)),
        records=verdict.records,
        lost=len(verdict.lost) + len(verdict.notes_missing),
        doubled=len(verdict.doubled),
        altered=len(verdict.altered),
        named=len(verdict.named),
        unseen=world.truth.unseen,
        took_s=round(time.monotonic() - began_s, 1),
        drain_s=round(drain_s, 1),
        misdated=len(verdict.misdated),
        remarks=(*world.remarks, *(f"{kind}: not done, {why}" for kind, why in without.items())),
        kept=str(folder) if bad else "",
    )


def _tell(folder: Path, faults: list[Fault], verdict: Verdict) -> None:
    """What a person needs to look into a bad round."""
    (folder / "schedule.json").write_bytes(msgspec.json.format(msgspec.json.encode(faults)))
    (folder / "verdict.json").write_bytes(msgspec.json.format(msgspec.json.encode(verdict)))
    for what in ("lost", "doubled", "altered", "notes_missing", "misdated"):
        found: tuple[str, ...] = getattr(verdict, what)
        for sentence in found[:TOLD]:
            print(f"{what}: {sentence[:300]}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Do the round that the arguments name."""
    folder, number, seed, count = Path(arguments[0]), *map(int, arguments[1:])
    done = play(folder, number, seed, count)
    print(msgspec.json.encode(done).decode())
    return 0 if done.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
