"""The packs folder: where packs are found, and how one gets in whole or not at all.

A fetched pack lies in `.installed/<name>@<version>-…`, and `<name>` is a link to it. Setting that link is the one step
that installs: whatever dies before it leaves a folder that nothing names, and the next who writes sweeps it away.
"""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from models.archive import unpack
from models.catalogue import Entry
from models.errors import PackInvalid, PackMissing
from models.pack import MANIFEST, Manifest, Pack, Source, manifest_text, read_pack, sha256_of
from models.runtime.speech import (
    DECODER_OPTIONS,
    DECODER_SETTINGS,
    FEATURE_OPTIONS,
    FEATURE_SETTINGS,
    INPUTS,
    OUTPUTS,
)

SHIPPED = Path(__file__).with_name("packs")
INSTALLED = ".installed"
MODEL = "model"
MOST_FILES = 10_000
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def default_packs() -> Path:
    """The packs folder of who names none: `$OUTSTATION_PACKS`, else a folder of the user's."""
    return Path(os.environ.get("OUTSTATION_PACKS") or Path.home() / ".local/share/outstation/packs")


def pack_folders(packs: Path) -> dict[str, Path]:
    """The folders of the packs by name: those in the packs folder, then those that ship and are not there."""
    found: dict[str, Path] = {}
    for parent in (packs, SHIPPED):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if not folder.name.startswith(".") and (folder / MANIFEST).is_file():
                found.setdefault(folder.name, folder.resolve())
    return found


def find_pack(name: str, packs: Path) -> Pack:
    """The pack of that name, checked: from the packs folder, else from those that ship.

    Raises PackMissing when there is none, PackInvalid when it is altered.
    """
    folder = pack_folders(packs).get(name)
    if folder is None:
        raise PackMissing(f"There is no pack {name!r} in {packs}; fetch it with `outstation models fetch {name}`.")
    pack = read_pack(folder)
    if pack.manifest.name != name:
        raise PackInvalid(f"{folder} holds the pack {pack.manifest.name!r}, not {name!r}; install the pack anew.")
    return pack


def pack_at(name: str, packs: Path) -> Pack:
    """The pack in a folder that somebody names, else the pack of that name. Raises as `find_pack` does."""
    folder = Path(name)
    return read_pack(folder) if (folder / MANIFEST).is_file() else find_pack(name, packs)


@contextmanager
def writing(packs: Path) -> Iterator[None]:
    """Hold the packs folder for oneself, made if need be and swept of what killed installs left.

    Raises PackMissing when it cannot be written, is full, or somebody else holds it.
    """
    with _on_disk(packs):
        (packs / INSTALLED).mkdir(parents=True, exist_ok=True)
        with (packs / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PackMissing(f"Another fetch is writing to {packs}; wait for it to end.") from None
            _sweep(packs)
            yield


def install(entry: Entry, archive: Path, packs: Path) -> Pack:
    """Unpack a fetched archive into the packs folder, which the caller holds by `writing`.

    An older pack of that name is replaced; whoever has it open keeps it. Raises PackInvalid when the archive is
    broken, unsafe or holds no such model.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{entry.name}@{entry.version}-", dir=packs / INSTALLED))
    try:
        folder.chmod(0o755)
        _unpack(entry, archive, folder / MODEL)
        _settle(folder / MODEL)
        (folder / MANIFEST).write_text(manifest_text(_manifest(entry, folder)), "utf-8")
        _sync(folder)
        pack = read_pack(folder)
        _link(packs, entry.name, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    _sweep(packs)
    return pack


# ---- packs that are sent: staged, then activated, and rolled back -------------------------------------------------


def stage(archive: Path, packs: Path, key: str, makers: dict[str, str] | None) -> Pack:
    """Unpack a .pack file beside the packs in use, in the packs folder that the caller holds by `writing`.

    Until `activate` only the link `.staged-{key}` names it. `makers` are those to be trusted (models/signing.py), None
    when somebody else vouches for the file. Raises PackInvalid when it is no sound pack.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=packs / INSTALLED))
    try:
        folder.chmod(0o755)
        pack = unpack(archive, folder, makers)
        _sync(folder)
        _link(packs, f".staged-{key}", folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return pack


def staged(packs: Path, key: str) -> Pack | None:
    """The pack that was staged under `key`, checked, unless it was activated or dropped."""
    link = packs / f".staged-{key}"
    return read_pack(link.resolve()) if link.is_symlink() else None


def shadow(packs: Path, key: str) -> None:
    """Let a staged pack be the one in the shadow of that of its name."""
    pack = staged(packs, key)
    if pack is not None:
        _link(packs, f".shadow-{pack.manifest.name}", pack.folder)


def shadow_of(packs: Path, name: str) -> Pack | None:
    """The pack in the shadow of the one of that name, checked, if there is one."""
    link = packs / f".shadow-{name}"
    return read_pack(link.resolve()) if link.is_symlink() else None


def unshadow(packs: Path, key: str) -> None:
    """Take a staged pack out of the shadow, if it is there."""
    place = packs / f".staged-{key}"
    if place.is_symlink():
        for link in packs.glob(".shadow-*"):
            if link.readlink() == place.readlink():
                link.unlink()


def drop(packs: Path, key: str) -> None:
    """Forget a staged pack; the next who writes sweeps it away."""
    unshadow(packs, key)
    (packs / f".staged-{key}").unlink(missing_ok=True)


def activate(packs: Path, key: str) -> None:
    """Put a staged pack into the place of the one of its name, which stays as `.previous-{name}`. Whatever dies in
    here leaves the one or the other in place, and this can be called again.

    Raises PackInvalid when something that was not installed lies in its place.
    """
    pack = staged(packs, key)
    if pack is None:
        return
    place, previous = packs / pack.manifest.name, packs / f".previous-{pack.manifest.name}"
    if place.resolve() != pack.folder:
        if place.is_symlink():
            _link(packs, previous.name, place.resolve())
        else:
            previous.unlink(missing_ok=True)
        _link(packs, place.name, pack.folder)
    drop(packs, key)


def installed(packs: Path, name: str) -> str:
    """What is in the place of a pack, for `roll_back`; '' if nothing was installed there."""
    place = packs / name
    return place.readlink().name if place.is_symlink() else ""


def previous(packs: Path, name: str) -> str:
    """What the last `activate` replaced, for `roll_back`; '' if that was the pack that ships, or nothing."""
    link = packs / f".previous-{name}"
    return link.readlink().name if link.is_symlink() else ""


def earlier(packs: Path, name: str) -> Pack:
    """The pack that comes back when the last `activate` is taken back, checked. Raises as `find_pack` does."""
    replaced = previous(packs, name)
    return read_pack(packs / INSTALLED / replaced) if replaced else find_pack(name, default_packs())


def roll_back(packs: Path, name: str, earlier: str) -> None:
    """Put what `installed` said before an `activate` back into a pack's place; if that was nothing, the pack that ships
    is used again. This can be called again."""
    if earlier:
        _link(packs, name, packs / INSTALLED / earlier)
    elif (packs / name).is_symlink():
        (packs / name).unlink()
        _sync_folder(packs)


def _manifest(entry: Entry, folder: Path) -> Manifest:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(
        name=entry.name,
        version=entry.version,
        task=entry.task,
        runtime=entry.runtime,
        languages=entry.languages,
        licence=entry.licence,
        about=entry.about,
        files={path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        model=MODEL,
        inputs=INPUTS,
        outputs=OUTPUTS,
        sources=(Source(name=entry.source, licence=entry.licence, use="weights"),),
    )


def _settle(model: Path) -> None:
    """Give Vosk the options that a speech pack needs, in place of what the maker set."""
    features, decoder = model / FEATURE_SETTINGS, model / DECODER_SETTINGS
    if not features.is_file():
        raise PackInvalid(f"What was fetched is not a Vosk model: it has no {FEATURE_SETTINGS}.")
    _set(features, FEATURE_OPTIONS)
    if decoder.is_file():  # models of an older form have none
        _set(decoder, DECODER_OPTIONS)


def _set(settings: Path, options: Sequence[str]) -> None:
    ours = tuple(option.partition("=")[0] for option in options)
    theirs = [line for line in settings.read_text("utf-8", "replace").splitlines() if not line.startswith(ours)]
    settings.write_text("\n".join([*theirs, *options]) + "\n", "utf-8")


def _unpack(entry: Entry, archive: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as zipped:
            left_bytes = entry.unpacked_bytes
            for info, name in _members(entry, zipped):
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                left_bytes -= _copy(zipped, info, path, left_bytes)
                if left_bytes < 0:
                    raise PackInvalid(
                        f"The archive of {entry.name} unpacks to more than the {entry.unpacked_bytes} bytes that the "
                        "catalogue allows; do not use it."
                    )
    except PackInvalid:
        raise
    except Exception as error:  # zipfile lets through whatever its decoders and its arithmetic raise
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise
        raise PackInvalid(f"The archive of {entry.name} is broken: {error}; fetch it anew.") from error


def _members(entry: Entry, zipped: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of the model with their names in it, once every name in the archive is known to be harmless."""
    infos = zipped.infolist()
    if len(infos) > MOST_FILES:
        raise PackInvalid(f"The archive of {entry.name} holds {len(infos)} files; do not use it.")
    members = []
    for info in infos:
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.filename or stat.S_ISLNK(info.external_attr >> 16):
            raise PackInvalid(
                f"The archive of {entry.name} reaches outside itself by {info.filename!r}; do not use it."
            )
        if not info.is_dir() and name.is_relative_to(entry.inside):
            members.append((info, name.relative_to(entry.inside)))
    if not members:
        raise PackInvalid(f"The archive of {entry.name} has nothing in {entry.inside}; it is not the model meant.")
    return members


def _copy(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most_bytes: int) -> int:
    """Unpack one file, but not more than a piece beyond `most_bytes`; gives what came, whatever the archive claims."""
    copied = 0
    with zipped.open(info) as packed, path.open("xb") as file:
        while copied <= most_bytes and (piece := packed.read(1 << 20)):
            copied += file.write(piece)
    return copied


def _link(packs: Path, name: str, folder: Path) -> None:
    fresh = packs / INSTALLED / f"link-{folder.name}"
    fresh.symlink_to(Path(INSTALLED, folder.name))
    try:
        fresh.replace(packs / name)
    except IsADirectoryError:
        fresh.unlink()
        raise PackInvalid(f"{packs / name} is a folder that was not installed by fetch; move it away first.") from None
    _sync_folder(packs)


def _sweep(packs: Path) -> None:
    """Remove what no link names: leftovers of killed installs, and packs that were replaced."""
    named = {link.readlink() for link in packs.iterdir() if link.is_symlink()}
    for leftover in (packs / INSTALLED).iterdir():
        if leftover.is_symlink():
            leftover.unlink()
        elif leftover.relative_to(packs) not in named:
            shutil.rmtree(leftover)


def _sync(folder: Path) -> None:
    """Put every file and folder on the disk itself, so that a link never outlives a power cut that its files do not."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_folder(path)
    _sync_folder(folder)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _on_disk(packs: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise PackMissing(f"The disk that holds {packs} is full; free some space and fetch again.") from None
        raise PackMissing(f"The packs folder {packs} cannot be written: {error.strerror}.") from None
