"""What the ONNX runtime promises: a pack that fits runs, one that does not is refused before its first prediction."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import InputInvalid, ModelError, PackInvalid
from models.pack import Manifest, Pack, Tensor
from models.runtime import Model, load

FEATURES = Tensor(dtype="float32", shape=(-1, 3))
SCORES = Tensor(dtype="float32", shape=(-1, 2))
WEIGHTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)


def write_model(path: Path) -> None:
    """features [any, 3] @ WEIGHTS = scores [any, 2], and the scores' signs beside them."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("Sign", ["scores"], ["signs"]),
        ],
        "scores",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("signs", TensorProto.FLOAT, ["n", 2]),
        ],
        [helper.make_tensor("weights", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.ravel().tolist())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def pack_of(
    folder: Path,
    inputs: dict[str, Tensor] | None = None,
    outputs: dict[str, Tensor] | None = None,
    model: str = "model.onnx",
) -> Pack:
    path = folder / "model.onnx"
    if not path.exists():
        write_model(path)
    manifest = Manifest(
        name="scores",
        version="1",
        task="text-labels",
        runtime="onnx",
        languages=(),
        licence="Apache-2.0",
        about="",
        files={"model.onnx": hashlib.sha256(path.read_bytes()).hexdigest()},
        model=model,
        inputs={"features": FEATURES} if inputs is None else inputs,
        outputs={"scores": SCORES} if outputs is None else outputs,
    )
    return Pack(folder=folder, manifest=manifest)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(pack_of(tmp_path))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_model_gives_its_declared_outputs_for_any_number_of_rows(model: Model, rows: int) -> None:
    features = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    made = model.run({"features": features})
    assert set(made) == {"scores"}
    np.testing.assert_allclose(made["scores"], features @ WEIGHTS)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"feature": np.zeros((1, 3), np.float32)},
        {"features": np.zeros((1, 3), np.float32), "more": np.zeros(1, np.float32)},
        {"features": np.zeros((1, 4), np.float32)},
        {"features": np.zeros(3, np.float32)},
        {"features": np.zeros((1, 3), np.float64)},
        {"features": np.array([["a", "b", "c"]])},
    ],
)
def test_an_input_that_does_not_fit_is_refused(model: Model, given: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputInvalid, match="scores has the input"):
        model.run(given)


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ({}, None, "inputs"),
        ({"other": FEATURES}, None, "inputs"),
        ({"features": Tensor(dtype="float64", shape=(-1, 3))}, None, "float64"),
        ({"features": Tensor(dtype="float32", shape=(-1, 4))}, None, "any, 4"),
        ({"features": Tensor(dtype="float32", shape=(-1, -1))}, None, "any, any"),
        ({"features": Tensor(dtype="float32", shape=(3,))}, None, r"float32\[3\]"),
        (None, {}, "outputs"),
        (None, {"labels": SCORES}, "outputs"),
        (None, {"scores": Tensor(dtype="int64", shape=(-1, 2))}, "int64"),
    ],
)
def test_a_manifest_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, inputs: dict[str, Tensor] | None, outputs: dict[str, Tensor] | None, reason: str
) -> None:
    with pytest.raises(PackInvalid, match=reason):
        load(pack_of(tmp_path, inputs, outputs))


def test_a_manifest_may_fix_a_length_that_the_model_leaves_open(tmp_path: Path) -> None:
    one = load(pack_of(tmp_path, {"features": Tensor(dtype="float32", shape=(1, 3))}))
    assert one.run({"features": np.ones((1, 3), np.float32)})["scores"].shape == (1, 2)
    with pytest.raises(InputInvalid):
        one.run({"features": np.ones((2, 3), np.float32)})


def test_a_model_without_a_hash_is_not_opened(tmp_path: Path) -> None:
    pack_of(tmp_path)
    (tmp_path / "other.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    with pytest.raises(PackInvalid, match="not among the pack's `files`"):
        load(pack_of(tmp_path, model="other.onnx"))


def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08 not a model")
    with pytest.raises(ModelError, match="does not open in ONNX Runtime") as refusal:
        load(pack_of(tmp_path))
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr().err == ""


def test_a_runtime_loads_what_it_runs_on_and_no_other() -> None:
    script = (
        "import sys, models.runtime.{0}\n"
        "print(*sorted({{'onnxruntime', 'vosk', 'ai_edge_litert', 'tflite_runtime'}} & set(sys.modules)))"
    )
    loaded = {
        runtime: subprocess.run(
            [sys.executable, "-c", script.format(runtime)], capture_output=True, text=True, check=True
        ).stdout.split()
        for runtime in ("contract", "speech", "onnx", "litert", "vosk")
    }
    assert loaded == {
        "contract": [],
        "speech": [],
        "onnx": ["onnxruntime"],
        "litert": ["ai_edge_litert"],
        "vosk": ["onnxruntime", "vosk"],  # voice is found by a network of its own
    }


def test_onnx_runtime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    pack_of(tmp_path)
    script = (
        "import sys, numpy, models.runtime.onnx as runtime, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "session.run(None, {'features': numpy.zeros((1, 3), numpy.float32)})\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.onnx"],
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(home)},
        check=True,
    )
    assert list(home.rglob("*")) == []
