"""Linear models over hashed features: what they learn from as one matrix, and their sums in ONNX with what each feature
added."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.features.text import FEATURES, TextFeatures
from models.pack import Tensor

INPUTS = {"index": Tensor(dtype="int64", shape=(-1, -1)), "value": Tensor(dtype="float32", shape=(-1, -1))}
"""What such a model is given: features of turns, and how much there is of each."""


def outputs(labels: int) -> dict[str, Tensor]:
    """What a pack for text puts out: what each part of a turn added to each label, and what that comes to."""
    return {
        "contributions": Tensor(dtype="float32", shape=(-1, -1, labels)),
        "log_odds": Tensor(dtype="float32", shape=(-1, labels)),
        "probabilities": Tensor(dtype="float32", shape=(-1, labels)),
    }


def matrix(found: Sequence[TextFeatures]) -> csr_array:
    """The features of turns [turns, FEATURES]."""
    ends = np.cumsum([0, *(turn.index.size for turn in found)])
    values, indices = np.concatenate([turn.value for turn in found]), np.concatenate([turn.index for turn in found])
    return csr_array((values, indices.astype(np.int32), ends.astype(np.int32)), shape=(len(found), FEATURES))


def summed(
    weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[dict[str, NDArray[Any]], list[onnx.NodeProto]]:
    """The constants and nodes that make of `index` and `value` [turns, features] the `contributions` [turns, features,
    labels] and their `sum` [turns, labels], given weights [FEATURES, labels]; `bias` is among the constants.

    A turn has a few hundred of FEATURES features, so the rows are looked up and nothing is multiplied by zero; the
    parts that are added up are put out as evidence. The weights are stored as signed square roots of their share of
    the label's largest weight: most are small, and so 8 bits err half as much on them, with one scale for all labels.
    """
    scale = np.abs(weights).max(axis=0)
    shares = weights / scale
    node = onnx.helper.make_node
    constants = {
        "roots": (np.sign(shares) * np.sqrt(np.abs(shares))).astype(np.float32),
        "scale": scale.astype(np.float32),
        "bias": bias.astype(np.float32),
        "innermost": np.array([2]),
        "features": np.array([1]),
    }
    nodes = [
        node("Gather", ["roots", "index"], ["root"]),
        node("Abs", ["root"], ["size"]),
        node("Mul", ["root", "size"], ["share"]),
        node("Mul", ["share", "scale"], ["weight"]),
        node("Unsqueeze", ["value", "innermost"], ["values"]),
        node("Mul", ["weight", "values"], ["contributions"]),
        node("ReduceSum", ["contributions", "features"], ["sum"], keepdims=0),
    ]
    return constants, nodes


def graph_of(
    name: str,
    nodes: list[onnx.NodeProto],
    sizes: dict[str, tuple[int, list[str | int | None]]],
    inputs: tuple[str, ...],
    constants: dict[str, NDArray[Any]],
    opset: int = 17,
    ir: int = 9,
) -> onnx.ModelProto:
    """A checked model of nodes and constants; `sizes` are the types and shapes of its inputs and outputs."""
    infos = {tensor: onnx.helper.make_tensor_value_info(tensor, *size) for tensor, size in sizes.items()}
    graph = onnx.helper.make_graph(
        nodes,
        name,
        [infos.pop(tensor) for tensor in inputs],
        list(infos.values()),
        [onnx.numpy_helper.from_array(array, constant) for constant, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return model
