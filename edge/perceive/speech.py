"""Calls to words, on threads that use every core: Vosk releases Python's lock while it decodes, and all recognisers
share one loaded model.
"""

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from edge.events import Event, Utterance
from edge.metrics import Metrics
from edge.perceive.crew import Crew
from edge.perceive.heard import Heard, call_of
from edge.perceive.live import LiveCall
from edge.perceive.recording import Merger, Recording
from edge.store.sound import LiveSound
from models.runtime.vosk import VoskModel

HEARD_WAITING = 256


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
        self._live: dict[str, LiveCall] = {}
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
        call = call_of(event)
        if event.id in self._underway or (not call.live and self.free <= 0):
            return
        self._underway.add(event.id)
        if call.live:
            self._live[event.id] = LiveCall(
                event,
                seconds,
                self._sound,
                self._crew,
                self._model_for,
                self._metrics,
                self._hand_over,
                self._speaks,
            )
            self._sounded(event.id)
            return
        merger = Merger(event, seconds, self._hand_over)
        for track, channel in enumerate(call.channels):
            start_s = seconds.get(channel, 0.0)
            self._crew.put(Recording(merger, self._audio / call.audio, track, start_s, self._model_for, self._metrics))

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

    def _hand_over(self, heard: Heard) -> None:
        """Queue what was heard for `take`; waits while nobody takes."""
        while not self._stopping.is_set():
            try:
                self.heard.put(heard, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return

    def _speaks(self, call_id: str, channel: str, said: Utterance | None) -> None:
        if said is not None:
            self.speaking[call_id, channel] = said
        elif self.speaking.pop((call_id, channel), None) is None:
            return
        self._wake()
