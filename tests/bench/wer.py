"""Word errors, and how long after its last word an utterance is over for the recogniser.

On real telephone speech, Debian's 8 kHz English prompts for Asterisk, which ship with their text (packages
asterisk-core-sounds-en and asterisk-core-sounds-en-wav, `firmware-config/packages.sh test`), and on the sample's calls.
"""

import gzip
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from edge.bench.caller import CHANNELS, PIECE_S
from edge.bench.figure import Figure
from edge.errors import MissingPart
from edge.site import SAMPLE
from models.catalogue import read_catalogue, speech_pack_of
from models.errors import InputInvalid
from models.features.audio import read_chunks, read_info
from models.runtime.vosk import VoskModel
from models.store import default_packs, find_pack

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
SHORTEST_S = 3.0


class Spoken(NamedTuple):
    """Sound of one speaker, and what he says."""

    sound: NDArray[np.int16]
    rate_hz: int
    text: str


def measure() -> Iterator[Figure]:
    """Errors per reference word, the prompts without any, and the sound from an utterance's last word to its end."""
    if not TEXTS.exists() or not SOUNDS.exists():
        raise MissingPart(f"{SOUNDS} is not there; run `firmware-config/packages.sh test`.")
    model = VoskModel(find_pack(speech_pack_of("en", read_catalogue()), default_packs()))
    yield from _measure(model, f"prompts of {SHORTEST_S:.0f} s and more, 8 kHz", _prompts())
    yield from _measure(model, "speakers of the sample's calls, 8 kHz", _sample())


def _measure(model: VoskModel, what: str, speakers: Iterable[Spoken]) -> Iterator[Figure]:
    errors = words = exact = count = 0
    lags_s: list[float] = []
    for spoken in speakers:
        heard, lags = _hear(model, spoken)
        wrong = Levenshtein.distance(_words(spoken.text), heard)
        errors, words, count = errors + wrong, words + len(_words(spoken.text)), count + 1
        exact += wrong == 0
        lags_s += lags
    case = f"{count} {what}, {words} words"
    yield Figure(bench="wer", case=case, metric="word error rate", value=100 * errors / words, unit="%")
    yield Figure(bench="wer", case=case, metric="without an error", value=100 * exact / count, unit="%")
    for part in (50, 95):
        metric = f"last word → utterance over, p{part} of {len(lags_s)}"
        yield Figure(bench="wer", case=case, metric=metric, value=float(np.percentile(lags_s, part)), unit="s of sound")


def _hear(model: VoskModel, spoken: Spoken) -> tuple[list[str], list[float]]:
    """The words, as a live call's are heard, and how long after its last word each utterance was over that ended
    before the sound did."""
    stream, step = model.stream(spoken.rate_hz), round(PIECE_S * spoken.rate_hz)
    heard, lags_s = [], []
    for first in range(0, len(spoken.sound), step):
        for result in stream.hear(spoken.sound[first : first + step].tobytes()):
            heard += [word.text for word in result.words]
            lags_s.append((first + step) / spoken.rate_hz - result.words[-1].end_s)
    return heard + [word.text for word in stream.close().words], lags_s


def _prompts() -> Iterator[Spoken]:
    for line in gzip.decompress(TEXTS.read_bytes()).decode("utf-8", "replace").splitlines():
        name, _, text = line.partition(":")
        path = SOUNDS / f"{name.strip()}.wav"
        if line.startswith(";") or "[" in text or "<" in text or not path.exists():
            continue  # tones and silences are described in brackets
        try:
            if read_info(path).duration_s >= SHORTEST_S:
                yield Spoken(*_sound(path, 0), text)
        except InputInvalid:
            continue


def _sample() -> Iterator[Spoken]:
    for script in sorted((SAMPLE / "calls").glob("*.toml")):
        spoken = tomllib.loads(script.read_text("utf-8"))
        path, turns = SAMPLE / "inbox" / f"{script.stem}.{spoken['format']}", spoken["turn"]
        for track, channel in enumerate(CHANNELS):
            text = " ".join(turn["text"] for turn in turns if turn["speaker"] == channel)
            yield Spoken(*_sound(path, track), text)


def _sound(path: Path, track: int) -> tuple[NDArray[np.int16], int]:
    return np.concatenate(list(read_chunks(path)))[:, track], read_info(path).sample_rate_hz


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("’", "'"))
