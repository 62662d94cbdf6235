"""From a prediction to its card on the disk, as the pipeline gets there, with few and with many cards open."""

import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import numpy as np

from edge.bench.figure import Figure
from edge.bench.journals import HOUR_US, fresh_journal
from edge.decide.advice import advised
from edge.decide.experiments import Experiments
from edge.decide.playbook import Goal, Holdouts, Play, Playbook, Prior, Step
from edge.decide.plays import Decider
from edge.decide.tables import Tables
from edge.events import Action, Prediction, Signal, SpokenEvidence, Utterance, new_id, now_us
from edge.store.journal import Conclusions, Journal

OPEN, RUNS = (1, 100, 1_000), 500
PLAYS, OPEN_EACH = 10, 10
TARGET_MS = 50.0
ROLES = ("rep", "engineer", "manager")
SAID = "that is more than we budgeted for this quarter"


def measure() -> Iterator[Figure]:
    """With each number of open cards."""
    for open_cards in OPEN:
        yield from measure_open(open_cards, RUNS)


def measure_open(open_cards: int, runs: int) -> Iterator[Figure]:
    """p50 and p99 (ms) of a decision until its cards, hold-outs and chain are committed, beside committing one row."""
    with fresh_journal() as (journal, folder):
        desk = _Desk(journal, folder, max(1, open_cards // OPEN_EACH))
        while (missing := open_cards - len(journal.open_actions())) > 0:
            for action in desk.decide()[missing:]:
                journal.move(action.id, "declined", "bench").result()
        bare = _Bare(folder / "bare.db")
        times_ms: list[float] = []
        bare_ms: list[float] = []
        while len(times_ms) < runs:
            began_s = time.perf_counter()
            actions = desk.decide()
            took_ms = (time.perf_counter() - began_s) * 1e3
            if not actions:
                continue  # this subject is left alone
            times_ms.append(took_ms)
            bare_ms.append(bare.insert(msgspec.json.encode(actions[0])))
            for action in actions:
                journal.move(action.id, "declined", "bench").result()
    ratio = float(np.median(times_ms) / np.median(bare_ms))
    for metric, percentile in (("p50", 50), ("p99", 99)):
        value = float(np.percentile(times_ms, percentile))
        yield Figure(
            bench="decisions",
            case=f"{open_cards:,} open",
            metric=metric,
            value=value,
            unit="ms",
            peer="a bare committed insert" if percentile == 50 else None,
            ratio=ratio if percentile == 50 else None,
            target=f"≤ {TARGET_MS:g} ms" if percentile == 99 else None,
            ok=value <= TARGET_MS if percentile == 99 else None,
        )


class _Desk:
    """Decides one prediction after the other about so many subjects, each an hour after the one before it."""

    def __init__(self, journal: Journal, folder: Path, subjects: int) -> None:
        self._journal = journal
        self._decider = Decider(playbook(folder), Tables(folder), {})
        self._experiments = Experiments()
        self._subjects = subjects
        self._number = 0

    def decide(self) -> list[Action]:
        """The cards of the next prediction, which are on disk; none when its subject is left alone."""
        number, self._number = self._number, self._number + 1
        at = now_us() + number * HOUR_US
        subject, label = f"customer-{number % self._subjects}", f"label-{number % PLAYS}"
        said = Utterance(channel="customer", language="en", text=SAID)
        signal = Signal(at=at, event_id=new_id(), subject=subject, data=said)
        prediction = Prediction(
            at=at,
            signal_id=signal.id,
            subject=subject,
            pack="bench",
            pack_version="1",
            label=label,
            probability=0.8,
            evidence=(SpokenEvidence(event_id=signal.event_id, channel="customer", start_s=1.0, end_s=3.0, text=SAID),),
        )
        conclusions = Conclusions(signals=[signal], predictions=[prediction])
        for play in self._decider.begin(subject, label, at, "customer"):
            decision, actions = self._decider.decide(prediction, signal.event_id, play, now_us())
            connection = self._journal.readers.connection()
            decisions = advised(connection, self._decider.playbook, self._experiments, [decision], actions)
            conclusions = msgspec.structs.replace(conclusions, decisions=decisions, actions=actions)
        self._journal.conclude(msgspec.structs.replace(conclusions, episodes=self._decider.take_moved())).result()
        return list(conclusions.actions)


def playbook(folder: Path) -> Playbook:
    """Plays with hold-outs for one goal, each of two cards."""
    plays: dict[str, tuple[Play, ...]] = {
        f"label-{number}": (
            Play(
                name=f"play-{number}",
                label=f"label-{number}",
                title={"en": "A play"},
                goal="kept",
                prior=Prior(without=0.5, with_it=0.6),
                step=tuple(
                    Step(
                        role=ROLES[(number + place) % len(ROLES)],
                        channel="card",
                        what={"en": "Do it for {subject}"},
                        within_minutes=30,
                        minutes=5 + number,
                    )
                    for place in range(2)
                ),
            ),
        )
        for number in range(PLAYS)
    }
    goals = {"kept": Goal(name="kept", question={"en": "Did the customer stay?"})}
    return Playbook(path=folder / "playbook.toml", plays=plays, goals=goals, holdouts=Holdouts(key="of the bench"))


class _Bare:
    """A table of one column, in a file of its own that is written as the journal is."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.pragma("journal_mode", "wal")
        self._connection.pragma("synchronous", "full")
        self._connection.execute("CREATE TABLE bare (text TEXT)")

    def insert(self, text: bytes) -> float:
        """How long (ms) a row took to be committed."""
        began_s = time.perf_counter()
        with self._connection:
            self._connection.execute("INSERT INTO bare VALUES (?)", (text.decode(),))
        return (time.perf_counter() - began_s) * 1e3
