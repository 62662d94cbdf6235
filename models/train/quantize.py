"""ONNX models in 8 bits, by ONNX Runtime's own tools."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import models.runtime  # noqa: F401  # isort: skip  # before ONNX Runtime, which it keeps from reporting its use
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

BLOCK = 128
RUNTIME_DOMAIN = "com.microsoft"
IN_INT8 = 4  # of MatMulNBits: products of 8-bit numbers


def quantize_tables(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the tables that it looks up (Gather) in 8 bits; what it computes with them stays float."""
    return _through_files(
        model,
        lambda source, target: quantize_dynamic(
            source, target, op_types_to_quantize=["Gather"], weight_type=QuantType.QInt8
        ),
    )


def quantize_layers(model: onnx.ModelProto, samples: Iterable[Mapping[str, NDArray[Any]]]) -> onnx.ModelProto:
    """The model with its layers (MatMul, Gemm, Conv) in 8 bits, weights and activations.

    The scales of the activations are fixed by running the model on `samples`, each the inputs of one run by name, so
    that a result does not depend on what else is in its batch.
    """
    return _through_files(
        model,
        lambda source, target: quantize_static(
            source,
            target,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Processors with AVX2 but no VNNI add pairs of products in 16 bits, which overflows with 8-bit weights.
            reduce_range=True,
        ),
    )


def quantize_blocks(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with the matrices of the nodes (MatMul) of these names in 8 bits, a step for each BLOCK weights.

    ONNX Runtime's MatMulNBits also takes what goes into them in 8 bits, with a step for each block of each row: a large
    activation costs its own block and no other, and what else is in a batch changes nothing.
    """
    blocked = onnx.ModelProto()
    blocked.CopyFrom(model)
    kept = {constant.name: constant for constant in blocked.graph.initializer}
    for node in blocked.graph.node:
        if node.name in names:
            of, weights = node.input
            matrix = numpy_helper.to_array(kept[weights])
            blocked.graph.initializer.remove(kept[weights])
            numbers, steps = _in_blocks(matrix)
            blocked.graph.initializer.append(numpy_helper.from_array(numbers, weights))
            blocked.graph.initializer.append(numpy_helper.from_array(steps, f"{weights}_steps"))
            size, count = matrix.shape
            node.CopyFrom(
                helper.make_node(
                    "MatMulNBits",
                    [of, weights, f"{weights}_steps"],
                    list(node.output),
                    name=node.name,
                    domain=RUNTIME_DOMAIN,
                    K=size,
                    N=count,
                    bits=8,
                    block_size=BLOCK,
                    accuracy_level=IN_INT8,
                )
            )
    blocked.opset_import.append(helper.make_opsetid(RUNTIME_DOMAIN, 1))
    return blocked


def _in_blocks(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A matrix [K, N] as MatMulNBits wants it: numbers [N, K / BLOCK, BLOCK] around 128, and the step of each block."""
    blocks = matrix.T.reshape(matrix.shape[1], -1, BLOCK)
    steps = np.maximum(np.abs(blocks).max(-1), np.float32(1e-9)) / np.float32(127)
    return (np.round(blocks / steps[..., np.newaxis]) + 128).astype(np.uint8), steps.ravel()


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    def __init__(self, samples: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        sample = next(self._samples, None)
        return None if sample is None else dict(sample)


def _through_files(model: onnx.ModelProto, quantize: Callable[[Path, Path], None]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        source, shaped, target = (Path(folder, f"{name}.onnx") for name in ("float", "shaped", "int8"))
        onnx.save(model, source)
        quant_pre_process(source, shaped, skip_optimization=True)
        quantize(shaped, target)
        return onnx.load(target)
