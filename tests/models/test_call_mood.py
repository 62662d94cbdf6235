"""The pack `call-mood`: whether a customer is upset and whether something presses, and why."""

import math
import shutil
from pathlib import Path

import msgspec
import pytest

from models.errors import PackInvalid
from models.features.time_line import COLUMNS, STEPS, Step, TimeLine, Turn
from models.opening import open_pack
from models.pack import read_pack
from models.store import SHIPPED
from models.tasks.labelling import About
from models.tasks.mood import Mood
from models.tasks.text_labels import LabelScore
from models.train.call_mood import CALLS, held_out, measure
from models.train.labelled import MOODS, is_test
from models.train.written_calls import Moment, read_calls, read_moments
from tests.models.test_compose import DAY

FOLDER = SHIPPED / "call-mood"
ANGRY = "this is the third time you have told me that and nobody ever comes"
HISTORY = (Step("expired", 86_400.0), Step("complaint", 2 * 86_400.0), Step("device_anomaly", 600.0))
BEFORE = (Turn(True, "you people never ring back", 0.0, 2.0), Turn(False, "let me see what i can do for you", 2.4, 6.0))
LINE = TimeLine(turn=Turn(True, ANGRY, 5.0, 7.5, 0.2), earlier=BEFORE, steps=HISTORY)


@pytest.fixture(scope="module")
def mood() -> Mood:
    return Mood(read_pack(FOLDER))


def said(mood: Mood, text: str, line: TimeLine | None = None) -> dict[str, LabelScore]:
    (scores,) = mood.score([text], [""], [About(day=DAY, line=line)])
    return {score.label: score for score in scores}


def log_odds(score: LabelScore) -> float:
    return math.log(score.probability / (1 - score.probability))


def weighed(score: LabelScore) -> float:
    return sum(weight for *_, weight in score.contributions) + sum(known.weight or 0.0 for known in score.known)


@pytest.mark.parametrize(
    ("text", "moods"),
    [
        ("you promised me that on monday and again on wednesday, i am sick and tired of this", {"upset"}),
        ("the whole line is down and we lose ten thousand an hour, send somebody right now", {"urgent"}),
        ("could you send me the invoice for march once more please", set()),
        ("说了三遍了还没人管，你们到底有没有在听", {"upset"}),
        ("整条线都停了，一小时损失好几万，马上派人来", {"urgent"}),
        ("麻烦把三月的发票再发我一份，谢谢", set()),
    ],
)
def test_plain_cases_in_either_language(mood: Mood, text: str, moods: set[str]) -> None:
    scores = said(mood, text)
    called = {name for name, score in scores.items() if score.probability >= mood.thresholds[name]}
    assert moods <= called
    assert moods or not called


@pytest.mark.parametrize("line", [None, TimeLine(), LINE, TimeLine(turn=LINE.turn), TimeLine(steps=HISTORY)])
def test_what_weighed_adds_up_to_the_log_odds(mood: Mood, line: TimeLine | None) -> None:
    for name, other in said(mood, "ok").items():
        bias = log_odds(other) - weighed(other)
        score = said(mood, ANGRY, line)[name]
        assert math.isclose(score.probability, 1 / (1 + math.exp(-bias - weighed(score))), abs_tol=1e-4)


def test_what_is_absent_adds_nothing(mood: Mood) -> None:
    assert said(mood, ANGRY, TimeLine()) == said(mood, ANGRY)
    assert not said(mood, ANGRY)["upset"].known


def test_without_its_evidence_the_score_falls(mood: Mood) -> None:
    whole = said(mood, ANGRY, LINE)["upset"]
    start, end, weight = whole.contributions[0]
    assert weight > 0
    assert log_odds(said(mood, ANGRY[:start] + ANGRY[end:], LINE)["upset"]) < log_odds(whole)
    heaviest = whole.known[0]
    assert heaviest.weight is not None
    assert heaviest.weight > 0
    without = (
        msgspec.structs.replace(LINE, earlier=BEFORE[1:])
        if heaviest.what == "said_before"
        else msgspec.structs.replace(LINE, steps=tuple(step for step in HISTORY if step.what != heaviest.what))
        if heaviest.what in STEPS
        else msgspec.structs.replace(LINE, turn=None)
    )
    assert log_odds(said(mood, ANGRY, without)["upset"]) < log_odds(whole)


def test_what_has_no_words_is_not_judged_and_a_megabyte_is(mood: Mood) -> None:
    assert mood.score(["?!", ANGRY])[0] == []
    assert mood.score([]) == []
    (scores,) = mood.score(["never again " * 90_000])
    assert [score.label for score in scores] == list(MOODS)
    assert mood.abstains("ни один из них не перезвонил")


def test_a_pack_that_does_not_fit_the_time_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackInvalid, match="not one that judges moods"):
        Mood(read_pack(SHIPPED / "call-signals-small"))
    folder = shutil.copytree(FOLDER, tmp_path / "call-mood")
    manifest = (folder / "pack.toml").read_text("utf-8")
    narrower = manifest.replace(f'"shape" = [-1, {len(COLUMNS)}]', '"shape" = [-1, 3]')
    assert narrower != manifest
    (folder / "pack.toml").write_text(narrower, "utf-8")
    with pytest.raises(PackInvalid, match="does not fit the time line"):
        Mood(read_pack(folder))
    open_pack(FOLDER)


def test_the_figures_on_the_card_are_those_of_the_pack() -> None:
    pack = read_pack(FOLDER)
    figures = measure(FOLDER, held_out(read_moments()))
    told = {(one.set, one.metric): one.value for one in pack.manifest.metrics}
    for name in MOODS:
        assert abs(told[CALLS, f"F1, {name}"] - figures[CALLS].f1[name]) < 0.01
        assert figures[CALLS].auc[name][""] > figures[CALLS].auc[name]["words and marks alone"]


def test_calls_are_written_so_that_they_can_be_learnt_from() -> None:
    calls = read_calls()
    by_call: dict[str, list[Moment]] = {}
    for moment in calls:
        by_call.setdefault(moment.scenario, []).append(moment)
    assert {moment.language for moment in calls} == {"en", "zh"}
    assert all(len({is_test(moment) for moment in own}) == 1 for own in by_call.values())
    share = {name: sum(name in moment.moods for moment in calls) / len(calls) for name in MOODS}
    assert all(0.05 < value < 0.5 for value in share.values())


def test_a_line_that_is_no_turn_is_named(tmp_path: Path) -> None:
    (tmp_path / "zh.txt").write_text("", "utf-8")
    for wrong in ("c | 2.0 | 1.0 | - | ends before it begins", "c | 1 | 2 | x | no mood", "before | shouted 2d"):
        (tmp_path / "en.txt").write_text(f"call en-1 | a pump\n{wrong}\n", "utf-8")
        with pytest.raises(ValueError, match=r"en\.txt, before line 3"):
            read_calls(tmp_path)
