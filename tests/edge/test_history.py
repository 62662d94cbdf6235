"""What happened with a customer before a call, as the journal has it."""

from pathlib import Path

import apsw
import pytest

from edge.events import Call, Decision, Note, Prediction, Reading, Signal, Transition, Utterance, Window, new_id
from edge.store.history import steps_before
from edge.store.rows import insert
from tests.records import AT, a_prediction, an_action, an_event

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
CALL = Call(audio="a.wav", duration_s=9.0, sample_rate_hz=8000, channels=("customer",), language="en")


@pytest.fixture
def connection(empty_journal: Path, tmp_path: Path) -> apsw.Connection:
    (tmp_path / "journal.db").write_bytes(empty_journal.read_bytes())
    return apsw.Connection(str(tmp_path / "journal.db"))


def predicted(connection: apsw.Connection, event_id: str, subject: str, label: str, at: int) -> Prediction:
    data = Window(features={}) if label == "device_anomaly" else Utterance(channel="customer", language="en", text="x")
    signal = Signal(at=at, event_id=event_id, subject=subject, data=data)
    insert(connection, [signal])
    made = a_prediction(at=at, signal_id=signal.id, subject=subject, label=label)
    insert(connection, [made])
    return made


def steps(connection: apsw.Connection, event_id: str = "now") -> list[tuple[str, float]]:
    found = steps_before(connection, "pit-7", event_id, AT)
    return sorted((step.what, round(step.ago_s / 3_600, 1)) for step in found)


def test_a_customer_of_whom_nothing_is_known_has_no_steps(connection: apsw.Connection) -> None:
    assert steps(connection) == []


def test_calls_notes_what_was_said_and_what_became_of_it_count(connection: apsw.Connection) -> None:
    earlier = an_event(CALL, subject="pit-7", at=AT - 2 * DAY_US)
    note = an_event(Note(text="seal ordered", author="li"), subject="pit-7", at=AT - DAY_US)
    others = an_event(CALL, subject="pit-8", at=AT - DAY_US)
    old = an_event(CALL, subject="pit-7", at=AT - 31 * DAY_US)
    insert(connection, [earlier, note, others, old, an_event(Reading(values={"x": 1.0}), subject="pit-7", at=AT - 5)])
    complained = predicted(connection, earlier.id, "pit-7", "complaint", earlier.at)
    predicted(connection, others.id, "pit-8", "churn_risk", others.at)
    decided = Decision(
        at=AT, prediction_id=complained.id, event_id=earlier.id, subject="pit-7", play="complaint", deadline=AT
    )
    action = an_action(decision_id=decided.id)
    insert(connection, [decided])
    insert(connection, [action])
    taken = Transition(at=AT - 40 * HOUR_US, action_id=action.id, state="accepted", by="lin")
    late = Transition(at=AT - 36 * HOUR_US, action_id=action.id, state="expired", by="gateway")
    insert(connection, [taken, late])
    assert steps(connection) == [("called", 48.0), ("complaint", 48.0), ("expired", 36.0), ("note", 24.0)]


def test_nothing_of_the_call_itself_counts(connection: apsw.Connection) -> None:
    now = an_event(CALL, subject="pit-7", at=AT - HOUR_US)
    insert(connection, [now])
    predicted(connection, now.id, "pit-7", "complaint", AT - HOUR_US)
    assert steps(connection, now.id) == []


def test_the_sites_machines_of_the_last_day_count(connection: apsw.Connection) -> None:
    for hours in (2, 30):
        predicted(connection, new_id(), "hoist-07", "device_anomaly", AT - hours * HOUR_US)
    assert steps(connection) == [("device_anomaly", 2.0)]
