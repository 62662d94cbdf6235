"""Predictions to decisions: which plays a prediction calls for, and the actions that they are made of."""

import re
from collections.abc import Collection, Sequence

import msgspec

from edge.decide.holdouts import draw
from edge.decide.playbook import Play, Playbook, Step
from edge.decide.tables import Tables
from edge.events import Action, Arm, ChannelName, Decision, Prediction, SpokenEvidence, Terms, Trial

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
NEVER = 0
UNKNOWN = "?"
_PLACE = re.compile(r"\{(\w+(?:\.\w+)?)\}")


class Decider:
    """Calls the plays of a playbook. An episode is a stretch in which a label keeps being said of a subject: it begins
    with a decision and ends when the label has been quiet for the play's `quiet_minutes`."""

    def __init__(self, playbook: Playbook, tables: Tables, episodes: dict[tuple[str, str], int]) -> None:
        """`episodes`: when each play was last called for each subject, as the journal keeps it."""
        self.playbook = playbook
        self.paused: Collection[str] = frozenset()
        self._tables = tables
        self._episodes = dict(episodes)
        self._moved: dict[tuple[str, str], int] = {}

    def answers(self, label: str, speaker: str) -> bool:
        """Whether any play answers a label in what this speaker (a call's channel, or `note`) said."""
        return any(speaker in play.said_by for play in self.playbook.plays[label])

    def begin(
        self, subject: str, label: str, at: int, speaker: str | None = None, *, early: bool = False
    ) -> list[Play]:
        """The plays whose episode begins with a label said of a subject at a moment of the source's clock; those under
        way are prolonged. `speaker` is who said it, if it was said. While it is still being said (`early`) only plays
        begin that propose something to a person: not those that leave this subject alone."""
        return [
            play
            for play in self.playbook.plays[label]
            if (speaker is None or speaker in play.said_by)
            and (not early or self._proposes(play, subject))
            and self._begins((subject, play.name), play, at)
        ]

    def _proposes(self, play: Play, subject: str) -> bool:
        trials = draw(self.playbook, play, subject)
        return self._arm(play, trials) == "treatment" and any(step.fires_after_s is None for step in play.step)

    def _begins(self, key: tuple[str, str], play: Play, at: int) -> bool:
        last_at = self._episodes.get(key)
        self._episodes[key] = self._moved[key] = at if last_at is None else max(at, last_at)
        return last_at is None or abs(at - last_at) > play.quiet_minutes * MINUTE_US

    def forget(self, subject: str, play: str) -> None:
        """An episode that was called for by mistake has not begun."""
        self._episodes[subject, play] = self._moved[subject, play] = NEVER

    def take_moved(self) -> dict[tuple[str, str], int]:
        """The episodes that began or were prolonged since this was last asked, for the journal."""
        moved, self._moved = self._moved, {}
        return moved

    # ---- decisions -------------------------------------------------------------------------------------------

    def decide(self, prediction: Prediction, event_id: str, play: Play, now: int) -> tuple[Decision, list[Action]]:
        """The decision for a play that a prediction about an event called for, and its actions, proposed at `now`:
        none for a subject that is left alone, and none of a play that is paused."""
        trials = draw(self.playbook, play, prediction.subject)
        decision = Decision(
            at=now,
            prediction_id=prediction.id,
            event_id=event_id,
            subject=prediction.subject,
            play=play.name,
            deadline=now + max(round(step.within_minutes * MINUTE_US) for step in play.step),
            arm=self._arm(play, trials),
            trials=trials,
            goal=play.goal,
            outcome_until=now + round(self.playbook.goals[play.goal].within_days * DAY_US) if play.goal else 0,
        )
        return decision, [self._action(decision, *step, prediction, now) for step in _steps(decision, play)]

    def decide_early(
        self, prediction: Prediction, event_id: str, play: Play, now: int
    ) -> tuple[Decision, list[Action], list[Action]]:
        """The same while the words that called for it are still being said: what waits for a person is proposed now,
        what fires by itself when `confirm` says so."""
        decision, actions = self.decide(prediction, event_id, play, now)
        waits = [action for action in actions if play.step[action.step].fires_after_s is None]
        return decision, waits, [action for action in actions if action not in waits]

    def _arm(self, play: Play, trials: tuple[Trial, ...]) -> Arm:
        if play.name in self.paused:
            return "paused"
        return "control" if any(trial.held_out and not trial.step for trial in trials) else "treatment"

    def _action(self, decision: Decision, number: int, step: Step, prediction: Prediction, now: int) -> Action:
        texts = _Texts(self._tables, decision, prediction)
        payload = {key: texts.filled(text) for key, text in step.payload.items()}
        channel: ChannelName = step.channel
        fires_at = None if step.fires_after_s is None else now + round(step.fires_after_s * SECOND_US)
        if channel == "message" and texts.lacking:  # nobody sends a customer a question mark: somebody fills it in
            channel, fires_at = "card", None
        return Action(
            at=now,
            decision_id=decision.id,
            step=number,
            role=step.role,
            channel=channel,
            what=step.what,
            payload=payload,
            due=decision.at + round(step.within_minutes * MINUTE_US),
            fires_at=fires_at,
            terms=Terms(
                step=step.name,
                tool=step.tool,
                sheet=self._tables.sheet(step.sheet, texts.said) if step.sheet else None,
                undo={key: texts.filled(text) for key, text in step.undo.items()},
                undo_s=step.undo_minutes * 60,
                ask_again_s=step.ask_again_after_s,
                ask_again_times=step.ask_again_times if step.ask_again_after_s is not None else 0,
                escalate_to=step.escalate_to,
                escalate_s=step.escalate_after_s,
                hand_over=step.hand_over,
                minutes=step.minutes,
                cost=step.cost,
            ),
        )


def confirm(later: Sequence[Action], now: int) -> list[Action]:
    """What an early decision has yet to propose, once the words were heard to their end: it is timed from now on."""
    return [
        msgspec.structs.replace(
            action, at=now, fires_at=None if action.fires_at is None else now + action.fires_at - action.at
        )
        for action in later
    ]


def _steps(decision: Decision, play: Play) -> list[tuple[int, Step]]:
    """The steps of a play that are done for this decision, with their places."""
    if decision.arm != "treatment":
        return []
    left_out = {trial.step for trial in decision.trials if trial.held_out}
    return [(number, step) for number, step in enumerate(play.step) if not step.name or step.name not in left_out]


class _Texts:
    """Fills in the texts of a step; `lacking` becomes true when a table has no cell for one."""

    def __init__(self, tables: Tables, decision: Decision, prediction: Prediction) -> None:
        spoken = [one for one in prediction.evidence if isinstance(one, SpokenEvidence)]
        self._tables = tables
        self._subject = prediction.subject
        self.said = " ".join(one.text for one in spoken)
        self.lacking = False
        self._names = {
            "subject": prediction.subject,
            "label": prediction.label,
            "event": decision.event_id,
            "said": self.said,
            "second": f"{spoken[0].start_s:.1f}" if spoken else "",
        }

    def filled(self, text: str) -> str:
        """A text with what stands for its names; what is no name of ours stays as it is."""
        return _PLACE.sub(lambda found: self._value(found.group(1), found.group(0)), text)

    def _value(self, name: str, written: str) -> str:
        table, dot, column = name.partition(".")
        if not dot:
            return self._names.get(name, written)
        cell = self._tables.cell(table, self._subject, column)
        self.lacking = self.lacking or cell is None
        return UNKNOWN if cell is None else cell
