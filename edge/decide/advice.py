"""What it is best to do for a goal now: the chain of a subject's open steps."""

from collections.abc import Mapping, Sequence

import apsw
import msgspec

from edge.decide.chains import Best, Option, best_chain
from edge.decide.experiments import Experiments
from edge.decide.playbook import Playbook
from edge.events import Action, Chain, Decision
from edge.store import plays

TEN_THOUSANDTHS = 4


class OpenStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that could be done now: an action that waits, and the play it belongs to."""

    action: Action
    play: str


def advised(
    connection: apsw.Connection,
    playbook: Playbook,
    experiments: Experiments,
    decisions: Sequence[Decision],
    actions: Sequence[Action],
) -> list[Decision]:
    """The decisions that are made now, with what it is best to do for their goals, of these actions and all that is
    open in the journal about their subjects."""
    by_decision = {decision.id: decision for decision in decisions}
    new: dict[tuple[str, str], list[OpenStep]] = {}
    for action in actions:
        decision = by_decision.get(action.decision_id)
        if decision is not None and decision.goal:
            new.setdefault((decision.subject, decision.goal), []).append(OpenStep(action=action, play=decision.play))
    if not new:
        return list(decisions)
    free_in = plays.busy(connection)
    chains = {}
    for (subject, goal), steps in new.items():
        earlier = _open(connection, subject, goal)
        chains[subject, goal] = advise(playbook, experiments, goal, [*earlier, *steps], free_in)
    return [
        msgspec.structs.replace(decision, chain=chains.get((decision.subject, decision.goal))) for decision in decisions
    ]


def advise_again(
    connection: apsw.Connection, playbook: Playbook, experiments: Experiments, subject: str, goal: str
) -> Chain | None:
    """What is best of the steps that still wait for an answer about a subject; None when none is known to help."""
    if goal not in playbook.goals:  # the playbook was edited meanwhile
        return None
    return advise(playbook, experiments, goal, _open(connection, subject, goal), plays.busy(connection))


def _open(connection: apsw.Connection, subject: str, goal: str) -> list[OpenStep]:
    return [OpenStep(action=action, play=play) for play, action in plays.open_steps(connection, subject, goal)]


def advise(
    playbook: Playbook,
    experiments: Experiments,
    goal_name: str,
    steps: Sequence[OpenStep],
    free_in: Mapping[str, float],
) -> Chain | None:
    """The chain of these steps that raises the odds of their goal most; None when none is known to help. `free_in` is
    in how many minutes a role has done what it accepted before."""
    goal = playbook.goals[goal_name]
    by_name = playbook.by_name
    called = [by_name[step.play] for step in steps if step.play in by_name]
    if not called:
        return None
    # Several plays may be called for one goal: what called for the first of them is what is wrong.
    before = experiments.before(goal, called[0])
    options = []
    for open_step in steps:
        play, action = by_name.get(open_step.play), open_step.action
        if play is None or action.step >= len(play.step):  # the playbook was edited meanwhile
            continue
        gain = experiments.gain(play, play.step[action.step], before)
        options.append(
            Option(
                name=action.id,
                role=action.role,
                minutes=action.terms.minutes,
                cost=action.terms.cost,
                gain=gain.gain,
                low=gain.low,
                high=gain.high,
                proven=gain.proven,
            )
        )
    best = best_chain(before, options, goal.act_within_minutes, most=goal.most_steps, free_in=free_in, worth=goal.worth)
    return _chain(goal_name, before, best, goal.act_within_minutes) if best.steps else None


def _chain(goal: str, before: float, best: Best, within_minutes: float) -> Chain:
    return Chain(
        goal=goal,
        steps=tuple(one.name for one in best.steps),
        before=round(before, TEN_THOUSANDTHS),
        after=round(best.after, TEN_THOUSANDTHS),
        low=round(best.low, TEN_THOUSANDTHS),
        high=round(best.high, TEN_THOUSANDTHS),
        minutes=best.minutes,
        within_minutes=within_minutes,
        cost=sum(one.cost for one in best.steps),
        unproven=tuple(one.name for one in best.steps if not one.proven),
    )
