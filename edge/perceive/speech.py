"""Calls to words: recordings through the speech pack, channel by channel, on threads that use every core.

Vosk releases Python's lock while it decodes, and all recognizers share one loaded model. What is heard is handed over
in the order in which it was said, whichever channel it came from, and each utterance tells from where its channel goes
on after a crash: from the silence after its last word.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.events import Call, Event, Utterance, Word
from edge.metrics import Metrics
from edge.perceive.crew import Crew
from edge.store.sound import SAMPLE_BYTES, Leg, LiveSound, Said
from models.errors import ModelError, PackMissing
from models.features.audio import read_chunks
from models.runtime.speech import Word as SpokenWord
from models.runtime.vosk import SLICE_S, Result, SpeechStream, VoskModel

# Vosk closes an utterance within about a second of silence after its last word.
CLOSED_WITHIN_S = 2.0
HEARD_WAITING = 256
# Speech models know 16 kHz; what is above carries no more words for them.
HIGHEST_RATE_HZ = 16_000
PARTIAL = '{{\n  "partial" : {}\n}}'  # as Vosk puts it
HOLD_S = 0.1
PARTIAL_EVERY_S = 0.1
BEHIND_S = 0.5


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call: utterances in the order of their ends, or its end, or why it cannot be heard: for ever
    (`fault`), or as long as there is no speech pack for its language (`missing`). Or `so_far`: what somebody is saying
    and has held still long enough to act on it; the utterance that follows may say otherwise, or nothing was said on
    that channel after all (`unsaid`).

    `seconds` is by channel how far the call has been heard when these utterances are kept.
    """

    event: Event
    utterances: tuple[Utterance, ...] = ()
    seconds: dict[str, float]
    so_far: Utterance | None = None
    unsaid: str = ""
    ended: bool = False
    fault: str = ""
    missing: str = ""


class Listener:
    """Transcribes calls in the background, those that are going on before recordings. `heard` holds what came of them,
    oldest first, and is bounded: when nobody takes from it the threads wait."""

    def __init__(
        self,
        model_for: Callable[[str], VoskModel],
        audio: Path,
        sound: LiveSound,
        cores: int,
        wake: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """`model_for` gives the speech model of a language (raises ModelError when there is none); `audio` is the
        folder of the recordings, `sound` has the calls that are going on; `cores` is how many channels are decoded at a
        time; `wake` is called when there is something to take."""
        self.heard: queue.Queue[Heard] = queue.Queue(HEARD_WAITING)
        self.speaking: dict[tuple[str, str], Utterance] = {}
        """What is being said now, by call and channel: it may still change."""
        self._model_for = model_for
        self._audio = audio
        self._sound = sound
        self._cores = cores
        self._wake = wake
        self._metrics = metrics
        self._underway: set[str] = set()
        self._live: dict[str, _LiveCall] = {}
        self._stopping = threading.Event()
        self._crew = Crew(cores)
        sound.changed = self._sounded

    @property
    def underway(self) -> int:
        """How many calls are being transcribed."""
        return len(self._underway)

    @property
    def free(self) -> int:
        """How many further recordings can be begun without making those under way slower."""
        return self._cores - (len(self._underway) - len(self._live))

    @property
    def idle(self) -> bool:
        """Whether no call is under way and nothing waits to be taken."""
        return not self._underway and self.heard.empty()

    def begin(self, event: Event, seconds: dict[str, float]) -> None:
        """Transcribe a call from where it stands by channel (seconds; 0 for a channel not in it), if there is room:
        there always is for one that is going on."""
        call = event.data
        assert isinstance(call, Call)
        if event.id in self._underway or (not call.live and self.free <= 0):
            return
        self._underway.add(event.id)
        if call.live:
            self._live[event.id] = _LiveCall(event, seconds, self)
            self._sounded(event.id)
            return
        merger = _Merger(event, call.channels, seconds, self.hand_over)
        for track, channel in enumerate(call.channels):
            self._crew.put(_Recording(self, merger, call, track, channel, seconds.get(channel, 0.0)))

    def take(self) -> Heard | None:
        """The next that was heard, if there is any now."""
        try:
            heard = self.heard.get_nowait()
        except queue.Empty:
            return None
        if heard.ended or heard.missing:
            self._underway.discard(heard.event.id)
            self._live.pop(heard.event.id, None)
        return heard

    def stop(self) -> None:
        """End soon; what was not heard yet is heard after the next start."""
        self._stopping.set()
        self._crew.stop()

    def _sounded(self, call_id: str) -> None:
        """There is more of a call that is going on, or it has ended."""
        live = self._live.get(call_id)
        if live is not None:
            live.look()

    # ---- for the tracks ------------------------------------------------------------------------------------------

    def stream(self, language: str, rate_hz: int, **wishes: Any) -> SpeechStream:
        """A recogniser; raises ModelError."""
        return self._model_for(language).stream(rate_hz, **wishes)

    @contextmanager
    def decoding(self, sound_s: float) -> Iterator[None]:
        """So much sound is decoded in this block."""
        with self._metrics.step("perceive", "call"):
            yield
        self._metrics.speech.inc(sound_s)

    def kept_up(self, took_s: float, sound_s: float) -> None:
        """A recording took so long."""
        if sound_s > 0:
            self._metrics.real_time.observe(took_s / sound_s)

    def recording(self, call: Call, start_s: float, rate_hz: int) -> Iterator[NDArray[np.int16]]:
        """The sound of a recording in slices; raises ModelError."""
        return read_chunks(self._audio / call.audio, start_s, SLICE_S, rate_hz=rate_hz)

    def legs(self, call_id: str) -> list[Leg]:
        """The legs that a call has now."""
        return self._sound.legs(call_id)

    def goes_on(self, call_id: str) -> bool:
        """Whether more legs of a call may come."""
        return self._sound.goes_on(call_id)

    def put(self, track: "_LiveTrack") -> None:
        """Have a track heard when a thread is free."""
        self._crew.put(track)

    def hand_over(self, heard: Heard) -> None:
        """Queue what was heard for `take`; waits while nobody takes."""
        while not self._stopping.is_set():
            try:
                self.heard.put(heard, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return

    def speaks(self, call_id: str, channel: str, said: Utterance | None) -> None:
        """What a channel is saying now (None: nothing)."""
        if said is None:
            self.speaking.pop((call_id, channel), None)
        else:
            self.speaking[call_id, channel] = said
        self._wake()


class _Recording:
    """A channel of a recording on its way to words."""

    live = False

    def __init__(
        self, listener: Listener, merger: "_Merger", call: Call, track: int, channel: str, start_s: float
    ) -> None:
        self._listener = listener
        self._merger = merger
        self._call = call
        self._track = track
        self._channel = channel
        self._start_s = start_s
        self._steps = self._listen()

    def step(self) -> bool:
        """Hear some more; False when there is no more."""
        return next(self._steps, None) is not None

    def _listen(self) -> Iterator[bool]:
        call, channel, start_s = self._call, self._channel, self._start_s
        try:
            rate_hz = min(call.sample_rate_hz, HIGHEST_RATE_HZ)
            stream = self._listener.stream(call.language, rate_hz)
            position_s, took_s = start_s, 0.0
            for chunk in self._listener.recording(call, start_s, rate_hz):
                began_s = time.perf_counter()
                with self._listener.decoding(len(chunk) / rate_hz):
                    closed = stream.accept(chunk[:, self._track].tobytes())
                took_s += time.perf_counter() - began_s
                said = [_utterance(channel, call.language, words, start_s) for words in closed]
                self._merger.add(channel, said, position_s)
                position_s += len(chunk) / rate_hz
                yield True
            closed = stream.finish()
            self._listener.kept_up(took_s, position_s - start_s)
            said = [_utterance(channel, call.language, words, start_s) for words in closed]
            self._merger.end(channel, said, call.duration_s)
        except PackMissing as error:
            self._merger.fail(missing=str(error))
        except ModelError as error:
            self._merger.fail(fault=str(error))


class _LiveCall:
    """A call that is going on, or was when the gateway ended: a track for each leg that it has so far."""

    def __init__(self, event: Event, seconds: dict[str, float], listener: Listener) -> None:
        self.event = event
        self._listener = listener
        self._lock = threading.Lock()
        self._seconds = dict(seconds)
        self._tracks: dict[str, _LiveTrack] = {}
        self._finished: set[str] = set()
        self._over = False

    def look(self) -> None:
        """There may be more to hear."""
        with self._lock:
            for leg in self._listener.legs(self.event.id):
                name = leg.info.name
                if name not in self._tracks:
                    heard_s = max(0.0, self._seconds.get(leg.info.channel, 0.0) - leg.info.offset_s)
                    self._tracks[name] = _LiveTrack(self, leg, min(heard_s, leg.duration_s), self._listener)
                self._listener.put(self._tracks[name])
            over = self._is_over()
        if over:
            self._end()

    def holds(self, said: Utterance) -> None:
        """What somebody is saying has held still."""
        self._listener.hand_over(Heard(event=self.event, so_far=said, seconds={}))

    def unsays(self, channel: str) -> None:
        """What a channel seemed to say was nothing."""
        self._listener.hand_over(Heard(event=self.event, unsaid=channel, seconds={}))

    def heard(self, channel: str, said: Utterance | None, position_s: float) -> None:
        """An utterance of a channel has ended; up to `position_s` (of the call) it need not be heard again."""
        with self._lock:
            self._seconds[channel] = position_s
            seconds = dict(self._seconds)
        if said is not None:
            self._listener.hand_over(Heard(event=self.event, utterances=(said,), seconds=seconds))

    def finished(self, leg: Leg) -> None:
        """All of a leg was heard."""
        with self._lock:
            self._finished.add(leg.info.name)
            over = self._is_over()
        if over:
            self._end()

    def fail(self, *, fault: str = "", missing: str = "") -> None:
        """It cannot be heard, for ever or for want of a pack."""
        with self._lock:
            if self._over:
                return
            self._over = True
        self._listener.hand_over(
            Heard(event=self.event, seconds=self._seconds, ended=bool(fault), fault=fault, missing=missing)
        )

    def _is_over(self) -> bool:
        if self._over or self._listener.goes_on(self.event.id) or self._finished != self._tracks.keys():
            return False
        self._over = True
        return True

    def _end(self) -> None:
        self._listener.hand_over(Heard(event=self.event, seconds=self._seconds, ended=True))


class _LiveTrack:
    """A leg on its way to words, message by message as its sender sends it."""

    live = True

    def __init__(self, call: _LiveCall, leg: Leg, start_s: float, listener: Listener) -> None:
        self._call = call
        self._leg = leg
        self._listener = listener
        self._rate_hz = leg.info.rate_hz
        self._position = round(start_s * self._rate_hz) * SAMPLE_BYTES
        self._start_s = leg.info.offset_s + start_s
        self._stream: SpeechStream | None = None
        self._stable = Stable()
        self._partial_at = 0
        self._told = ""

    def step(self) -> bool:
        """Hear one message, or a slice of it; False when there is no more now."""
        if self._leg.finished:
            return False
        try:
            if self._stream is None:
                self._stream = self._open()
            return self._hear(self._stream)
        except PackMissing as error:
            self._call.fail(missing=str(error))
        except ModelError as error:
            self._call.fail(fault=str(error))
            self._leg.finish()
        return False

    def _open(self) -> SpeechStream:
        info = self._leg.info
        language = _call_of(self._call.event).language
        return self._listener.stream(language, self._rate_hz, phrases=info.phrases, alternatives=info.alternatives)

    def _hear(self, stream: SpeechStream) -> bool:
        ended = self._leg.ended  # asked first: what came before is read below
        pcm, closes = self._leg.read(self._position, SAMPLE_BYTES * round(SLICE_S * self._rate_hz))
        if not pcm and not closes:
            if ended:
                self._said(stream.close_utterance(), asked=True)
                self._listener.speaks(self._call.event.id, self._leg.info.channel, None)
                self._leg.finish()
                self._call.finished(self._leg)
            return False
        result = None
        if pcm:
            with self._listener.decoding(len(pcm) / SAMPLE_BYTES / self._rate_hz):
                result = stream.hear(pcm)
        self._position += len(pcm)
        if closes:
            result = stream.close_utterance()
        if result is not None:
            self._said(result, asked=closes)
        elif self._is_partial_due():
            self._speaks(stream.partial())
        else:
            self._leg.say(Said(self._position, self._told))
        return True

    def _is_partial_due(self) -> bool:
        """What goes on costs a good part of what the decoding does, so it is asked for now and then, and not at all
        while there is much to catch up with."""
        second = SAMPLE_BYTES * self._rate_hz
        if self._position - self._partial_at < PARTIAL_EVERY_S * second:
            return False
        self._partial_at = self._position
        return self._leg.size - self._position < BEHIND_S * second

    def _said(self, result: Result, *, asked: bool) -> None:
        channel = self._leg.info.channel
        self._leg.say(Said(self._position, result.json, final=True, asked=asked))
        if not result.words and self._stable.gave:
            self._call.unsays(channel)
        self._stable, self._told = Stable(), ""
        said = None
        if result.words:
            said = _utterance(channel, _call_of(self._call.event).language, result.words, self._start_s)
        self._listener.speaks(self._call.event.id, channel, None)
        self._call.heard(channel, said, self._leg.info.offset_s + self._position / SAMPLE_BYTES / self._rate_hz)

    def _speaks(self, words: tuple[SpokenWord, ...]) -> None:
        text = " ".join(word.text for word in words)
        self._told = PARTIAL.format(msgspec.json.encode(text).decode())
        self._leg.say(Said(self._position, self._told))
        if words:
            language = _call_of(self._call.event).language
            said = _utterance(self._leg.info.channel, language, words, self._start_s)
            self._listener.speaks(self._call.event.id, self._leg.info.channel, said)
            held = self._stable.take(words, self._position / SAMPLE_BYTES / self._rate_hz)
            if held:
                self._call.holds(_utterance(self._leg.info.channel, language, held, self._start_s))


class Stable:
    """How much of what is being said has held still: a recogniser changes its mind about the newest words."""

    def __init__(self) -> None:
        self._words: list[tuple[str, float]] = []
        self._given = 0
        self.gave = False
        """Whether it ever gave any."""

    def take(self, words: tuple[SpokenWord, ...], now_s: float) -> tuple[SpokenWord, ...]:
        """The words up to the last that has been the same, behind the same words, for HOLD_S of sound; () when these
        were given before. `words` is what is heard at `now_s` of the stream."""
        same = 0
        while same < min(len(words), len(self._words)) and words[same].text == self._words[same][0]:
            same += 1
        self._words = [*self._words[:same], *((word.text, now_s) for word in words[same:])]
        self._given = min(self._given, same)
        held = sum(1 for _, since_s in self._words if now_s - since_s > HOLD_S - 1e-6)
        if held <= self._given:
            return ()
        self._given, self.gave = held, True
        return words[:held]


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


def _call_of(event: Event) -> Call:
    assert isinstance(event.data, Call)
    return event.data
