"""A pack as one file (`.pack`): a tar of the pack's folder, compressed with zstd; pack.toml, pack.sig, then the files
that pack.toml names.

Nothing in it is trusted: the signature is checked before anything is written, what it unpacks to is bounded, and no
name in it leaves the folder that it is unpacked into.
"""

import errno
import shutil
import tarfile
from pathlib import Path, PurePosixPath

import zstandard

from models.catalogue import PACK_NAME
from models.errors import PackInvalid
from models.pack import MANIFEST, MOST_MANIFEST_BYTES, Pack, read_pack
from models.signing import MOST_SIGNATURE_BYTES, SIGNATURE, check

MOST_FILES = 10_000
MOST_BYTES = 2 << 30
SPARE_DISK_BYTES = 128 << 20
_WINDOW_BYTES = 128 << 20
_PIECE_BYTES = 1 << 20
_LEVEL = 10
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def pack_up(folder: Path, archive: Path) -> None:
    """Write the pack in a folder as a .pack file. Raises PackInvalid, PackMissing when there is none, and OSError."""
    names = [MANIFEST, SIGNATURE, *sorted(read_pack(folder).manifest.files)]
    with (
        archive.open("wb") as file,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as writer,
        tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in names:
            if (folder / name).is_file():
                tar.add(folder / name, arcname=name, recursive=False, filter=_anonymous)


def unpack(archive: Path, folder: Path, makers: dict[str, str] | None) -> Pack:
    """Unpack a .pack file into an empty folder and check every file by the manifest.

    `makers` are those to be trusted, by public key (models/signing.py); None: somebody else vouches for the file.
    Raises PackInvalid when it is not signed by one of them, is broken, unsafe or too large, or holds anything that its
    manifest does not name; and OSError when the disk is full.
    """
    try:
        with archive.open("rb") as file:
            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(file)
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                _extract(tar, folder, makers)
    except PackInvalid:
        raise
    except Exception as error:  # tarfile lets through whatever its arithmetic raises
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise
        raise PackInvalid(f"The pack file is broken: {error}; make it anew.") from error
    pack = read_pack(folder)
    if not PACK_NAME.fullmatch(pack.manifest.name):
        raise PackInvalid(f"The pack calls itself {pack.manifest.name!r}; a name is small letters, digits and -.")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    strange = there - {MANIFEST, SIGNATURE, *pack.manifest.files}
    if strange:
        raise PackInvalid(f"The pack file holds {min(strange)!r}, which its manifest does not name; do not use it.")
    return pack


def _extract(tar: tarfile.TarFile, folder: Path, makers: dict[str, str] | None) -> None:
    """The manifest and its signature come first and are checked in memory; only then is anything written."""
    left_bytes = min(MOST_BYTES, shutil.disk_usage(folder).free - SPARE_DISK_BYTES)
    heads: dict[str, bytes] = {}
    trusted = False
    for number, member in enumerate(tar):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()) or number >= MOST_FILES:
            raise PackInvalid(f"The pack file holds {member.name[:200]!r}, which no pack does; do not use it.")
        if member.isdir():
            continue
        packed = tar.extractfile(member)
        assert packed is not None
        if str(name) in (MANIFEST, SIGNATURE) and not trusted:
            most_bytes = MOST_MANIFEST_BYTES if str(name) == MANIFEST else MOST_SIGNATURE_BYTES
            if member.size > most_bytes or str(name) in heads:
                raise PackInvalid(f"The pack file holds {name} twice, or one of more than {most_bytes} bytes.")
            heads[str(name)] = packed.read()
            continue
        if not trusted:
            _check_heads(heads, makers)
            trusted = True
        left_bytes -= member.size
        if left_bytes < 0:
            raise PackInvalid("The pack file unpacks to more than this machine has room for; free the disk.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with packed, path.open("xb") as file:
            shutil.copyfileobj(packed, file, _PIECE_BYTES)
    if not trusted:
        _check_heads(heads, makers)
    for head, content in heads.items():
        (folder / head).write_bytes(content)


def _check_heads(heads: dict[str, bytes], makers: dict[str, str] | None) -> None:
    if MANIFEST not in heads:
        raise PackInvalid(f"The pack file does not begin with {MANIFEST}; make it with `outstation models sign`.")
    check(heads[MANIFEST], heads.get(SIGNATURE), makers)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same pack gives the same file, whoever makes it and when."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
