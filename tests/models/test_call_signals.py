"""The pack `call-signals`: what it says in either language, and why."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.tokens import MOST_TOKENS, MOST_TOKENS_BEFORE
from models.pack import read_pack
from models.store import SHIPPED
from models.tasks.text_labels import LabelScore, TextLabels, language_of, said_before
from models.train.judging import SPLIT, measure
from models.train.labelled import LABELS, is_test, read_turns

MOST_BYTES = 45_000_000
WEIGHTS_SHOWN = 6
CLEAR = {
    "en": [
        ("the pump is leaking oil and it trips every hour", "fault_report"),
        ("there is a smell of gas near the compressor", "safety_hazard"),
        ("that is a lot more than we have for this year", "budget_concern"),
        ("could you ring me tomorrow morning", "callback_request"),
        ("where is the order from last week", "delivery_query"),
        ("we would like to extend the maintenance contract for another year", "renewal"),
        ("we are thinking of going to somebody else", "churn_risk"),
        ("I need two bearings and a seal kit.", "spare_part_request"),
        ("is this still covered", "warranty_doubt"),
        ("your technician was brilliant, thank you so much", "praise"),
    ],
    "zh": [
        ("三号泵一直报警 启动不起来", "fault_report"),
        ("井下 瓦斯 超限 了 赶紧 撤 人", "safety_hazard"),
        ("这个价格太贵了，我们预算不够", "budget_concern"),
        ("你明天再给我打个电话吧", "callback_request"),
        ("我的货什么时候能到？", "delivery_query"),
        ("我们想续签一年维保合同", "renewal"),
        ("我们准备换供应商了 合同不续了", "churn_risk"),
        ("给我发两个轴承和一套机封", "spare_part_request"),
        ("这个还在质保期内吗", "warranty_doubt"),
        ("非常感谢 你们师傅修得很好", "praise"),
    ],
}
LANGUAGES = sorted(CLEAR)


FOLDER = SHIPPED / "call-signals"
LABELLER = TextLabels(read_pack(FOLDER))


def called(text: str, before: str = "") -> dict[str, LabelScore]:
    """The labels that reach their thresholds."""
    (scores,) = LABELLER.score([text], [before])
    return {score.label: score for score in scores if score.probability >= LABELLER.thresholds[score.label]}


@pytest.mark.parametrize(
    ("language", "text", "label"), [(language, *one) for language in CLEAR for one in CLEAR[language]]
)
def test_what_is_plain_is_said(language: str, text: str, label: str) -> None:
    assert label in called(text)


def test_turns_of_a_call_are_judged_better_in_the_light_of_those_before_them() -> None:
    in_calls = [turn for turn in read_turns() if is_test(turn) and turn.before]
    alone = [msgspec.structs.replace(turn, before="") for turn in in_calls]
    assert len(in_calls) > 1000
    assert measure(FOLDER, in_calls).macro_f1 > measure(FOLDER, alone).macro_f1 + 0.01


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_words_added_is_all_that_the_model_went_by(language: str) -> None:
    texts = [text for text, _ in CLEAR[language]]
    sums, said = [], []
    for scores in LABELLER.score(texts):
        sums.append([sum(weight for *_, weight in score.contributions) for score in scores])
        said.append([score.probability for score in scores])
    probability = np.array(said)
    unsure = np.abs(probability - 0.5).argmin(axis=0)  # where rounding hides least of the bias
    bias = np.log(probability / (1 - probability)) - np.array(sums)
    bias = bias[unsure, np.arange(bias.shape[1])]
    assert 1 / (1 + np.exp(-bias - np.array(sums))) == pytest.approx(probability, abs=1e-4)


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_its_evidence_the_score_falls(language: str) -> None:
    fell = []
    for text, label in CLEAR[language]:
        score = called(text).get(label)
        assert score is not None
        shown = [(start, end) for start, end, weight in score.contributions if weight > 0][:WEIGHTS_SHOWN]
        rest = text
        for start, end in sorted(shown, reverse=True):
            rest = f"{rest[:start]} {rest[end:]}"
        left = {one.label: one.probability for one in LABELLER.score([rest])[0]}
        fell.append(left.get(label, 0.0) < score.probability)
    assert all(fell)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_turn_gets_the_same_whatever_is_in_its_batch(language: str) -> None:
    texts = [text for text, _ in CLEAR[language]]
    together = LABELLER.score(texts)
    for text, scores in zip(texts, together, strict=True):
        (alone,) = LABELLER.score([text])
        assert [one.probability for one in alone] == pytest.approx([one.probability for one in scores], abs=0.05)


@pytest.mark.parametrize("text", ["", " ", "…!?", "\x00\x1f", "😀😀"])
def test_of_what_has_no_words_nothing_is_said(text: str) -> None:
    assert LABELLER.score([text]) == [[]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_of_a_megabyte_is_judged_by_its_beginning(language: str) -> None:
    text, label = CLEAR[language][0]
    longer = called(text + " " + "x y z " * 170_000, "0123456789" * 100_000)
    assert all(end <= 2000 for score in longer.values() for _, end, _ in score.contributions)
    assert LABELLER.score([(text + " ") * 40])[0]
    assert label in called((text + " ") * 3)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_gets_probabilities_and_evidence_inside_it(text: str, before: str) -> None:
    for score in LABELLER.score([text], [before])[0]:
        assert 0.0 <= score.probability <= 1.0
        assert all(0 <= start < end <= len(text) for start, end, _ in score.contributions)


def test_the_longest_pair_of_turns_fits() -> None:
    _, read = LABELLER.open()
    inputs, seen = read(["a b " * 1000], ["c d " * 1000])
    assert inputs["ids"].shape == (1, MOST_TOKENS + MOST_TOKENS_BEFORE + 3)
    tokens = seen[0].place < inputs["ids"].shape[1]
    assert tokens.sum() == MOST_TOKENS


def test_it_speaks_its_languages_only() -> None:
    assert LABELLER.speaks("the pump leaks")
    assert LABELLER.speaks("hm", "zh")
    assert not LABELLER.speaks("펌프가 샌다", "ko")
    assert language_of("我们的 PLC-200 又报警了") == "zh"
    assert language_of("please ask 刘 about the gearbox on turbine twelve") == "en"
    assert said_before(["one", "two", "three"]) == "two | three"


def test_it_does_what_its_manifest_claims() -> None:
    manifest = read_pack(FOLDER).manifest
    assert manifest.labels == LABELS
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_BYTES
    claimed = {metric.metric: metric.value for metric in manifest.metrics if metric.split == SPLIT}
    figures = measure(FOLDER, [turn for turn in read_turns() if is_test(turn)])
    assert figures.macro_f1 == pytest.approx(claimed["macro-F1"], abs=0.02)
