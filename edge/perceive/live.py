"""Calls that are going on to words: each leg as its sound comes, and what is being said before it has ended."""

import threading
from collections.abc import Callable

import msgspec

from edge.events import Event, Utterance
from edge.memory import give_back
from edge.metrics import Metrics
from edge.perceive.crew import Crew
from edge.perceive.heard import Heard, call_of, utterance
from edge.store.sound import SAMPLE_BYTES, Leg, LiveSound, Said
from models.errors import ModelError, PackMissing
from models.runtime.speech import Result, SoFar
from models.runtime.speech_stream import SLICE_S, SpeechStream
from models.runtime.vosk import VoskModel

PARTIAL = '{{\n  "partial" : {}\n}}'  # as Vosk puts it
HOLD_S = 0.06
PARTIAL_EVERY_S = 0.06
BEHIND_S = 0.5


class LiveCall:
    """A call that is going on, or was when the gateway ended: a track for each leg that it has so far."""

    def __init__(
        self,
        event: Event,
        seconds: dict[str, float],
        sound: LiveSound,
        crew: Crew,
        model_for: Callable[[str], VoskModel],
        metrics: Metrics,
        hand_over: Callable[[Heard], None],
        speaks: Callable[[str, str, Utterance | None], None],
    ) -> None:
        """From where it stands by channel (`seconds`). What was heard goes to `hand_over`; what a channel of it says
        now (None: nothing) to `speaks`."""
        self.event = event
        self.speaks = speaks
        self._sound = sound
        self._crew = crew
        self._model_for = model_for
        self._metrics = metrics
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._seconds = dict(seconds)
        self._tracks: dict[str, _Track] = {}
        self._finished: set[str] = set()
        self._over = False

    def look(self) -> None:
        """There may be more to hear."""
        with self._lock:
            for leg in self._sound.legs(self.event.id):
                name = leg.info.name
                if name not in self._tracks:
                    heard_s = max(0.0, self._seconds.get(leg.info.channel, 0.0) - leg.info.offset_s)
                    self._tracks[name] = _Track(self, leg, min(heard_s, leg.duration_s), self._model_for, self._metrics)
                self._crew.put(self._tracks[name])
            over = self._is_over()
        if over:
            self._end()

    def holds(self, said: Utterance, *, paused: bool) -> None:
        """What somebody is saying has held still."""
        self._hand_over(Heard(event=self.event, so_far=said, paused=paused, seconds={}))

    def unsays(self, channel: str) -> None:
        """What a channel seemed to say was nothing."""
        self._hand_over(Heard(event=self.event, unsaid=channel, seconds={}))

    def heard(self, channel: str, said: Utterance | None, position_s: float) -> None:
        """An utterance of a channel has ended; up to `position_s` (of the call) it need not be heard again."""
        with self._lock:
            self._seconds[channel] = position_s
            seconds = dict(self._seconds)
        if said is not None:
            self._hand_over(Heard(event=self.event, utterances=(said,), seconds=seconds))

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
        self._hand_over(Heard(event=self.event, seconds=self._seconds, ended=bool(fault), fault=fault, missing=missing))

    def _is_over(self) -> bool:
        if self._over or self._sound.goes_on(self.event.id) or self._finished != self._tracks.keys():
            return False
        self._over = True
        return True

    def _end(self) -> None:
        self._hand_over(Heard(event=self.event, seconds=self._seconds, ended=True))


class _Track:
    """A leg on its way to words, message by message as its sender sends it."""

    live = True

    def __init__(
        self, call: LiveCall, leg: Leg, start_s: float, model_for: Callable[[str], VoskModel], metrics: Metrics
    ) -> None:
        self._call = call
        self._leg = leg
        self._model_for = model_for
        self._metrics = metrics
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
            more = self._hear(self._stream)
            if self._leg.finished:  # only here nobody has the stream any more
                give_back()
            return more
        except PackMissing as error:
            self._call.fail(missing=str(error))
        except ModelError as error:
            self._call.fail(fault=str(error))
            self._stream = None
            self._leg.finish()
        return False

    def _open(self) -> SpeechStream:
        info = self._leg.info
        model = self._model_for(call_of(self._call.event).language)
        return model.stream(self._rate_hz, phrases=info.phrases, alternatives=info.alternatives)

    def _hear(self, stream: SpeechStream) -> bool:
        ended = self._leg.ended  # asked first: what came before is read below
        pcm, closes = self._leg.read(self._position, SAMPLE_BYTES * round(SLICE_S * self._rate_hz))
        if not pcm and not closes:
            if ended:
                self._said(stream.close(), asked=True)
                self._stream = None  # tens of megabytes, which are not to wait until Python finds this ring
                self._leg.finish()
                self._call.finished(self._leg)
            return False
        with self._metrics.step("perceive", "call"):
            results = stream.hear(pcm)
        self._metrics.speech.inc(len(pcm) / SAMPLE_BYTES / self._rate_hz)
        self._position += len(pcm)
        for result in results:
            self._said(result, asked=False)
        if closes:
            self._said(stream.close(), asked=True)
        elif self._is_partial_due():
            self._speaks(stream.so_far())
        elif not results:
            self._leg.say(Said(self._position, self._told))
        return True

    def _is_partial_due(self) -> bool:
        """What is being said is asked for now and then, and not at all while there is much to catch up with."""
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
            said = utterance(channel, call_of(self._call.event).language, result.words, self._start_s)
        self._call.speaks(self._call.event.id, channel, None)
        self._call.heard(channel, said, self._leg.info.offset_s + self._position / SAMPLE_BYTES / self._rate_hz)

    def _speaks(self, so_far: SoFar | None) -> None:
        told = PARTIAL.format(msgspec.json.encode(" ".join(so_far.words)).decode()) if so_far else ""
        changed, self._told = told != self._told, told
        self._leg.say(Said(self._position, told))
        if so_far is None:
            return
        if changed:
            self._call.speaks(self._call.event.id, self._leg.info.channel, self._so_far(so_far, so_far.words))
        held = self._stable.take(so_far.words, self._position / SAMPLE_BYTES / self._rate_hz, paused=so_far.paused)
        if held:
            self._call.holds(self._so_far(so_far, held), paused=so_far.paused)

    def _so_far(self, so_far: SoFar, words: tuple[str, ...]) -> Utterance:
        return Utterance(
            channel=self._leg.info.channel,
            language=call_of(self._call.event).language,
            text=" ".join(words),
            start_s=round(so_far.start_s + self._start_s, 3),
            end_s=round(so_far.end_s + self._start_s, 3),
        )


class Stable:
    """How much of what is being said has held still: a recogniser changes its mind about the newest words, until the
    speaker pauses."""

    def __init__(self) -> None:
        self._words: list[tuple[str, float]] = []
        self._given: tuple[str, ...] = ()
        self._at_pause = False
        self.gave = False
        """Whether it ever gave any."""

    def take(self, words: tuple[str, ...], now_s: float, *, paused: bool = False) -> tuple[str, ...]:
        """The words up to the last that has been the same, behind the same words, for HOLD_S of sound, or all of them
        when the speaker has `paused`. () when these were given before, unless he has paused since. `words` is what is
        heard at `now_s` of the stream."""
        same = 0
        while same < min(len(words), len(self._words)) and words[same] == self._words[same][0]:
            same += 1
        self._words = [*self._words[:same], *((word, now_s) for word in words[same:])]
        held = words[: sum(1 for _, since_s in self._words if paused or now_s - since_s > HOLD_S - 1e-6)]
        if not held or (held == self._given[: len(held)] and (self._at_pause or not paused)):
            return ()
        self._given, self._at_pause, self.gave = held, paused, True
        return held
