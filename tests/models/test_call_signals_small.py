"""The pack `call-signals-small`, and the turns that it and the others learn from."""

from collections import Counter

import numpy as np
import onnx
import pytest

from models.features.text import batch, extract
from models.pack import read_pack
from models.store import SHIPPED
from models.tasks.text_labels import TextLabels
from models.train.call_signals_small import exported, train
from models.train.judging import measure
from models.train.labelled import LABELS, LANGUAGES, Turn, is_test, read_turns
from models.train.quantize import quantize_layers, quantize_tables

import onnxruntime  # isort: skip  # after models.runtime, which keeps it from reporting its use

PACK = SHIPPED / "call-signals-small"


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    return read_turns()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_turns_are_many_and_none_is_there_twice(turns: list[Turn], language: str) -> None:
    mine = [turn for turn in turns if turn.language == language]
    assert len(mine) >= 700
    assert len({turn.scenario for turn in mine}) >= 60
    letters = Counter("".join(letter for letter in turn.text.casefold() if letter.isalnum()) for turn in mine)
    assert [text for text, times in letters.items() if times > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_label_can_be_learnt_and_tested_in_each_language(turns: list[Turn], language: str) -> None:
    for wanted, least in ((False, 30), (True, 5)):
        counts = Counter(
            label
            for turn in turns
            if turn.language == language and is_test(turn) == wanted
            for label in turn.labels or ("none",)
        )
        assert min(counts[label] for label in (*LABELS, "none")) >= least


def test_no_scenario_is_both_learnt_from_and_tested_on(turns: list[Turn]) -> None:
    parts = {(turn.language, turn.scenario): set[bool]() for turn in turns}
    for turn in turns:
        parts[turn.language, turn.scenario].add(is_test(turn))
    assert all(len(part) == 1 for part in parts.values())


def test_the_same_turns_give_the_same_bytes(turns: list[Turn]) -> None:
    made = []
    for _ in range(2):
        linear, judged = train(turns[::6])
        made.append((quantize_tables(exported(linear)).SerializeToString(deterministic=True), judged.thresholds))
    assert made[0] == made[1]


def test_int8_weights_say_nearly_what_float_weights_say(turns: list[Turn]) -> None:
    linear, _ = train(turns[::6])
    index, value = batch([extract(turn.text) for turn in turns[1::60]])
    exact, small = (
        onnxruntime.InferenceSession(model.SerializeToString()).run(["log_odds"], {"index": index, "value": value})[0]
        for model in (exported(linear), quantize_tables(exported(linear)))
    )
    assert exact == pytest.approx(small, abs=0.15)


def test_int8_layers_say_nearly_what_float_layers_say_on_any_processor() -> None:
    random = np.random.default_rng(0)
    helper, tensor = onnx.helper, onnx.TensorProto
    weights = {"first": random.normal(size=(8, 16)), "second": random.normal(size=(16, 4))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["positive"]),
            helper.make_node("MatMul", ["positive", "second"], ["y"]),
        ],
        "layers",
        [helper.make_tensor_value_info("x", tensor.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", tensor.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = random.normal(size=(200, 8)).astype(np.float32)
    exact, small = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": x})[0]
        for each in (model, quantize_layers(model, [{"x": x}]))
    )
    assert np.abs(exact - small).max() < 0.05 * np.abs(exact).max()


def test_the_pack_that_ships_labels_turns_with_the_13_labels() -> None:
    labeller = TextLabels(read_pack(PACK))
    assert labeller.labels == LABELS
    assert len(set(LABELS)) == 13
    assert labeller.thresholds.keys() == set(LABELS)
    assert (PACK / "model.onnx").stat().st_size <= 2_000_000


def test_the_pack_that_ships_does_what_its_manifest_claims(turns: list[Turn]) -> None:
    claimed = {metric.metric: metric.value for metric in read_pack(PACK).manifest.metrics}
    figures = measure(PACK, [turn for turn in turns if is_test(turn)])
    assert figures.macro_f1 == pytest.approx(claimed["macro-F1"], abs=0.005)
    assert figures.macro_f1_by_language["en"] == pytest.approx(claimed["macro-F1, en"], abs=0.01)
    assert figures.macro_f1_by_language["zh"] == pytest.approx(claimed["macro-F1, zh"], abs=0.01)
    assert claimed["macro-F1"] >= claimed["macro-F1, float"] - 0.005
