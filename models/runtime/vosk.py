"""Speech packs on Vosk: whole recordings, and streams that give words while somebody still speaks.

Vosk hangs for ever on a sample rate of zero, reads past the end of half a sample, and prints to the terminal; all of
that is kept out here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import vosk
from numpy.typing import NDArray

from models.errors import InputInvalid, PackInvalid
from models.pack import Pack
from models.runtime.contract import check_declared, check_given, translated
from models.runtime.speech import (
    FEATURE_OPTIONS,
    FEATURE_SETTINGS,
    HIGHEST_RATE_HZ,
    INPUTS,
    LOWEST_RATE_HZ,
    OUTPUTS,
    Utterance,
    Word,
)

__all__ = ["SLICE_S", "Result", "SpeechStream", "Utterance", "VoskModel", "Word"]

SLICE_S = 0.25  # Vosk looks for the end of an utterance once a call: longer calls would run utterances together
NOT_A_WORD = re.compile(r"<.*>|\[.*\]|!sil", re.IGNORECASE)


class _HeardWord(msgspec.Struct):
    word: str
    start: float
    end: float
    conf: float = 1.0


class _Alternative(msgspec.Struct):
    result: tuple[_HeardWord, ...] = ()


class _Result(msgspec.Struct):
    result: tuple[_HeardWord, ...] = ()
    alternatives: tuple[_Alternative, ...] = ()


class _Partial(msgspec.Struct):
    partial_result: tuple[_HeardWord, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """An utterance that has ended: its words, and what Vosk itself says of it, as JSON."""

    words: Utterance
    json: str


class VoskModel:
    """A speech model, loaded once; its streams share it, each on whatever thread it likes."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        _check_folder(pack)
        check_declared(pack, INPUTS, OUTPUTS)
        vosk.SetLogLevel(-1)
        with translated(PackInvalid, f"{pack.model_path} does not open in Vosk"):
            self._model = vosk.Model(str(pack.model_path))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Transcribe a whole recording: `audio`, int16 mono, and `sample_rate_hz`, one int32.

        Gives the words in order: `text`, `start_s`, `end_s` and `confidence`. Raises InputInvalid.
        """
        check_given(self.pack, inputs)
        stream = self.stream(int(inputs["sample_rate_hz"][0]))
        utterances = [*stream.accept(inputs["audio"].tobytes()), *stream.finish()]
        words = [word for utterance in utterances for word in utterance]
        return {
            "text": np.array([word.text for word in words], dtype=np.str_),
            "start_s": np.array([word.start_s for word in words], dtype=np.float64),
            "end_s": np.array([word.end_s for word in words], dtype=np.float64),
            "confidence": np.array([word.confidence for word in words], dtype=np.float64),
        }

    def stream(self, sample_rate_hz: int, *, phrases: Sequence[str] = (), alternatives: int = 0) -> "SpeechStream":
        """A new stream of mono 16-bit sound at 8,000 to 48,000 Hz; raises InputInvalid for any other rate.

        With `phrases` nothing else is recognised; with `alternatives` each result has so many, and its words, those of
        the likeliest, have no confidence (1.0).
        """
        if not LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ:
            raise InputInvalid(
                f"Speech at {sample_rate_hz} Hz cannot be heard; give it at {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz."
            )
        with translated(InputInvalid, f"{self.pack.manifest.name} does not hear {sample_rate_hz} Hz"):
            grammar = [msgspec.json.encode(list(phrases)).decode()] if phrases else []
            recognizer = vosk.KaldiRecognizer(self._model, float(sample_rate_hz), *grammar)
            recognizer.SetMaxAlternatives(alternatives)
            return SpeechStream(recognizer, sample_rate_hz)


class SpeechStream:
    """One speaker's sound on its way to words. For one thread at a time."""

    def __init__(self, recognizer: Any, sample_rate_hz: int) -> None:
        recognizer.SetWords(True)
        recognizer.SetPartialWords(True)
        self._recognizer = recognizer
        self._slice_bytes = 2 * round(SLICE_S * sample_rate_hz)
        self._finished = False

    def accept(self, pcm: bytes) -> list[Utterance]:
        """Hear more sound, little-endian 16-bit mono; gives the utterances that ended in it, often none.

        Raises InputInvalid for anything but bytes, for half a sample, and after `finish`.
        """
        self._check(pcm)
        slices = (pcm[first : first + self._slice_bytes] for first in range(0, len(pcm), self._slice_bytes))
        with translated(InputInvalid, "Vosk could not take this sound"):
            results = [self._recognizer.Result() for sound in slices if self._recognizer.AcceptWaveform(sound)]
        return [utterance for utterance in map(_words, results) if utterance]

    def hear(self, pcm: bytes) -> "Result | None":
        """Hear a piece of at most SLICE_S; gives the utterance that ended in it, without words if it has none.

        Raises InputInvalid as `accept` does.
        """
        self._check(pcm)
        with translated(InputInvalid, "Vosk could not take this sound"):
            return _result(self._recognizer.Result()) if self._recognizer.AcceptWaveform(pcm) else None

    def close_utterance(self) -> "Result":
        """End the utterance that goes on here; the stream goes on."""
        return _result(self._recognizer.FinalResult())

    def partial(self) -> Utterance:
        """What is heard so far of the utterance that is still going on; it may change."""
        return _kept(msgspec.json.decode(self._recognizer.PartialResult(), type=_Partial).partial_result)

    def _check(self, pcm: bytes) -> None:
        if self._finished:
            raise InputInvalid("This stream was finished and takes no more sound; open a new one.")
        if not isinstance(pcm, bytes) or len(pcm) % 2:
            raise InputInvalid("Sound must come as bytes of whole 16-bit samples.")

    def finish(self) -> list[Utterance]:
        """End the stream; gives the utterance that was still going on, if there was one."""
        if self._finished:
            return []
        self._finished = True
        utterance = _words(self._recognizer.FinalResult())
        return [utterance] if utterance else []


def _result(result: str) -> Result:
    return Result(_words(result), result)


def _words(result: str) -> Utterance:
    decoded = msgspec.json.decode(result, type=_Result)
    return _kept(decoded.alternatives[0].result if decoded.alternatives else decoded.result)


def _kept(heard: Iterable[_HeardWord]) -> Utterance:
    return tuple(
        Word(text=word.word, start_s=word.start, end_s=word.end, confidence=min(1.0, max(0.0, word.conf)))
        for word in heard
        if not NOT_A_WORD.fullmatch(word.word)
    )


def _check_folder(pack: Pack) -> None:
    """Vosk opens any file of a known name in the model's folder, so each must be one the manifest vouches for."""
    if not pack.manifest.model or not pack.model_path.is_dir():
        raise PackInvalid(f"{pack.folder}: `model` is {pack.manifest.model!r}, which is not a folder of the pack.")
    for path in pack.model_path.rglob("*"):
        name = path.relative_to(pack.folder).as_posix()
        if not path.is_dir() and name not in pack.manifest.files:
            raise PackInvalid(f"{path} is not among the pack's `files`; install the pack anew.")
    graph = pack.model_path / "graph"
    if not (graph / "HCLG.fst").is_file() and not ((graph / "HCLr.fst").is_file() and (graph / "Gr.fst").is_file()):
        raise PackInvalid(f"{graph} holds no decoding graph, without which Vosk crashes; install the pack anew.")
    settings = pack.model_path / FEATURE_SETTINGS
    options = settings.read_text("utf-8", "replace").split() if settings.is_file() else []
    if missing := [option for option in FEATURE_OPTIONS if option not in options]:
        raise PackInvalid(f"{settings} lacks {' and '.join(missing)}; install the pack anew.")
