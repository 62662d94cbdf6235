"""The commands `outstation models …` and `outstation transcribe`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from models.catalogue import CATALOGUE, Entry, entry_named, read_catalogue
from models.errors import InputInvalid, ModelError, PackInvalid, PackMissing
from models.pack import Pack, read_pack
from models.store import SHIPPED, default_packs, find_pack, pack_at, pack_folders

SPEECH_PACK = "speech-en"

packs_option = click.option(
    "--packs",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_packs,
    show_default="$OUTSTATION_PACKS or ~/.local/share/outstation/packs",
    help="The packs folder.",
)
catalogue_option = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CATALOGUE,
    show_default="the one that ships",
    help="The catalogue to fetch from.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


@click.group()
def models() -> None:
    """Fetch, list, verify and sign packs."""


@models.command("list")
@packs_option
@catalogue_option
@json_option
def list_packs(packs: Path, catalogue: Path, as_json: bool) -> None:
    """Show the packs that are here and those that can be fetched."""
    entries = read_catalogue(catalogue)
    folders = pack_folders(packs)
    for name in sorted(entries.keys() | folders.keys()):
        row = _installed_row(name, folders[name]) if name in folders else _catalogue_row(entries[name])
        plain = "{name:<20} {version:<10} {runtime:<7} {state:<10} {languages:<6} {licence}"
        print_row(row, plain.format(**{**row, "languages": ",".join(row["languages"])}), as_json)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@packs_option
@catalogue_option
@click.option("--sha256", default="", help="The hash to accept instead of the catalogue's (one NAME only).")
@click.option(
    "--from",
    "archive",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take this file instead of downloading (one NAME only).",
)
@json_option
def fetch(
    names: tuple[str, ...], packs: Path, catalogue: Path, sha256: str, archive: Path | None, as_json: bool
) -> None:
    """Fetch packs of the catalogue and install them; without a NAME, the English speech pack."""
    from models.fetch import fetch_pack
    from models.progress import progress

    names = names or (SPEECH_PACK,)
    if len(names) > 1 and (sha256 or archive):
        raise click.UsageError("--sha256 and --from go with one NAME.")
    entries = read_catalogue(catalogue)
    for entry in [entry_named(name, entries) for name in names]:
        wanted = msgspec.structs.replace(entry, source=f"file:{archive}") if archive else entry
        with progress(entry.name) as report:
            pack = fetch_pack(wanted, packs, sha256=sha256, report=report)
        _print_pack(pack, "is installed", as_json)


@models.command()
@click.argument("name", metavar="PACK")
@packs_option
@json_option
def verify(name: str, packs: Path, as_json: bool) -> None:
    """Check a pack (a name, a folder or a .pack file): signature, hashes, manifest against model, self-test.

    Exit code 1 if something is wrong. A fetched speech pack is vouched for by the catalogue's hash, not signed.
    """
    from models.opening import open_pack
    from models.signing import check_pack, makers

    try:
        with _named(name, packs) as pack:
            maker = "" if pack.manifest.runtime == "vosk" else check_pack(pack, makers(packs))
            open_pack(pack.folder, packs)
    except PackInvalid as error:
        click.echo(f"outstation: {error}", err=True)
        raise SystemExit(1) from None
    _print_pack(
        pack, f"is whole, {f'signed by {maker}' if maker else 'unsigned as speech packs are'},", as_json, maker=maker
    )


@contextmanager
def _named(name: str, packs: Path) -> Iterator[Pack]:
    """A pack by its name, its folder or its file, which is unpacked for as long as this lasts."""
    path = Path(name)
    if path.is_file():
        from models.archive import unpack
        from models.signing import makers

        with tempfile.TemporaryDirectory() as folder:
            yield unpack(path, Path(folder), makers(packs))
    else:
        yield pack_at(name, packs)


@models.command("eval")
@click.argument("name", metavar="[PACK]", default="")
@click.option("--all", "every", is_flag=True, help="All packs that ship.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The public data sets.")
@packs_option
@json_option
def evaluate_packs(name: str, every: bool, data: Path | None, packs: Path, as_json: bool) -> None:
    """Measure what a pack is worth on turns, files or rows that it has not learnt from; needs the extra `train`.

    Exit code 1 if a target is missed.
    """
    try:
        from models.train.evaluate import evaluate
    except ImportError as error:
        raise PackMissing(f"{error.name} is not here; install the extra `train`.") from None

    if bool(name) == every:
        raise click.UsageError("Name a pack, or say --all.")
    missed = False
    for one in sorted(path.name for path in SHIPPED.iterdir()) if every else [name]:
        with _named(one, packs) as pack:
            for measured in evaluate(pack, data):
                missed = missed or measured.ok is False
                verdict = {True: "met", False: "missed", None: ""}[measured.ok]
                plain = f"{measured.pack:<20} {measured.metric:<40} {measured.value:8.4f} {measured.target or '':<5} "
                print_row(msgspec.structs.asdict(measured), f"{plain}{verdict:<7} {measured.set}", as_json)
    raise SystemExit(missed)


@models.command("key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def make_key(file: Path) -> None:
    """Make a maker's private key in FILE and print the public key, by which others can trust the maker."""
    from models.signing import new_key

    click.echo(new_key(file))


@models.command()
@click.argument("name", metavar="MAKER")
@click.argument("key")
@packs_option
def trust(name: str, key: str, packs: Path) -> None:
    """Trust packs that are signed by MAKER, whose public key is KEY."""
    from models.signing import trust as trust_maker

    trust_maker(packs, name, key)
    click.echo(f"{name} is trusted in {packs}")


@models.command("sign")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--to", "archive", type=click.Path(path_type=Path, dir_okay=False), help="Also write a .pack file.")
def sign_pack(folder: Path, key: Path, archive: Path | None) -> None:
    """Sign the pack in FOLDER with a maker's private key."""
    from models.archive import pack_up
    from models.signing import sign

    read_pack(folder)
    signature = sign(folder, key)
    if archive is not None:
        try:
            pack_up(folder, archive)
        except OSError as error:
            raise InputInvalid(f"{archive} cannot be written: {error.strerror}; name another file.") from None
    click.echo(f"{archive or folder} is signed by {signature.key}")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--pack", "name", default=SPEECH_PACK, show_default=True, help="The speech pack to hear with.")
@packs_option
@json_option
def transcribe(files: tuple[Path, ...], name: str, packs: Path, as_json: bool) -> None:
    """Print the words of recordings (WAV, FLAC, Ogg) with their start and end in seconds, confidence and channel.

    A recording that is refused is named on stderr, the others are still transcribed, and the exit code is 2.
    """
    from models.runtime.vosk import VoskModel

    pack = find_pack(name, packs)
    if pack.manifest.runtime != "vosk":
        raise click.UsageError(f"{name} is not a speech pack.")
    model = VoskModel(pack)
    refused = 0
    for path in files:
        try:
            words = sorted(_heard(model, path), key=lambda word: (word["start_s"], word["channel"]))
        except ModelError as error:
            click.echo(f"outstation: {error}", err=True)
            refused = error.exit_code
            continue
        if len(files) > 1 and not as_json:
            click.echo(f"{path}:")
        for word in words:
            print_row(word, "{start_s:8.2f} {end_s:8.2f}  {confidence:.2f}  {channel}  {text}".format(**word), as_json)
    raise SystemExit(refused)


def _heard(model: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Every word of a recording, channel after channel within each stretch of sound."""
    from models.features.audio import SPEECH_RATE_HZ, read_chunks, read_info

    info = read_info(path)
    rate_hz = min(info.sample_rate_hz, SPEECH_RATE_HZ)
    streams = [model.stream(rate_hz) for _ in range(info.channels)]
    for sound in read_chunks(path, rate_hz=rate_hz):
        for channel, stream in enumerate(streams):
            yield from _rows(path, channel, stream.hear(sound[:, channel].tobytes()))
    for channel, stream in enumerate(streams):
        yield from _rows(path, channel, [stream.close()])


def _rows(path: Path, channel: int, results: list[Any]) -> Iterator[dict[str, Any]]:
    for result in results:
        for word in result.words:
            yield {"file": str(path), "channel": channel, **msgspec.structs.asdict(word)}


def _installed_row(name: str, folder: Path) -> dict[str, Any]:
    try:
        manifest = read_pack(folder).manifest
    except PackInvalid as error:
        return _row(name, "", "", "", (), "", "altered") | {"problem": str(error)}
    state = "ships" if folder.is_relative_to(SHIPPED.resolve()) else "installed"
    return _row(name, manifest.version, manifest.task, manifest.runtime, manifest.languages, manifest.licence, state)


def _catalogue_row(entry: Entry) -> dict[str, Any]:
    return _row(entry.name, entry.version, entry.task, entry.runtime, entry.languages, entry.licence, "to fetch")


def _row(
    name: str, version: str, task: str, runtime: str, languages: tuple[str, ...], licence: str, state: str
) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "task": task,
        "runtime": runtime,
        "languages": languages,
        "licence": licence,
        "state": state,
    }


def _print_pack(pack: Pack, what: str, as_json: bool, **more: str) -> None:
    manifest = pack.manifest
    row = {"name": manifest.name, "version": manifest.version, "folder": str(pack.folder)} | more
    print_row(row, f"{manifest.name} {manifest.version} {what} in {pack.folder}", as_json)


def print_row(row: dict[str, Any], plain: str, as_json: bool) -> None:
    """Print a row for machines, as one JSON object, or for people."""
    click.echo(msgspec.json.encode(row).decode() if as_json else plain)
