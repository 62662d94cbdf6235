"""Speech packs on Vosk: whole recordings, and streams that give words while somebody still speaks.

Vosk hangs for ever on a sample rate of zero, reads past the end of half a sample, and prints to the terminal; all of
that is kept out here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

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
    Result,
    Utterance,
    Word,
)
from models.runtime.speech_stream import SpeechStream

# A recogniser keeps what it has walked of the graph: 70 MB after a minute of sound, 190 MB after ten. Walking it anew
# costs a fifth of the decoding if it is done every two minutes; so streams do it the sooner the more there are.
KEPT_S = 600.0  # of sound, by all streams: some 700 MB
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
    partial: str = ""


class VoskModel:
    """A speech model, loaded once; its streams share it, each on whatever thread it likes."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        _check_folder(pack)
        check_declared(pack, INPUTS, OUTPUTS)
        vosk.SetLogLevel(-1)
        with translated(PackInvalid, f"{pack.model_path} does not open in Vosk"):
            self._model = vosk.Model(str(pack.model_path))
        self._streams: WeakSet[SpeechStream] = WeakSet()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Transcribe a whole recording: `audio`, int16 mono, and `sample_rate_hz`, one int32.

        Gives the words in order: `text`, `start_s`, `end_s` and `confidence`. Raises InputInvalid.
        """
        check_given(self.pack, inputs)
        stream = self.stream(int(inputs["sample_rate_hz"][0]))
        results = [*stream.hear(inputs["audio"].tobytes()), stream.close()]
        words = [word for result in results for word in result.words]
        return {
            "text": np.array([word.text for word in words], dtype=np.str_),
            "start_s": np.array([word.start_s for word in words], dtype=np.float64),
            "end_s": np.array([word.end_s for word in words], dtype=np.float64),
            "confidence": np.array([word.confidence for word in words], dtype=np.float64),
        }

    def stream(self, sample_rate_hz: int, *, phrases: Sequence[str] = (), alternatives: int = 0) -> SpeechStream:
        """A new stream of mono 16-bit sound at 8,000 to 48,000 Hz; raises InputInvalid for any other rate.

        With `phrases` nothing else is recognised; with `alternatives` each result has so many, and its words, those of
        the likeliest, have no confidence (1.0).
        """
        if not LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ:
            raise InputInvalid(
                f"Speech at {sample_rate_hz} Hz cannot be heard; give it at {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz."
            )
        grammar = [msgspec.json.encode(list(phrases)).decode()] if phrases else []

        def new() -> _Recogniser:
            recognizer = vosk.KaldiRecognizer(self._model, float(sample_rate_hz), *grammar)
            recognizer.SetMaxAlternatives(alternatives)
            return _Recogniser(recognizer)

        with translated(InputInvalid, f"{self.pack.manifest.name} does not hear {sample_rate_hz} Hz"):
            stream = SpeechStream(new, sample_rate_hz, lambda: KEPT_S / len(self._streams))
        self._streams.add(stream)
        return stream


class _Recogniser:
    """Vosk's own recogniser, for one speech stream."""

    def __init__(self, recognizer: Any) -> None:
        recognizer.SetWords(True)
        self._recognizer = recognizer

    def hear(self, pcm: bytes) -> Result | None:
        with translated(InputInvalid, "Vosk could not take this sound"):
            return _result(self._recognizer.Result()) if self._recognizer.AcceptWaveform(pcm) else None

    def so_far(self) -> tuple[str, ...]:
        # Vosk's partial words with times lack the newest ones: it tells only those of which it knows the end.
        text = msgspec.json.decode(self._recognizer.PartialResult(), type=_Partial).partial
        return tuple(word for word in text.split() if not NOT_A_WORD.fullmatch(word))

    def close(self) -> Result:
        return _result(self._recognizer.FinalResult())


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
