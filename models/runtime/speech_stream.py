"""One speaker's sound on its way to words: only where somebody speaks it is decoded.

A recogniser turns noise and music into words, and decodes silence for nothing; so it is given only what is voice, with
a little before and behind. Its clock is therefore not that of the sound; the times that leave here are the sound's.
"""

import bisect
import re
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import numpy as np

from models.errors import InputInvalid
from models.runtime.speech import Result, SoFar
from models.runtime.voice import Voice

SLICE_S = 0.25  # Vosk looks for the end of an utterance once a call: longer calls would run utterances together
BEFORE_S = 0.5
PAUSE_S = 0.12
OVER_S = 0.6
"""After so much quiet, and when what was said has ended, nothing more is decoded."""
SAMPLE_BYTES = 2
TIME = re.compile(r'("(?:start|end)" : )([\d.]+)')


class Recogniser(Protocol):
    """Sound to words, by its own clock: seconds of the sound that it was given."""

    def hear(self, pcm: bytes) -> Result | None:
        """Hear at most SLICE_S; gives the utterance that ended in it."""

    def so_far(self) -> tuple[str, ...]:
        """The words of the utterance that goes on."""

    def close(self) -> Result:
        """End the utterance that goes on."""


class SpeechStream:
    """Little-endian 16-bit mono sound to words. For one thread at a time."""

    def __init__(self, new: Callable[[], Recogniser], rate_hz: int, keeps_s: Callable[[], float]) -> None:
        """`new` makes a recogniser; when it was given `keeps_s` of sound another one takes its place, in a silence."""
        self._new = new
        self._keeps_s = keeps_s
        self._recogniser = new()
        self._rate_hz = rate_hz
        self._voice = Voice(rate_hz)
        self._before = b""
        self._open = False
        self._began = -1
        self._given = 0
        self._heard = 0
        # Where the two clocks were set anew: samples given to the recogniser, and the sample of the sound there.
        self._clocks: list[tuple[int, int]] = [(0, 0)]

    def hear(self, pcm: bytes) -> list[Result]:
        """Hear more sound; gives the utterances that ended in it, often none.

        Raises InputInvalid for anything but bytes, and for half a sample.
        """
        if not isinstance(pcm, bytes) or len(pcm) % SAMPLE_BYTES:
            raise InputInvalid("Sound must come as bytes of whole 16-bit samples.")
        return [result for piece in self._slices(pcm) for result in self._hear(piece) if result.words]

    def close(self) -> Result:
        """End the utterance that goes on here; the stream goes on."""
        return self._ended(self._recogniser.close())

    def so_far(self) -> SoFar | None:
        """What is being said, if anything."""
        words = self._recogniser.so_far() if self._open else ()
        if not words:
            return None
        end_s = self._heard / self._rate_hz - self._voice.quiet_s
        start_s = min(self._began / self._rate_hz, end_s) if self._began >= 0 else end_s
        return SoFar(words=words, start_s=start_s, end_s=end_s, paused=self._voice.quiet_s >= PAUSE_S)

    def _hear(self, pcm: bytes) -> Iterator[Result]:
        first, self._heard = self._heard, self._heard + len(pcm) // SAMPLE_BYTES
        if self._voice.hear(np.frombuffer(pcm, "<i2")):
            self._began = first if self._began < 0 else self._began
            if not self._open:
                self._open = True
                yield from self._give(self._before, first - len(self._before) // SAMPLE_BYTES)
        if not self._open:
            self._before = (self._before + pcm)[-SAMPLE_BYTES * round(BEFORE_S * self._rate_hz) :]
            return
        yield from self._give(pcm, first)
        # The recogniser ends an utterance itself, and then still knows the voice; made to end it, it begins anew.
        if self._voice.quiet_s >= OVER_S and not self._recogniser.so_far():
            self._open, self._before = False, pcm
            if self._given > self._keeps_s() * self._rate_hz:
                self._recogniser, self._given, self._clocks = self._new(), 0, [(0, 0)]

    def _give(self, pcm: bytes, first: int) -> Iterator[Result]:
        """Give the recogniser sound that begins at a sample."""
        given, sound = self._clocks[-1]
        if first != sound + self._given - given:
            self._clocks.append((self._given, first))
        for piece in self._slices(pcm):
            self._given += len(piece) // SAMPLE_BYTES
            result = self._recogniser.hear(piece)
            if result is not None:
                yield self._ended(result)

    def _slices(self, pcm: bytes) -> Iterator[bytes]:
        size = SAMPLE_BYTES * round(SLICE_S * self._rate_hz)
        return (pcm[first : first + size] for first in range(0, len(pcm), size))

    def _ended(self, result: Result) -> Result:
        """A result by the clock of the sound."""
        words = tuple(
            msgspec.structs.replace(word, start_s=self._sound_s(word.start_s), end_s=self._sound_s(word.end_s))
            for word in result.words
        )
        told = TIME.sub(lambda time: f"{time[1]}{self._sound_s(float(time[2])):.6f}", result.json)
        self._began = -1
        del self._clocks[:-1]
        return Result(words, told)

    def _sound_s(self, given_s: float) -> float:
        """When in the sound is what the recogniser heard after so much of what it was given."""
        place = max(0, bisect.bisect_right(self._clocks, (given_s * self._rate_hz, float("inf"))) - 1)
        given, sound = self._clocks[place]
        return given_s + (sound - given) / self._rate_hz
