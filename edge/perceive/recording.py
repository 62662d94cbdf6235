"""Recordings to words, channel by channel: what is heard comes in the order in which it was said, whichever channel it
is of, and each utterance tells from where its channel goes on after a crash.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.events import Event, Utterance
from edge.memory import give_back
from edge.metrics import Metrics
from edge.perceive.heard import Heard, call_of, utterance
from models.errors import ModelError, PackMissing
from models.features.audio import SPEECH_RATE_HZ, read_chunks
from models.runtime.speech import Result
from models.runtime.speech_stream import SLICE_S
from models.runtime.vosk import VoskModel

# An utterance is closed within about a second of silence after its last word.
CLOSED_WITHIN_S = 2.0


class Recording:
    """A channel of a recording on its way to words."""

    live = False

    def __init__(
        self,
        merger: "Merger",
        audio: Path,
        track: int,
        start_s: float,
        model_for: Callable[[str], VoskModel],
        metrics: Metrics,
    ) -> None:
        """The how manieth `track` of the recording in the file `audio`, from `start_s` on."""
        self._merger = merger
        self._audio = audio
        self._track = track
        self._start_s = start_s
        self._model_for = model_for
        self._metrics = metrics
        self._steps = self._listen()

    def step(self) -> bool:
        """Hear some more; False when there is no more."""
        return next(self._steps, None) is not None

    def _listen(self) -> Iterator[bool]:
        call = call_of(self._merger.event)
        channel = call.channels[self._track]
        try:
            rate_hz = min(call.sample_rate_hz, SPEECH_RATE_HZ)
            stream = self._model_for(call.language).stream(rate_hz)
            position_s, took_s = self._start_s, 0.0
            for chunk in read_chunks(self._audio, self._start_s, SLICE_S, rate_hz=rate_hz):
                began_s = time.perf_counter()
                with self._metrics.step("perceive", "call"):
                    closed = stream.hear(chunk[:, self._track].tobytes())
                took_s += time.perf_counter() - began_s
                self._merger.add(channel, self._said(closed), position_s)
                position_s += len(chunk) / rate_hz
                self._metrics.speech.inc(len(chunk) / rate_hz)
                yield True
            closed = [stream.close()]
            del stream  # tens of megabytes
            give_back()
            self._merger.end(channel, self._said(closed))
            if position_s > self._start_s:
                self._metrics.real_time.observe(took_s / (position_s - self._start_s))
        except PackMissing as error:
            self._merger.fail(missing=str(error))
        except ModelError as error:
            self._merger.fail(fault=str(error))

    def _said(self, results: list[Result]) -> list[Utterance]:
        call = call_of(self._merger.event)
        channel = call.channels[self._track]
        return [utterance(channel, call.language, result.words, self._start_s) for result in results if result.words]


class Merger:
    """Puts the channels of one recording into one order: an utterance is released when no channel can still bring an
    earlier one."""

    def __init__(self, event: Event, seconds: dict[str, float], hand_over: Callable[[Heard], None]) -> None:
        """`seconds`: from where each channel is heard (0 for one that is not in it)."""
        self.event = event
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._heard_s = {channel: seconds.get(channel, 0.0) for channel in call_of(event).channels}
        self._released_s = dict(self._heard_s)
        self._open = set(self._heard_s)
        self._waiting: list[tuple[Utterance, float]] = []
        self._failed = False

    def add(self, channel: str, utterances: list[Utterance], position_s: float) -> None:
        """These have ended on a channel; it need not be heard again up to `position_s`."""
        with self._lock:
            self._heard_s[channel] = position_s
            self._waiting.extend((said, position_s) for said in utterances)
            self._release()

    def end(self, channel: str, utterances: list[Utterance]) -> None:
        """A channel was heard to its end, and these have ended with it."""
        with self._lock:
            duration_s = call_of(self.event).duration_s
            self._waiting.extend((said, duration_s) for said in utterances)
            self._heard_s[channel] = duration_s
            self._open.discard(channel)
            self._release()

    def fail(self, *, fault: str = "", missing: str = "") -> None:
        """The call cannot be heard, for ever or for want of a pack."""
        with self._lock:
            if not self._failed:
                self._failed = True
                seconds = dict(self._released_s)
                self._hand_over(
                    Heard(event=self.event, seconds=seconds, ended=bool(fault), fault=fault, missing=missing)
                )

    def _release(self) -> None:
        """Hand over what no channel can still precede, and the end when all channels have ended."""
        if self._failed:
            return
        horizon_s = min((self._heard_s[channel] for channel in self._open), default=float("inf")) - CLOSED_WITHIN_S
        self._waiting.sort(key=lambda waiting: waiting[0].end_s)
        ready = [waiting for waiting in self._waiting if waiting[0].end_s <= horizon_s]
        if self._open and not ready:
            return
        del self._waiting[: len(ready)]
        for said, position_s in ready:
            self._released_s[said.channel] = position_s
        self._hand_over(
            Heard(
                event=self.event,
                utterances=tuple(said for said, _ in ready),
                seconds=dict(self._released_s),
                ended=not self._open,
            )
        )
