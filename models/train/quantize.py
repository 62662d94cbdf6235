"""ONNX models in 8 bits, by ONNX Runtime's own tools."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import models.runtime  # noqa: F401  # isort: skip  # before ONNX Runtime, which it keeps from reporting its use
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


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


def quantize_matrices(
    model: onnx.ModelProto, samples: Iterable[Mapping[str, NDArray[Any]]], names: Sequence[str]
) -> onnx.ModelProto:
    """As quantize_layers, but only the nodes of these names; everything between them stays float."""
    return _through_files(
        model,
        lambda source, target: quantize_static(
            source,
            target,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=list(names),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        ),
    )


def quantize_matrices_dynamic(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with the nodes (MatMul) of these names in 8 bits, the scales of the activations chosen in each run."""
    return _through_files(
        model,
        lambda source, target: quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=list(names),
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        ),
    )


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
