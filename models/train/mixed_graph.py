"""An encoder and a linear model over hashed features as one ONNX graph, whose log-odds are the sum of both."""

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper
from sklearn.linear_model import LogisticRegression

from models.train.encoder_graph import IR, LABELLED, OPSET
from models.train.hashed import graph_of, summed

HOLD = 1.0  # how much a large weight of a part counts against it
OF_ENCODER, OF_WORDS = "encoder_", "words_"

Scores = NDArray[np.float64]


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """By label what the scores of an encoder and of a linear model count for in the log-odds, and what is added."""

    encoder: Scores
    linear: Scores
    offset: Scores

    def of(self, encoder: Scores, linear: Scores) -> Scores:
        """The log-odds [turns, labels]."""
        return encoder * self.encoder + linear * self.linear + self.offset


def mix(encoder: Scores, linear: Scores, truth: NDArray[np.bool_]) -> Mix:
    """What both count for, learnt from scores [turns, labels] of turns that neither has learnt from (stacking, Wolpert,
    1992)."""
    spread = linear.std(axis=0)
    fitted = [
        LogisticRegression(C=1 / HOLD).fit(np.stack([encoder[:, j], linear[:, j] / spread[j]], axis=1), truth[:, j])
        for j in range(truth.shape[1])
    ]
    weights = np.stack([model.coef_[0] for model in fitted])
    return Mix(
        encoder=weights[:, 0],
        linear=weights[:, 1] / spread,
        offset=np.array([model.intercept_[0] for model in fitted]),
    )


def hashed(weights: Scores) -> onnx.ModelProto:
    """The linear part in float: weights [FEATURES, labels], no bias."""
    labels = weights.shape[1]
    constants, nodes = summed(weights, np.zeros(labels))
    nodes.append(helper.make_node("Add", ["sum", "bias"], ["log_odds"]))
    tensor = onnx.TensorProto
    sizes: dict[str, tuple[int, list[str | int | None]]] = {
        "index": (tensor.INT64, ["turns", "features"]),
        "value": (tensor.FLOAT, ["turns", "features"]),
        "contributions": (tensor.FLOAT, ["turns", "features", labels]),
        "log_odds": (tensor.FLOAT, ["turns", labels]),
    }
    return graph_of("words", nodes, sizes, ("index", "value"), constants, OPSET, IR)


def joined(encoder: onnx.ModelProto, words: onnx.ModelProto) -> onnx.ModelProto:
    """Both as one model: the contributions of the tokens, then those of the features; the log-odds are their sum."""
    model = compose.merge_models(
        compose.add_prefix(encoder, OF_ENCODER, rename_inputs=False),
        compose.add_prefix(words, OF_WORDS, rename_inputs=False),
        io_map=[],
    )
    graph = model.graph
    labels = graph.output[1].type.tensor_type.shape.dim[1].dim_value
    graph.node.extend(
        [
            helper.make_node(
                "Concat", [f"{OF_ENCODER}contributions", f"{OF_WORDS}contributions"], [LABELLED[0]], axis=1
            ),
            helper.make_node("Add", [f"{OF_ENCODER}log_odds", f"{OF_WORDS}log_odds"], [LABELLED[1]]),
            helper.make_node("Sigmoid", [LABELLED[1]], [LABELLED[2]]),
        ]
    )
    del graph.output[:]
    shapes: tuple[list[str | int], ...] = (["turns", "parts", labels], ["turns", labels], ["turns", labels])
    graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip(LABELLED, shapes, strict=True)
    )
    onnx.checker.check_model(model)
    return model
