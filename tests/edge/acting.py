"""A site whose clocks a test sets, and which acts when it is told to: for tests of what happens to actions."""

from collections import Counter
from pathlib import Path

import pytest

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.events import Action, Decision, Prediction, boot_id, mono_us, new_id, now_us
from edge.store import audit, queries
from edge.store.journal import Conclusions, Journal
from edge.store.queries import Card, Wall
from tests.records import an_action

SECOND_US = 1_000_000
HOUR_S, DAY_S = 3_600, 86_400


class Clock:
    """The clocks of the machine: that of its boot, that of the wall, and which boot it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mono, self.wall, self.boot = mono_us(), now_us(), boot_id()
        for module in ("steady", "moves", "timers"):
            monkeypatch.setattr(f"edge.store.{module}.now_us", lambda: self.wall)
        monkeypatch.setattr("edge.store.steady.mono_us", lambda: self.mono)
        monkeypatch.setattr("edge.store.steady.boot_id", lambda: self.boot)

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.mono += round(seconds * SECOND_US)
        self.wall += round(seconds * SECOND_US)

    def is_set(self, seconds: float) -> None:
        """Somebody sets the wall clock by so many seconds, and no time passes."""
        self.wall += round(seconds * SECOND_US)

    def reboots(self, off_s: float = 0.0, wall: int | None = None) -> None:
        """The machine was off for so long; it starts with the right time, or believes that it is `wall`."""
        self.boot, self.mono = new_id(), 30 * SECOND_US
        self.wall = self.wall + round(off_s * SECOND_US) if wall is None else wall


class Bus:
    """A bus that may be down; counts the commands by action."""

    def __init__(self) -> None:
        self.down = False
        self.said: list[tuple[str, bytes]] = []

    def command(self, topic: str, payload: bytes) -> None:
        if self.down:
            raise ConnectionError("the broker does not answer")
        self.said.append((topic, payload))


class Counting(Channels):
    """The channels, counting how often each action was performed and taken back."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        super().__init__(bus, folder / "webhooks", folder / "messages")
        self.performed: Counter[str] = Counter()
        self.taken_back: Counter[str] = Counter()

    def perform(self, action: Action) -> None:
        super().perform(action)
        self.performed[action.id] += 1

    def take_back(self, action: Action) -> None:
        super().take_back(action)
        self.taken_back[action.id] += 1


class Acting:
    """A journal with what acts on it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.bus = Bus()
        self.channels = Counting(self.bus, folder)
        self._open()

    def _open(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        self.countdown = Countdown(self.journal, self.channels)

    def reopen(self) -> None:
        """As after a kill: nothing is kept but what is in the journal."""
        self.journal.close()
        self._open()

    def settle(self, after_s: float = 0.0) -> None:
        """Let time pass, and what is due happen."""
        self.clock.passes(after_s)
        self.countdown.settle()

    def propose(self, **changes: object) -> Action:
        """An action with the decision it belongs to. `fires_s` and `due_s` say after how many seconds."""
        at = self.clock.wall
        due_s, fires_s = float(str(changes.pop("due_s", 600))), changes.pop("fires_s", None)
        prediction = Prediction(
            at=at, signal_id="s", subject="x", pack="p", pack_version="1", label="l", probability=0.9, evidence=()
        )
        decision = Decision(
            at=at, prediction_id=prediction.id, event_id="e", subject="x", play="p", deadline=at + SECOND_US
        )
        fields: dict[str, object] = {
            "at": at,
            "decision_id": decision.id,
            "due": at + round(due_s * SECOND_US),
            "fires_at": None if fires_s is None else at + round(float(str(fires_s)) * SECOND_US),
        }
        action = an_action(**{**fields, **changes})
        made = Conclusions(predictions=[prediction], decisions=[decision], actions=[action])
        self.journal.conclude(made).result()
        return action

    def card(self, action: Action) -> Card:
        """How people see it now."""
        wall = Wall(titles={}, shift=self.journal.steady.shift)
        card = queries.card(self.journal.readers.connection(), wall, action.id)
        assert card is not None
        return card

    def left_s(self, action: Action) -> float | None:
        """The seconds until it fires, as its card says."""
        fires_at = self.card(action).fires_at
        return None if fires_at is None else (fires_at - self.clock.wall) / SECOND_US

    def moves(self, action: Action) -> list[str]:
        """The states that it went through."""
        rows = self.journal.readers.connection().execute(
            "SELECT state FROM transitions WHERE action_id = ? ORDER BY seq", (action.id,)
        )
        return [str(row[0]) for row in rows]

    def timers(self, action: Action) -> set[str]:
        """Which timers of it run."""
        rows = self.journal.readers.connection().execute("SELECT what FROM timers WHERE action_id = ?", (action.id,))
        return {str(row[0]) for row in rows}

    def files(self, folder: str) -> list[str]:
        """The files in data/webhooks or data/messages."""
        return sorted(path.name for path in (self.folder / folder).iterdir())

    def verify(self) -> None:
        """The audit has nothing to say."""
        assert audit.verify(self.journal.readers.connection(), "").misfit is None
