"""The playbook: which play answers which label, and the steps of each. A label without a play is refused at load."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from edge.errors import PlaybookGap, SettingsError
from edge.events import ChannelName
from edge.toml import read_toml

LONGEST_MINUTES = 366 * 24 * 60
"""What is longer, or no number at all, would fail only when the play is called."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a play: who does what, on which channel, within how long. Without `fires_after_s` it waits for a
    person; with it, it fires by itself after so many seconds. In `payload`, {subject}, {label} and {event} stand for
    those of the prediction."""

    role: str
    channel: ChannelName
    what: dict[str, str]
    within_minutes: float
    payload: dict[str, str] = {}
    fires_after_s: float | None = None


class Play(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about a label. It is not called again for the same subject until the label has been quiet for
    `quiet_minutes`. In a call it answers only to who is named in `said_by`: what the agent says is not the
    customer's worry."""

    name: str
    label: str
    title: dict[str, str]
    step: tuple[Step, ...]
    quiet_minutes: float = 30.0
    said_by: tuple[str, ...] = ("customer", "both", "note")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    play: tuple[Play, ...] = ()


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """All plays of a site, by label."""

    path: Path
    plays: dict[str, tuple[Play, ...]]

    @property
    def titles(self) -> dict[str, dict[str, str]]:
        """Each play's title by language, by the play's name."""
        return {play.name: play.title for plays in self.plays.values() for play in plays}

    def check_covers(self, pack: str, labels: Iterable[str]) -> None:
        """Raise PlaybookGap when the pack has a label that no play answers."""
        for label in labels:
            if label not in self.plays:
                raise PlaybookGap(
                    f"{self.path}: pack {pack} says {label!r} and no play answers it; "
                    f'add a [[play]] with label = "{label}" to this file.'
                )


def read_playbook(path: Path) -> Playbook:
    """The playbook in a TOML file.

    Raises SettingsError naming file, line and key when it is absent or wrong.
    """
    plays: dict[str, tuple[Play, ...]] = {}
    names: set[str] = set()
    for play in read_toml(path, _File).play:
        if play.name in names:
            raise SettingsError(f"{path}: there are two plays named {play.name!r}; rename one.")
        if not 0 <= play.quiet_minutes <= LONGEST_MINUTES:
            raise SettingsError(f"{path}: quiet_minutes of play {play.name!r} must be 0 or more, and a year at most.")
        if not play.step:
            raise SettingsError(f"{path}: play {play.name!r} has no [[play.step]]; say who does what.")
        for step in play.step:
            _check_step(path, play, step)
        names.add(play.name)
        plays[play.label] = (*plays.get(play.label, ()), play)
    return Playbook(path=path, plays=plays)


def _check_step(path: Path, play: Play, step: Step) -> None:
    if not step.what:
        raise SettingsError(f"{path}: a step of play {play.name!r} says nothing in `what`; say it in en or zh.")
    if step.channel == "device" and "topic" not in step.payload:
        raise SettingsError(f"{path}: a device step of play {play.name!r} needs payload.topic.")
    if not 0 < step.within_minutes <= LONGEST_MINUTES:
        raise SettingsError(f"{path}: within_minutes of play {play.name!r} must be above 0, and a year at most.")
    if step.fires_after_s is not None and not 0 <= step.fires_after_s <= 60 * LONGEST_MINUTES:
        raise SettingsError(f"{path}: fires_after_s of play {play.name!r} must be 0 or more, and a year at most.")
