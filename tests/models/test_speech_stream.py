"""What reaches the recogniser of a speaker's sound, and by which clock its answers leave."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.features.audio import read_chunks
from models.runtime.speech import Result, Word
from models.runtime.speech_stream import SpeechStream

RATE_HZ = 8_000
CUSTOMER = 1
PIECE_S = st.floats(0.002, 0.6)


class Echo:
    """A recogniser that hears every sound as a word of its own, from when to when it was given it."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self._words: list[Word] = []
        self._given_s = 0.0

    def hear(self, pcm: bytes) -> Result | None:
        start_s, self._given_s = self._given_s, self._given_s + len(pcm) / 2 / RATE_HZ
        self._words.append(Word(text=str(len(self.given)), start_s=start_s, end_s=self._given_s, confidence=1.0))
        self.given.append(pcm)
        return None

    def so_far(self) -> tuple[str, ...]:
        return tuple(word.text for word in self._words)

    def close(self) -> Result:
        words, self._words = tuple(self._words), []
        told = ", ".join(f'{{"start" : {word.start_s:.6f}, "end" : {word.end_s:.6f}}}' for word in words)
        return Result(words, f'{{"result" : [{told}]}}')


@pytest.fixture(scope="module")
def customer(sample_call: Path) -> NDArray[np.int16]:
    """The customer's first half minute in the sample's call: three sentences, and quiet while the agent speaks."""
    return next(read_chunks(sample_call, 0.0, 30.0))[:, CUSTOMER]


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(PIECE_S, min_size=1, max_size=20), keeps_s=st.sampled_from([0.0, 8.0, 1e6]))
def test_in_whatever_pieces_it_comes_the_times_are_those_of_the_sound(
    customer: NDArray[np.int16], sizes: list[float], keeps_s: float
) -> None:
    echoes: list[Echo] = []

    def new() -> Echo:
        echoes.append(Echo())
        return echoes[-1]

    stream = SpeechStream(new, RATE_HZ, lambda: keeps_s)
    results: list[Result] = []
    first = turn = 0
    while first < len(customer):
        last = first + round(sizes[turn % len(sizes)] * RATE_HZ)
        results += stream.hear(customer[first:last].tobytes())
        first, turn = last, turn + 1
    results.append(stream.close())
    words = [word for result in results for word in result.words]
    heard = [pcm for echo in echoes for pcm in echo.given]
    for word, pcm in zip(words, heard, strict=True):
        at = round(word.start_s * RATE_HZ)
        assert customer[at : at + len(pcm) // 2].tobytes() == pcm
    assert sum(map(len, heard)) < customer.nbytes  # quiet is not decoded
    for result in results:
        told = json.loads(result.json)["result"]
        assert [(time["start"], time["end"]) for time in told] == [
            (pytest.approx(word.start_s, abs=1e-5), pytest.approx(word.end_s, abs=1e-5)) for word in result.words
        ]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 48_000])
def test_noise_does_not_reach_the_recogniser(rate_hz: int) -> None:
    noise = np.random.default_rng(7)
    for loudness in (10, 300, 3_000):
        echo = Echo()
        stream = SpeechStream(lambda: echo, rate_hz, lambda: 1e6)  # noqa: B023
        stream.hear((noise.standard_normal(10 * rate_hz) * loudness).astype(np.int16).tobytes())
        assert echo.given == []
        assert stream.so_far() is None


def test_what_was_said_just_before_the_voice_was_noticed_is_heard_too(customer: NDArray[np.int16]) -> None:
    echo = Echo()
    stream = SpeechStream(lambda: echo, RATE_HZ, lambda: 1e6)
    first = 0
    while not echo.given:
        stream.hear(customer[first : first + 160].tobytes())
        first += 160
    assert sum(map(len, echo.given)) / 2 / RATE_HZ > 0.25
