"""The network of the pack `device-rul` as models: in ONNX, and the same in TFLite's format with one layer in 8 bits.

Both put out the life left with its bounds, what each cause took or gave, and how far the inputs are from good order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models.features.life import CAUSE_OF, CAUSES, FEATURES
from models.tasks.device_rul import FURTHEST, INPUT, LIFE, WEIGHTS
from models.train.litert_file import Graph, Steps

Rows = NDArray[np.float32]

CLIP = 6.0  # deviations, to which the network's inputs are clipped
STILL = np.float32(1e-6)  # a change of a unit's input that counts as none
GROUPS = np.eye(len(CAUSES), dtype=np.float32)[list(CAUSE_OF)]  # [features, causes]: 1 where a feature is of a cause


@dataclass(frozen=True)
class Network:
    """life, low, high = relu(clip((features - centre) * scale) @ hidden + bias) @ head + offset, in cycles."""

    centre: Rows
    scale: Rows
    hidden: Rows
    bias: Rows
    head: Rows
    offset: Rows

    def inputs(self, features: Rows) -> Rows:
        """What enters the layer: deviations from a machine in good order, which is 0."""
        inputs: Rows = np.clip((features - self.centre) * self.scale, -CLIP, CLIP)
        return inputs

    def active(self, features: Rows) -> Rows:
        """What comes out of the layer [n, units]."""
        active: Rows = np.maximum(self.inputs(features) @ self.hidden + self.bias, 0)
        return active

    def life(self, features: Rows) -> Rows:
        """The life left and its bounds [n, 3], in float."""
        life: Rows = self.active(features) @ self.head + self.offset
        return life


# ---- ONNX --------------------------------------------------------------------------------------------------------


def layer(network: Network) -> onnx.ModelProto:
    """The network's one layer in ONNX, which is what there is to quantise: `inputs` to `active`."""
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [node("Gemm", ["inputs", "hidden", "bias"], ["excited"]), node("Relu", ["excited"], ["active"])],
        "layer",
        [_tensor("inputs", len(FEATURES))],
        [_tensor("active", len(network.bias))],
        [_constant("hidden", network.hidden), _constant("bias", network.bias)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def whole(network: Network, middle: onnx.ModelProto) -> onnx.ModelProto:
    """The network in ONNX around its layer as it is or quantised.

    The evidence is computed with the layer's own (dequantised) weights. Along the straight line from a machine in good
    order, where all inputs are 0, what reaches a unit goes from its bias to bias + change, so the mean slope of the
    unit is (relu(bias + change) - relu(bias)) / change, and the integrated gradient of an input is
    input * sum over the units of hidden * mean slope * head.
    """
    node = onnx.helper.make_node
    inputs, hidden, bias = next(node for node in middle.graph.node if node.op_type == "Gemm").input
    before = [
        node("Sub", [INPUT, "centre"], ["centred"]),
        node("Mul", ["centred", "scale"], ["scaled"]),
        node("Clip", ["scaled", "least", "most"], ["inputs"]),
        node("Abs", ["scaled"], ["distance"]),
        node("ReduceMax", ["distance"], [FURTHEST], axes=[1], keepdims=1),
    ]
    after = [node("Gemm", ["active", "head", "offset"], [LIFE])]
    evidence = [
        node("MatMul", [inputs, hidden], ["change"]),
        node("Add", ["change", bias], ["reached"]),
        node("Relu", ["reached"], ["reached_active"]),
        node("Relu", [bias], ["usual_active"]),
        node("Sub", ["reached_active", "usual_active"], ["rise"]),
        node("Abs", ["change"], ["size"]),
        node("Greater", ["size", "still"], ["moved"]),
        node("Where", ["moved", "change", "one"], ["divisor"]),
        node("Div", ["rise", "divisor"], ["slope"]),
        node("Mul", ["slope", "life_head"], ["pull"]),
        node("Transpose", [hidden], ["hidden_across"], perm=[1, 0]),
        node("MatMul", ["pull", "hidden_across"], ["gradient"]),
        node("Mul", ["gradient", inputs], ["parts"]),
        node("MatMul", ["parts", "groups"], [WEIGHTS]),
    ]
    constants = {
        "least": np.float32(-CLIP),
        "most": np.float32(CLIP),
        "still": STILL,
        "one": np.float32(1),
        "centre": network.centre,
        "scale": network.scale,
        "head": network.head,
        "offset": network.offset,
        "life_head": network.head[:, 0],
        "groups": GROUPS,
    }
    graph = onnx.helper.make_graph(
        [*before, *middle.graph.node, *after, *evidence],
        "device_rul",
        [_tensor(INPUT, len(FEATURES))],
        [_tensor(LIFE, 3), _tensor(WEIGHTS, len(CAUSES)), _tensor(FURTHEST, 1)],
        [*middle.graph.initializer, *(_constant(name, np.asarray(value)) for name, value in constants.items())],
    )
    model = onnx.helper.make_model(graph, opset_imports=middle.opset_import, ir_version=middle.ir_version)
    onnx.checker.check_model(model)
    return model


def _tensor(name: str, columns: int) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["machines", columns])


def _constant(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)


# ---- LiteRT ------------------------------------------------------------------------------------------------------


def lite(network: Network, samples: Rows) -> bytes:
    """The network in TFLite's format: its layer with weights and activations in 8 bits, whose scales are fixed by what
    the layer makes of the features `samples`; the sums around it and the evidence, as in `whole`, in float."""
    graph = Graph()
    features = graph.given(INPUT, len(FEATURES))
    scaled = graph.multiply(graph.subtract(features, network.centre), network.scale)
    furthest = graph.largest(graph.size(scaled), FURTHEST)
    clipped = graph.at_most(graph.at_least(scaled, -CLIP), CLIP)

    inputs = graph.to_int8(clipped, Steps.around(-CLIP, CLIP))
    active = graph.layer_int8(
        inputs, network.hidden, network.bias, Steps.around(0.0, float(network.active(samples).max()))
    )
    life = graph.layer(graph.to_float(active.tensor), network.head, network.offset, LIFE)

    deviations = graph.to_float(inputs)
    change = graph.layer(deviations, active.weights)
    rise = graph.subtract(graph.positive(graph.add(change, active.bias)), np.maximum(active.bias, 0))
    divisor = graph.where(graph.greater(graph.size(change), STILL), change, np.float32(1))
    pull = graph.multiply(graph.divide(rise, divisor), network.head[:, 0])
    parts = graph.multiply(graph.layer(pull, active.weights.T), deviations)
    weights = graph.layer(parts, GROUPS, name=WEIGHTS)
    return graph.written(made=[life, weights, furthest])
