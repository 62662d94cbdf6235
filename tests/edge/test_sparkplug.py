"""Sparkplug B: births name the metrics, data follows by alias, and who has missed something is asked again."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Refused
from edge.sources import sparkplug
from edge.sources.sparkplug import Measured, Sessions, Taken, Topic, needs_birth, rebirth_request, topic_of

INT8, INT16, INT32, INT64, DOUBLE, BOOLEAN, STRING = 1, 2, 3, 4, 10, 11, 12
SIGNED = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}
NODE = "spBv1.0/mine/{}/crusher"
DEVICE = "spBv1.0/mine/{}/crusher/motor"


def payload(seq: int, *metrics: dict[str, Any], at_ms: int = 1_773_450_000_000) -> bytes:
    message = sparkplug._PAYLOAD(timestamp=at_ms, seq=seq)
    for metric in metrics:
        message.metrics.add(**metric)
    encoded: bytes = message.SerializeToString()
    return encoded


def take(sessions: Sessions, topic: str, *args: Any, **more: Any) -> Taken:
    return sessions.take(topic_of(topic), payload(*args, **more))


def born(birth_number: int = 3) -> Sessions:
    """A node with one metric and a device with two, of which nothing but the births was heard."""
    sessions = Sessions()
    number = {"name": "bdSeq", "datatype": INT64, "long_value": birth_number}
    take(
        sessions,
        NODE.format("NBIRTH"),
        0,
        number,
        {"name": "load", "alias": 1, "datatype": DOUBLE, "double_value": 1.0},
    )
    motor = {"name": "temperature", "alias": 2, "datatype": INT16, "int_value": 40}
    take(sessions, DEVICE.format("DBIRTH"), 1, motor, {"name": "running", "alias": 3, "datatype": BOOLEAN})
    return sessions


def test_data_by_alias_is_of_the_metric_that_the_birth_named() -> None:
    sessions = born()
    taken = take(
        sessions, DEVICE.format("DDATA"), 2, {"alias": 2, "int_value": 65_531}, {"alias": 3, "boolean_value": True}
    )
    assert taken == Taken(
        measured=[Measured("mine/crusher/motor", 1_773_450_000.0, {"temperature": -5.0, "running": 1.0})]
    )
    assert take(sessions, NODE.format("NDATA"), 3, {"alias": 1, "double_value": 2.5}).measured[0].values == {
        "load": 2.5
    }


def test_a_birth_is_a_reading_too_without_what_is_no_measurement() -> None:
    sessions = Sessions()
    taken = take(
        sessions,
        NODE.format("NBIRTH"),
        0,
        {"name": "bdSeq", "datatype": INT64, "long_value": 1},
        {"name": "Node Control/Rebirth", "datatype": BOOLEAN, "boolean_value": False},
        {"name": "firmware", "datatype": STRING, "string_value": "4.2"},
        {"name": "gone", "datatype": DOUBLE, "is_null": True},
        {"name": "load", "datatype": DOUBLE, "double_value": 7.0},
    )
    assert [one.values for one in taken.measured] == [{"load": 7.0}]
    assert taken.born == "mine/crusher"


def test_metrics_with_times_of_their_own_are_readings_of_those_times() -> None:
    old = {"alias": 2, "int_value": 1, "timestamp": 1_000_000_000_000, "is_historical": True}
    taken = take(born(), DEVICE.format("DDATA"), 2, old, {"alias": 3, "boolean_value": False})
    assert [(one.time_s, one.values) for one in taken.measured] == [
        (1_000_000_000.0, {"temperature": 1.0}),
        (1_773_450_000.0, {"running": 0.0}),
    ]


def test_a_missed_message_is_noticed_and_what_came_is_kept() -> None:
    sessions = born()
    assert not take(sessions, NODE.format("NDATA"), 2, {"alias": 1, "double_value": 1.0}).rebirth
    taken = take(sessions, NODE.format("NDATA"), 4, {"alias": 1, "double_value": 2.0})
    assert taken.rebirth
    assert taken.measured[0].values == {"load": 2.0}
    assert not take(sessions, NODE.format("NDATA"), 4, {"alias": 1, "double_value": 2.0}).rebirth, "told twice"


def test_the_count_goes_on_from_255_at_0() -> None:
    sessions = born()
    for number in range(2, 600):
        assert not take(sessions, NODE.format("NDATA"), number % 256, {"alias": 1, "double_value": 1.0}).rebirth


@pytest.mark.parametrize("topic", [NODE.format("NDATA"), DEVICE.format("DDATA"), DEVICE.format("DBIRTH")])
def test_before_a_birth_nothing_is_guessed(topic: str) -> None:
    with pytest.raises(Refused, match="no birth") as refusal:
        take(Sessions(), topic, 5, {"name": "load", "alias": 1, "double_value": 1.0})
    assert needs_birth(refusal.value)


def test_an_alias_of_another_device_is_not_taken_for_ones_own() -> None:
    with pytest.raises(Refused, match="alias 1 of mine/crusher/motor"):
        take(born(), DEVICE.format("DDATA"), 2, {"alias": 1, "double_value": 9.0})


def test_a_node_takes_its_devices_with_it_unless_its_death_is_an_old_one() -> None:
    sessions = born(birth_number=3)
    assert take(sessions, NODE.format("NDEATH"), 0, {"name": "bdSeq", "long_value": 2}).gone == ()
    gone = take(sessions, NODE.format("NDEATH"), 0, {"name": "bdSeq", "long_value": 3}).gone
    assert gone == ("mine/crusher", "mine/crusher/motor")
    assert take(sessions, NODE.format("NDEATH"), 0, {"name": "bdSeq", "long_value": 3}).gone == ()


def test_births_that_are_recalled_name_what_comes_and_no_message_is_missed() -> None:
    sessions = Sessions()
    birth = payload(17, {"name": "load", "alias": 9, "datatype": DOUBLE, "double_value": 1.0})
    sessions.recall(topic_of(NODE.format("NBIRTH")), birth)
    taken = take(sessions, NODE.format("NDATA"), 200, {"alias": 9, "double_value": 3.0})
    assert (taken.measured[0].values, taken.rebirth) == ({"load": 3.0}, False)


def test_what_is_not_finite_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="load: nan is not a finite number"):
        take(born(), NODE.format("NDATA"), 2, {"alias": 1, "double_value": float("nan")})


@pytest.mark.parametrize("rest", ["", "/mine", "/mine/NDATA", "/mine/NDATA/a/b", "/mine/DDATA/a", "//NDATA/a"])
def test_other_topics_are_refused(rest: str) -> None:
    with pytest.raises(Refused, match="topic"):
        topic_of(f"spBv1.0{rest}")


def test_commands_and_the_state_of_hosts_are_passed_over() -> None:
    assert Sessions().take(topic_of("spBv1.0/mine/NCMD/crusher"), rebirth_request(1)) == Taken()
    assert Sessions().take(topic_of("spBv1.0/STATE/scada"), b'{"online": true}') == Taken()


@given(st.sampled_from(["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"]), st.binary(max_size=200))
def test_whatever_bytes_come_they_are_taken_or_refused(kind: str, data: bytes) -> None:
    topic = topic_of((DEVICE if kind.startswith("D") else NODE).format(kind))
    with contextlib.suppress(Refused):
        born().take(topic, data)


@given(st.sampled_from(sorted(SIGNED)), st.data())
def test_signed_integers_come_back_as_they_were(datatype: int, data: st.DataObject) -> None:
    bits = SIGNED[datatype]
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    wide = {"long_value": value % 2**64} if bits == 64 else {"int_value": value % 2**32}
    taken = take(Sessions(), NODE.format("NBIRTH"), 0, {"name": "n", "datatype": datatype, **wide})
    assert taken.measured[0].values == {"n": float(value)}


@given(st.lists(st.tuples(st.sampled_from(["birth", "data", "death"]), st.integers(0, 255)), max_size=30))
def test_in_whatever_order_things_come_no_value_is_of_another_metric(happened: list[tuple[str, int]]) -> None:
    """Each birth gives the only alias another name; a value says which birth it belongs to."""
    sessions, births = Sessions(), 0
    for what, seq in happened:
        if what == "birth":
            births += 1
            metric = {"name": f"metric-{births}", "alias": 1, "datatype": DOUBLE, "double_value": float(births)}
            take(sessions, NODE.format("NBIRTH"), seq, metric)
        elif what == "death":
            take(sessions, NODE.format("NDEATH"), 0)
        elif births:
            taken = take(sessions, NODE.format("NDATA"), seq, {"alias": 1, "double_value": float(births)})
            assert taken.measured[0].values == {f"metric-{births}": float(births)}


def test_a_topic_tells_the_names_that_readings_have() -> None:
    assert topic_of(DEVICE.format("DDATA")) == Topic("mine", "DDATA", "crusher", "motor")
    assert topic_of(DEVICE.format("DDATA")).name == "mine/crusher/motor"
    assert topic_of(NODE.format("NBIRTH")).command == "spBv1.0/mine/NCMD/crusher"
