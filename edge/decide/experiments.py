"""What the site's hold-outs have shown so far: the effect of each play, and of each step that has a hold-out of its
own.

A subject counts once in each trial, with the first outcome that was told of it: it is drawn once, whatever happens to
it afterwards. A trial begins anew when its share changes, and when a play that was paused runs again.
"""

from collections.abc import Iterable, Mapping

import msgspec

from edge.decide.chains import log_odds
from edge.decide.playbook import Goal, Play, Prior, Step
from edge.decide.uplift import Effect, Uplift
from edge.store.outcomes import Told

SURE_DEVIATIONS = 1.96
PRIOR_SUBJECTS = 20.0
OFTEN = 10
"""So many earlier decisions about a subject count as very many."""

Key = tuple[str, str]
"""A play, and the step of it that is tried ('': the whole play)."""


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What a step adds to the log-odds of its goal, between which bounds, and whether this site's hold-outs show it."""

    gain: float
    low: float
    high: float
    proven: bool


NO_GAIN = Gain(gain=0.0, low=0.0, high=0.0, proven=False)


class Experiments:
    """The trials of all plays. `since` is from when on decisions of a play count, after a pause."""

    def __init__(self, told: Iterable[Told] = (), since: Mapping[str, int] = {}) -> None:
        self._since = dict(since)
        self._trials: dict[Key, Uplift] = {}
        self._of: dict[Key, int] = {}  # when a decision was made that has the share of its trial
        self._counted: set[tuple[Key, str]] = set()
        for one in told:
            self.take(one)

    def take(self, told: Told) -> None:
        """Take the outcome of one more decision."""
        if told.arm == "paused" or told.at < self._since.get(told.play, told.at):
            return
        for trial in told.trials:
            if trial.step and told.arm != "treatment":
                continue  # what one step adds is asked among those that the others are done for
            key = (told.play, trial.step)
            if key not in self._trials or self._trials[key].share != trial.share:
                if told.at < self._of.get(key, told.at):
                    continue  # it was told late, and is of the share before
                self._trials[key] = Uplift(trial.share)
                self._counted = {counted for counted in self._counted if counted[0] != key}
            self._of[key] = told.at
            if (key, told.subject) not in self._counted:
                self._counted.add((key, told.subject))
                self._trials[key].add(not trial.held_out, told.value, _covariates(told))

    @property
    def effects(self) -> dict[Key, Effect]:
        """What is known now of each play and step that is tried."""
        return {key: trial.effect for key, trial in list(self._trials.items())}

    def harmful(self) -> list[str]:
        """The plays that are shown to harm."""
        return [play for (play, step), trial in self._trials.items() if not step and trial.effect.verdict == "harms"]

    def before(self, goal: Goal, play: Play) -> float:
        """How likely a goal is when nothing is done about what calls for a play: from those left alone, and, until they
        are many, from what the playbook expects."""
        expected = goal.base if play.prior is None else play.prior.without
        left = self._trials[play.name, ""].left_alone if (play.name, "") in self._trials else None
        count, mean = (left.count, left.mean or 0.0) if left is not None else (0, 0.0)
        return (expected * PRIOR_SUBJECTS + mean * count) / (PRIOR_SUBJECTS + count)

    def gain(self, play: Play, step: Step, before: float) -> Gain:
        """What a step adds: as this site's hold-outs show it, of the step or of a play that has no other, and until
        then as HQ expects it; of a play with several steps each is expected to add its part."""
        alone = len(play.step) == 1
        trial = self._trials.get((play.name, step.name if step.holdout else "" if alone else "\0"))
        if trial is not None and trial.effect.verdict in ("helps", "harms"):
            return _of_effect(trial.effect, before)
        if step.prior is not None:
            return _of_prior(step.prior)
        return NO_GAIN if play.prior is None else _part(_of_prior(play.prior), len(play.step))


def _covariates(told: Told) -> tuple[float, ...]:
    """What was known before, each between 0 and 1."""
    return told.probability, min(1.0, told.earlier / OFTEN)


def _of_effect(effect: Effect, before: float) -> Gain:
    without = before if effect.without is None else effect.without
    start = log_odds(without)
    gain, low, high = (log_odds(without + change) - start for change in (effect.mean, effect.low, effect.high))
    return Gain(gain=gain, low=min(low, gain), high=max(high, gain), proven=True)


def _of_prior(prior: Prior) -> Gain:
    """Two standard errors of the difference of two log-odds, each from half of the subjects (Woolf, 1955)."""
    gain = log_odds(prior.with_it) - log_odds(prior.without)
    half = prior.subjects / 2
    spread = sum(1 / (half * p * (1 - p)) for p in (prior.with_it, prior.without)) ** 0.5
    return Gain(gain=gain, low=gain - SURE_DEVIATIONS * spread, high=gain + SURE_DEVIATIONS * spread, proven=False)


def _part(gain: Gain, parts: int) -> Gain:
    return Gain(gain=gain.gain / parts, low=gain.low / parts, high=gain.high / parts, proven=gain.proven)
