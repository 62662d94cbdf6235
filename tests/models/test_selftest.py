"""A pack proves on this machine that it computes what it computed where it was made."""

import shutil
from pathlib import Path

import msgspec
import pytest

from models.errors import ModelError, PackInvalid
from models.opening import open_pack
from models.pack import MANIFEST, manifest_text, read_pack, sha256_of
from models.selftest import FILE, SelfTest
from models.store import SHIPPED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "device-anomaly", tmp_path / "pack")
    return tmp_path / "pack"


def with_test(folder: Path, content: bytes) -> Path:
    """The pack with another self-test, its hash put right."""
    (folder / FILE).write_bytes(content)
    manifest = read_pack(SHIPPED / "device-anomaly").manifest
    files = manifest.files | {FILE: sha256_of(folder / FILE)}
    (folder / MANIFEST).write_text(manifest_text(msgspec.structs.replace(manifest, files=files)), "utf-8")
    return folder


def changed(folder: Path, **fields: object) -> bytes:
    test = msgspec.json.decode((folder / FILE).read_bytes(), type=SelfTest)
    return msgspec.json.encode(msgspec.structs.replace(test, **fields))


@pytest.mark.parametrize("shipped", sorted(SHIPPED.iterdir()), ids=lambda shipped: shipped.name)
def test_what_ships_passes_its_self_test_here(shipped: Path) -> None:
    open_pack(shipped)


def test_a_pack_that_computes_something_else_here_is_refused_with_how_far_it_is_off(folder: Path) -> None:
    test = msgspec.json.decode((folder / FILE).read_bytes(), type=SelfTest)
    probabilities = test.made["probability"]
    made = test.made | {"probability": [probabilities[0] + 0.5, *probabilities[1:]]}
    with pytest.raises(PackInvalid, match=r"'probability' is off by 0\.5"):
        open_pack(with_test(folder, changed(folder, made=made)))


def test_a_pack_without_a_self_test_is_refused(folder: Path) -> None:
    manifest = read_pack(folder).manifest
    files = {name: digest for name, digest in manifest.files.items() if name != FILE}
    (folder / MANIFEST).write_text(manifest_text(msgspec.structs.replace(manifest, files=files)), "utf-8")
    with pytest.raises(PackInvalid, match="nothing shows that it works here"):
        open_pack(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"given": {}, "made": {}, "within": 1}',
        b'{"given": {"features": "x"}, "made": {"probability": [], "weights": []}, "within": 1}',
        b'{"given": {"features": [[1e999]]}, "made": {"probability": [NaN], "weights": []}, "within": 1}',
        b'{"given": {"features": [[1],[1,2]]}, "made": {"probability": [1], "weights": [[1]]}, "within": 1}',
        b'{"given": {"features": [[0]]}, "made": {"probability": [1], "weights": [[1]]}, "within": 1}',
    ],
)
def test_a_self_test_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(ModelError):
        open_pack(with_test(folder, content))
