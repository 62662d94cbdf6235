"""How well a site's names are put right by sound, and that ordinary words do not get worse by it.

The sentences of `names/said.tsv`, spoken by flite's voices (Debian's package, `firmware-config/packages.sh test`) and
heard at 8 kHz. The thresholds of edge/perceive/names.py were chosen on the part `choose` with two voices
(`BENCH_PART=choose`); the figures are of the part `test` with two others.
"""

import csv
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from edge.bench.figure import Figure
from edge.errors import MissingPart
from edge.events import Utterance
from edge.perceive.heard import utterance
from edge.perceive.names import Names
from edge.vocabulary import read_vocabulary
from models.catalogue import read_catalogue, speech_pack_of
from models.features.audio import read_chunks
from models.runtime.vosk import VoskModel
from models.store import default_packs, find_pack

FOLDER = Path(__file__).with_name("names")
VOICES = {"choose": ("rms", "kal"), "test": ("slt", "awb")}
RATE_HZ = 8000
SILENCE_S = 0.3


class Said(NamedTuple):
    """A sentence, the names in it, and what was heard of it."""

    text: str
    names: tuple[str, ...]
    heard: Utterance


def measure() -> Iterator[Figure]:
    """Names written right, and word errors in sentences with and without names, as heard and as put right."""
    part = os.environ.get("BENCH_PART", "test")
    if shutil.which("flite") is None:
        raise MissingPart("flite is not there; run `firmware-config/packages.sh test`.")
    terms = read_vocabulary(FOLDER / "vocabulary.toml")
    names = Names(terms)
    spellings = sorted({spelling.casefold() for term in terms for spelling in term.en}, key=len, reverse=True)
    model = VoskModel(find_pack(speech_pack_of("en", read_catalogue()), default_packs()))
    said: list[tuple[Said, Utterance]] = []
    for text, voice in ((text, voice) for text in _sentences(part) for voice in VOICES[part]):
        heard = _heard(model, text, voice)
        if heard is not None:
            found = _names_in(text, spellings)
            said.append((Said(text, found, heard), names.correct(heard)))
    with_names = [pair for pair in said if pair[0].names]
    without = [pair for pair in said if not pair[0].names]
    case = f"{len(with_names)} sentences with names, {' and '.join(VOICES[part])}"
    count = sum(len(one.names) for one, _ in with_names)
    yield from _word_errors(case, with_names)
    for metric, texts in (("heard", [one.heard.text for one, _ in with_names]), ("put right", _texts(with_names))):
        pairs = zip(with_names, texts, strict=True)
        hit = sum(name in text.casefold() for (one, _), text in pairs for name in one.names)
        metric = f"names written right, {metric}"
        yield Figure(bench="names", case=case, metric=metric, value=100 * hit / count, unit="%")
    case = f"{len(without)} ordinary sentences"
    yield from _word_errors(case, without)
    changed = [(one, right) for one, right in without if right.heard]
    yield Figure(bench="names", case=case, metric="changed", value=len(changed), unit="")


def _word_errors(case: str, said: list[tuple[Said, Utterance]]) -> Iterator[Figure]:
    heard = _errors(said, [one.heard.text for one, _ in said])
    yield Figure(bench="names", case=case, metric="word error rate, heard", value=heard, unit="%")
    right = _errors(said, _texts(said))
    yield Figure(bench="names", case=case, metric="word error rate, put right", value=right, unit="%")


def _texts(said: list[tuple[Said, Utterance]]) -> list[str]:
    return [right.text for _, right in said]


def _sentences(part: str) -> list[str]:
    with (FOLDER / "said.tsv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file, delimiter="\t") if row["part"] == part]


def _names_in(text: str, spellings: list[str]) -> tuple[str, ...]:
    """The names in a sentence; one within another counts as the longer."""
    found: list[str] = []
    left = f" {text} "
    for spelling in spellings:
        if f" {spelling} " in left:
            found.append(spelling)
            left = left.replace(f" {spelling} ", " - ")
    return tuple(found)


def _heard(model: VoskModel, text: str, voice: str) -> Utterance | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "said.wav")
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(file)], check=True, capture_output=True)
        sound = np.concatenate([chunk[:, 0] for chunk in read_chunks(file, rate_hz=RATE_HZ)])
    stream = model.stream(RATE_HZ)
    rest = np.zeros(int(SILENCE_S * RATE_HZ), np.int16)
    results = [*stream.hear(np.concatenate([rest, sound, rest]).tobytes()), stream.close()]
    words = tuple(word for result in results for word in result.words)
    return utterance("customer", "en", words, 0.0) if words else None


def _errors(said: list[tuple[Said, Utterance]], texts: list[str]) -> float:
    wrong = words = 0
    for (one, _), text in zip(said, texts, strict=True):
        wrong += Levenshtein.distance(one.text.split(), text.casefold().split())
        words += len(one.text.split())
    return 100 * wrong / words
