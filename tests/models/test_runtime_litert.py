"""What the LiteRT runtime promises, on two real models of one operation that are written here byte by byte."""

import hashlib
import threading
from pathlib import Path

import flatbuffers  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from models.errors import InputInvalid, PackInvalid
from models.pack import Manifest, Pack, Tensor
from models.runtime import Model, load

TYPES = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8}


def tensor_of(name: str, dtype: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.shapeSignature = name, TYPES[dtype], [1, 3], [-1, 3]
    if dtype == "int8":
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [0]
    return tensor


def write_model(path: Path, dtype: str) -> None:
    """left [any, 3] + right [any, 3] = total [any, 3], after the schema of TensorFlow Lite, version 3."""
    add = schema.OperatorCodeT()
    add.builtinCode, add.version = schema.BuiltinOperator.ADD, 2 if dtype == "int8" else 1
    step = schema.OperatorT()
    step.inputs, step.outputs = [0, 1], [2]
    step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph = schema.SubGraphT()
    graph.tensors = [tensor_of(name, dtype) for name in ("left", "right", "total")]
    graph.inputs, graph.outputs, graph.operators = [0, 1], [2], [step]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [add], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def pack_of(folder: Path, dtype: str, **changed: dict[str, Tensor]) -> Pack:
    path = folder / "model.tflite"
    if not path.exists():
        write_model(path, dtype)
    tensor = Tensor(dtype=dtype, shape=(-1, 3))
    manifest = Manifest(
        name="total",
        version="1",
        task="device-anomaly",
        runtime="litert",
        languages=(),
        licence="Apache-2.0",
        about="",
        files={"model.tflite": hashlib.sha256(path.read_bytes()).hexdigest()},
        model="model.tflite",
        inputs={"left": tensor, "right": tensor},
        outputs={"total": tensor},
    )
    return Pack(folder=folder, manifest=msgspec.structs.replace(manifest, **changed))


@pytest.fixture(params=["float32", "int8"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return load(pack_of(tmp_path, request.param))


def test_a_model_adds_for_any_number_of_rows(model: Model) -> None:
    dtype = model.pack.manifest.inputs["left"].dtype
    for rows in (1, 4, 2):
        left = np.arange(rows * 3).reshape(rows, 3).astype(dtype)
        made = model.run({"left": left, "right": left})
        assert made["total"].dtype == dtype
        np.testing.assert_array_equal(made["total"], left + left)


def test_results_stay_when_the_model_runs_again(model: Model) -> None:
    ones = np.ones((1, 3), model.pack.manifest.inputs["left"].dtype)
    first = model.run({"left": ones, "right": ones})["total"]
    model.run({"left": ones * 5, "right": ones * 5})
    np.testing.assert_array_equal(first, [[2, 2, 2]])


def test_threads_do_not_get_each_other_s_results(model: Model) -> None:
    dtype = model.pack.manifest.inputs["left"].dtype
    wrong: list[int] = []

    def work(value: int) -> None:
        rows = np.full((value, 3), value, dtype)
        for _ in range(200):
            made = model.run({"left": rows, "right": rows})["total"]
            if not np.array_equal(made, rows + rows):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("given", [{}, {"left": np.zeros((1, 3))}, {"left": np.zeros(3), "right": np.zeros(3)}])
def test_an_input_that_does_not_fit_is_refused(model: Model, given: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputInvalid, match="total has the input"):
        model.run(given)


def test_rows_of_different_numbers_are_refused_and_the_model_still_runs(model: Model) -> None:
    dtype = model.pack.manifest.inputs["left"].dtype
    one, two, three = (np.ones((rows, 3), dtype) for rows in (1, 2, 3))
    for _ in range(2):
        np.testing.assert_array_equal(model.run({"left": one, "right": one})["total"], one + one)
        with pytest.raises(InputInvalid, match="could not be run"):
            model.run({"left": two, "right": three})


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": {"left": Tensor(dtype="float32", shape=(-1, 3))}},
        {"outputs": {"total": Tensor(dtype="float32", shape=(-1, 4))}},
        {"outputs": {"total": Tensor(dtype="int8", shape=(-1, 3))}},
        {"outputs": {"sum": Tensor(dtype="float32", shape=(-1, 3))}},
    ],
)
def test_a_manifest_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, changed: dict[str, dict[str, Tensor]]
) -> None:
    with pytest.raises(PackInvalid, match="declares"):
        load(pack_of(tmp_path, "float32", **changed))


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(1000)])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(PackInvalid, match="does not open in LiteRT"):
        load(pack_of(tmp_path, "float32"))
