"""Many countdowns that end at once, and what a look costs when many run and none has ended."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.bench.figure import Figure
from edge.bench.journals import HOUR_US, an_action, fresh_journal
from edge.events import Action
from edge.store.database import number
from edge.store.journal import Conclusions, Journal

ACTIONS = 10_000
LOOKS = 200
AT_ONCE = 1_000
LOOK_TARGET_MS = 5.0


def measure() -> Iterator[Figure]:
    """Both, with the same number of actions."""
    yield from measure_ended(ACTIONS)
    yield measure_running(ACTIONS)


def measure_ended(count: int) -> Iterator[Figure]:
    """How long it takes until all are done whose countdown ended at the same moment, beside only writing as many files
    and forcing each onto the disk. Raises ArithmeticError when one is not done, or its file is not there once."""
    with fresh_journal() as (journal, folder):
        webhooks = folder / "webhooks"
        actions = _propose(journal, count, 0)
        bare_s = _files_s(actions, folder / "bare")
        commits = journal.commits
        began_s = time.perf_counter()
        Countdown(journal, Channels(None, webhooks, folder / "messages")).settle()
        took_s = time.perf_counter() - began_s
        _check(journal, actions, webhooks)
        commits = journal.commits - commits
        bare_s = (bare_s + _files_s(actions, folder / "bare-after")) / 2  # a disk is not always as fast
    case = f"{count:,} end at once"
    yield Figure(
        bench="countdowns",
        case=case,
        metric="done",
        value=count / took_s,
        unit="/s",
        peer="only the files, each forced onto the disk",
        ratio=bare_s / took_s,
    )
    yield Figure(bench="countdowns", case=case, metric="the last is late by", value=took_s, unit="s")
    yield Figure(bench="countdowns", case=case, metric="commits", value=commits, unit="")


def measure_running(count: int) -> Figure:
    """What a look costs when countdowns run and none has ended."""
    with fresh_journal() as (journal, folder):
        _propose(journal, count, HOUR_US)
        countdown = Countdown(journal, Channels(None, folder / "webhooks", folder / "messages"))
        countdown.settle()
        began_s = time.perf_counter()
        for _ in range(LOOKS):
            countdown.settle()
        value = (time.perf_counter() - began_s) * 1e3 / LOOKS
    return Figure(
        bench="countdowns",
        case=f"{count:,} run, none has ended",
        metric="a look",
        value=value,
        unit="ms",
        target=f"≤ {LOOK_TARGET_MS:g} ms",
        ok=value <= LOOK_TARGET_MS,
    )


def _propose(journal: Journal, count: int, fires_in_us: int) -> list[Action]:
    actions = [an_action("webhook", fires_in_us=fires_in_us) for _ in range(count)]
    for first in range(0, count, AT_ONCE):
        journal.conclude(Conclusions(actions=actions[first : first + AT_ONCE])).result()
    return actions


def _check(journal: Journal, actions: list[Action], webhooks: Path) -> None:
    done = number(journal.readers.connection(), "SELECT count(*) FROM actions WHERE state = 'done'")
    moves = number(journal.readers.connection(), "SELECT count(*) FROM transitions")
    files = sorted(path.name for path in webhooks.iterdir())
    if done != len(actions) or moves != 2 * done or files != sorted(f"{action.id}.json" for action in actions):
        raise ArithmeticError(f"of {len(actions)} actions {done} are done by {moves} moves, with {len(files)} files")


def _files_s(actions: list[Action], folder: Path) -> float:
    """How long it takes to write the files of actions and nothing else."""
    folder.mkdir()
    began_s = time.perf_counter()
    for action in actions:
        with (folder / f"{action.id}.json").open("wb") as file:
            file.write(msgspec.json.encode(action))
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began_s
