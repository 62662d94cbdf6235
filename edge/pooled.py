"""What the hold-outs of all sites show together, from the records that HQ holds: where a playbook's priors come from.

Each site draws by a key of its own, and the share of each draw is known, so the subjects of all sites are one trial of
a play. Its bounds are for a play that does the same everywhere; where sites differ they are for the mix of them.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.decide.experiments import Experiments, Key
from edge.decide.uplift import Effect
from edge.events import Arm, Trial
from edge.store.outcomes import DAY_US, EARLIER_DAYS, Told
from sync.hq.reader import Reader

KEPT_PREDICTIONS = 10_000
"""A decision comes soon after its prediction."""
UNKNOWN = 0.5


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a play, or of a step of it, where `share` of the subjects is left alone, at so many `sites`."""

    play: str
    step: str
    share: float
    sites: int
    effect: Effect


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    at: int
    prediction_id: str
    subject: str
    play: str
    arm: Arm = "treatment"
    trials: tuple[Trial, ...] = ()


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    decision_id: str
    value: float
    excluded: str = ""


class _PlayChange(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    play: str
    state: str


class _Prediction(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    probability: float


def pooled(where: str | Path) -> list[Pooled]:
    """What HQ's store at `where` (a path, or postgresql://…) shows, by play, step and share. Goes through all records.
    Raises LinkSettingsError when the store cannot be used."""
    reader = Reader.open(where)
    try:
        return sorted(_together(_sites(reader)), key=lambda one: (one.play, one.step, -one.sites, one.share))
    finally:
        reader.close()


def _together(sites: Iterable[tuple[str, list[Told]]]) -> Iterator[Pooled]:
    """A trial of each play and step for each share that sites have now; of a site only what has that share."""
    trials: defaultdict[tuple[Key, float], list[tuple[str, Told]]] = defaultdict(list)
    for site, told in sites:
        in_order = sorted(told, key=lambda one: one.at)  # an outcome that was told late is of the share before
        newest = {(one.play, trial.step): trial.share for one in in_order for trial in one.trials}
        for one in told:
            for trial in one.trials:
                if newest[one.play, trial.step] == trial.share:
                    alone = msgspec.structs.replace(one, subject=f"{site} {one.subject}", trials=(trial,))
                    trials[(one.play, trial.step), trial.share].append((site, alone))
    for (key, share), found in trials.items():
        effect = Experiments(told for _, told in sorted(found, key=lambda one: one[1].at)).effects.get(key)
        if effect is not None:
            sites_of = len({site for site, _ in found})
            yield Pooled(play=key[0], step=key[1], share=share, sites=sites_of, effect=effect)


def _sites(reader: Reader) -> Iterator[tuple[str, list[Told]]]:
    for view in reader.sites():
        since = _running_since(reader, view.site)
        told = _told(_records(reader, view.site, "day"))
        yield view.site, [one for one in told if one.arm != "paused" and one.at >= since.get(one.play, one.at)]


def _running_since(reader: Reader, site: str) -> Mapping[str, int]:
    """From when on the decisions of a play count that was paused and runs again."""
    newest = {}
    for kind, record in _records(reader, site, "now"):
        if kind == "playchange" and (change := _read(record, _PlayChange)):
            newest[change.play] = change
    return {play: change.at for play, change in newest.items() if change.state == "running"}


def _told(records: Iterable[tuple[str, msgspec.Raw]]) -> list[Told]:
    """What came of decisions, in the order in which it was told first, as it was corrected last."""
    probabilities: OrderedDict[str, float] = OrderedDict()
    decided: dict[str, Told] = {}
    earlier: defaultdict[str, list[int]] = defaultdict(list)
    values: dict[str, float] = {}
    for kind, record in records:
        if kind == "prediction" and (prediction := _read(record, _Prediction)):
            probabilities[prediction.id] = prediction.probability
            if len(probabilities) > KEPT_PREDICTIONS:
                probabilities.popitem(last=False)
        elif kind == "decision" and (decision := _read(record, _Decision)):
            before = earlier[decision.subject]
            decided[decision.id] = Told(
                subject=decision.subject,
                play=decision.play,
                at=decision.at,
                arm=decision.arm,
                trials=decision.trials,
                probability=probabilities.get(decision.prediction_id, UNKNOWN),
                earlier=sum(at > decision.at - EARLIER_DAYS * DAY_US for at in before),
                value=0.0,
            )
            before.append(decision.at)
        elif kind == "outcome" and (outcome := _read(record, _Outcome)) and not outcome.excluded:
            values[outcome.decision_id] = outcome.value
    return [msgspec.structs.replace(decided[id], value=value) for id, value in values.items() if id in decided]


def _records(reader: Reader, site: str, lane: str) -> Iterator[tuple[str, msgspec.Raw]]:
    for epoch in sorted({one.epoch for one in reader.lanes(site) if one.lane == lane}):
        for record in reader.records_after(site, epoch, lane, 0):
            yield record.kind, record.record


def _read(record: msgspec.Raw, kind: type[Any]) -> Any:
    """The record as a `kind`; None: a site sent something else under that name."""
    try:
        return msgspec.json.decode(record, type=kind)
    except msgspec.DecodeError:
        return None
