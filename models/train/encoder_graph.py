"""An encoder as an ONNX graph: in float, and with its tables and layers in 8 bits.

The graph takes `ids` and `kinds` [turns, tokens] and puts out `contributions` [turns, tokens, labels], which with the
bias add up to `log_odds` [turns, labels], and `probabilities`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.features.tokens import IDS, KINDS, PAD
from models.train.quantize import quantize_blocks

OPSET, IR = 20, 10  # the first with Gelu
FORBIDDEN = -1e9
EPSILON = 1e-12
LABELLED = ("contributions", "log_odds", "probabilities")


class _Graph:
    """Collects nodes and constants, and gives each value a name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def keep(self, name: str, array: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def do(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def graph_of(
    params: Mapping[str, Any], heads: int, scale: NDArray[np.floating[Any]], shift: NDArray[np.floating[Any]]
) -> onnx.ModelProto:
    """The encoder (models/train/encoder.py) in float, its tables already in 8 bits; log-odds are calibrated as
    scale · log-odds + shift, both by label."""
    g = _Graph()
    labels = len(scale)
    x = _embedded(g, params)
    hidden = params["word"].shape[1]
    there = g.do("Not", g.do("Equal", IDS, g.keep("pad", np.array(PAD, np.int64))))
    zero, forbidden = g.keep("zero", np.float32(0)), g.keep("forbidden", np.float32(FORBIDDEN))
    bias = g.do("Unsqueeze", g.do("Where", there, zero, forbidden), g.keep("axes_12", np.array([1, 2])))
    split = g.keep("split", np.array([0, 0, heads, hidden // heads]))
    merge = g.keep("merge", np.array([0, 0, hidden]))
    root = g.keep("root", np.float32(1 / np.sqrt(hidden // heads)))
    layers = params["layers"]
    for number in range(layers["q"][0].shape[0]):
        of = {name: tuple(part[number] for part in parts) for name, parts in layers.items()}
        q, k, v = (
            g.do("Transpose", g.do("Reshape", _linear(g, x, of[name], f"{name}_{number}"), split), perm=perm)
            for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))
        )
        looks = g.do("Softmax", g.do("Add", g.do("Mul", g.do("MatMul", q, k), root), bias), axis=-1)
        mixed = g.do("Reshape", g.do("Transpose", g.do("MatMul", looks, v), perm=[0, 2, 1, 3]), merge)
        x = _normed(g, g.do("Add", x, _linear(g, mixed, of["o"], f"o_{number}")), of["norm_1"], f"norm_1_{number}")
        inner = g.do("Gelu", _linear(g, x, of["up"], f"up_{number}"))
        x = _normed(
            g, g.do("Add", x, _linear(g, inner, of["down"], f"down_{number}")), of["norm_2"], f"norm_2_{number}"
        )
    head = params["head"]
    own = g.do("Equal", KINDS, g.keep("own", np.array(1, np.int64)))
    unseen = g.do("Unsqueeze", g.do("Where", own, zero, forbidden), g.keep("axis_2", np.array([2])))
    looks = g.do("Softmax", g.do("Add", g.do("MatMul", x, g.keep("query", head["query"])), unseen), axis=1)
    adds = g.do("MatMul", x, g.keep("value", (head["value"] * scale).astype(np.float32)))
    g.do("Mul", looks, adds, name="contributions")
    total = g.do("ReduceSum", "contributions", g.keep("axis_1", np.array([1])), keepdims=0)
    g.do("Add", total, g.keep("bias", (head["bias"] * scale + shift).astype(np.float32)), name="log_odds")
    g.do("Sigmoid", "log_odds", name="probabilities")
    shapes: tuple[list[str | int | None], ...] = (
        ["turns", "tokens", labels],
        ["turns", labels],
        ["turns", labels],
    )
    graph = helper.make_graph(
        g.nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["turns", "tokens"]) for name in (IDS, KINDS)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(LABELLED, shapes, strict=True)],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    return model


def in_8_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the matrices of its layers in 8 bits."""
    layers = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name.endswith("_layer")]
    return quantize_blocks(model, layers)


def _embedded(g: _Graph, params: Mapping[str, Any]) -> str:
    """Word, place and kind, each token's own row of the word table in 8 bits with a scale of its own."""
    table = np.asarray(params["word"])
    steps = np.maximum(np.abs(table).max(1, keepdims=True), 1e-8) / 127
    rows = g.do("Gather", g.keep("words", np.round(table / steps).astype(np.int8)), IDS)
    scales = g.do("Gather", g.keep("word_steps", steps.astype(np.float32)), IDS)
    word = g.do("Mul", g.do("Cast", rows, to=TensorProto.FLOAT), scales)
    count = g.do("Gather", g.do("Shape", IDS), g.keep("one", np.array(1, np.int64)))
    places = g.do("Range", g.keep("first", np.array(0, np.int64)), count, g.keep("step", np.array(1, np.int64)))
    place = g.do("Gather", g.keep("places", params["position"]), places)
    kind = g.do("Gather", g.keep("kinds_table", params["kind"]), KINDS)
    return _normed(g, g.do("Add", g.do("Add", word, place), kind), params["norm"], "norm")


def _linear(g: _Graph, x: str, of: tuple[Any, Any], name: str) -> str:
    product = g.do("MatMul", x, g.keep(f"{name}_weights", np.asarray(of[0])), name=f"{name}_layer")
    return g.do("Add", product, g.keep(f"{name}_bias", np.asarray(of[1])))


def _normed(g: _Graph, x: str, of: tuple[Any, Any], name: str) -> str:
    scale, shift = g.keep(f"{name}_scale", np.asarray(of[0])), g.keep(f"{name}_shift", np.asarray(of[1]))
    return g.do("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)
