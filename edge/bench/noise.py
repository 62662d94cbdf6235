"""Words that nobody said: what a bare recogniser makes of hold music and noise, and what the gateway makes of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import vosk
from numpy.typing import NDArray

from edge.bench.figure import Figure
from edge.errors import MissingPart
from models.catalogue import read_catalogue, speech_pack_of
from models.runtime.vosk import VoskModel
from models.store import default_packs, find_pack

MUSIC = Path("/usr/share/asterisk/moh")
RATE_HZ = 8_000
SECONDS = 60
LOUDNESS = (30, 300, 3_000)
PIECE = 2 * RATE_HZ // 4


def measure() -> Iterator[Figure]:
    """Debian's hold music for Asterisk, a minute of each piece, and as much white noise and hum at three levels."""
    if not MUSIC.is_dir():
        raise MissingPart(f"{MUSIC} is not there; run `firmware-config/packages.sh test`.")
    music = [soundfile.read(path, SECONDS * RATE_HZ, dtype="int16")[0] for path in sorted(MUSIC.glob("*.wav"))]
    pack = find_pack(speech_pack_of("en", read_catalogue()), default_packs())
    model, bare = VoskModel(pack), vosk.Model(str(pack.model_path))
    for name, sounds in {"hold music": music, "noise and hum": _noise()}.items():
        minutes = sum(map(len, sounds)) / RATE_HZ / 60
        bare_words = sum(_bare(bare, sound) for sound in sounds) / minutes
        words = sum(_ours(model, sound) for sound in sounds) / minutes
        case = f"{name}, {minutes:.0f} minutes"
        metric, unit = "words that nobody said", "words a minute"
        yield Figure(bench="noise", case=f"{case}, a bare Vosk loop", metric=metric, value=bare_words, unit=unit)
        yield Figure(bench="noise", case=case, metric=metric, value=words, unit=unit, target="0", ok=words == 0)


def _noise() -> list[NDArray[np.int16]]:
    random = np.random.default_rng(4)
    hum = sum(np.sin(2 * np.pi * 50 * n * np.arange(SECONDS * RATE_HZ) / RATE_HZ) / n for n in (1, 2, 3, 5))
    white = random.standard_normal(SECONDS * RATE_HZ)
    return [(loud * sound).astype(np.int16) for sound in (white, hum + 0.2 * white) for loud in LOUDNESS]


def _ours(model: VoskModel, sound: NDArray[np.int16]) -> int:
    stream = model.stream(RATE_HZ)
    return sum(len(result.words) for result in [*stream.hear(sound.tobytes()), stream.close()])


def _bare(model: vosk.Model, sound: NDArray[np.int16]) -> int:
    recognizer, pcm = vosk.KaldiRecognizer(model, RATE_HZ), sound.tobytes()
    pieces = (pcm[first : first + PIECE] for first in range(0, len(pcm), PIECE))
    texts = [recognizer.Result() for piece in pieces if recognizer.AcceptWaveform(piece)] + [recognizer.FinalResult()]
    return sum(len(text.partition('"text" : "')[2].partition('"')[0].split()) for text in texts)
