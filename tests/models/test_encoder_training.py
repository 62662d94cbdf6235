"""Fine-tuning an encoder, and its graph: a small one learns what words mean, and ONNX Runtime then says the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

import models.runtime  # noqa: F401  # isort: skip  # before ONNX Runtime, which it keeps from reporting its use
import onnxruntime

from models.features.text import FEATURES
from models.train.encoder import Params, Recipe, filled, fine_tune, forward, log_odds_of, new_head
from models.train.encoder_graph import graph_of, in_8_bits
from models.train.mixed_graph import hashed, joined, mix
from models.train.quantize import quantize_tables

WIDTH, HEADS, LAYERS, WORDS, LABELS = 128, 4, 2, 50, 3


def a_small_encoder() -> Params:
    draw = np.random.default_rng(1)

    def linear(inputs: int, outputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        weights = draw.standard_normal((LAYERS, inputs, outputs)) / np.sqrt(inputs)
        return weights.astype(np.float32), np.zeros((LAYERS, outputs), np.float32)

    def norm(*layers: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.ones((*layers, WIDTH), np.float32), np.zeros((*layers, WIDTH), np.float32)

    return {
        "word": draw.standard_normal((WORDS, WIDTH)).astype(np.float32),
        "position": 0.1 * draw.standard_normal((256, WIDTH)).astype(np.float32),
        "kind": 0.1 * draw.standard_normal((2, WIDTH)).astype(np.float32),
        "norm": norm(),
        "layers": {
            **{name: linear(WIDTH, WIDTH) for name in "qkvo"},
            "up": linear(WIDTH, 4 * WIDTH),
            "down": linear(4 * WIDTH, WIDTH),
            "norm_1": norm(LAYERS),
            "norm_2": norm(LAYERS),
        },
        "head": new_head(WIDTH, LABELS, 0),
    }


def some_turns(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Turns of ten words after three of another's; a label holds when its word (5, 6, 7) is in the turn itself."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(1, WORDS, (count, 13))
    kinds = np.broadcast_to(np.arange(13) >= 3, ids.shape).astype(np.int64)
    truth = np.stack([(ids[:, 3:] == label + 5).any(1) for label in range(LABELS)], 1).astype(np.float32)
    return ids, kinds, truth


@pytest.fixture(scope="module")
def learnt() -> Params:
    ids, kinds, truth = some_turns(1600, 0)
    parts = [slice(first, first + 32) for first in range(0, len(ids), 32)]
    batches = [filled(ids[part], kinds[part]) for part in parts]
    recipe = Recipe(rate=2e-3, head_rate=1e-2, passes=6, batch=32)
    losses: list[float] = []
    params = fine_tune(
        a_small_encoder(),
        HEADS,
        lambda _: (batches, [truth[part] for part in parts]),
        recipe,
        lambda _, loss: losses.append(loss),
    )
    assert losses[-1] < 0.5 * losses[0]
    return params


def test_an_encoder_learns_what_words_mean_and_whose_they_are(learnt: Params) -> None:
    ids, kinds, truth = some_turns(400, 1)
    (log_odds,) = log_odds_of(learnt, HEADS, [filled(ids, kinds)])
    assert ((log_odds > 0) == (truth == 1)).mean() > 0.9


def test_only_tokens_of_the_turn_itself_add_to_a_label(learnt: Params) -> None:
    ids, kinds, _ = some_turns(8, 2)
    adds = np.asarray(forward(learnt, HEADS, filled(ids, kinds)))
    assert np.abs(adds[:, :3]).max() == 0.0
    assert np.abs(adds[:, 13:]).max() == 0.0


def test_the_graph_says_what_the_encoder_says_and_in_8_bits_nearly_so(learnt: Params) -> None:
    ids, kinds, _ = some_turns(64, 3)
    (expected,) = log_odds_of(learnt, HEADS, [filled(ids, kinds)])
    scale, shift = np.array([1.0, 2.0, 0.5], np.float32), np.array([0.0, 1.0, -1.0], np.float32)
    exact = graph_of(learnt, HEADS, scale, shift)
    small = in_8_bits(exact)
    for model, within in ((exact, 0.05), (small, 0.5)):
        session = onnxruntime.InferenceSession(model.SerializeToString())
        contributions, log_odds, probabilities = session.run(None, {"ids": ids, "kinds": kinds})
        assert log_odds == pytest.approx(expected * scale + shift, abs=within)
        bias = learnt["head"]["bias"] * scale + shift
        assert contributions.sum(1) + bias == pytest.approx(log_odds, abs=1e-4)
        assert probabilities == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-5)
    assert len(small.SerializeToString()) < 0.7 * len(exact.SerializeToString())


def test_with_a_linear_part_the_log_odds_are_the_sum_of_both(learnt: Params) -> None:
    ids, kinds, _ = some_turns(16, 4)
    draw = np.random.default_rng(4)
    weights = draw.standard_normal((FEATURES, LABELS))
    index, value = draw.integers(0, FEATURES, (16, 7)), draw.random((16, 7)).astype(np.float32)
    encoder, words = graph_of(learnt, HEADS, np.ones(LABELS), np.zeros(LABELS)), hashed(weights)
    given = {"ids": ids, "kinds": kinds}
    (alone,) = onnxruntime.InferenceSession(encoder.SerializeToString()).run(["log_odds"], given)
    linear = (weights[index] * value[..., np.newaxis]).sum(1)
    for model, within in (
        (joined(encoder, words), 1e-3),
        (joined(in_8_bits(encoder), quantize_tables(words)), 0.6),
    ):
        session = onnxruntime.InferenceSession(model.SerializeToString())
        contributions, log_odds, probabilities = session.run(None, given | {"index": index, "value": value})
        assert log_odds == pytest.approx(alone + linear, abs=within)
        assert contributions.shape == (16, 13 + 7, LABELS)
        assert contributions.sum(1) + learnt["head"]["bias"] == pytest.approx(log_odds, abs=1e-3)
        assert probabilities == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-5)


def test_of_two_scores_the_one_that_knows_counts_for_more_and_both_for_most() -> None:
    draw = np.random.default_rng(5)
    truth = draw.random((2000, 1)) < 0.3
    good, bad = (3 * truth + draw.standard_normal(truth.shape) * size for size in (1.5, 4.0))
    mixed = mix(good, bad, truth)
    assert mixed.encoder[0] > mixed.linear[0] > 0

    def error(scores: NDArray[np.float64]) -> float:
        return float(((scores > np.quantile(scores, 0.7)) != truth).mean())

    assert error(mixed.of(good, bad)) < error(good) < error(bad)
