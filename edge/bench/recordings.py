"""Recordings through the whole daemon, against a bare Vosk loop over the same files on the same cores."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
import vosk

from edge.bench.figure import Figure
from edge.bench.site import OUTSTATION, sample_site
from edge.site import SAMPLE
from models.catalogue import read_catalogue, speech_pack_of
from models.store import default_packs, find_pack

COPIES = 3
CHUNK_FRAMES = 4000


def measure() -> Iterator[Figure]:
    """Seconds of calls per second, each alone on the machine; the model's loading is in neither."""
    with sample_site(inbox=False) as (folder, _):
        files = _copies(folder / "inbox")
        audio_s = sum(soundfile.info(str(path)).duration for path in files)
        bare = {threads: audio_s / _bare_loop(files, threads) for threads in (1, os.cpu_count() or 1)}
        done = subprocess.run([*OUTSTATION, "run", "--once", "--json", str(folder)], check=True, capture_output=True)
        summary = json.loads(done.stdout)
        ours = summary["audio_s"] / (summary["rtf"] * summary["audio_s"] - _load_s())
    for threads, peer in bare.items():
        target = "≥ 0.95" if threads > 1 else None
        yield Figure(
            bench="recordings",
            case=f"{len(files)} stereo calls, {audio_s:.0f} s",
            metric="call seconds per second",
            value=ours,
            unit="s/s",
            peer=f"a bare Vosk loop on {threads} thread{'s' if threads > 1 else ''}",
            ratio=ours / peer,
            target=target,
            ok=None if target is None else ours / peer >= 0.95,
        )


def _copies(inbox: Path) -> list[Path]:
    """The sample's calls several times over; each copy differs in one sample, or it would be accepted once."""
    files = []
    for path in sorted((SAMPLE / "inbox").iterdir()):
        if path.suffix in (".wav", ".flac"):
            sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
            for number in range(COPIES):
                sound[0, 0] = number
                copy = inbox / f"{path.stem}-{number}{path.suffix}"
                soundfile.write(copy, sound, rate)
                os.utime(copy, (0, 0))
                files.append(copy)
    return files


def _model() -> vosk.Model:
    vosk.SetLogLevel(-1)
    pack = find_pack(speech_pack_of("en", read_catalogue()), default_packs())
    return vosk.Model(str(pack.model_path))


def _load_s() -> float:
    began_s = time.monotonic()
    _model()
    return time.monotonic() - began_s


def _bare_loop(files: list[Path], threads: int) -> float:
    """Seconds that the shortest program takes: read, accept, take the results, channel by channel."""
    model = _model()

    def decode(path: Path, track: int) -> None:
        recognizer = vosk.KaldiRecognizer(model, soundfile.info(str(path)).samplerate)
        recognizer.SetWords(True)
        for block in soundfile.blocks(path, CHUNK_FRAMES, dtype="int16", always_2d=True):
            if recognizer.AcceptWaveform(block[:, track].tobytes()):
                recognizer.Result()
        recognizer.FinalResult()

    jobs = [(path, track) for path in files for track in range(soundfile.info(str(path)).channels)]
    began_s = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda job: decode(*job), jobs))
    return time.monotonic() - began_s
