"""What the packs are worth, measured again: each figure beside its target, on data that no pack has learnt from."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from models.errors import InputInvalid
from models.pack import Pack
from models.train import call_mood, churn_odds, deal_odds, evaluate_device_anomaly, odds, renewal_odds
from models.train.judging import AS_HEARD, SET, SPLIT, Figures, measure
from models.train.labelled import is_test, read_heard, read_turns
from models.train.written_calls import read_moments

TYPED_TARGET, HEARD_TARGET = 0.92, 0.85
ODDS = {recipe.name: recipe for recipe in (deal_odds.RECIPE, renewal_odds.RECIPE, churn_odds.RECIPE)}
RMSE_TARGET = 12.5  # cycles, cap 125


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a pack on a set: whether it reaches its target, if it has one."""

    pack: str
    set: str
    metric: str
    value: float
    target: float | None = None
    ok: bool | None = None


def evaluate(pack: Pack, data: Path | None) -> Iterator[Measured]:
    """The figures of a pack, as it would predict on the gateway; `data` is the folder of the public sets, without which
    a pack for devices has none. Raises InputInvalid when nothing measures its task."""
    match pack.manifest.task:
        case "text-labels":
            yield from _text(pack)
        case "mood":
            yield from _moods(pack)
        case "odds" if pack.manifest.name in ODDS:
            yield from _odds(pack, data)
        case "device-rul":
            yield from _lives(pack, data)
        case "device-anomaly":
            if data is not None:
                yield from _devices(pack, data)
        case task:
            raise InputInvalid(f"{pack.manifest.name} is a pack for {task}, which is not measured here.")


def _text(pack: Pack) -> Iterator[Measured]:
    name, folder = pack.manifest.name, pack.folder
    tested = [turn for turn in read_turns() if is_test(turn) and turn.language in pack.manifest.languages]
    typed = measure(folder, tested)
    yield _against(name, f"{SET}, {SPLIT}, {len(tested)} turns", "macro-F1", typed.macro_f1, TYPED_TARGET)
    for language, value in typed.macro_f1_by_language.items():
        if len(typed.macro_f1_by_language) > 1:
            yield _against(name, f"{SET}, {SPLIT}, {language}", "macro-F1", value, TYPED_TARGET)
        heard = read_heard(language)
        spoken = [
            msgspec.structs.replace(turn, text=heard[turn.text])
            for turn in tested
            if turn.language == language and heard.get(turn.text)
        ]
        if spoken:
            figures = measure(folder, spoken)
            where = f"{SET}, {AS_HEARD}, {language}, {len(spoken)} turns"
            yield _against(name, where, "macro-F1", figures.macro_f1_by_language[language], HEARD_TARGET)
            same = [turn for turn in tested if turn.language == language and heard.get(turn.text)]
            value = measure(folder, same).macro_f1_by_language[language]
            yield Measured(pack=name, set=f"{SET}, the same turns typed", metric="macro-F1", value=round(value, 4))
    in_calls = [turn for turn in tested if turn.before]
    for metric, turns in (
        ("macro-F1 of turns in calls", in_calls),
        ("macro-F1 without those before", [msgspec.structs.replace(turn, before="") for turn in in_calls]),
    ):
        value = measure(folder, turns).macro_f1
        where = f"{SET}, {SPLIT}, {len(turns)} turns"
        yield Measured(pack=name, set=where, metric=metric, value=round(value, 4))
    yield from _more(name, typed)


def _moods(pack: Pack) -> Iterator[Measured]:
    figures = call_mood.measure(pack.folder, call_mood.held_out(read_moments()))
    for one in call_mood.metrics({}, figures):
        where = f"{one.set}, {one.split}, {one.samples} turns"
        yield Measured(pack=pack.manifest.name, set=where, metric=one.metric, value=one.value)


def _odds(pack: Pack, data: Path | None) -> Iterator[Measured]:
    if data is None:
        return
    recipe = ODDS[pack.manifest.name]
    _, tested = recipe.read(data)
    where = f"{recipe.source.name}, {recipe.split}, {len(tested.rows)} rows"
    for metric, value in odds.figures(odds.measure(pack.folder, tested)):
        if metric == "AUC" and recipe.target is not None:
            yield _against(pack.manifest.name, where, metric, value, recipe.target)
        else:
            yield Measured(pack=pack.manifest.name, set=where, metric=metric, value=round(value, 4))


def _lives(pack: Pack, data: Path | None) -> Iterator[Measured]:
    from models.train.device_rul import measure, predictor
    from models.train.turbofans import read_cut

    if data is None:
        raise InputInvalid(f"{pack.manifest.name} is measured on public sets; name their folder with --data.")
    for one in measure(predictor(pack.folder), read_cut(data)):
        where = f"{one.set}, {one.split}, {one.samples} engines"
        yield Measured(
            pack=pack.manifest.name,
            set=where,
            metric=one.metric,
            value=one.value,
            target=RMSE_TARGET if one.metric.startswith("RMSE") else None,
            ok=one.value <= RMSE_TARGET if one.metric.startswith("RMSE") else None,
        )


def _more(name: str, typed: Figures) -> Iterator[Measured]:
    where = f"{SET}, {SPLIT}"
    yield Measured(
        pack=name, set=where, metric="precision at recall 0.8, safety_hazard", value=round(typed.safety_precision, 4)
    )
    yield Measured(pack=name, set=where, metric="calibration error", value=round(typed.calibration_error, 4))
    for label, value in typed.f1.items():
        yield Measured(pack=name, set=where, metric=f"F1, {label}", value=round(value, 4))


def _against(pack: str, where: str, metric: str, value: float, least: float) -> Measured:
    return Measured(pack=pack, set=where, metric=metric, value=round(value, 4), target=least, ok=value >= least)


def _devices(pack: Pack, data: Path) -> Iterator[Measured]:
    for figure in evaluate_device_anomaly.evaluate(pack, data):
        yield Measured(
            pack=pack.manifest.name,
            set=figure.set,
            metric=figure.metric,
            value=round(figure.value, 4),
            target=figure.target,
            ok=figure.ok,
        )
