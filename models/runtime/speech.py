"""What speech recognition takes and gives; apart from Vosk, so that only who recognises loads it."""

import msgspec

from models.pack import Tensor
from models.runtime.contract import ANY

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8_000, 48_000
INPUTS = {"audio": Tensor(dtype="int16", shape=(ANY,)), "sample_rate_hz": Tensor(dtype="int32", shape=(1,))}
OUTPUTS = {
    "text": Tensor(dtype="str", shape=(ANY,)),
    "start_s": Tensor(dtype="float64", shape=(ANY,)),
    "end_s": Tensor(dtype="float64", shape=(ANY,)),
    "confidence": Tensor(dtype="float64", shape=(ANY,)),
}

FEATURE_SETTINGS = "conf/mfcc.conf"
# Without these Vosk gives other words for the same sound from run to run, and refuses rates other than the model's own.
FEATURE_OPTIONS = ("--dither=0", "--allow-upsample=true", "--allow-downsample=true")

DECODER_SETTINGS = "conf/model.conf"
# Frames decoded together: the maker's 20 make a word wait a tenth of a second longer, 6 cost a quarter more computing.
DECODER_OPTIONS = ("--frames-per-chunk=10",)


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised word: seconds from the start of the stream, confidence 0 to 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float


Utterance = tuple[Word, ...]


class Result(msgspec.Struct, frozen=True):
    """An utterance that has ended: its words, and what the recogniser itself says of it, as JSON."""

    words: Utterance
    json: str


class SoFar(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is saying: the words, which may still change, from when until when (seconds from the start of the
    stream), and whether he has paused since."""

    words: tuple[str, ...]
    start_s: float
    end_s: float
    paused: bool
