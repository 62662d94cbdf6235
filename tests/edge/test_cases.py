"""The cases before a card that were like it, and what was done about them."""

from pathlib import Path

import apsw
import pytest

from edge.events import Decision, MeasuredEvidence, Prediction, SpokenEvidence, Transition, new_id
from edge.store.cases import cases_like
from edge.store.rows import insert
from tests.records import AT, an_action

DAY_US = 86_400_000_000


@pytest.fixture
def connection(empty_journal: Path, tmp_path: Path) -> apsw.Connection:
    (tmp_path / "journal.db").write_bytes(empty_journal.read_bytes())
    return apsw.Connection(str(tmp_path / "journal.db"))


def spoken(text: str) -> SpokenEvidence:
    return SpokenEvidence(event_id="e", channel="customer", start_s=1.0, end_s=2.0, text=text)


def measured(sensor: str, *weights: tuple[str, float]) -> MeasuredEvidence:
    return MeasuredEvidence(event_id="e", sensor=sensor, value=9.5, usual=2.0, weights=weights)


def add(
    connection: apsw.Connection,
    evidence: SpokenEvidence | MeasuredEvidence,
    label: str = "complaint",
    subject: str = "pit-7",
    days: int = 0,
    remark: str = "",
) -> str:
    """A prediction with a card; gives the card's id. With a remark it was done."""
    at = AT - days * DAY_US
    prediction = Prediction(
        at=at,
        signal_id=new_id(),
        subject=subject,
        pack="p",
        pack_version="1",
        label=label,
        probability=0.9,
        evidence=(evidence,),
    )
    decision = Decision(
        at=at, prediction_id=prediction.id, event_id="e", subject=subject, play="calm", deadline=at + DAY_US
    )
    action = an_action(decision_id=decision.id)
    insert(connection, [prediction])
    insert(connection, [decision])
    insert(connection, [action])
    if remark:
        insert(connection, [Transition(at=at, action_id=action.id, state="done", by="lin", remark=remark)])
        connection.execute("UPDATE actions SET state = 'done' WHERE id = ?", (action.id,))
    return action.id


def test_the_most_alike_turn_comes_first_with_what_was_done(connection: apsw.Connection) -> None:
    add(connection, spoken("the invoice has the wrong address on it"), subject="pit-1", days=5)
    add(
        connection,
        spoken("nobody rings us back about the pump"),
        subject="pit-2",
        days=4,
        remark="rang, came on Monday",
    )
    add(connection, spoken("the pump, and nobody ever rings back"), label="fault_report", subject="pit-3", days=3)
    card = add(connection, spoken("third time we ask about the pump and nobody rings back"))
    first, *others = cases_like(connection, card)
    assert (first.subject, first.said) == ("pit-2", "nobody rings us back about the pump")
    assert [(step.state, step.by, step.remark) for step in first.steps] == [("done", "lin", "rang, came on Monday")]
    assert 0.3 < first.likeness <= 1
    assert "pit-3" not in {case.subject for case in others}, "another label is another case"


def test_chinese_is_compared_too(connection: apsw.Connection) -> None:
    add(connection, spoken("密封件第三次漏了，没人回电话"), subject="矿二", days=1)
    add(connection, spoken("发票抬头开错了"), subject="矿三", days=2)
    found = cases_like(connection, add(connection, spoken("又漏了，说好回电话也没人回")))
    assert [case.subject for case in found] == ["矿二"]


def test_readings_are_compared_by_what_made_them_unusual(connection: apsw.Connection) -> None:
    add(connection, measured("bearing_temp_c", ("slope", 3.0), ("value", 2.0)), "device_anomaly", "hoist-01", 2)
    add(connection, measured("rope_tension_kn", ("spikes", 4.0)), "device_anomaly", "hoist-02", 1)
    card = add(connection, measured("bearing_temp_c", ("slope", 2.5), ("value", 1.0)), "device_anomaly", "hoist-07")
    assert [(case.subject, case.said) for case in cases_like(connection, card)] == [("hoist-01", "bearing_temp_c 9.5")]


def test_what_came_later_and_what_is_unlike_is_no_case(connection: apsw.Connection) -> None:
    card = add(connection, spoken("send me the invoice"))
    add(connection, spoken("send me the invoice"), subject="later")
    assert cases_like(connection, card) == []
    assert cases_like(connection, "no such card") == []
