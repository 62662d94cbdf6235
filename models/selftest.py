"""A pack's self-test: what its model made of some inputs where the pack was made, to be made again on this machine.

A processor, a runtime or a build that computes something else is found before the pack predicts anything.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import PackInvalid
from models.pack import Pack, Tensor
from models.runtime import Model

FILE = "selftest.json"
MOST_BYTES = 4 << 20


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inputs of one run and the outputs it gave, by name, and how far (absolutely) another machine may be off:
    kernels for other processors round 8-bit layers otherwise."""

    given: dict[str, Any]
    made: dict[str, Any]
    within: float


def self_test_of(model: Model, given: Mapping[str, NDArray[Any]], within: float) -> bytes:
    """The content of FILE for a model, with what it makes of `given` here."""
    made = model.run(given)
    test = SelfTest(given=_lists(given), made=_lists(made), within=within)
    return msgspec.json.encode(test) + b"\n"


def run_self_test(model: Model) -> None:
    """Raises PackInvalid when a pack has no self-test, or this machine makes something else of it."""
    pack = model.pack
    given, expected, within = _read(pack)
    made = model.run(given)
    for name, values in expected.items():
        if made[name].shape != values.shape:
            raise PackInvalid(f"{pack.folder} fails its self-test here: {name!r} has the shape {made[name].shape}.")
        off = float(np.max(np.abs(made[name].astype(np.float64) - values), initial=0.0))
        if not off <= within:
            raise PackInvalid(
                f"{pack.folder} fails its self-test here: {name!r} is off by {off:.3g}, more than {within:g}."
            )


def given_of(pack: Pack) -> dict[str, NDArray[Any]]:
    """The inputs of a pack's self-test, by name. Raises PackInvalid when it has none."""
    given, _, _ = _read(pack)
    return given


def _read(pack: Pack) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], float]:
    """What is given, what comes out, and how far that may be off."""
    path = pack.folder / FILE
    if FILE not in pack.manifest.files:
        raise PackInvalid(f"{pack.folder} has no {FILE} among its files, so nothing shows that it works here.")
    if path.stat().st_size > MOST_BYTES:
        raise PackInvalid(f"{path} is longer than {MOST_BYTES} bytes; do not use this pack.")
    try:
        test = msgspec.json.decode(path.read_bytes(), type=SelfTest)
        given = _arrays(pack, test.given, pack.manifest.inputs)
        expected = _arrays(pack, test.made, pack.manifest.outputs)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError, OverflowError) as error:
        raise PackInvalid(f"{path} is no self-test: {error}; do not use this pack.") from None
    return given, expected, test.within


def _lists(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


def _arrays(pack: Pack, lists: dict[str, Any], declared: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    if lists.keys() != declared.keys():
        raise PackInvalid(f"{pack.folder}: its self-test names other tensors than its manifest; do not use this pack.")
    return {name: np.array(values, declared[name].dtype) for name, values in lists.items()}
