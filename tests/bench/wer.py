"""Word error rate on real telephone speech: Debian's 8 kHz English prompts for Asterisk, which ship with their text.

Needs the packages asterisk-core-sounds-en and asterisk-core-sounds-en-wav (`firmware-config/packages.sh test`).
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from edge.bench.figure import Figure
from edge.errors import MissingPart
from models import runtime
from models.catalogue import read_catalogue, speech_pack_of
from models.errors import InputInvalid
from models.features.audio import read_chunks, read_info
from models.store import default_packs, find_pack

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
SHORTEST_S = 3.0


def measure() -> Iterator[Figure]:
    """Errors per reference word over all prompts of three seconds and more, and the whole-prompt exact rate."""
    if not TEXTS.exists() or not SOUNDS.exists():
        raise MissingPart(f"{SOUNDS} is not there; run `firmware-config/packages.sh test`.")
    model = runtime.load(find_pack(speech_pack_of("en", read_catalogue()), default_packs()))
    errors = words = exact = prompts = 0
    for path, text in _prompts():
        info = read_info(path)
        sound = np.concatenate(list(read_chunks(path)))[:, 0]
        rate = np.array([info.sample_rate_hz], np.int32)
        heard = [str(word) for word in model.run({"audio": sound, "sample_rate_hz": rate})["text"]]
        wrong = Levenshtein.distance(_words(text), heard)
        errors, words, prompts = errors + wrong, words + len(_words(text)), prompts + 1
        exact += wrong == 0
    case = f"{prompts} prompts of {SHORTEST_S:.0f} s and more, {words} words, 8 kHz"
    yield Figure(bench="wer", case=case, metric="word error rate", value=100 * errors / words, unit="%")
    yield Figure(bench="wer", case=case, metric="prompts without an error", value=100 * exact / prompts, unit="%")


def _prompts() -> Iterator[tuple[Path, str]]:
    for line in gzip.decompress(TEXTS.read_bytes()).decode("utf-8", "replace").splitlines():
        name, _, text = line.partition(":")
        path = SOUNDS / f"{name.strip()}.wav"
        if line.startswith(";") or "[" in text or "<" in text or not path.exists():
            continue  # tones and silences are described in brackets
        try:
            if read_info(path).duration_s >= SHORTEST_S:
                yield path, text
        except InputInvalid:
            continue


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("’", "'"))
