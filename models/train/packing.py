"""Writes what training made as a pack: model, self-test, manifest, signature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from numpy.typing import NDArray

from models.pack import MANIFEST, Manifest, Pack, manifest_text, sha256_of
from models.runtime import load
from models.selftest import FILE, self_test_of
from models.signing import SIGNATURE, sign

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The maker's private key to sign with; without one the pack stays unsigned.",
)


def write_pack(
    folder: Path,
    model: bytes,
    manifest: Manifest,
    given: Mapping[str, NDArray[Any]],
    *,
    within: float,
    beside: Mapping[str, bytes] = {},
    key: Path | None = None,
) -> Path:
    """Write a pack into a folder, signed if there is a key; gives the folder.

    `model` is the content of `manifest.model`. The self-test runs it on `given` (inputs by name); another machine may
    be off by `within`, absolutely. `beside` are the contents of further files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)
    for name, content in {manifest.model: model, **beside}.items():
        (folder / name).write_bytes(content)
    manifest = _with_files(folder, manifest, manifest.model, *beside)
    made = load(Pack(folder=folder, manifest=manifest))
    (folder / FILE).write_bytes(self_test_of(made, given, within))
    (folder / MANIFEST).write_text(manifest_text(_with_files(folder, manifest, *manifest.files, FILE)), "utf-8")
    if key is not None:
        sign(folder, key)
    return folder


def _with_files(folder: Path, manifest: Manifest, *names: str) -> Manifest:
    return msgspec.structs.replace(manifest, files={name: sha256_of(folder / name) for name in names})
