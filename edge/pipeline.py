"""The flow, to be read first: events → perceive → infer → decide → journal.

The sources write events into the journal; this takes them from there on three tracks (readings, notes, calls), each
going on from its own cursor, and writes what was made of them together with the cursor's advance in one transaction.
Only this module knows the order of the stages; none of them knows another. The journal between the sources and this
is the queue: it is bounded by the disk, it survives a crash, and how far a track is behind is how long it is.
"""

import contextlib
import math
import threading
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from edge.decide.advice import advised
from edge.decide.experiments import Experiments
from edge.decide.outcomes import outcomes_in
from edge.decide.playbook import Play, Playbook
from edge.decide.plays import Decider, confirm
from edge.errors import Conflict, JournalError, Refused
from edge.events import (
    GATEWAY,
    Action,
    Decision,
    Event,
    Note,
    Outcome,
    PlayChange,
    Prediction,
    Signal,
    Utterance,
    new_id,
    now_us,
)
from edge.infer import NOTHING, Infer, Past, of_reading
from edge.perceive.heard import Heard
from edge.perceive.names import Names
from edge.perceive.prosody import talk
from edge.perceive.speech import Listener
from edge.perceive.windows import DeviceWindows, Windows
from edge.shadow import Shadows
from edge.store import outcomes, plays
from edge.store.history import steps_before
from edge.store.journal import Conclusions, DeviceState, Journal, Progress, Refusal
from edge.store.outcomes import Claim
from edge.store.rows import select
from models.errors import InputInvalid
from models.features.time_line import TURNS_KEPT
from models.tasks.device_anomaly import DeviceAnomaly

EVENTS_AT_ONCE = 1_000
READINGS_AT_ONCE = 4_000
"""Only who is behind takes so many: each device is written once a batch, so catching up costs less."""
LOOK_S = 0.5
DISK_WAIT_S = 1.0
WINDOWS_KEPT_EVERY_S = 300.0
PACK_WAIT_S = 60.0
ADOPT_WAIT_S = 20.0
CALLS_REMEMBERED = 256
EARLY_WORDS = 4
"""So many words somebody must have said before they are acted on in the middle of a sentence."""
EARLY_SURER = 0.3
"""How far above its threshold, of the way to certain, a prediction in the middle of a sentence must be."""

log = structlog.get_logger()


class Pipeline:
    """One thread that takes events through the stages; speech runs on the listener's own threads."""

    def __init__(
        self,
        journal: Journal,
        listener: Listener,
        windows: DeviceWindows,
        infer: Infer,
        decider: Decider,
        shadows: Shadows,
        names: Names,
    ) -> None:
        self._journal = journal
        self._metrics = journal.metrics
        self._listener = listener
        self._windows = windows
        self._infer = infer
        self._decider = decider
        self._shadows = shadows
        self._names = names
        self._running = True
        self._thread = threading.Thread(target=self._run, name="pipeline")
        self._cursors = {track: journal.cursor(track) for track in ("reading", "note")}
        self._readings_of: dict[str, int] = {}
        # By call why it cannot be transcribed now, and when to try again (monotonic seconds).
        self._put_off: dict[str, tuple[str, float]] = {}
        self._windows_kept_s = time.monotonic()
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._past: dict[str, Past] = {}
        self._next: tuple[Infer, Playbook, Shadows, Names] | None = None
        self._adopted = threading.Event()
        self.experiments = Experiments()
        """What the hold-outs have shown so far."""
        self._told = self._changed = 0
        self._weighed = False
        self._recall_windows()
        self._recall_experiments()

    def start(self) -> None:
        """Begin to take events."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way; what was not taken is taken after the next start."""
        self._running = False
        self._listener.stop()
        self._journal.wake()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether events are being taken."""
        return self._thread.is_alive()

    def adopt(self, infer: Infer, playbook: Playbook, shadows: Shadows, names: Names) -> None:
        """Infer, decide and compare by these from the next batch on: returns when it is so, when the pipeline is held
        up (it is so as soon as that goes on) or has ended."""
        self._adopted.clear()
        self._next = (infer, playbook, shadows, names)
        self._journal.wake()
        until_s = time.monotonic() + ADOPT_WAIT_S
        while self.alive and time.monotonic() < until_s and not self._adopted.wait(LOOK_S):
            pass

    @property
    def playbook(self) -> Playbook:
        """The playbook that is decided by."""
        return self._decider.playbook

    def drain(self) -> None:
        """Take events on the caller's thread until nothing is left to take."""
        while True:
            seen = self._journal.commits
            if not self._step():
                if self._listener.idle and self._journal.commits == seen:
                    return
                self._journal.wait(seen, LOOK_S)

    def _run(self) -> None:
        with contextlib.suppress(JournalError):  # a disk that is full while we stop: the next start goes on from there
            while self._running:
                seen = self._journal.commits
                if not self._step():
                    self._journal.wait(seen, LOOK_S)
            self._keep_windows()

    def _step(self) -> bool:
        """A batch of each track; False when there was nothing to take."""
        following, self._next = self._next, None
        if following is not None:
            self._infer, playbook, self._shadows, self._names = following
            self._decider.playbook = playbook
            self._adopted.set()
        self._take_outcomes()
        worked = [self._take_readings(), self._take_notes(), self._take_calls()]
        return any(worked)

    # ---- the tracks ------------------------------------------------------------------------------------------

    def _take_readings(self) -> bool:
        batch = self._journal.events_after("reading", self._cursors["reading"], READINGS_AT_ONCE)
        if not batch:
            return False
        events = [event for _, event in batch]
        with self._metrics.step("perceive", "reading"):
            windows = self._windows.update(events)
        with self._metrics.step("infer", "reading"):
            scored = self._infer.of_readings(windows.features)
        with self._metrics.step("decide", "reading"):
            conclusions = self._decide_readings(events, windows, scored)
        shadowed = self._shadows.of_readings(events, windows, scored)
        self._conclude(
            msgspec.structs.replace(conclusions, shadowed=shadowed),
            cursor=("reading", batch[-1][0]),
            window_state=self._windows_to_keep(),
            received_at=events[0].received_at,
        )
        return True

    def _decide_readings(
        self, events: Sequence[Event], windows: Windows, scored: Sequence[tuple[DeviceAnomaly, NDArray[np.float32]]]
    ) -> Conclusions:
        """What the packs said of a batch, and its machines where they are louder, through decide."""
        scores = np.full(len(events), np.nan)
        conclusions = _Conclusions()
        for pack, probability in scored:
            rows = windows.loudest(probability, len(events))
            of_sensors, of_machines = (
                np.where(rows >= 0, probability[rows], np.nan),
                windows.of_machines(pack.threshold),
            )
            said = np.fmax(of_sensors, of_machines)
            scores = np.fmax(scores, said)
            for place in np.flatnonzero(said >= pack.threshold).tolist():
                row = int(rows[place]) if of_sensors[place] == said[place] else None
                self._decide_reading(events[place], pack, windows, place, row, float(said[place]), conclusions)
        return self._made(conclusions, devices=self._device_states(events, scores))

    def _decide_reading(
        self,
        event: Event,
        pack: DeviceAnomaly,
        windows: Windows,
        place: int,
        row: int | None,
        probability: float,
        conclusions: "_Conclusions",
    ) -> None:
        """Take an event whose reading (at `row` of the windows; None: whose machine) reaches a pack's threshold through
        decide; only one that begins an episode is recorded."""
        plays = self._decider.begin(event.subject, pack.label, event.at)
        if not plays:
            return
        signal = Signal(at=event.at, event_id=event.id, subject=event.subject, data=windows.of_event(place))
        if row is None:
            row, weights = windows.of_machine(place)
        else:
            weights = tuple(weight for weight in pack.explain(windows.features[row]) if weight[1] > 0)
        prediction = of_reading(
            pack,
            signal,
            probability,
            weights,
            windows.sensor[row],
            float(windows.value[row]),
            float(windows.usual[row]),
        )
        conclusions.signals.append(signal)
        conclusions.predictions.append(prediction)
        for play in plays:
            conclusions.add(*self._decider.decide(prediction, event.id, play, now_us()))

    def _take_notes(self) -> bool:
        batch = self._journal.events_after("note", self._cursors["note"], EVENTS_AT_ONCE)
        if not batch:
            return False
        signals = [
            Signal(
                at=event.at,
                event_id=event.id,
                subject=event.subject,
                data=self._names.correct(Utterance(channel="note", language=event.data.language, text=event.data.text)),
            )
            for _, event in batch
            if isinstance(event.data, Note)
        ]
        told, refusals = self._told_in([event for _, event in batch])
        conclusions = self._understand(signals, "note", refusals)
        self._conclude(
            msgspec.structs.replace(conclusions, outcomes=told),
            cursor=("note", batch[-1][0]),
            received_at=batch[0][1].received_at,
        )
        return True

    def _take_calls(self) -> bool:
        self._begin_calls()
        heard = self._listener.take()
        if heard is None:
            return False
        if heard.missing:
            self._put_off[heard.event.id] = (heard.missing, time.monotonic() + PACK_WAIT_S)
            return True
        if heard.so_far is not None:
            self._act_on(heard.event, heard.so_far, paused=heard.paused)
            return True
        if heard.unsaid:
            turn = self._turns.pop((heard.event.id, heard.unsaid), None)
            if turn is not None:
                self._heard_out(turn, None, (), _Conclusions())
            return True
        refusals = [Refusal(source="calls", name=heard.event.subject, reason=heard.fault)] if heard.fault else []
        self._conclude(
            self._understand(self._signals(heard), "call", refusals),
            progress=Progress(event_id=heard.event.id, done=heard.ended, seconds=heard.seconds),
            received_at=heard.event.received_at if heard.ended else None,
        )
        return True

    def _act_on(self, event: Event, said: Utterance, *, paused: bool) -> None:
        """Take what somebody is saying through infer and decide before it has ended: at a pause as if it had, in the
        middle only if it is surer.

        What waits for a person is proposed now, what fires by itself when the sentence was heard to its end.
        """
        if not paused and said.text.count(" ") + 1 < EARLY_WORDS:
            return
        at = event.at + round(said.end_s * 1e6)
        turn = self._turns.setdefault((event.id, said.channel), _Turn(self._past_of(event.id, event.subject, at)))
        named = self._names.correct(said)
        signal = Signal(id=turn.signal_id, at=at, event_id=event.id, subject=event.subject, data=named)
        conclusions = _Conclusions()
        for prediction in self._infer.of_utterances([signal], [turn.before], surer=0.0 if paused else EARLY_SURER):
            if prediction.label in turn.labels or not self._decider.answers(prediction.label, said.channel):
                continue
            plays = self._decider.begin(prediction.subject, prediction.label, at, said.channel, early=True)
            turn.labels.add(prediction.label)
            if plays:
                conclusions.predictions.append(prediction)
            for play in plays:
                decision, actions, later = self._decider.decide_early(prediction, event.id, play, now_us())
                conclusions.add(decision, actions, later)
                turn.begun.append(_Begun(prediction, play, tuple(action.id for action in actions), tuple(later)))
        if conclusions.predictions:
            self._conclude(self._made(conclusions))

    def _heard_out(
        self, turn: "_Turn", heard: Utterance | None, said: Collection[str], conclusions: "_Conclusions"
    ) -> None:
        """A sentence was heard to its end (None: nothing was said after all), and `said` is what it means: complete
        what was begun on its first words, or withdraw it when it means clearly less than they did, unless somebody has
        answered already."""
        for begun in turn.begun:
            if begun.prediction.label in said:
                conclusions.complete(confirm(begun.later, now_us()))
                continue
            if heard is not None and self._infer.still_says(heard, turn.before, begun.prediction):
                continue
            self._decider.forget(begun.prediction.subject, begun.play.name)
            for action_id in begun.actions:
                with contextlib.suppress(Conflict, JournalError):
                    self._journal.move(action_id, "withdrawn", GATEWAY, "it was said otherwise").result()

    def _begin_calls(self) -> None:
        now = time.monotonic()
        room = self._listener.underway + max(0, self._listener.free)
        waiting = self._journal.calls_to_transcribe(room + len(self._put_off))
        ready = [call for call in waiting if self._put_off.get(call[0].id, ("", 0.0))[1] <= now]
        for event, progress in ready[:room]:
            self._put_off.pop(event.id, None)
            self._listener.begin(event, progress.seconds)

    @property
    def put_off(self) -> list[str]:
        """Why calls wait that could be transcribed if there were a speech pack for their language: a sentence each."""
        return [reason for reason, _ in self._put_off.values()]

    # ---- the stages ------------------------------------------------------------------------------------------

    def _signals(self, heard: Heard) -> list[Signal]:
        """What was heard as signals; with the last of a call, how it was spoken."""
        event = heard.event
        spoken = []
        for utterance in heard.utterances:
            at = event.at + round(utterance.end_s * 1e6)
            named = self._names.correct(utterance)
            signal = Signal(at=at, event_id=event.id, subject=event.subject, data=named)
            turn = self._turns.get((event.id, utterance.channel))
            if turn is not None:
                signal = msgspec.structs.replace(signal, id=turn.signal_id)
            spoken.append(signal)
        if not heard.ended:
            return spoken
        earlier = select(
            self._journal.readers.connection(), Signal, "WHERE event_id = ? AND kind = 'utterance'", (event.id,)
        )
        utterances = [s.data for s in [*earlier, *spoken] if isinstance(s.data, Utterance)]
        return [*spoken, Signal(at=event.at, event_id=event.id, subject=event.subject, data=talk(utterances))]

    def _before(self, signals: Sequence[Signal]) -> list[Past]:
        """By signal what came before it."""
        before = []
        for signal in signals:
            if not isinstance(signal.data, Utterance):
                before.append(NOTHING)
                continue
            if signal.data.channel == "note":  # it stands alone
                connection = self._journal.readers.connection()
                before.append(Past((), steps_before(connection, signal.subject, signal.event_id, signal.at)))
                continue
            past = self._past_of(signal.event_id, signal.subject, signal.at)
            before.append(past)
            said = (*past.said, signal.data)[-TURNS_KEPT:]
            self._past[signal.event_id] = msgspec.structs.replace(past, said=said)
        return before

    def _past_of(self, event_id: str, subject: str, at: int) -> Past:
        """What was heard of a call to its end, also by those who ran before a restart, and what happened with
        its subject before."""
        if event_id not in self._past:
            if len(self._past) >= CALLS_REMEMBERED:
                del self._past[next(iter(self._past))]
            connection = self._journal.readers.connection()
            where = "WHERE event_id = ? AND kind = 'utterance' ORDER BY seq DESC LIMIT ?"
            found = select(connection, Signal, where, (event_id, TURNS_KEPT))
            said = tuple(s.data for s in found[::-1] if isinstance(s.data, Utterance))
            self._past[event_id] = Past(said, steps_before(connection, subject, event_id, at))
        return self._past[event_id]

    def _understand(self, signals: Sequence[Signal], track: str, refusals: Sequence[Refusal] = ()) -> Conclusions:
        """Signals with words through infer and decide, and past the packs in the shadow."""
        before = self._before(signals)
        with self._metrics.step("infer", track):
            predictions = self._infer.of_utterances(signals, before)
        with self._metrics.step("decide", track):
            conclusions = self._made(self._decide_spoken(signals, predictions), refusals=refusals)
        return msgspec.structs.replace(conclusions, shadowed=self._shadows.of_utterances(signals, before))

    def _decide_spoken(self, signals: Sequence[Signal], predictions: Sequence[Prediction]) -> "_Conclusions":
        """What was said, and of the predictions about it those that a play answers, through decide."""
        by_id = {signal.id: signal for signal in signals}
        conclusions = _Conclusions()
        conclusions.signals.extend(signals)
        turns = {signal.id: turn for signal in signals if (turn := self._turn_of(signal)) is not None}
        said: dict[str, set[str]] = {signal_id: set() for signal_id in turns}
        for prediction in predictions:
            signal = by_id[prediction.signal_id]
            speaker = signal.data.channel if isinstance(signal.data, Utterance) else ""
            if not self._decider.answers(prediction.label, speaker):
                continue  # a prediction that no action can follow is none
            begun: set[str] = set()
            if signal.id in turns:
                said[signal.id].add(prediction.label)
                begun = turns[signal.id].plays(prediction.label)
            plays = self._decider.begin(prediction.subject, prediction.label, prediction.at, speaker)
            plays = [play for play in plays if play.name not in begun]
            if plays or not begun:
                conclusions.predictions.append(prediction)
            for play in plays:
                conclusions.add(*self._decider.decide(prediction, signal.event_id, play, now_us()))
        for signal_id, turn in turns.items():
            heard = by_id[signal_id].data
            assert isinstance(heard, Utterance)
            self._heard_out(turn, heard, said[signal_id], conclusions)
        return conclusions

    def _turn_of(self, signal: Signal) -> "_Turn | None":
        """What was acted on while this utterance was being said, if anything; it is over then."""
        if not isinstance(signal.data, Utterance):
            return None
        place = (signal.event_id, signal.data.channel)
        turn = self._turns.get(place)
        return self._turns.pop(place) if turn is not None and turn.signal_id == signal.id else None

    # ---- what came of it -------------------------------------------------------------------------------------

    def _take_outcomes(self) -> None:
        """Count what was told since; a play that is shown to harm is paused."""
        connection = self._journal.readers.connection()
        if plays.last_change(connection) != self._changed:
            self._recall_experiments()
        last = outcomes.last_place(connection)
        if last == self._told and self._weighed:
            return
        if outcomes.corrected(connection, self._told):
            self._recall_experiments()
        else:
            for told in outcomes.told(connection, self._told):
                self.experiments.take(told)
            self._told = last
        try:
            for play in self.experiments.harmful():
                if play not in self._decider.paused:
                    self._pause(play)
        except JournalError as error:
            log.error("a play pauses itself when there is room to say so", reason=str(error))
        else:
            self._weighed = True

    def _pause(self, play: str) -> None:
        """Let a play that is shown to harm do nothing any more, and say why. Raises JournalError."""
        effect = self.experiments.effects[play, ""]
        why = (
            f"shown to harm: {100 * effect.mean:+.0f} points, between {100 * effect.low:+.0f} and "
            f"{100 * effect.high:+.0f}, {effect.treated} treated and {effect.held_out} left alone"
        )
        log.warning("a play pauses itself", play=play, reason=why)
        change = PlayChange(at=now_us(), play=play, state="paused", by=GATEWAY, remark=why)
        self._journal.change_play(change).result()
        self._decider.paused = {*self._decider.paused, play}

    def _recall_experiments(self) -> None:
        """Count all that was told, from the journal; of a play that was paused what was decided after it ran again."""
        connection = self._journal.readers.connection()
        self._weighed = False
        self._changed, self._told = plays.last_change(connection), outcomes.last_place(connection)
        standings = plays.standings(connection)
        self._decider.paused = {name for name, standing in standings.items() if standing.state == "paused"}
        since = {name: standing.at for name, standing in standings.items() if standing.state == "running"}
        self.experiments = Experiments(outcomes.told(connection), since)

    def _told_in(self, notes: Sequence[Event]) -> tuple[list[Outcome], list[Refusal]]:
        """The outcomes that notes tell of, and what of it is about no decision."""
        connection = self._journal.readers.connection()
        told: list[Outcome] = []
        newest: dict[str, Outcome] = {}
        refusals = []
        for note in notes:
            assert isinstance(note.data, Note)
            for said in outcomes_in(note.data.text):
                claim = Claim(
                    value=said.value,
                    at=note.at,
                    by=note.data.author,
                    source="note",
                    subject=note.subject,
                    play=said.play,
                    remark=note.id,
                )
                try:
                    judged = outcomes.judge(connection, claim, newest)
                except Refused as refusal:
                    refusals.append(Refusal(source="notes", name=note.subject, reason=str(refusal)))
                else:
                    told += judged.new
                    newest |= {outcome.decision_id: outcome for outcome in judged.new}
        return told, refusals

    # ---- the journal -----------------------------------------------------------------------------------------

    def _made(
        self, conclusions: "_Conclusions", *, devices: Sequence[DeviceState] = (), refusals: Sequence[Refusal] = ()
    ) -> Conclusions:
        connection = self._journal.readers.connection()
        coming = [*conclusions.actions, *conclusions.later]
        return Conclusions(
            signals=conclusions.signals,
            predictions=conclusions.predictions,
            decisions=advised(connection, self._decider.playbook, self.experiments, conclusions.decisions, coming),
            actions=conclusions.actions,
            episodes=self._decider.take_moved(),
            devices=devices,
            refusals=refusals,
        )

    def _conclude(
        self,
        conclusions: Conclusions,
        cursor: tuple[str, int] | None = None,
        progress: Progress | None = None,
        window_state: bytes | None = None,
        received_at: int | None = None,
    ) -> None:
        """Write conclusions, waiting as long as the disk cannot take them: nothing that was made is dropped.
        `received_at` is when the oldest event came that they bring to an end.

        Raises JournalError when it cannot be written and the pipeline is to stop.
        """
        track = "call" if cursor is None else cursor[0]
        with self._metrics.step("commit", track):
            while True:
                try:
                    self._journal.conclude(conclusions, cursor, progress, window_state).result()
                    break
                except JournalError as error:
                    if not self._running:
                        raise
                    log.error("the journal cannot be written; waiting", reason=str(error))
                    time.sleep(DISK_WAIT_S)
        if received_at is not None:
            self._metrics.conclusions.labels(track).observe(max(0, now_us() - received_at) / 1e6)
        if cursor is not None:
            self._cursors[cursor[0]] = cursor[1]

    def _device_states(self, events: Sequence[Event], scores: NDArray[np.float64]) -> list[DeviceState]:
        """The newest of each device in a batch; a score that is not a number is none."""
        newest: dict[str, DeviceState] = {}
        for event, score in zip(events, scores.tolist(), strict=True):
            count = self._readings_of[event.subject] = self._readings_of.get(event.subject, 0) + 1
            newest[event.subject] = DeviceState(
                device=event.subject,
                at=event.at,
                event_id=event.id,
                values=event.data.values,  # type: ignore[union-attr]
                score=None if math.isnan(score) else round(score, 4),
                readings=count,
            )
        return list(newest.values())

    def _recall_windows(self) -> None:
        """Bring the windows to where the cursor is: the state that was kept, and the readings since."""
        kept = self._journal.window_state()
        seq = 0
        if kept is not None:
            try:
                self._windows.restore(kept[1])
                seq = kept[0]
            except InputInvalid as error:
                log.warning("the windows are built anew from the journal", reason=str(error))
        self._readings_of = self._journal.readings_by_device()
        while seq < self._cursors["reading"]:
            batch = self._journal.events_after("reading", seq, READINGS_AT_ONCE)
            batch = [(place, event) for place, event in batch if place <= self._cursors["reading"]]
            if not batch:
                return
            self._windows.update([event for _, event in batch])
            seq = batch[-1][0]

    def _windows_to_keep(self) -> bytes | None:
        if time.monotonic() - self._windows_kept_s < WINDOWS_KEPT_EVERY_S:
            return None
        self._windows_kept_s = time.monotonic()
        return self._windows.snapshot()

    def _keep_windows(self) -> None:
        if self._cursors["reading"]:
            self._conclude(
                Conclusions(), cursor=("reading", self._cursors["reading"]), window_state=self._windows.snapshot()
            )


class _Begun(NamedTuple):
    """A play that was called for by the first words of a sentence."""

    prediction: Prediction
    play: Play
    actions: tuple[str, ...]
    later: tuple[Action, ...]


class _Turn:
    """What somebody is saying in a call: what came before it, the id that its signal will have, the labels that
    were heard in it so far, and what was begun on them."""

    def __init__(self, before: Past) -> None:
        self.before = before
        self.signal_id = new_id()
        self.labels: set[str] = set()
        self.begun: list[_Begun] = []

    def plays(self, label: str) -> set[str]:
        """The plays that a label has called for."""
        return {begun.play.name for begun in self.begun if begun.prediction.label == label}


class _Conclusions:
    """Collects what a batch leads to."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.predictions: list[Prediction] = []
        self.decisions: list[Decision] = []
        self.actions: list[Action] = []
        self.later: list[Action] = []

    def add(self, decision: Decision, actions: list[Action], later: Sequence[Action] = ()) -> None:
        """`later` are those that are proposed only when the words were heard to their end."""
        self.decisions.append(decision)
        self.actions.extend(actions)
        self.later.extend(later)

    def complete(self, actions: Sequence[Action]) -> None:
        self.actions.extend(actions)
