"""Models that run: one interface over ONNX Runtime, LiteRT and Vosk, each loaded only when a pack asks for it."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from models.errors import PackInvalid, PackMissing
from models.pack import Pack

# From 1.32 on ONNX Runtime's Linux wheel reports its use to its maker, and keeps a database of it in the user's cache,
# unless this stands before the library is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class Model(Protocol):
    """A pack ready to run. May be shared by threads."""

    @property
    def pack(self) -> Pack:
        """The pack that was loaded."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The declared outputs for the declared inputs, by name.

        Raises InputInvalid when an input's name, type or shape is not the manifest's, PackInvalid when the model
        breaks its own manifest.
        """


def load(pack: Pack) -> Model:
    """Open a pack in the runtime its manifest names, and hold the manifest against the real model.

    Raises PackInvalid when the model does not open or does not fit its manifest, PackMissing when the runtime is not
    installed.
    """
    try:
        match pack.manifest.runtime:
            case "onnx":
                from models.runtime.onnx import OnnxModel

                return OnnxModel(pack)
            case "litert":
                from models.runtime.litert import LiteRtModel

                return LiteRtModel(pack)
            case "vosk":
                from models.runtime.vosk import VoskModel

                return VoskModel(pack)
            case "compose":
                raise PackInvalid(f"{pack.manifest.name} is made of other packs and has no model of its own to run.")
    except ImportError as error:
        runtime = pack.manifest.runtime
        raise PackMissing(
            f"{pack.manifest.name} needs the runtime {runtime}, which is not installed: {error}"
        ) from None
