"""Packs in TFLite's format, on LiteRT or, where only that exists, on its forerunner tflite-runtime."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputInvalid, PackInvalid
from models.pack import Pack, Tensor
from models.runtime.contract import ANY, check_declared, check_given, check_made, model_file, translated

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found, unused-ignore]


class LiteRtModel:
    """A LiteRT interpreter on one thread; its one set of buffers is guarded, so threads take turns."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._turn = Lock()
        path = model_file(pack)
        with translated(PackInvalid, f"{path} does not open in LiteRT"):
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        self._inputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_input_details()}
        self._outputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}
        self._shapes = {detail["name"]: tuple(detail["shape"]) for detail in self._interpreter.get_input_details()}
        check_declared(
            pack, _tensors(self._interpreter.get_input_details()), _tensors(self._interpreter.get_output_details())
        )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `models.runtime.Model.run`."""
        check_given(self.pack, inputs)
        with self._turn, translated(InputInvalid, f"{self.pack.manifest.name} could not be run on this input"):
            self._fit({name: array.shape for name, array in inputs.items()})
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._inputs[name], array)
            self._interpreter.invoke()
            outputs = {name: self._interpreter.get_tensor(self._outputs[name]) for name in self.pack.manifest.outputs}
        check_made(self.pack, outputs)
        return outputs

    def _fit(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        self._shapes = {}  # unknown, should the new ones not fit together
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name], shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def _tensors(details: list[dict[str, Any]]) -> dict[str, Tensor]:
    tensors = {}
    for detail in details:
        # The signature tells the dimensions of any length; a scalar or an old file has none and tells its shape.
        shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
        sizes = tuple(int(size) if size >= 0 else ANY for size in shape)
        tensors[detail["name"]] = Tensor(dtype=np.dtype(detail["dtype"]).name, shape=sizes)
    return tensors
