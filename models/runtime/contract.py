"""What a manifest declares of a model's tensors, held against the real model and against every run.

Also the one place where the exceptions of the runtimes become ours.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.errors import InputInvalid, ModelError, PackInvalid
from models.pack import Pack, Tensor

ANY = -1  # a dimension of any length


@contextmanager
def translated(error_class: type[ModelError], what: str) -> Iterator[None]:
    """Turn whatever a runtime raises into `error_class`; `what` begins the sentence."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise error_class(f"{what}: {reason}") from error


def model_file(pack: Pack) -> Path:
    """The file to open; raises PackInvalid when the manifest does not vouch for it with a hash."""
    if pack.manifest.model not in pack.manifest.files:
        raise PackInvalid(f"{pack.folder}: `model` is {pack.manifest.model!r}, which is not among the pack's `files`.")
    return pack.model_path


def check_declared(pack: Pack, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
    """Hold the manifest against the tensors the model really has.

    Every input must be declared; of the outputs, those that are wanted. Where the model takes any length the manifest
    may fix one. Raises PackInvalid.
    """
    declared = pack.manifest
    if set(declared.inputs) != set(inputs):
        raise PackInvalid(
            f"{pack.folder}: declares the inputs {_names(declared.inputs)}; the model has {_names(inputs)}."
        )
    if not declared.outputs or not set(declared.outputs) <= set(outputs):
        raise PackInvalid(
            f"{pack.folder}: declares the outputs {_names(declared.outputs)}; the model has {_names(outputs)}."
        )
    for mine, theirs in ((declared.inputs, inputs), (declared.outputs, outputs)):
        for name, tensor in mine.items():
            real = theirs[name]
            if tensor.dtype != real.dtype or not _fits(tensor.shape, real.shape):
                raise PackInvalid(f"{pack.folder}: declares {name!r} as {_text(tensor)}; the model has {_text(real)}.")


def check_given(pack: Pack, given: Mapping[str, NDArray[Any]]) -> None:
    """Hold the inputs of one run against the manifest; raises InputInvalid."""
    _check_arrays(pack, "input", pack.manifest.inputs, given, InputInvalid)


def check_made(pack: Pack, made: Mapping[str, NDArray[Any]]) -> None:
    """Hold the outputs of one run against the manifest; raises PackInvalid."""
    _check_arrays(pack, "output", pack.manifest.outputs, made, PackInvalid)


def _check_arrays(
    pack: Pack,
    kind: str,
    declared: Mapping[str, Tensor],
    arrays: Mapping[str, NDArray[Any]],
    error_class: type[ModelError],
) -> None:
    name = pack.manifest.name
    if arrays.keys() != declared.keys():
        raise error_class(f"{name} has the {kind}s {_names(declared)}; {_names(arrays)} came.")
    for key, tensor in declared.items():
        array = arrays[key]
        dtype = "str" if array.dtype.kind in "UO" else array.dtype.name
        if dtype != tensor.dtype or not _fits(array.shape, tensor.shape):
            came = Tensor(dtype=dtype, shape=array.shape)
            raise error_class(f"{name} has the {kind} {key!r} as {_text(tensor)}; {_text(came)} came.")


def _fits(narrow: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    return len(narrow) == len(wide) and all(w in (ANY, n) for n, w in zip(narrow, wide, strict=True))


def _names(tensors: Mapping[str, object]) -> str:
    return ", ".join(sorted(tensors)) or "(none)"


def _text(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{', '.join('any' if size == ANY else str(size) for size in tensor.shape)}]"
