"""A pack as one file (`.pack`): a tar of the pack's folder, compressed with zstd; pack.toml and the files it names.

Nothing in it is trusted: what it unpacks to is bounded, and no name in it leaves the folder that it is unpacked into.
"""

import errno
import shutil
import tarfile
from pathlib import Path, PurePosixPath

import zstandard

from models.catalogue import PACK_NAME
from models.errors import PackInvalid
from models.pack import MANIFEST, Pack, read_pack

MOST_FILES = 10_000
MOST_BYTES = 2 << 30
SPARE_DISK_BYTES = 128 << 20
_WINDOW_BYTES = 128 << 20
_PIECE_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def unpack(archive: Path, folder: Path) -> Pack:
    """Unpack a .pack file into an empty folder and check every file by the manifest.

    Raises PackInvalid when it is broken, unsafe or too large, or holds anything that its manifest does not name; and
    OSError when the disk is full.
    """
    try:
        with archive.open("rb") as file:
            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(file)
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                _extract(tar, folder)
    except PackInvalid:
        raise
    except Exception as error:  # tarfile lets through whatever its arithmetic raises
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise
        raise PackInvalid(f"The pack file is broken: {error}; make it anew.") from error
    if not (folder / MANIFEST).is_file():
        raise PackInvalid(f"The pack file holds no {MANIFEST}; make it of a pack's whole folder.")
    pack = read_pack(folder)
    if not PACK_NAME.fullmatch(pack.manifest.name):
        raise PackInvalid(f"The pack calls itself {pack.manifest.name!r}; a name is small letters, digits and -.")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    strange = there - {MANIFEST, *pack.manifest.files}
    if strange:
        raise PackInvalid(f"The pack file holds {min(strange)!r}, which its manifest does not name; do not use it.")
    return pack


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    left_bytes = min(MOST_BYTES, shutil.disk_usage(folder).free - SPARE_DISK_BYTES)
    for number, member in enumerate(tar):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()) or number >= MOST_FILES:
            raise PackInvalid(f"The pack file holds {member.name[:200]!r}, which no pack does; do not use it.")
        if member.isdir():
            continue
        left_bytes -= member.size
        if left_bytes < 0:
            raise PackInvalid("The pack file unpacks to more than this machine has room for; free the disk.")
        packed = tar.extractfile(member)
        assert packed is not None
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with packed, path.open("xb") as file:
            shutil.copyfileobj(packed, file, _PIECE_BYTES)
