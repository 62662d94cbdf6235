"""The playbook: which play answers which label, the steps of each, and what they are for. A label without a play is
refused at load."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from edge.errors import PlaybookGap, SettingsError
from edge.events import ChannelName
from edge.toml import read_toml

LONGEST_MINUTES = 366 * 24 * 60
"""What is longer, or no number at all, would fail only when the play is called."""
Minutes = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_MINUTES)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=60 * LONGEST_MINUTES)]
Share = Annotated[float, msgspec.Meta(ge=0, le=0.5)]
Chance = Annotated[float, msgspec.Meta(gt=0, lt=1)]
UNDO_MINUTES = 10.0


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of playbook.toml: unknown keys are errors."""


class Prior(Table, frozen=True, kw_only=True, rename={"with_it": "with"}):
    """What HQ expects of a play or a step until the site's own hold-outs show it: how often the goal is reached
    `without` and `with` it (0 to 1), and from how many `subjects` HQ knows that."""

    without: Chance
    with_it: Chance
    subjects: Annotated[int, msgspec.Meta(ge=1)] = 20


class Step(Table, frozen=True, kw_only=True):
    """One step of a play: who does what, with which tool, on which channel, within how long. In `payload` and `undo`,
    {subject}, {label}, {event}, {said} and {second} stand for those of the prediction, {table.column} for the cell of a
    table of the site in the subject's row.

    Without `fires_after_s` it waits for a person; with it, it fires by itself after so many seconds. Nobody answering,
    it is asked for again every `ask_again_after_s` seconds, `ask_again_times` times, and goes to the role `escalate_to`
    after `escalate_after_s`. For `undo_minutes` after it was done it can be taken back; on a device or a system that is
    done by the payload `undo`. `hand_over` names a role to which it can be given with one key. `sheet` is a table of
    the site that is shown with it. It takes `minutes` and costs `cost`. `holdout` is the share of subjects for whom
    this step alone is left out.
    """

    role: str
    channel: ChannelName
    what: dict[str, str]
    within_minutes: Minutes
    name: str = ""
    tool: dict[str, str] = {}
    sheet: str = ""
    payload: dict[str, str] = {}
    fires_after_s: Seconds | None = None
    undo: dict[str, str] = {}
    undo_minutes: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_MINUTES)] = UNDO_MINUTES
    ask_again_after_s: Annotated[float, msgspec.Meta(ge=1, le=60 * LONGEST_MINUTES)] | None = None
    ask_again_times: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    escalate_to: str = ""
    escalate_after_s: Seconds | None = None
    hand_over: str = ""
    minutes: Minutes = 5.0
    cost: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    holdout: Share = 0.0
    prior: Prior | None = None


class Play(Table, frozen=True, kw_only=True):
    """What is done about a label. It is not called again for the same subject until the label has been quiet for
    `quiet_minutes`. In a call it answers only to who is named in `said_by`: what the agent says is not the customer's
    worry.

    `goal` names what it is for; of the subjects the share `holdout` is left alone (None: as [holdouts] says), none if
    the play is for people's `safety`.

    """

    name: str
    label: str
    title: dict[str, str]
    step: tuple[Step, ...]
    quiet_minutes: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_MINUTES)] = 30.0
    said_by: tuple[str, ...] = ("customer", "both", "note")
    goal: str = ""
    safety: bool = False
    holdout: Share | None = None
    prior: Prior | None = None


class Goal(Table, frozen=True, kw_only=True):
    """What plays are for: a question that is answered by an outcome, and until how many days after the decision that
    counts. `base` is how often it is reached when nothing is done, until the site knows; steps help if they are done
    within `act_within_minutes`; `worth` is what reaching it for sure is worth, in the unit of the steps' costs (0:
    costs are not weighed)."""

    name: str
    question: dict[str, str]
    within_days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 30.0
    base: Chance = 0.5
    act_within_minutes: Minutes = 30.0
    worth: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    most_steps: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3


class Holdouts(Table, frozen=True, kw_only=True):
    """Which share of subjects each play leaves alone, and the key of the draw: the same subject is drawn alike on all
    sites that have the same key."""

    key: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]
    share: Share = 0.1


class _File(Table, frozen=True, kw_only=True):
    play: tuple[Play, ...] = ()
    goal: tuple[Goal, ...] = ()
    holdouts: Holdouts | None = None


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """All plays of a site, by label, their goals by name, and how hold-outs are drawn (None: nobody is left alone)."""

    path: Path
    plays: dict[str, tuple[Play, ...]]
    goals: dict[str, Goal] = {}
    holdouts: Holdouts | None = None

    @property
    def by_name(self) -> dict[str, Play]:
        """Each play, by its name."""
        return {play.name: play for plays in self.plays.values() for play in plays}

    @property
    def titles(self) -> dict[str, dict[str, str]]:
        """Each play's title by language, by the play's name."""
        return {name: play.title for name, play in self.by_name.items()}

    def share(self, play: Play) -> float:
        """Which share of subjects (0 to 1) a play leaves alone."""
        if play.safety or self.holdouts is None or not play.goal:
            return 0.0
        return self.holdouts.share if play.holdout is None else play.holdout

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
    file = read_toml(path, _File)
    goals = {goal.name: goal for goal in file.goal}
    if len(goals) < len(file.goal):
        raise SettingsError(f"{path}: there are two goals of one name; rename one.")
    plays: dict[str, tuple[Play, ...]] = {}
    names: set[str] = set()
    for play in file.play:
        if play.name in names:
            raise SettingsError(f"{path}: there are two plays named {play.name!r}; rename one.")
        _check_play(path, play, goals)
        names.add(play.name)
        plays[play.label] = (*plays.get(play.label, ()), play)
    return Playbook(path=path, plays=plays, goals=goals, holdouts=file.holdouts)


def _check_play(path: Path, play: Play, goals: dict[str, Goal]) -> None:
    if not play.step:
        raise SettingsError(f"{path}: play {play.name!r} has no [[play.step]]; say who does what.")
    if play.goal and play.goal not in goals:
        raise SettingsError(f"{path}: play {play.name!r} is for {play.goal!r}, and there is no [[goal]] of that name.")
    if play.safety and (play.holdout or any(step.holdout for step in play.step)):
        raise SettingsError(f"{path}: play {play.name!r} is for safety and leaves nobody alone; remove its holdout.")
    named = [step.name for step in play.step if step.name]
    if len(set(named)) < len(named):
        raise SettingsError(f"{path}: two steps of play {play.name!r} have one name; rename one.")
    for step in play.step:
        _check_step(path, play, step)


def _check_step(path: Path, play: Play, step: Step) -> None:
    if not step.what:
        raise SettingsError(f"{path}: a step of play {play.name!r} says nothing in `what`; say it in en or zh.")
    if step.channel == "device" and "topic" not in step.payload:
        raise SettingsError(f"{path}: a device step of play {play.name!r} needs payload.topic.")
    if step.channel == "message" and not {"to", "text"} <= step.payload.keys():
        raise SettingsError(f"{path}: a message step of play {play.name!r} needs payload.to and payload.text.")
    if bool(step.escalate_to) != (step.escalate_after_s is not None):
        raise SettingsError(f"{path}: a step of play {play.name!r} needs both escalate_to and escalate_after_s.")
    if step.holdout and not (step.name and play.goal):
        raise SettingsError(
            f"{path}: a step of play {play.name!r} has a holdout, and needs a name, and its play a goal."
        )
