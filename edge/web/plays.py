"""What each play is for and what it has been shown to do; what it is best to do now; what goes along with a goal."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody, QueryParameter

from edge.decide.advice import advise_again
from edge.decide.drivers import Association, Seen, associations
from edge.decide.experiments import Key
from edge.decide.playbook import Play, Playbook
from edge.decide.uplift import Effect
from edge.errors import Conflict
from edge.events import Arm, PlayChange, PlayState, now_us
from edge.store import plays, told
from edge.store.queries import title_of
from edge.store.told import ChainRow
from edge.web.guard import POST_PROBLEMS, only_json
from edge.web.parts import Parts, Person, WebParts
from edge.web.problems import says

CHANGE_PROBLEMS = POST_PROBLEMS | says(_404="There is no such play.", _409="It is so already.")


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a play; `share` (0 to 1) of the subjects are without it, `effect` is what it has been shown to add
    (None: it is not tried by itself)."""

    name: str
    what: Mapping[str, str]
    role: str
    share: float
    effect: Effect | None


class PlayRow(msgspec.Struct, frozen=True, kw_only=True):
    """A play, what it is for, whether it runs and why not; how many decisions there were in each arm; of whom `share`
    (0 to 1) is left alone, and what it has been shown to do (None: it is not tried)."""

    play: str
    title: Mapping[str, str]
    label: str
    goal: str
    question: Mapping[str, str]
    safety: bool
    share: float
    state: PlayState
    since: int | None
    by: str
    remark: str
    decisions: Mapping[Arm, int]
    effect: Effect | None
    steps: tuple[StepRow, ...]


class PlayAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who pauses a play or lets it run again, and why."""

    by: Person
    remark: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """A play, or a step of one, that is tried for a goal, and what that has shown."""

    play: str
    step: str
    title: Mapping[str, str]
    effect: Effect


class DriverReport(msgspec.Struct, frozen=True, kw_only=True):
    """Of a goal: what moved it (hold-outs that were drawn show it), what is tried and not shown yet, and what only goes
    along with it, of which nobody knows whether it moves anything."""

    goal: str
    question: Mapping[str, str]
    outcomes: int
    moved: tuple[Driver, ...]
    unproven: tuple[Driver, ...]
    goes_along: tuple[Association, ...]


@get("/", sync_to_thread=True)
def list_plays(parts: Parts) -> list[PlayRow]:
    """Every play of the playbook."""
    return _rows(parts)


@post("/{name:str}/pause", status_code=200, guards=[only_json], responses=CHANGE_PROBLEMS)
async def pause(parts: Parts, name: FromPath[str], data: JSONBody[PlayAnswer]) -> PlayRow:
    """Let a play do nothing from now on; what is under way goes on."""
    return await asyncio.to_thread(_change, parts, name, "paused", data)


@post("/{name:str}/resume", status_code=200, guards=[only_json], responses=CHANGE_PROBLEMS)
async def resume(parts: Parts, name: FromPath[str], data: JSONBody[PlayAnswer]) -> PlayRow:
    """Let a paused play run again; what it does is measured anew."""
    return await asyncio.to_thread(_change, parts, name, "running", data)


@get("/api/chains", sync_to_thread=True, tags=["plays"])
def chains(parts: Parts, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100) -> list[ChainRow]:
    """What it is best to do now, by subject and goal, as long as something of it is open."""
    connection, playbook, experiments = parts.journal.readers.connection(), parts.playbook(), parts.experiments()
    return told.chains(
        connection, limit, lambda subject, goal: advise_again(connection, playbook, experiments, subject, goal)
    )


@get("/api/drivers", sync_to_thread=True, tags=["plays"])
def drivers(parts: Parts) -> list[DriverReport]:
    """By goal what moved it, and what only goes along with it."""
    connection = parts.journal.readers.connection()
    playbook, effects = parts.playbook(), parts.experiments().effects
    goal_of = {name: play.goal for name, play in playbook.by_name.items()}
    reports = []
    for name, goal in playbook.goals.items():
        seen = [
            Seen(value=one.value, features=one.labels | {f"{step} done" for step in one.done})
            for one in told.features(connection, name)
        ]
        tried = [
            Driver(play=play, step=step, title=title_of(play, parts.titles), effect=effect)
            for (play, step), effect in effects.items()
            if goal_of.get(play) == name
        ]
        reports.append(
            DriverReport(
                goal=name,
                question=goal.question,
                outcomes=len(seen),
                moved=tuple(one for one in tried if one.effect.verdict in ("helps", "harms")),
                unproven=tuple(one for one in tried if one.effect.verdict not in ("helps", "harms")),
                goes_along=tuple(associations(seen)),
            )
        )
    return reports


def play_row(parts: WebParts, name: str) -> PlayRow | None:
    """One play; None: the playbook has none of this name."""
    return next((row for row in _rows(parts) if row.play == name), None)


def _change(parts: WebParts, name: str, state: PlayState, answer: PlayAnswer) -> PlayRow:
    row = play_row(parts, name)
    if row is None:
        raise NotFoundException(f"There is no play {name!r}; look at the playbook.")
    if row.state == state:
        raise Conflict(f"The play {name!r} is {state} already; reload the list.")
    change = PlayChange(at=now_us(), play=name, state=state, by=answer.by.strip(), remark=answer.remark)
    parts.journal.change_play(change).result()
    changed = play_row(parts, name)
    assert changed is not None
    return changed


def _rows(parts: WebParts) -> list[PlayRow]:
    connection = parts.journal.readers.connection()
    playbook, experiments = parts.playbook(), parts.experiments()
    standings, arms = plays.standings(connection), told.arms(connection)
    effects = experiments.effects
    return [
        _row(playbook, play, standings.get(play.name), arms.get(play.name, {}), effects)
        for play in playbook.by_name.values()
    ]


def _row(
    playbook: Playbook,
    play: Play,
    standing: plays.Standing | None,
    arms: Mapping[Arm, int],
    effects: Mapping[Key, Effect],
) -> PlayRow:
    return PlayRow(
        play=play.name,
        title=play.title,
        label=play.label,
        goal=play.goal,
        question=playbook.goals[play.goal].question if play.goal else {},
        safety=play.safety,
        share=playbook.share(play),
        state="running" if standing is None else standing.state,
        since=None if standing is None else standing.at,
        by="" if standing is None else standing.by,
        remark="" if standing is None else standing.remark,
        decisions=arms,
        effect=effects.get((play.name, "")),
        steps=tuple(
            StepRow(
                name=step.name,
                what=step.what,
                role=step.role,
                share=step.holdout,
                effect=effects.get((play.name, step.name)) if step.name else None,
            )
            for step in play.step
        ),
    )


router = Router("/api/plays", route_handlers=[list_plays, pause, resume], tags=["plays"])
