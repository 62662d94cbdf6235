"""Signals to predictions: what the packs in use say of an utterance or of a device's readings, and why."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from edge.events import KnownEvidence, MeasuredEvidence, Prediction, Signal, SpokenEvidence, Utterance
from models.errors import PackInvalid
from models.features.time_line import Step, TimeLine, Turn
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.labelling import About, Labeller
from models.tasks.text_labels import LabelScore, said_before

WEIGHTS_SHOWN = 6
KNOWN_SHOWN = 4
UNSURE = 0.5
"""The confidence below which the recogniser was unsure of a word."""
UTC = ZoneInfo("UTC")

log = structlog.get_logger()


class Past(msgspec.Struct, frozen=True):
    """What came before an utterance: those of its call, oldest first, and what happened with its subject before
    that."""

    said: tuple[Utterance, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def words(self) -> str:
        """What a text pack is told of it."""
        return said_before([utterance.text for utterance in self.said])


NOTHING = Past()


class Infer:
    """The packs in use, ready to run."""

    def __init__(self, texts: Sequence[Labeller], devices: Sequence[DeviceAnomaly], zone: tzinfo = UTC) -> None:
        """`zone` is the site's: it says on which day something was said."""
        self._texts = texts
        self._devices = devices
        self._zone = zone

    def of_utterances(
        self, signals: Sequence[Signal], before: Sequence[Past], *, surer: float = 0.0
    ) -> list[Prediction]:
        """What the text packs that speak its language say of each utterance; `before` is by signal what came before it.
        Each label that reaches its threshold, or is `surer` (0 to 1: of the way from there to certain)."""
        predictions: list[Prediction] = []
        spoken = [
            (signal, signal.data, past.words, about(signal.data, signal.subject, signal.at, self._zone, past))
            for signal, past in zip(signals, before, strict=True)
            if isinstance(signal.data, Utterance)
        ]
        for pack in self._texts:
            heard = [one for one in spoken if pack.speaks(one[1].text, one[1].language)]
            if not heard:
                continue
            try:
                scored = pack.score(
                    [utterance.text for _, utterance, _, _ in heard],
                    [words for _, _, words, _ in heard],
                    [what for *_, what in heard],
                )
            except PackInvalid as error:  # it was whole at the start; the others go on
                log.error("a pack does not open", pack=pack.name, reason=str(error))
                continue
            for (signal, utterance, *_), scores in zip(heard, scored, strict=True):
                predictions.extend(
                    Prediction(
                        at=signal.at,
                        signal_id=signal.id,
                        subject=signal.subject,
                        pack=pack.name,
                        pack_version=pack.version,
                        label=score.label,
                        probability=round(score.probability, 4),
                        evidence=(_spoken(signal, utterance, score), *_known(signal, score)),
                    )
                    for score in scores
                    if score.probability >= _between(pack.thresholds[score.label], surer)
                )
        return predictions

    def still_says(self, utterance: Utterance, before: Past, begun: Prediction) -> bool:
        """Whether the label that was said of the beginning of an utterance is at least half-way to its threshold in all
        of it: what was begun on it is not withdrawn for less, or it would come and go."""
        what = about(utterance, begun.subject, begun.at, self._zone, before)
        return any(
            score.probability >= pack.thresholds[begun.label] / 2
            for pack in self._texts
            if pack.speaks(utterance.text, utterance.language)
            for score in pack.score([utterance.text], [before.words], [what])[0]
            if score.label == begun.label
        )

    def of_readings(self, features: NDArray[np.float32]) -> list[tuple[DeviceAnomaly, NDArray[np.float32]]]:
        """What each device pack says of windows [n, features]: a probability [n] that the reading is unusual."""
        return [(pack, pack.score(features)) for pack in self._devices] if len(features) else []


def about(utterance: Utterance, subject: str, at: int, zone: tzinfo, past: Past) -> About:
    """What is known of an utterance beside its words; `at` is when it was said, in microseconds since the epoch."""
    spoken = utterance.channel != "note"
    return About(
        language=utterance.language,
        subject=subject,
        names=tuple((named.kind, named.name) for named in utterance.names),
        day=datetime.fromtimestamp(at / 1e6, zone).date(),
        line=TimeLine(
            turn=_turn(utterance, utterance) if spoken else None,
            earlier=tuple(_turn(one, utterance) for one in past.said),
            steps=past.steps,
        ),
    )


def _turn(utterance: Utterance, judged: Utterance) -> Turn:
    """An utterance on the time line of the one that is judged."""
    unsure = sum(word.confidence < UNSURE for word in utterance.words)
    return Turn(
        own=utterance.channel == judged.channel,
        text=utterance.text,
        start_s=utterance.start_s,
        end_s=utterance.end_s,
        unsure=unsure / len(utterance.words) if utterance.words else None,
    )


def of_reading(
    pack: DeviceAnomaly,
    signal: Signal,
    probability: float,
    weights: Sequence[tuple[str, float]],
    sensor: str,
    value: float,
    usual: float,
) -> Prediction:
    """What is said of one reading as a pack's prediction, with the sensor and the features of it, or the sensors of its
    machine, that weighed most: `weights` are theirs, the largest first."""
    return Prediction(
        at=signal.at,
        signal_id=signal.id,
        subject=signal.subject,
        pack=pack.name,
        pack_version=pack.version,
        label=pack.label,
        probability=round(probability, 4),
        evidence=(
            MeasuredEvidence(
                event_id=signal.event_id,
                sensor=sensor,
                value=round(value, 6),
                usual=round(usual, 6),
                weights=tuple((name, round(weight, 4)) for name, weight in weights[:WEIGHTS_SHOWN]),
            ),
        ),
    )


def _between(threshold: float, surer: float) -> float:
    return threshold + surer * (1.0 - threshold)


def _spoken(signal: Signal, utterance: Utterance, score: LabelScore) -> SpokenEvidence:
    """The utterance, and the words in it that raised the score most, in the order of their weight."""
    weights = [
        (utterance.text[start:end], round(weight, 4)) for start, end, weight in score.contributions if weight > 0
    ][:WEIGHTS_SHOWN]
    return SpokenEvidence(
        event_id=signal.event_id,
        channel=utterance.channel,
        start_s=utterance.start_s,
        end_s=utterance.end_s,
        text=utterance.text,
        weights=tuple(weights),
    )


def _known(signal: Signal, score: LabelScore) -> tuple[KnownEvidence, ...]:
    """What the pack went by beside the words; of parts of a sum those that raised the score most."""
    raised = [one for one in score.known if one.weight is not None and round(one.weight, 2) > 0][:KNOWN_SHOWN]
    return tuple(
        KnownEvidence(
            event_id=signal.event_id,
            source=one.source,
            what=one.what,
            of=one.of,
            value=one.value,
            weight=None if one.weight is None else round(one.weight, 4),
        )
        for one in score.known
        if one.weight is None or one in raised
    )
