"""One layer of units in ONNX, and what each of its inputs added: what the small packs are made of."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


def hidden_layer(hidden: NDArray[np.float32], bias: NDArray[np.float32], rows: str) -> onnx.ModelProto:
    """A layer [inputs, units] in ONNX, which is what there is to quantise: `inputs` to `active`, both [rows, ...]."""
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [node("Gemm", ["inputs", "hidden", "bias"], ["excited"]), node("Relu", ["excited"], ["active"])],
        "layer",
        [tensor("inputs", rows, hidden.shape[0])],
        [tensor("active", rows, hidden.shape[1])],
        [constant("hidden", hidden), constant("bias", bias)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def parts(middle: onnx.ModelProto, *, head: str, still: str, one: str, made: str) -> list[onnx.NodeProto]:
    """The nodes that put out as `made` what each input of a layer, as it is or quantised, added to a weighted sum of
    its units; `head` names the weights, `still` a change of a unit's input that counts as none, `one` a 1.

    They compute with the layer's own (dequantised) weights. Along the straight line from where all inputs are 0, what
    reaches a unit goes from its bias to bias + change, so the mean slope of the unit is
    (relu(bias + change) - relu(bias)) / change, and the integrated gradient of an input (Sundararajan et al., 2017) is
    input * sum over the units of hidden * mean slope * head.
    """
    node = onnx.helper.make_node
    inputs, hidden, bias = next(node for node in middle.graph.node if node.op_type == "Gemm").input
    return [
        node("MatMul", [inputs, hidden], ["change"]),
        node("Add", ["change", bias], ["reached"]),
        node("Relu", ["reached"], ["reached_active"]),
        node("Relu", [bias], ["usual_active"]),
        node("Sub", ["reached_active", "usual_active"], ["rise"]),
        node("Abs", ["change"], ["size"]),
        node("Greater", ["size", still], ["moved"]),
        node("Where", ["moved", "change", one], ["divisor"]),
        node("Div", ["rise", "divisor"], ["slope"]),
        node("Mul", ["slope", head], ["pull"]),
        node("Transpose", [hidden], ["hidden_across"], perm=[1, 0]),
        node("MatMul", ["pull", "hidden_across"], ["gradient"]),
        node("Mul", ["gradient", inputs], [made]),
    ]


def tensor(name: str, rows: str, *columns: int) -> onnx.ValueInfoProto:
    """An input or output of floats [rows, columns]; `rows` names how many there may be."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, *columns])


def constant(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    """A constant of a graph."""
    return onnx.numpy_helper.from_array(np.array(values, order="C"), name)
