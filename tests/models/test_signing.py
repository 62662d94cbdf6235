"""Who made a pack: what a gateway takes, and what it refuses before it writes a byte."""

import shutil
import tarfile
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archive import pack_up, unpack
from models.errors import InputInvalid, PackInvalid
from models.pack import MANIFEST, manifest_text, read_pack
from models.signing import SIGNATURE, check, check_pack, makers, new_key, sign, trust
from models.store import SHIPPED


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of a pack that ships, signed with a key of ours, and the makers that then are known."""
    folder, key = tmp_path / "pack", tmp_path / "maker.pem"
    shutil.copytree(SHIPPED / "device-anomaly", folder)
    public = new_key(key)
    sign(folder, key)
    return folder, {public: "we"}


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_what_ships_is_signed_by_its_maker(folder: Path, tmp_path: Path) -> None:
    assert check_pack(read_pack(folder), makers(tmp_path)) == "outstation"


def test_a_pack_goes_into_a_file_and_comes_out_the_same(ours: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, known = ours
    archives = [tmp_path / "one.pack", tmp_path / "two.pack"]
    for archive in archives:
        pack_up(folder, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    pack = unpack(archives[0], out, known)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert check_pack(pack, known) == "we"


def refusal(folder: Path, tmp_path: Path, known: dict[str, str] | None) -> str:
    """Why the pack in a folder is not taken; nothing may have been written then."""
    archive, out = tmp_path / "x.pack", tmp_path / "out"
    writer = zstandard.ZstdCompressor().stream_writer(archive.open("wb"))
    with writer, tarfile.open(fileobj=writer, mode="w|") as tar:
        for name in (MANIFEST, SIGNATURE, "model.onnx", "selftest.json"):
            if (folder / name).is_file():
                tar.add(folder / name, arcname=name)
    out.mkdir(exist_ok=True)
    with pytest.raises(PackInvalid) as refused:
        unpack(archive, out, known)
    return str(refused.value)


def test_a_pack_of_somebody_unknown_is_refused_before_anything_is_written(
    ours: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, known = ours
    (public,) = known
    said = refusal(folder, tmp_path, {})
    assert public in said
    assert "outstation models trust" in said
    assert list((tmp_path / "out").iterdir()) == []
    trust(tmp_path / "packs", "we", public)
    assert makers(tmp_path / "packs")[public] == "we"


def test_a_pack_without_a_signature_is_refused_unless_somebody_else_vouches(
    ours: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, known = ours
    (folder / SIGNATURE).unlink()
    assert "not signed" in refusal(folder, tmp_path, known)
    assert list((tmp_path / "out").iterdir()) == []
    pack_up(folder, tmp_path / "x.pack")
    assert unpack(tmp_path / "x.pack", tmp_path / "out", None).manifest.name == "device-anomaly"


@pytest.mark.parametrize("vouched", [False, True])
def test_a_manifest_changed_after_it_was_signed_is_refused_before_anything_is_written(
    ours: tuple[Path, dict[str, str]], tmp_path: Path, vouched: bool
) -> None:
    folder, known = ours
    manifest = msgspec.structs.replace(read_pack(folder).manifest, thresholds={"unusual": 0.01})
    (folder / MANIFEST).write_text(manifest_text(manifest), "utf-8")
    assert "not that of its manifest" in refusal(folder, tmp_path, None if vouched else known)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_changed_after_the_manifest_was_signed_is_refused(
    ours: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, known = ours
    with (folder / "model.onnx").open("ab") as model:
        model.write(b"x")
    assert "was altered" in refusal(folder, tmp_path, known)


@given(signature=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
@settings(max_examples=50)
def test_no_bytes_pass_for_a_signature(signature: bytes) -> None:
    with pytest.raises(PackInvalid):
        check(b"manifest", signature, {})


def test_a_key_is_not_written_over_and_only_ed25519_signs(tmp_path: Path) -> None:
    key = tmp_path / "maker.pem"
    new_key(key)
    assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(InputInvalid, match="name a new file"):
        new_key(key)
    key.write_text("no key")
    with pytest.raises(InputInvalid, match="no private key"):
        sign(SHIPPED / "device-anomaly", key)


@pytest.mark.parametrize("listed", ["we = 1", "we = 'short'", "we", "\x00"])
def test_a_list_of_makers_that_is_wrong_is_named(tmp_path: Path, listed: str) -> None:
    (tmp_path / "makers.toml").write_text(listed, "utf-8")
    with pytest.raises(PackInvalid, match=r"makers\.toml"):
        makers(tmp_path)


@pytest.mark.parametrize(("name", "key"), [("We", "0" * 64), ("we", "0" * 63), ("we", "g" * 64), ("", "0" * 64)])
def test_nobody_is_trusted_by_a_wrong_name_or_key(tmp_path: Path, name: str, key: str) -> None:
    with pytest.raises(InputInvalid):
        trust(tmp_path, name, key)
    assert makers(tmp_path).get(key) is None
