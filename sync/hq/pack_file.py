"""Packs as they are sent: one file (tar.zst). HQ looks no deeper than it must; the site checks all of it."""

import re
import tarfile
import tomllib
from pathlib import Path
from tempfile import NamedTemporaryFile

import zstandard

from sync.errors import LinkSettingsError

_MANIFEST, _SIGNATURE = "pack.toml", "pack.sig"
_MAX_MANIFEST_BYTES = 4 << 20
_LEVEL = 10
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def name_of_pack(file: Path) -> str:
    """What the manifest in a .pack file calls the pack. Raises LinkSettingsError when it is none, and OSError."""
    try:
        with file.open("rb") as opened:
            reader = zstandard.ZstdDecompressor().stream_reader(opened)
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                manifest = _manifest(tar)
        name = tomllib.loads(manifest.decode()).get("name")
    except (tarfile.TarError, zstandard.ZstdError, UnicodeDecodeError, tomllib.TOMLDecodeError, EOFError) as fault:
        raise LinkSettingsError(f"{file} is no pack (a folder with {_MANIFEST}, or a .pack file): {fault}.") from None
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 64:
        raise LinkSettingsError(f"{file}: its {_MANIFEST} has no good name; it is small letters, digits and -.")
    return name


def _manifest(tar: tarfile.TarFile) -> bytes:
    for member in tar:
        if member.name.removeprefix("./") == _MANIFEST and member.isreg() and member.size <= _MAX_MANIFEST_BYTES:
            packed = tar.extractfile(member)
            assert packed is not None
            return packed.read()
    raise tarfile.ReadError(f"it holds no {_MANIFEST}")


def write_pack_file(folder: Path) -> Path:
    """A pack's folder as one file, which the caller deletes. Raises LinkSettingsError when there is no pack in it."""
    if not (folder / _MANIFEST).is_file():
        raise LinkSettingsError(f"{folder} holds no {_MANIFEST}; name a pack's folder, or a .pack file.")
    with NamedTemporaryFile(suffix=".pack", delete=False) as file:
        writer = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False)
        with writer, tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            files = [path for path in folder.rglob("*") if path.is_file()]
            heads = (folder / _MANIFEST, folder / _SIGNATURE)  # what a site checks before it writes anything
            for path in sorted(files, key=lambda path: (*(path != head for head in heads), path)):
                tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False)
        return Path(file.name)
