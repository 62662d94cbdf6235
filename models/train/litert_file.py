"""Writes models in TFLite's format without TensorFlow: rows of numbers through layers, in float or in 8 bits.

After the schema of TensorFlow Lite, version 3, and its specification of 8-bit quantisation: activations with a step and
a zero of their own, weights with a step for each unit of a layer and 0 at zero, biases in 32 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import flatbuffers  # type: ignore[import-untyped]  # it carries no types
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Operator = schema.BuiltinOperator
Options = schema.BuiltinOptions

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}
ANY = -1


@dataclass(frozen=True)
class Steps:
    """How 8-bit numbers stand for real ones: real = step * (number - zero)."""

    step: float
    zero: int

    @classmethod
    def around(cls, least: float, most: float) -> Self:
        """Those whose -128 to 127 reach from `least` to `most`, with 0 among the real numbers that they hit."""
        step = (most - least) / 255
        return cls(step, round(-128 - least / step))


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph under construction: its place, and its columns."""

    place: int
    columns: int
    steps: Steps | None = None


@dataclass(frozen=True)
class Layer:
    """What a layer in 8 bits puts out, and the weights and bias that its numbers stand for, in float."""

    tensor: Tensor
    weights: Rows
    bias: Rows


class Graph:
    """A model under construction, of any number of rows. Steps come in the order in which they run."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]  # the first is that of tensors without content
        self._steps: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._given: list[int] = []

    # ---- tensors

    def given(self, name: str, columns: int) -> Tensor:
        """An input [any, columns] in float."""
        tensor = self._made(columns, name=name)
        self._given.append(tensor.place)
        return tensor

    def _made(self, columns: int, kind: str = "float32", name: str = "", steps: Steps | None = None) -> Tensor:
        tensor = self._described(kind, [1, columns], name)
        tensor.shapeSignature = [ANY, columns]
        if steps:
            tensor.quantization = _quantization([steps.step], [steps.zero])
        return Tensor(len(self._tensors) - 1, columns, steps)

    def _constant(self, values: NDArray[Any], steps: NDArray[np.float64] | None = None) -> int:
        """The place of a constant; `steps` are those of each of its rows."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._buffers.append(buffer)
        tensor = self._described(values.dtype.name, list(values.shape), "")
        tensor.buffer = len(self._buffers) - 1
        if steps is not None:
            tensor.quantization = _quantization(steps.tolist(), [0] * len(steps))
        return len(self._tensors) - 1

    def _described(self, kind: str, shape: list[int], name: str) -> Any:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = name or f"t{len(self._tensors)}", _TYPES[kind], shape
        self._tensors.append(tensor)
        return tensor

    # ---- steps

    def subtract(self, left: Tensor, right: NDArray[Any]) -> Tensor:
        """left - right."""
        return self._by_number(Operator.SUB, left, right, schema.SubOptionsT(), Options.SubOptions)

    def add(self, left: Tensor, right: NDArray[Any]) -> Tensor:
        """left + right."""
        return self._by_number(Operator.ADD, left, right, schema.AddOptionsT(), Options.AddOptions)

    def multiply(self, left: Tensor, right: Tensor | NDArray[Any]) -> Tensor:
        """left * right."""
        return self._by_number(Operator.MUL, left, right, schema.MulOptionsT(), Options.MulOptions)

    def divide(self, left: Tensor, right: Tensor) -> Tensor:
        """left / right."""
        return self._by_number(Operator.DIV, left, right, schema.DivOptionsT(), Options.DivOptions)

    def at_least(self, of: Tensor, least: float) -> Tensor:
        """Each number, or `least` where it is smaller."""
        options = (schema.MaximumMinimumOptionsT(), Options.MaximumMinimumOptions)
        return self._by_number(Operator.MAXIMUM, of, np.array(least), *options)

    def at_most(self, of: Tensor, most: float) -> Tensor:
        """Each number, or `most` where it is larger."""
        options = (schema.MaximumMinimumOptionsT(), Options.MaximumMinimumOptions)
        return self._by_number(Operator.MINIMUM, of, np.array(most), *options)

    def positive(self, of: Tensor) -> Tensor:
        """Each number, or 0 where it is negative."""
        return self._step(Operator.RELU, [of.place], self._made(of.columns))

    def size(self, of: Tensor) -> Tensor:
        """Each number without its sign."""
        return self._step(Operator.ABS, [of.place], self._made(of.columns), schema.AbsOptionsT(), Options.AbsOptions)

    def greater(self, left: Tensor, right: np.float32) -> Tensor:
        """Whether each number is greater than `right`."""
        made = self._made(left.columns, "bool")
        places = [left.place, self._constant(np.asarray(right))]
        return self._step(Operator.GREATER, places, made, schema.GreaterOptionsT(), Options.GreaterOptions)

    def where(self, true: Tensor, then: Tensor, otherwise: np.float32) -> Tensor:
        """`then` where `true`, else `otherwise`."""
        places = [true.place, then.place, self._constant(np.asarray(otherwise))]
        made = self._made(then.columns)
        return self._step(Operator.SELECT_V2, places, made, schema.SelectV2OptionsT(), Options.SelectV2Options)

    def largest(self, of: Tensor, name: str = "") -> Tensor:
        """The largest number of each row, as [any, 1]."""
        options = schema.ReducerOptionsT()
        options.keepDims = True
        places = [of.place, self._constant(np.array([1], np.int32))]
        return self._step(Operator.REDUCE_MAX, places, self._made(1, name=name), options, Options.ReducerOptions)

    def layer(self, of: Tensor, weights: Rows, bias: Rows | None = None, name: str = "") -> Tensor:
        """of @ weights + bias, in float."""
        bias = np.zeros(weights.shape[1], np.float32) if bias is None else bias
        places = [of.place, self._constant(weights.T), self._constant(bias)]
        return self._fully_connected(places, self._made(weights.shape[1], name=name), relu=False)

    def layer_int8(self, of: Tensor, weights: Rows, bias: Rows, made: Steps) -> Layer:
        """relu(of @ weights + bias) in 8 bits, put out in the steps `made`."""
        assert of.steps
        steps = np.maximum(np.abs(weights).max(axis=0), 1e-9).astype(np.float64) / 127
        numbers = np.round(weights / steps).astype(np.int8)
        products = steps * of.steps.step
        whole_bias = np.round(bias / products).astype(np.int32)
        places = [of.place, self._constant(numbers.T, steps), self._constant(whole_bias, products)]
        tensor = self._fully_connected(places, self._made(weights.shape[1], "int8", steps=made), relu=True)
        return Layer(tensor, (numbers * steps).astype(np.float32), (whole_bias * products).astype(np.float32))

    def to_int8(self, of: Tensor, steps: Steps) -> Tensor:
        """The same numbers in 8 bits."""
        made = self._made(of.columns, "int8", steps=steps)
        return self._step(Operator.QUANTIZE, [of.place], made, schema.QuantizeOptionsT(), Options.QuantizeOptions)

    def to_float(self, of: Tensor) -> Tensor:
        """The numbers that 8-bit ones stand for."""
        made = self._made(of.columns)
        return self._step(Operator.DEQUANTIZE, [of.place], made, schema.DequantizeOptionsT(), Options.DequantizeOptions)

    def _by_number(self, code: int, left: Tensor, right: Tensor | NDArray[Any], options: Any, kind: int) -> Tensor:
        other = right.place if isinstance(right, Tensor) else self._constant(np.asarray(right, np.float32))
        return self._step(code, [left.place, other], self._made(left.columns), options, kind)

    def _fully_connected(self, places: list[int], made: Tensor, *, relu: bool) -> Tensor:
        options = schema.FullyConnectedOptionsT()
        if relu:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        version = 5 if made.steps else 1  # 5 has a step for each unit
        return self._step(
            Operator.FULLY_CONNECTED, places, made, options, Options.FullyConnectedOptions, version=version
        )

    def _step(
        self, code: int, given: list[int], made: Tensor, options: Any = None, kind: int = 0, version: int = 1
    ) -> Tensor:
        step = schema.OperatorT()
        step.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        step.inputs, step.outputs = given, [made.place]
        step.builtinOptionsType, step.builtinOptions = kind, options
        self._steps.append(step)
        return made

    # ---- the file

    def written(self, made: Sequence[Tensor]) -> bytes:
        """The file of the model that puts out `made`."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._steps
        graph.inputs, graph.outputs = self._given, [tensor.place for tensor in made]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = [_operator_code(code, version) for code, version in self._codes]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _quantization(steps: list[float], zeros: list[int]) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint, quantization.quantizedDimension = steps, zeros, 0
    return quantization


def _operator_code(code: int, version: int) -> Any:
    described = schema.OperatorCodeT()
    described.builtinCode, described.version = code, version
    described.deprecatedBuiltinCode = min(code, int(Operator.PLACEHOLDER_FOR_GREATER_OP_CODES))
    return described
