"""New versions of packs beside those in use, on the same events: what they would have said is kept and nothing else is
done with it (edge/store/comparisons.py)."""

from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from edge.events import Event, Signal, Utterance
from edge.infer import UTC, Past, about
from edge.perceive.windows import Windows
from edge.store.comparisons import Said, Shadowed
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.labelling import Labeller
from models.tasks.text_labels import LabelScore

MINUTE_US = 60_000_000


class Shadows:
    """Pairs of a pack in use and the version in its shadow."""

    def __init__(
        self,
        texts: Sequence[tuple[Labeller, Labeller]] = (),
        devices: Sequence[tuple[DeviceAnomaly, DeviceAnomaly]] = (),
        zone: tzinfo = UTC,
    ) -> None:
        self._texts = texts
        self._devices = devices
        self._zone = zone

    def of_utterances(self, signals: Sequence[Signal], before: Sequence[Past]) -> list[Shadowed]:
        """What both versions say of utterances in a language of theirs; `before` is by signal what came before it."""
        compared = []
        for active, shadow in self._texts:
            heard = [
                (signal, signal.data, past)
                for signal, past in zip(signals, before, strict=True)
                if isinstance(signal.data, Utterance) and active.speaks(signal.data.text, signal.data.language)
            ]
            if heard:
                # Asked as the pack in use was asked a moment ago, so it answers from memory.
                texts = [utterance.text for _, utterance, _ in heard]
                words = [past.words for *_, past in heard]
                what = [
                    about(utterance, signal.subject, signal.at, self._zone, past) for signal, utterance, past in heard
                ]
                by_active, by_shadow = (pack.score(texts, words, what) for pack in (active, shadow))
                said = [
                    one
                    for (signal, utterance, _), *scores in zip(heard, by_active, by_shadow, strict=True)
                    for one in _said(signal, utterance, (active, scores[0]), (shadow, scores[1]))
                ]
                compared.append(
                    Shadowed(
                        pack=active.name,
                        active_version=active.version,
                        shadow_version=shadow.version,
                        judged=len(heard),
                        said=said,
                    )
                )
        return compared

    def of_readings(
        self, events: Sequence[Event], windows: Windows, scored: Sequence[tuple[DeviceAnomaly, NDArray[np.float32]]]
    ) -> list[Shadowed]:
        """What both versions say of a batch of readings; `scored` is what those in use said of the windows."""
        said_by = {pack.name: probability for pack, probability in scored}
        return [
            _of_readings(events, windows, active, shadow, said_by[active.name])
            for active, shadow in self._devices
            if active.name in said_by
        ]


def _said(signal: Signal, utterance: Utterance, *by: tuple[Labeller, Sequence[LabelScore]]) -> list[Said]:
    """What the pack in use and its shadow say of an utterance, where either calls a label."""
    by_active, by_shadow = ({score.label: score.probability for score in scores} for _, scores in by)
    said = []
    for label in dict.fromkeys((*by_active, *by_shadow)):
        probabilities = by_active.get(label, 0.0), by_shadow.get(label, 0.0)
        thresholds = tuple(pack.thresholds.get(label, 1.0) for pack, _ in by)
        if probabilities[0] >= thresholds[0] or probabilities[1] >= thresholds[1]:
            said.append(
                Said(
                    place=signal.id,
                    at=signal.at,
                    subject=signal.subject,
                    label=label,
                    active=round(probabilities[0], 4),
                    shadow=round(probabilities[1], 4),
                    by_active=probabilities[0] >= thresholds[0],
                    by_shadow=probabilities[1] >= thresholds[1],
                    text=utterance.text,
                )
            )
    return said


def _of_readings(
    events: Sequence[Event],
    windows: Windows,
    active: DeviceAnomaly,
    shadow: DeviceAnomaly,
    by_active: NDArray[np.float32],
) -> Shadowed:
    by_shadow = shadow.score(windows.features) if len(windows.features) else by_active
    rows = windows.loudest(np.fmax(by_active / active.threshold, by_shadow / shadow.threshold), len(events))
    of_machines = windows.of_machines(active.threshold), windows.of_machines(shadow.threshold)
    said = []
    for place in np.flatnonzero(rows >= 0).tolist():
        row, event = int(rows[place]), events[place]
        probabilities = (
            float(np.fmax(by_active[row], of_machines[0][place])),
            float(np.fmax(by_shadow[row], of_machines[1][place])),
        )
        if probabilities[0] < active.threshold and probabilities[1] < shadow.threshold:
            continue
        said.append(
            Said(
                place=f"{event.subject} {event.at // MINUTE_US}",
                at=event.at,
                subject=event.subject,
                label=active.label,
                active=round(probabilities[0], 4),
                shadow=round(probabilities[1], 4),
                by_active=probabilities[0] >= active.threshold,
                by_shadow=probabilities[1] >= shadow.threshold,
                text=f"{windows.sensor[row]} {windows.value[row]:g}",
            )
        )
    return Shadowed(
        pack=active.name,
        active_version=active.version,
        shadow_version=shadow.version,
        judged=int(np.count_nonzero(rows >= 0)),
        said=said,
    )
