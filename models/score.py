"""The command `outstation score`: what a pack says of every line of a file."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from models.cli import json_option, packs_option
from models.errors import InputInvalid
from models.pack import MANIFEST, Pack, read_pack
from models.store import find_pack

WORDS_SHOWN = 6


class TextLine(msgspec.Struct, frozen=True):
    """What a line of JSON must have for a text pack; other keys are passed over."""

    text: str


@click.command()
@click.argument("name", metavar="PACK")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@packs_option
@json_option
def score(name: str, file: Path, packs: Path, as_json: bool) -> None:
    """Print what PACK (a name or a folder) says of each line of FILE: a CSV with a header (*.csv), else JSON lines.

    A pack for text reads the column or key `text`. It prints the labels that reach their thresholds and the words
    that made them; with --json every label's probability too. A line without a letter or digit gets no labels.
    """
    pack = read_pack(Path(name)) if (Path(name) / MANIFEST).is_file() else find_pack(name, packs)
    match pack.manifest.task:
        case "text-labels":
            rows = _text_rows(pack, file)
        case task:
            raise InputInvalid(f"{name} is a pack for {task}, which scores no files; name a pack for text.")
    for row, plain in rows:
        click.echo(msgspec.json.encode(row).decode() if as_json else plain)


# ---- text packs --------------------------------------------------------------------------------------------------


def _text_rows(pack: Pack, file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every line what is printed of it: as an object, and for people."""
    from models.runtime import load
    from models.tasks.text_labels import TextLabels

    labeller = TextLabels(load(pack))
    for line, text in _texts(file):
        (scores,) = labeller.score([text])
        called = [score for score in scores if score.probability >= labeller.thresholds[score.label]]
        words = {
            score.label: [
                (text[start:end], round(weight, 3)) for start, end, weight in score.contributions if weight > 0
            ]
            for score in called
        }
        row = {
            "line": line,
            "pack": labeller.name,
            "version": labeller.version,
            "labels": [score.label for score in called],
            "probabilities": {score.label: round(score.probability, 4) for score in scores},
            "words": words,
        }
        plain = "; ".join(
            f"{score.label} {score.probability:.2f} ({', '.join(word for word, _ in words[score.label][:WORDS_SHOWN])})"
            for score in called
        )
        yield row, f"{line}: {plain or 'none'}"


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file with their line numbers; raises InputInvalid at the first line that has none."""
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8", newline="") as source:
                rows = csv.DictReader(source, strict=True)
                if "text" not in (rows.fieldnames or ()):
                    raise InputInvalid(f"{file}: the header has no column `text`; add it.")
                for row in rows:
                    if row["text"] is None:
                        raise InputInvalid(f"{file}, line {rows.line_num}: the row ends before the column `text`.")
                    yield rows.line_num, row["text"]
        else:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _text(file, number, line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"{file} is not a CSV file in UTF-8: {error}; save it as one.") from None


def _text(file: Path, number: int, line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=TextLine).text
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputInvalid(f'{file}, line {number}: not of the form {{"text": "…"}}: {error}.') from None
