"""Predictions to decisions: which plays a prediction calls for, and the actions that they are made of."""

from collections.abc import Iterable

import msgspec

from edge.decide.playbook import Play, Playbook, Step
from edge.events import Action, Decision, Prediction

MINUTE_US = 60_000_000


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and the episodes that were begun or prolonged."""

    decisions: list[Decision] = []
    actions: list[Action] = []
    episodes: dict[tuple[str, str], int] = {}


class Decider:
    """Calls the plays of a playbook. An episode is a stretch in which a label keeps being said of a subject: it begins
    with a decision and ends when the label has been quiet for the play's `quiet_minutes`."""

    def __init__(self, playbook: Playbook, episodes: dict[tuple[str, str], int]) -> None:
        """`episodes`: when each play was last called for each subject, as the journal keeps it."""
        self._playbook = playbook
        self._episodes = dict(episodes)

    def decide(self, predictions: Iterable[tuple[Prediction, str]], now: int) -> Decided:
        """The decisions that predictions (each with the id of its event) call for, proposed at `now`.

        Predictions that only prolong an episode lead to no new decision.
        """
        decided = Decided()
        for prediction, event_id in predictions:
            for play in self._playbook.plays[prediction.label]:
                if self._begins(prediction, play, decided):
                    decision = _decision(prediction, event_id, play, now)
                    decided.decisions.append(decision)
                    decided.actions.extend(
                        _action(decision, number, step, prediction, event_id) for number, step in enumerate(play.step)
                    )
        return decided

    def _begins(self, prediction: Prediction, play: Play, decided: Decided) -> bool:
        """Whether the prediction begins an episode of the play; it prolongs one otherwise."""
        key = (prediction.subject, play.name)
        last_at = self._episodes.get(key)
        self._episodes[key] = decided.episodes[key] = max(prediction.at, last_at or prediction.at)
        return last_at is None or abs(prediction.at - last_at) > play.quiet_minutes * MINUTE_US


def _decision(prediction: Prediction, event_id: str, play: Play, now: int) -> Decision:
    return Decision(
        at=now,
        prediction_id=prediction.id,
        event_id=event_id,
        subject=prediction.subject,
        play=play.name,
        deadline=now + max(round(step.within_minutes * MINUTE_US) for step in play.step),
    )


def _action(decision: Decision, number: int, step: Step, prediction: Prediction, event_id: str) -> Action:
    names = {"subject": prediction.subject, "label": prediction.label, "event": event_id}
    return Action(
        at=decision.at,
        decision_id=decision.id,
        step=number,
        role=step.role,
        channel=step.channel,
        what=step.what,
        payload={key: _fill(text, names) for key, text in step.payload.items()},
        due=decision.at + round(step.within_minutes * MINUTE_US),
        fires_at=None if step.fires_after_s is None else decision.at + round(step.fires_after_s * 1_000_000),
    )


def _fill(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text
