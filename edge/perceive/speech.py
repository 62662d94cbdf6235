"""Calls to words: recordings through the speech pack, channel by channel, on threads that use every core.

Vosk releases Python's lock while it decodes, and all recognizers share one loaded model. What is heard is handed over
in the order in which it was said, whichever channel it came from, and each utterance tells from where its channel goes
on after a crash: from the silence after its last word.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from edge.events import Call, Event, Utterance, Word
from edge.metrics import Metrics
from models.errors import ModelError, PackMissing
from models.features.audio import read_chunks
from models.runtime.speech import Word as SpokenWord
from models.runtime.vosk import SLICE_S, VoskModel

# Vosk closes an utterance within about a second of silence after its last word.
CLOSED_WITHIN_S = 2.0
HEARD_WAITING = 256
# Speech models know 16 kHz; what is above carries no more words for them.
HIGHEST_RATE_HZ = 16_000


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call: utterances in the order of their ends, or its end, or why it cannot be heard: for ever
    (`fault`), or as long as there is no speech pack for its language (`missing`).

    `seconds` is by channel how far the call has been heard when these utterances are kept.
    """

    event: Event
    utterances: tuple[Utterance, ...] = ()
    seconds: dict[str, float]
    ended: bool = False
    fault: str = ""
    missing: str = ""


class Listener:
    """Transcribes calls in the background. `heard` holds what came of them, oldest first, and is bounded: when nobody
    takes from it the threads wait."""

    def __init__(
        self,
        model_for: Callable[[str], VoskModel],
        audio: Path,
        cores: int,
        wake: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """`model_for` gives the speech model of a language (raises ModelError when there is none); `audio` is the
        folder of the recordings; `cores` how many channels are decoded at a time; `wake` is called when there is
        something to take."""
        self.heard: queue.Queue[Heard] = queue.Queue(HEARD_WAITING)
        self._model_for = model_for
        self._audio = audio
        self._cores = cores
        self._wake = wake
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="speech")
        self._underway: set[str] = set()
        self._stopping = threading.Event()

    @property
    def underway(self) -> int:
        """How many calls are being transcribed."""
        return len(self._underway)

    @property
    def free(self) -> int:
        """How many further calls can be begun without making those under way slower."""
        return self._cores - len(self._underway)

    @property
    def idle(self) -> bool:
        """Whether no call is under way and nothing waits to be taken."""
        return not self._underway and self.heard.empty()

    def begin(self, event: Event, seconds: dict[str, float]) -> None:
        """Transcribe a call from where it stands by channel (seconds; 0 for a channel not in it)."""
        assert isinstance(event.data, Call)
        if event.id in self._underway:
            return
        self._underway.add(event.id)
        merger = _Merger(event, event.data.channels, seconds, self._hand_over)
        for track, channel in enumerate(event.data.channels):
            self._pool.submit(self._listen, merger, event.data, track, channel, seconds.get(channel, 0.0))

    def take(self) -> Heard | None:
        """The next that was heard, if there is any now."""
        try:
            heard = self.heard.get_nowait()
        except queue.Empty:
            return None
        if heard.ended or heard.missing:
            self._underway.discard(heard.event.id)
        return heard

    def stop(self) -> None:
        """End soon; what was not heard yet is heard after the next start."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _listen(self, merger: "_Merger", call: Call, track: int, channel: str, start_s: float) -> None:
        try:
            rate_hz = min(call.sample_rate_hz, HIGHEST_RATE_HZ)
            stream = self._model_for(call.language).stream(rate_hz)
            position_s = start_s
            took_s = 0.0
            for chunk in read_chunks(self._audio / call.audio, start_s, SLICE_S, rate_hz=rate_hz):
                if self._stopping.is_set():
                    return
                began_s = time.perf_counter()
                with self._metrics.step("perceive", "call"):
                    closed = stream.accept(chunk[:, track].tobytes())
                took_s += time.perf_counter() - began_s
                self._metrics.speech.inc(len(chunk) / rate_hz)
                merger.add(
                    channel, [_utterance(channel, call.language, words, start_s) for words in closed], position_s
                )
                position_s += len(chunk) / rate_hz
            closed = stream.finish()
            if position_s > start_s:
                self._metrics.real_time.observe(took_s / (position_s - start_s))
            merger.end(
                channel, [_utterance(channel, call.language, words, start_s) for words in closed], call.duration_s
            )
        except PackMissing as error:
            merger.fail(missing=str(error))
        except ModelError as error:
            merger.fail(fault=str(error))

    def _hand_over(self, heard: Heard) -> None:
        while not self._stopping.is_set():
            try:
                self.heard.put(heard, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return


class _Merger:
    """Puts the channels of one call into one order: an utterance is released when no channel can still bring an
    earlier one."""

    def __init__(
        self, event: Event, channels: tuple[str, ...], seconds: dict[str, float], hand_over: Callable[[Heard], None]
    ) -> None:
        self._event = event
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._heard_s = {channel: seconds.get(channel, 0.0) for channel in channels}
        self._released_s = dict(self._heard_s)
        self._open = set(channels)
        self._waiting: list[tuple[Utterance, float]] = []
        self._failed = False

    def add(self, channel: str, utterances: list[Utterance], position_s: float) -> None:
        with self._lock:
            self._heard_s[channel] = position_s
            self._waiting.extend((utterance, position_s) for utterance in utterances)
            self._release()

    def end(self, channel: str, utterances: list[Utterance], duration_s: float) -> None:
        with self._lock:
            self._waiting.extend((utterance, duration_s) for utterance in utterances)
            self._heard_s[channel] = duration_s
            self._open.discard(channel)
            self._release()

    def fail(self, *, fault: str = "", missing: str = "") -> None:
        with self._lock:
            if not self._failed:
                self._failed = True
                seconds = dict(self._released_s)
                heard = Heard(event=self._event, seconds=seconds, ended=bool(fault), fault=fault, missing=missing)
                self._hand_over(heard)

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
        for utterance, position_s in ready:
            self._released_s[utterance.channel] = position_s
        self._hand_over(
            Heard(
                event=self._event,
                utterances=tuple(utterance for utterance, _ in ready),
                seconds=dict(self._released_s),
                ended=not self._open,
            )
        )


def _utterance(channel: str, language: str, words: tuple[SpokenWord, ...], start_s: float) -> Utterance:
    """Vosk's words (times from the start of the stream) as an utterance of the call."""
    return Utterance(
        channel=channel,
        language=language,
        text=" ".join(word.text for word in words),
        start_s=round(words[0].start_s + start_s, 3),
        end_s=round(words[-1].end_s + start_s, 3),
        confidence=round(sum(word.confidence for word in words) / len(words), 4),
        words=tuple(
            Word(
                text=word.text,
                start_s=round(word.start_s + start_s, 3),
                end_s=round(word.end_s + start_s, 3),
                confidence=round(word.confidence, 4),
            )
            for word in words
        ),
    )
