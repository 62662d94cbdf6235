"""`./build.sh faults N`: N random faults in rounds, each judged; may be interrupted at any moment and resumed.

    python -m tests.faults N [--seed S] [--resume] [--jobs J] [--round R]
    python -m tests.faults --report

The running tally is var/faults/tally.json; --report (and the end of a run) writes it into docs/faults.md.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from tests.faults import one_round
from tests.faults.tally import Round, Tally, read_tally, write_into

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "var" / "faults"
TALLY = FOLDER / "tally.json"
DOCUMENT = ROOT / "docs" / "faults.md"
ROUND_LIMIT_S = 900


def main() -> int:
    """Do what the command line says; the exit code is 0 when nothing was lost, doubled or altered."""
    asked = _arguments()
    if asked.report:
        tally = read_tally(TALLY)
        if tally is None:
            return _refuse(f"{TALLY} is not there; run ./build.sh faults N first.")
        write_into(DOCUMENT, tally)
        print(tally.line())
        return 0
    if asked.faults is None:
        return _refuse("say how many faults: ./build.sh faults N")
    tally = _begin(asked)
    for kind, why in one_round.skipped().items():
        print(f"not done here: {kind}, because {why}", flush=True)
    print(f"{asked.faults} faults from seed {tally.seed}, {asked.jobs} rounds at a time", flush=True)
    for done in _rounds(tally, asked.jobs, asked.round):
        tally = tally.with_round(done)
        tally.save(TALLY)
        _say(done, tally)
    write_into(DOCUMENT, tally)
    print(tally.line())
    return 0 if tally.rounds and all(done.good for done in tally.rounds) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./build.sh faults", description="Random faults, and what they cost.")
    parser.add_argument("faults", type=int, nargs="?", metavar="N", help="how many faults")
    parser.add_argument("--seed", type=int, help="where the faults come from (default: by chance)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that was interrupted")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rounds at a time (default: the cores)")
    parser.add_argument("--round", type=int, help="only this round of the run, to look into it again")
    parser.add_argument("--report", action="store_true", help="only write the tally so far into docs/faults.md")
    return parser.parse_args()


def _refuse(why: str) -> int:
    print(f"faults: {why}", file=sys.stderr)
    return 2


def _begin(asked: argparse.Namespace) -> Tally:
    """The run to go on with, or a new one."""
    found = read_tally(TALLY) if asked.resume else None
    if found is not None:
        return msgspec.structs.replace(found, faults=max(found.faults, asked.faults))
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    return Tally(faults=asked.faults, seed=seed)


def _rounds(tally: Tally, jobs: int, only: int | None) -> Iterator[Round]:
    """The rounds that are left, as they end; `jobs` of them are under way at a time."""
    left = [(number, size) for number, size in tally.open_rounds() if only in (None, number)]
    with ThreadPoolExecutor(jobs) as pool:
        working: set[Future[Round]] = set()
        try:
            while left or working:
                while left and len(working) < jobs:
                    working.add(pool.submit(_round, tally.seed, *left.pop(0)))
                finished, working = wait(working, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for process in list(_running):
                process.kill()  # its namespaces end with it


_running: set["subprocess.Popen[str]"] = set()


def _round(seed: int, number: int, count: int) -> Round:
    """Do one round in a process of its own. One that breaks off counts as a loss."""
    folder = FOLDER / f"seed-{seed}-round-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    own_seed = random.Random(f"{seed}/{number}").randrange(2**31)
    process = subprocess.Popen(
        one_round.command(folder, number, own_seed, count), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _running.add(process)
    try:
        out, said = process.communicate(timeout=ROUND_LIMIT_S)
        done = msgspec.json.decode(out.strip().splitlines()[-1], type=Round)
    except (subprocess.TimeoutExpired, IndexError, msgspec.DecodeError):
        process.kill()
        out, said = process.communicate()
        done = _broken_off(number, own_seed, folder, said)
    finally:
        _running.discard(process)
    if said.strip():
        print(said.rstrip(), file=sys.stderr)
    if not done.kept:
        shutil.rmtree(folder, ignore_errors=True)
    return done


def _broken_off(number: int, seed: int, folder: Path, said: str) -> Round:
    why = (said.strip().splitlines() or ["no word"])[-1]
    return Round(
        number=number,
        seed=seed,
        faults={},
        records=0,
        lost=1,
        doubled=0,
        altered=0,
        named=0,
        misdated=0,
        took_s=0.0,
        drain_s=0.0,
        remarks=(f"the round broke off: {why}",),
        kept=str(folder),
    )


def _say(done: Round, tally: Tally) -> None:
    faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(done.faults.items()))
    print(
        f"round {done.number}: {done.records} records, lost {done.lost} doubled {done.doubled} altered {done.altered}, "
        f"{done.took_s:.0f} s, drained in {done.drain_s:.0f} s. {tally.line()}",
        flush=True,
    )
    if done.kept:
        print(f"  seed {tally.seed}, round {done.number}: {faults}; folders in {done.kept}", flush=True)
        print(f"  again: ./build.sh faults {tally.faults} --seed {tally.seed} --round {done.number}", flush=True)
    for remark in done.remarks:
        if ": not done," not in remark:
            print(f"  {remark}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        sys.exit(130)
