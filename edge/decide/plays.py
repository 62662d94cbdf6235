"""Predictions to decisions: which plays a prediction calls for, and the actions that they are made of."""

from edge.decide.playbook import Play, Playbook, Step
from edge.events import Action, Decision, Prediction

MINUTE_US = 60_000_000
NEVER = 0


class Decider:
    """Calls the plays of a playbook. An episode is a stretch in which a label keeps being said of a subject: it begins
    with a decision and ends when the label has been quiet for the play's `quiet_minutes`."""

    def __init__(self, playbook: Playbook, episodes: dict[tuple[str, str], int]) -> None:
        """`episodes`: when each play was last called for each subject, as the journal keeps it."""
        self._playbook = playbook
        self._episodes = dict(episodes)
        self._moved: dict[tuple[str, str], int] = {}

    def adopt(self, playbook: Playbook) -> None:
        """Decide by another playbook from now on; a play that keeps its name keeps its episodes."""
        self._playbook = playbook

    def answers(self, label: str, speaker: str) -> bool:
        """Whether any play answers a label in what this speaker (a call's channel, or `note`) said."""
        return any(speaker in play.said_by for play in self._playbook.plays[label])

    def begin(
        self, subject: str, label: str, at: int, speaker: str | None = None, *, early: bool = False
    ) -> list[Play]:
        """The plays whose episode begins with a label said of a subject at a moment of the source's clock; those under
        way are prolonged. `speaker` is who said it, if it was said. While it is still being said (`early`) only plays
        begin that propose something to a person."""
        return [
            play
            for play in self._playbook.plays[label]
            if (speaker is None or speaker in play.said_by)
            and (not early or any(step.fires_after_s is None for step in play.step))
            and self._begins((subject, play.name), play, at)
        ]

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


def decide(prediction: Prediction, event_id: str, play: Play, now: int) -> tuple[Decision, list[Action]]:
    """The decision for a play that a prediction about an event called for, and its actions, proposed at `now`."""
    decision = _decision(prediction, event_id, play, now)
    return decision, [_action(decision, number, step, prediction, now) for number, step in enumerate(play.step)]


def decide_early(prediction: Prediction, event_id: str, play: Play, now: int) -> tuple[Decision, list[Action]]:
    """The same while the words that called for it are still being said: only what waits for a person is proposed."""
    decision, actions = decide(prediction, event_id, play, now)
    return decision, [action for action in actions if action.fires_at is None]


def confirm(decision: Decision, prediction: Prediction, play: Play, now: int) -> list[Action]:
    """What an early decision lacks, once the words were heard to their end: the actions that fire by themselves."""
    return [
        _action(decision, number, step, prediction, now)
        for number, step in enumerate(play.step)
        if step.fires_after_s is not None
    ]


def _decision(prediction: Prediction, event_id: str, play: Play, now: int) -> Decision:
    return Decision(
        at=now,
        prediction_id=prediction.id,
        event_id=event_id,
        subject=prediction.subject,
        play=play.name,
        deadline=now + max(round(step.within_minutes * MINUTE_US) for step in play.step),
    )


def _action(decision: Decision, number: int, step: Step, prediction: Prediction, now: int) -> Action:
    names = {"subject": prediction.subject, "label": prediction.label, "event": decision.event_id}
    return Action(
        at=now,
        decision_id=decision.id,
        step=number,
        role=step.role,
        channel=step.channel,
        what=step.what,
        payload={key: _fill(text, names) for key, text in step.payload.items()},
        due=decision.at + round(step.within_minutes * MINUTE_US),
        fires_at=None if step.fires_after_s is None else now + round(step.fires_after_s * 1_000_000),
    )


def _fill(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text
