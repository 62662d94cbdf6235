"""The network of the pack `device-rul` as models: in ONNX, and the same in TFLite's format with one layer in 8 bits.

Both put out the life left with its bounds, what each cause took or gave, and how far the inputs are from good order.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from models.features.life import CAUSE_OF, CAUSES, FEATURES
from models.tasks.device_rul import FURTHEST, INPUT, LIFE, WEIGHTS
from models.train.layer_graph import constant, parts, tensor
from models.train.litert_file import Graph, Steps

Rows = NDArray[np.float32]

ROWS = "machines"
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


def whole(network: Network, middle: onnx.ModelProto) -> onnx.ModelProto:
    """The network in ONNX around its layer as it is or quantised."""
    node = onnx.helper.make_node
    before = [
        node("Sub", [INPUT, "centre"], ["centred"]),
        node("Mul", ["centred", "scale"], ["scaled"]),
        node("Clip", ["scaled", "least", "most"], ["inputs"]),
        node("Abs", ["scaled"], ["distance"]),
        node("ReduceMax", ["distance"], [FURTHEST], axes=[1], keepdims=1),
    ]
    after = [node("Gemm", ["active", "head", "offset"], [LIFE])]
    evidence = [
        *parts(middle, head="life_head", still="still", one="one", made="parts"),
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
        [tensor(INPUT, ROWS, len(FEATURES))],
        [tensor(LIFE, ROWS, 3), tensor(WEIGHTS, ROWS, len(CAUSES)), tensor(FURTHEST, ROWS, 1)],
        [
            *middle.graph.initializer,
            *(constant(name, np.ascontiguousarray(value)) for name, value in constants.items()),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=middle.opset_import, ir_version=middle.ir_version)
    onnx.checker.check_model(model)
    return model


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
    shares = graph.multiply(graph.layer(pull, active.weights.T), deviations)
    weights = graph.layer(shares, GROUPS, name=WEIGHTS)
    return graph.written(made=[life, weights, furthest])
