"""A site with a backlog for HQ, of records such as the daemon writes."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from edge.events import (
    Action,
    Decision,
    MeasuredEvidence,
    Prediction,
    Record,
    SpokenEvidence,
    Transition,
    new_id,
    now_us,
)
from edge.store import outbox
from edge.store.migrations import migrate

ROWS_PER_COMMIT = 2000
PREDICTIONS_A_CALL = 15
"""As in the sample site's calls."""

_TALK = (
    "the pump is losing pressure again and we had to stop the belt at noon because nobody could say whether the seal "
    "holds can you send somebody before the night shift that is more than we budgeted for this quarter 绞车 有 异响 "
    "压力 下降 请 尽快 派 人 过来 价格 太 高"
)
_WORDS = _TALK.split()
_DEVICES = tuple(f"{kind}-{number:02}" for kind in ("hoist", "pump", "fan", "belt") for number in range(1, 26))
_SENSORS = ("vibration_mm_s", "bearing_c", "motor_a", "pressure_bar", "flow_m3_h")
_LABELS = ("complaint", "budget", "churn_risk", "safety_hazard", "device_fault")


def fill(journal: Path, rows: int, seed: int = 1) -> None:
    """Make the journal at `journal` with `rows` records in its outbox, in the lanes where they belong."""
    migrate(journal)
    add(journal, rows, seed)


def add(journal: Path, rows: int, seed: int = 1) -> None:
    """Put `rows` more records into the outbox of a journal that is there."""
    connection = apsw.Connection(str(journal))
    connection.set_busy_timeout(10_000)
    made = records(random.Random(seed))
    while rows > 0:
        with connection:
            outbox.put(connection, [next(made) for _ in range(min(rows, ROWS_PER_COMMIT))])
        rows -= ROWS_PER_COMMIT
    connection.close()


def add_card(journal: apsw.Connection) -> str:
    """Put one fresh action into lane `now`, as its own commit; gives its id."""
    card = _action(random.Random(), new_id())
    with journal:
        outbox.put(journal, [card])
    return card.id


def json_of(rows: int, seed: int = 1) -> Iterator[bytes]:
    """The same records as `fill` writes, as plain JSON."""
    made = records(random.Random(seed))
    return (msgspec.json.encode(next(made)) for _ in range(rows))


def records(chance: random.Random) -> Iterator[Record]:
    """Predictions of calls and devices, and for every eighth a decision with its action and what became of it."""
    call, customer = new_id(), "customer-1"
    while True:
        if chance.random() < 1 / PREDICTIONS_A_CALL:
            call, customer = new_id(), f"customer-{chance.randint(1, 40)}"
        for prediction in (_spoken(chance, call, customer), _measured(chance)):
            yield prediction
            if chance.random() < 0.125:
                decision = Decision(
                    at=now_us(),
                    prediction_id=prediction.id,
                    event_id=prediction.evidence[0].event_id,
                    subject=prediction.subject,
                    play=prediction.label,
                    deadline=now_us() + 1_020_000_000,
                )
                action = _action(chance, decision.id)
                yield decision
                yield action
                yield Transition(at=now_us(), action_id=action.id, state="accepted", by="rep", remark="")


def _spoken(chance: random.Random, call: str, customer: str) -> Prediction:
    words = chance.choices(_WORDS, k=chance.randint(4, 14))
    start_s = round(chance.uniform(0, 300), 2)
    evidence = SpokenEvidence(
        event_id=call,
        channel="customer",
        start_s=start_s,
        end_s=round(start_s + len(words) / 2.5, 2),
        text=" ".join(words),
        weights=_weights(chance, words[:6]),
    )
    return _prediction(chance, "call-signals", customer, evidence)


def _measured(chance: random.Random) -> Prediction:
    sensor = chance.choice(_SENSORS)
    evidence = MeasuredEvidence(
        event_id=new_id(),
        sensor=sensor,
        value=round(chance.gauss(40, 9), 2),
        usual=round(chance.gauss(38, 2), 6),
        weights=_weights(chance, ("beyond", "value", "roughness", "shift_excess", "drift", "span")),
    )
    return _prediction(chance, "device-anomaly", chance.choice(_DEVICES), evidence)


def _weights(chance: random.Random, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """What weighed for the label, most first."""
    return tuple(zip(names, sorted((round(chance.expovariate(1), 4) for _ in names), reverse=True), strict=True))


def _prediction(
    chance: random.Random, pack: str, subject: str, evidence: SpokenEvidence | MeasuredEvidence
) -> Prediction:
    return Prediction(
        at=now_us(),
        signal_id=new_id(),
        subject=subject,
        pack=pack,
        pack_version="1.0.0",
        label=chance.choice(_LABELS),
        probability=round(chance.random(), 4),
        evidence=(evidence,),
    )


def _action(chance: random.Random, decision_id: str) -> Action:
    return Action(
        at=now_us(),
        decision_id=decision_id,
        step=1,
        role="rep",
        channel="card",
        what={"en": "Call back and offer the instalment plan", "zh": "回电并提供分期方案"},
        payload={"subject": chance.choice(_DEVICES)},
        due=now_us() + 1_020_000_000,
        fires_at=None,
    )
