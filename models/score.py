"""The command `outstation score`: what a pack says of every line of a file."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from models.cli import json_option, packs_option, print_row
from models.device_log import Line, read_device_log
from models.errors import InputInvalid
from models.pack import Pack
from models.store import pack_at

if TYPE_CHECKING:
    from models.tasks.device_anomaly import DeviceAnomaly

WORDS_SHOWN = 6
READINGS_AT_ONCE = 2_000


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
    that made them; with --json every label's probability too. Of a line without a letter or digit, or in
    a language that the pack does not speak, it abstains and says why.

    A pack for devices reads `time`, `device` and a column or key for each sensor. It prints of each line what its most
    anomalous sensor is and how likely that is, by itself, by its course if it is a slow one, or among the others of its
    machine; for one that reaches the threshold also what made it so.
    """
    pack = pack_at(name, packs)
    match pack.manifest.task:
        case "text-labels":
            rows = _text_rows(pack, file)
        case "device-anomaly":
            rows = _device_rows(pack, file)
        case task:
            raise InputInvalid(f"{name} is a pack for {task}, which scores no files; name one for text or devices.")
    for row, plain in rows:
        print_row(row, plain, as_json)


# ---- text packs --------------------------------------------------------------------------------------------------


def _text_rows(pack: Pack, file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every line what is printed of it: as an object, and for people."""
    from models.tasks.text_labels import TextLabels

    labeller = TextLabels(pack)
    for line, text in _texts(file):
        if why := labeller.abstains(text):
            row = {"line": line, "pack": labeller.name, "version": labeller.version, "abstain": why}
            yield row, f"{line}: abstains: {why}"
            continue
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


# ---- packs for devices -------------------------------------------------------------------------------------------


def _device_rows(pack: Pack, file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every line what is printed of its most anomalous sensor: as an object, and for people."""
    import numpy as np

    from models.features.windows import SensorWindows
    from models.runtime import load
    from models.tasks.device_anomaly import DeviceAnomaly
    from models.tasks.device_watch import DeviceWatch

    anomaly = DeviceAnomaly(load(pack))
    watch = DeviceWatch(anomaly.threshold)
    windows = SensorWindows()
    slots: dict[tuple[str, str], int] = {}
    lines = read_device_log(file)
    while some := list(islice(lines, READINGS_AT_ONCE)):
        names = [(line.device, sensor) for line in some for sensor in line.values]
        places = np.array([slots.setdefault(name, len(slots)) for name in names], np.int64)
        at_us = np.repeat(np.array([line.at for line in some], np.int64), [len(line.values) for line in some])
        values = np.array([value for line in some for value in line.values.values()], np.float64)
        features, usual = windows.update(places, at_us, values)
        probability = anomaly.score(features)
        verdicts = iter(
            watch.update([(line.device, line.at, line.values) for line in some if line.values], probability)
        )
        first = 0
        for line in some:
            if not line.values:
                yield _device_row(anomaly, line, "", 0.0, 0.0, ())
                continue
            said = next(verdicts)
            place = first + list(line.values).index(said.sensor)
            called = said.probability >= anomaly.threshold
            weights = anomaly.explain(features[place]) if called and said.by == "sensor" else said.weights
            yield _device_row(anomaly, line, said.sensor, said.probability, float(usual[place]), weights)
            first += len(line.values)


def _device_row(
    anomaly: "DeviceAnomaly",
    line: Line,
    sensor: str,
    probability: float,
    usual: float,
    weights: Sequence[tuple[str, float]],
) -> tuple[dict[str, Any], str]:
    reasons = [(name, round(weight, 3)) for name, weight in weights if weight > 0][:WORDS_SHOWN]
    row = {
        "line": line.line,
        "pack": anomaly.name,
        "version": anomaly.version,
        "time": line.time,
        "device": line.device,
        "labels": [anomaly.label] if weights else [],
        "probabilities": {anomaly.label: round(probability, 6)},
        "sensor": sensor,
        "value": line.values.get(sensor),
        "usual": round(usual, 6),
        "weights": reasons,
    }
    plain = f"{line.line}: {line.device} {sensor} {probability:.2f}"
    if weights:
        why = ", ".join(name for name, _ in reasons)
        plain = f"{plain} {anomaly.label}: {line.values[sensor]:g}, usually {usual:.4g} ({why})"
    return row, plain
