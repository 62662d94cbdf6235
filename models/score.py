"""The command `outstation score`: what a pack says of every line of a file."""

import csv
from collections.abc import Iterator, Sequence
from datetime import date
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
from models.table_file import read_table

if TYPE_CHECKING:
    from models.tasks.device_anomaly import DeviceAnomaly
    from models.tasks.text_labels import LabelScore

WORDS_SHOWN = 6
READINGS_AT_ONCE = 2_000
ROWS_AT_ONCE = 500


class TextLine(msgspec.Struct, frozen=True):
    """What a line of JSON must have for a text pack, and what a composed one may want to know beside it: the subject,
    the names in the text by kind, the day (today's if absent). Other keys are passed over."""

    text: str
    subject: str = ""
    names: dict[str, str] = {}
    day: date = msgspec.field(default_factory=date.today)


@click.command()
@click.argument("name", metavar="PACK")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@packs_option
@json_option
def score(name: str, file: Path, packs: Path, as_json: bool) -> None:
    """Print what PACK (a name or a folder) says of each line of FILE: a CSV with a header (*.csv), else JSON lines.

    A pack for text reads the column or key `text`. It prints the labels that reach their thresholds and the words
    that made them; with --json every label's probability too. Of a line without a letter or digit, or in
    a language that the pack does not speak, it abstains and says why. One composed of others reads the keys `subject`,
    `names` (by kind) and `day` too, if there are any; it prints what it went by, and why a label has no answer.

    A pack for devices reads `time`, `device` and a column or key for each sensor. It prints of each line what its most
    anomalous sensor is and how likely that is, by itself, by its course if it is a slow one, or among the others of its
    machine; for one that reaches the threshold also what made it so.

    A pack for odds reads the columns or keys that it was learnt from, as many as there are. It prints of each row how
    likely its label is, and what each column added to the log-odds; of a row without any of them it abstains.

    A pack for machines' lives reads `unit`, `cycle` and the sensors. It prints of each line how many cycles its unit
    has left, between which bounds, and what each sensor took or gave of them; or why it abstains.
    """
    pack = pack_at(name, packs)
    match pack.manifest.task:
        case "text-labels" | "mood":
            rows = _text_rows(pack, file, packs)
        case "device-anomaly":
            rows = _device_rows(pack, file)
        case "odds":
            rows = _odds_rows(pack, file)
        case "device-rul":
            from models.score_lives import life_rows

            rows = life_rows(pack, file)
        case task:
            raise InputInvalid(
                f"{name} is a pack for {task}, which scores no files; name one for text, devices, lives or odds."
            )
    for row, plain in rows:
        print_row(row, plain, as_json)


# ---- text packs --------------------------------------------------------------------------------------------------


def _text_rows(pack: Pack, file: Path, packs: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every line what is printed of it: as an object, and for people."""
    from models.compose.composed import Composed
    from models.compose.library import Library
    from models.compose.turn import Judged
    from models.tasks.labelling import About

    labeller = Library(packs).ready(pack)
    for line, given in _texts(file):
        text = given.text
        if why := labeller.abstains(text):
            row = {"line": line, "pack": labeller.name, "version": labeller.version, "abstain": why}
            yield row, f"{line}: abstains: {why}"
            continue
        about = About(subject=given.subject, names=tuple(given.names.items()), day=given.day)
        if isinstance(labeller, Composed):
            (judged,) = labeller.judge([text], [""], [about])
        else:
            judged = Judged(scores=labeller.score([text])[0], abstains={})
        scores = judged.scores
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
        if known := {score.label: score.known for score in scores if score.known}:
            row["known"] = known
        if judged.abstains:
            row["abstains"] = judged.abstains
        said = [
            f"{score.label} {score.probability:.2f} ({', '.join(_reasons(score, words[score.label]))})"
            for score in called
        ]
        plain = "; ".join([*said, *(f"abstains on {label}: {why}" for label, why in judged.abstains.items())])
        yield row, f"{line}: {plain or 'none'}"


def _reasons(score: "LabelScore", words: Sequence[tuple[str, float]]) -> list[str]:
    known = [f"{one.what} of {one.of}: {one.value}" if one.of else f"{one.what}: {one.value}" for one in score.known]
    return [*(word for word, _ in words[:WORDS_SHOWN]), *known]


def _texts(file: Path) -> Iterator[tuple[int, TextLine]]:
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
                    yield rows.line_num, TextLine(text=row["text"], subject=row.get("subject") or "")
        else:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _text(file, number, line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"{file} is not a CSV file in UTF-8: {error}; save it as one.") from None


def _text(file: Path, number: int, line: bytes) -> TextLine:
    try:
        return msgspec.json.decode(line, type=TextLine)
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


# ---- packs for odds ----------------------------------------------------------------------------------------------


def _odds_rows(pack: Pack, file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """For every row what is printed of it: as an object, and for people."""
    from models.runtime import load
    from models.tasks.odds import Odds

    odds = Odds(load(pack))
    rows = read_table(file)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        for (line, _), score in zip(some, odds.score([cells for _, cells in some]), strict=True):
            row: dict[str, Any] = {"line": line, "pack": odds.name, "version": odds.version}
            if isinstance(score, str):
                yield row | {"abstain": score}, f"{line}: abstains: {score}"
                continue
            weights = [(name, round(weight, 4)) for name, weight in score.weights if name not in score.unknown]
            row |= {
                "labels": [odds.label] if score.probability >= odds.threshold else [],
                "probabilities": {odds.label: round(score.probability, 6)},
                "log_odds": round(score.log_odds, 4),
                "bias": round(score.bias, 4),
                "weights": weights,
                "unknown": score.unknown,
            }
            why = ", ".join(f"{name} {weight:+.2f}" for name, weight in weights[:WORDS_SHOWN])
            yield row, f"{line}: {odds.label} {score.probability:.2f} ({why})"
