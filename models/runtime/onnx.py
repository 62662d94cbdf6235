"""Packs in ONNX, on ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from models.errors import InputInvalid, PackInvalid
from models.pack import Pack, Tensor
from models.runtime.contract import ANY, check_declared, check_given, check_made, model_file, translated

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(string)": "str",
    **{f"tensor({name})": name for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64")},
}


class OnnxModel:
    """An ONNX session on one thread: a small model is done before a second thread has woken up."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        path = model_file(pack)
        with translated(PackInvalid, f"{path} does not open in ONNX Runtime"):
            self._session = onnxruntime.InferenceSession(str(path), on_one_thread(), providers=["CPUExecutionProvider"])
        check_declared(pack, _tensors(self._session.get_inputs()), _tensors(self._session.get_outputs()))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `models.runtime.Model.run`."""
        check_given(self.pack, inputs)
        wanted = list(self.pack.manifest.outputs)
        with translated(InputInvalid, f"{self.pack.manifest.name} could not be run on this input"):
            made = self._session.run(wanted, dict(inputs))
        outputs = dict(zip(wanted, made, strict=True))
        check_made(self.pack, outputs)
        return outputs


def on_one_thread() -> onnxruntime.SessionOptions:
    """Options of a session that runs on its caller's thread and says nothing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A spinning thread would take the core that hears the calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def _tensors(nodes: list[onnxruntime.NodeArg]) -> dict[str, Tensor]:
    return {
        node.name: Tensor(
            dtype=DTYPES.get(node.type, node.type),
            shape=tuple(size if isinstance(size, int) else ANY for size in node.shape),
        )
        for node in nodes
    }
