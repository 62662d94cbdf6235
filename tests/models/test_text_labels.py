"""The pack that ships labels clear turns in both languages rightly, and its evidence is what it ran on."""

import json
import math
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputInvalid, PackInvalid
from models.features.text import MAX_CHARACTERS
from models.pack import MANIFEST, manifest_text, read_pack
from models.runtime import Model, load
from models.score import score as score_command
from models.store import SHIPPED
from models.tasks.text_labels import TextLabels

PACK = SHIPPED / "call-signals-small"
CLEAR = [
    ("the pump is leaking oil and it trips every hour", "fault_report"),
    ("there is a smell of gas near the compressor", "safety_hazard"),
    ("that price is over our budget", "budget_concern"),
    ("could you call me back tomorrow morning", "callback_request"),
    ("when will the parts arrive", "delivery_query"),
    ("we would like to renew the maintenance contract for another year", "renewal"),
    ("we are thinking of cancelling the contract", "churn_risk"),
    ("I need two bearings and a seal kit.", "spare_part_request"),
    ("Another supplier has offered us the same pump.", "competitor_mention"),
    ("please send a quotation, we want to order three pumps", "purchase_intent"),
    ("is this still under warranty", "warranty_doubt"),
    ("nobody ever answers your phone, this is unacceptable", "complaint"),
    ("thank you so much, great work", "praise"),
    ("三号泵一直报警 启动不起来", "fault_report"),
    ("井下 瓦斯 超限 了 赶紧 撤 人", "safety_hazard"),
    ("这个价格太贵了，我们预算不够", "budget_concern"),
    ("你明天再给我打个电话吧", "callback_request"),
    ("我的货什么时候能到？", "delivery_query"),
    ("我们想续签一年维保合同", "renewal"),
    ("我们准备换供应商了 合同不续了", "churn_risk"),
    ("给我发两个轴承和一套机封", "spare_part_request"),
    ("别的厂家比你们便宜", "competitor_mention"),
    ("我们想订三台泵 麻烦报个价", "purchase_intent"),
    ("这个还在质保期内吗", "warranty_doubt"),
    ("你们的服务太差了 我很不满意", "complaint"),
    ("非常感谢 你们师傅修得很好", "praise"),
]
texts = st.text(st.sampled_from("pump gas call 漏气打电话 .,9'"), max_size=60)


@pytest.fixture(scope="module")
def model() -> Model:
    return load(read_pack(PACK))


@pytest.fixture(scope="module")
def labeller(model: Model) -> TextLabels:
    return TextLabels(model.pack)


@pytest.mark.parametrize(("text", "label"), CLEAR)
def test_a_clear_turn_gets_its_label(labeller: TextLabels, text: str, label: str) -> None:
    assert label in _called(labeller, text)


@pytest.mark.parametrize("text", ["okay thank you", "could you spell that for me", "不好意思 请再说一遍", "请稍等一下"])
def test_a_courtesy_gets_no_label(labeller: TextLabels, text: str) -> None:
    assert _called(labeller, text) == set()


@pytest.mark.parametrize(("text", "label"), CLEAR)
def test_without_its_weightiest_word_a_turn_is_less_of_a_case(labeller: TextLabels, text: str, label: str) -> None:
    (before,) = [score for score in labeller.score([text])[0] if score.label == label]
    start, end, weight = before.contributions[0]
    (after,) = [score for score in labeller.score([text[:start] + text[end:]])[0] if score.label == label]
    assert weight > 0
    assert after.probability < before.probability


def test_the_weightiest_words_of_a_gas_leak_are_those_of_a_gas_leak(labeller: TextLabels) -> None:
    text = "hello this is the night shift we can smell gas"
    (hazard,) = [score for score in labeller.score([text])[0] if score.label == "safety_hazard"]
    heaviest = {text[start:end] for start, end, _ in hazard.contributions[:3]}
    assert heaviest & {"smell", "gas"}


@settings(deadline=None)
@given(texts)
def test_the_words_and_the_bias_add_up_to_the_log_odds(model: Model, text: str) -> None:
    bias = _bias(model)
    for column, score in enumerate(TextLabels(model.pack).score([text])[0]):
        log_odds = bias[column] + sum(weight for _, _, weight in score.contributions)
        assert score.probability == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-5)
        weights = [weight for _, _, weight in score.contributions]
        assert weights == sorted(weights, reverse=True)


@settings(deadline=None)
@given(texts)
def test_the_evidence_covers_each_word_once(labeller: TextLabels, text: str) -> None:
    for score in labeller.score([text])[0]:
        covered = [place for start, end, _ in score.contributions for place in range(start, end)]
        assert len(covered) == len(set(covered))
        assert {place for place, letter in enumerate(text) if letter.isalnum()} <= set(covered)


def test_a_turn_scores_the_same_alone_and_among_others(labeller: TextLabels) -> None:
    many = [text for text, _ in CLEAR] * 4  # more than one run of the model
    together = labeller.score(many)
    assert len(together) == len(many)
    for text, scores in zip(many[: len(CLEAR)], together, strict=False):
        alone = labeller.score([text])[0]
        assert [score.probability for score in scores] == pytest.approx(
            [score.probability for score in alone], abs=1e-6
        )


def test_a_turn_with_nothing_to_judge_gets_no_scores(labeller: TextLabels) -> None:
    assert labeller.score(["", "…", "pump"])[:2] == [[], []]
    assert labeller.score([]) == []


def test_of_a_megabyte_the_beginning_is_judged(labeller: TextLabels) -> None:
    text = "there is smoke in the cabin 冒烟了 " * 40_000
    assert labeller.score([text]) == labeller.score([text[:MAX_CHARACTERS]])


def test_a_pack_whose_labels_lack_a_threshold_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    manifest = read_pack(folder).manifest
    thresholds = {label: value for label, value in manifest.thresholds.items() if label != "praise"}
    (folder / MANIFEST).write_text(manifest_text(msgspec.structs.replace(manifest, thresholds=thresholds)), "utf-8")
    with pytest.raises(PackInvalid, match="thresholds"):
        TextLabels(read_pack(folder)).open()


def test_score_prints_an_object_a_line_of_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_text('{"text": "there is a gas leak", "id": 7}\n\n{"text": "!!!"}\n', "utf-8")
    result = CliRunner().invoke(score_command, [str(PACK), str(file), "--json"], catch_exceptions=False)
    leak, nothing = map(json.loads, result.stdout.splitlines())
    assert (leak["line"], nothing["line"]) == (1, 3)
    assert leak["labels"] == ["safety_hazard"]
    assert leak["probabilities"].keys() == set(read_pack(PACK).manifest.labels)
    assert "gas" in dict(leak["words"]["safety_hazard"])
    assert nothing["abstain"] == "there is no word in it"


@pytest.mark.parametrize(
    "text", ["Насос снова течёт, пришлите кого-нибудь", "ポンプがまた故障しました", "مضخة المياه معطلة"]
)
def test_of_a_language_that_it_does_not_speak_it_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_text(json.dumps({"text": text}) + "\n", "utf-8")
    result = CliRunner().invoke(score_command, [str(PACK), str(file), "--json"], catch_exceptions=False)
    said = json.loads(result.stdout)
    assert said["abstain"] == "it is not in en or zh"
    assert "labels" not in said


def test_score_reads_the_text_column_of_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "turns.csv"
    file.write_text('id,text\n1,"call me back, please"\n2,okay\n', "utf-8")
    result = CliRunner().invoke(score_command, [str(PACK), str(file)], catch_exceptions=False)
    assert result.stdout.splitlines()[0].startswith("2: callback_request")
    assert result.stdout.splitlines()[1] == "3: none"


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.jsonl", b'{"text": "hello"}\n{"text": NaN}\n', "line 2"),
        ("a.jsonl", b'{"text": "hello"}\n{"words": "hello"}\n', "line 2"),
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1"),
        ("a.csv", b"id,words\n1,hello\n", "`text`"),
        ("a.csv", b"id,text\n1\n", "line 2"),
        ("a.csv", b"id,text\n1,\xff\n", "UTF-8"),
    ],
)
def test_score_says_where_a_file_is_wrong(tmp_path: Path, name: str, content: bytes, where: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputInvalid, match=where):
        CliRunner().invoke(score_command, [str(PACK), str(file)], catch_exceptions=False)


def _called(labeller: TextLabels, text: str) -> set[str]:
    return {score.label for score in labeller.score([text])[0] if score.probability >= labeller.thresholds[score.label]}


def _bias(model: Model) -> list[float]:
    """The log-odds of a turn without features."""
    nothing = model.run({"index": np.zeros((1, 0), np.int64), "value": np.zeros((1, 0), np.float32)})
    log_odds: list[float] = nothing["log_odds"][0].tolist()
    return log_odds
