"""New versions of packs beside those in use, on the same events: what they would have said is kept and nothing else is
done with it (edge/store/comparisons.py)."""

from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from edge.events import Event, Signal, Utterance
from edge.infer import UTC, about
from edge.perceive.windows import Windows
from edge.store.comparisons import Said, Shadowed
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.labelling import Labeller

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

    def of_utterances(self, signals: Sequence[Signal], before: Sequence[str]) -> list[Shadowed]:
        """What both versions say of utterances in a language of theirs; `before` is by signal what was said before."""
        compared = []
        for active, shadow in self._texts:
            heard = [
                (signal, signal.data, earlier)
                for signal, earlier in zip(signals, before, strict=True)
                if isinstance(signal.data, Utterance) and active.speaks(signal.data.text, signal.data.language)
            ]
            if heard:
                compared.append(
                    Shadowed(
                        pack=active.name,
                        active_version=active.version,
                        shadow_version=shadow.version,
                        judged=len(heard),
                        said=[said for one in heard for said in _said(*one, self._zone, active, shadow)],
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


def _said(
    signal: Signal, utterance: Utterance, before: str, zone: tzinfo, active: Labeller, shadow: Labeller
) -> list[Said]:
    what = about(utterance, signal.subject, signal.at, zone)
    by_active, by_shadow = (
        {score.label: score.probability for score in pack.score([utterance.text], [before], [what])[0]}
        for pack in (active, shadow)
    )
    said = []
    for label in dict.fromkeys((*by_active, *by_shadow)):
        probabilities = by_active.get(label, 0.0), by_shadow.get(label, 0.0)
        thresholds = active.thresholds.get(label, 1.0), shadow.thresholds.get(label, 1.0)
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
