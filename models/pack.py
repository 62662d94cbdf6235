"""A pack: a folder with a model, its manifest `pack.toml`, and the hash of every file it names.

The manifest is typed and closed: an unknown key, a missing file or a wrong hash refuses the pack before a runtime
sees one byte of it.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from models.compose.manifest import Compose
from models.errors import PackInvalid, PackMissing

MANIFEST = "pack.toml"
MOST_MANIFEST_BYTES = 4 << 20
Task = Literal["speech", "text-labels", "device-anomaly", "device-rul", "odds", "mood"]
Runtime = Literal["onnx", "litert", "vosk", "compose"]


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output of a model; -1 stands for any length."""

    dtype: str
    shape: tuple[int, ...]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pack was made of: data or weights, and under which licence."""

    name: str
    licence: str
    use: Literal["train", "weights"]


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured figure: which metric, on which split of which data set, over how many samples."""

    metric: str
    value: float
    set: str
    split: str
    samples: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model's probabilities were made to mean what they say, and how far off they were on turns, rows or files
    that it was not learnt from: `error` is the expected calibration error (0 to 1), over ten bins of equal mass."""

    method: str
    error: float
    set: str
    split: str
    samples: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `pack.toml` says. `files` maps each file of the pack to its SHA-256; `thresholds` is the probability at
    which each label calls for its play; `about`, in Chinese
    `about_zh`, says what the pack is for and what it is bad at. One whose runtime is `compose` has no model but
    `compose`, which says what it is made of."""

    name: str
    version: str
    task: Task
    runtime: Runtime
    languages: tuple[str, ...]
    licence: str
    about: str
    about_zh: str = ""
    files: dict[str, str]
    model: str = ""
    labels: tuple[str, ...] = ()
    thresholds: dict[str, float] = {}
    calibration: Calibration | None = None
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    sources: tuple[Source, ...] = ()
    metrics: tuple[Metric, ...] = ()
    compose: Compose | None = None


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest and the folder it was read from."""

    folder: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """The file (or, for speech, the folder) that the runtime opens."""
        return self.folder / self.manifest.model


def read_pack(folder: Path) -> Pack:
    """Read and check a pack's manifest and the SHA-256 of every file in it.

    Raises PackMissing when there is no pack in `folder`, PackInvalid when its manifest or a file is wrong.
    """
    manifest_path = folder / MANIFEST
    try:
        if manifest_path.stat().st_size > MOST_MANIFEST_BYTES:
            raise PackInvalid(f"{manifest_path} is longer than {MOST_MANIFEST_BYTES} bytes; install the pack anew.")
        manifest = msgspec.convert(tomllib.loads(manifest_path.read_text("utf-8")), Manifest)
    except FileNotFoundError:
        raise PackMissing(f"{folder} holds no {MANIFEST}; fetch the pack with `outstation models fetch`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PackInvalid(f"{manifest_path} is not a pack manifest: {error}; install the pack anew.") from None
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PackInvalid(f"{manifest_path} names {name}, which lies outside the pack; do not use this pack.")
        if not path.is_file():
            raise PackInvalid(f"{manifest_path} names {name}, which is not there; install the pack anew.")
        if sha256_of(path) != expected:
            raise PackInvalid(f"{path} was altered: its SHA-256 is not the manifest's; install the pack anew.")
    return Pack(folder=folder, manifest=manifest)


def manifest_text(manifest: Manifest) -> str:
    """The manifest as the TOML that `read_pack` reads back: plain keys first, then a table for each mapping."""
    fields = {key: value for key, value in msgspec.to_builtins(manifest).items() if value is not None}
    tables = {key: value for key, value in fields.items() if isinstance(value, dict)}
    rows = {key: value for key, value in fields.items() if key in ("sources", "metrics")}
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items() if key not in tables and key not in rows]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_toml(name)} = {_toml(value)}" for name, value in table.items())]
    for key, entries in rows.items():
        for entry in entries:
            lines += ["", f"[[{key}]]", *(f"{name} = {_toml(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    # A JSON string is a TOML basic string, but that TOML wants DEL escaped too; numbers print as Python prints them.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
