"""What devices write becomes readings, or a sentence that names the field."""

import contextlib
import datetime as dt
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Refused
from edge.events import Event, Reading
from edge.sources.bus import topic_filter, topic_regex
from edge.sources.logs import Row, read_log
from edge.sources.payload import readings
from edge.sources.readings import reading
from models.device_log import parse_time

ZONE = ZoneInfo("Asia/Shanghai")


def read(fields: dict[str, Any], device: str | None = None) -> tuple[bytes | None, Event]:
    return reading(fields, source="test", device=device, zone=ZONE, boot_id="b")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-14T09:30:00+08:00", dt.datetime(2026, 3, 14, 1, 30, tzinfo=dt.UTC)),
        ("2026-03-14T01:30:00Z", dt.datetime(2026, 3, 14, 1, 30, tzinfo=dt.UTC)),
        ("2026-03-14 09:30:00", dt.datetime(2026, 3, 14, 1, 30, tzinfo=dt.UTC)),
        (1773451800, dt.datetime(2026, 3, 14, 1, 30, tzinfo=dt.UTC)),
        ("1773451800000", dt.datetime(2026, 3, 14, 1, 30, tzinfo=dt.UTC)),
        (0, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_times_are_read_as_people_and_machines_write_them(text: object, moment: dt.datetime) -> None:
    assert parse_time(text, ZONE) == round(moment.timestamp() * 1e6)


@given(st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(2200, 1, 1)))
def test_every_iso_time_comes_back_to_the_microsecond(moment: dt.datetime) -> None:
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert parse_time(moment.isoformat(), ZONE) == since // dt.timedelta(microseconds=1)


@pytest.mark.parametrize("text", ["yesterday", "", None, True, -5, math.nan, math.inf, [], "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_time(text, ZONE)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"device": "p", "t": math.nan}, "t: nan is not a finite number"),
        ({"device": "p", "t": math.inf}, "t: inf is not a finite number"),
        ({"device": "p", "t": 10**400}, "t: 100000"),
        ({"device": "p"}, "no number in this reading"),
        ({"device": "p", "state": "on"}, "no number in this reading"),
        ({"t": 1}, "device: None is not a device's name"),
        ({"device": 5, "t": 1}, "device: 5 is not a device's name"),
        ({"device": "p", "time": "noon", "t": 1}, "time: 'noon' is not a time"),
    ],
)
def test_a_reading_that_does_not_fit_is_refused_by_its_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        read(fields)
    assert said in str(caught.value)


def test_numbers_are_sensors_whether_flat_or_nested_and_texts_beside_them_do_no_harm() -> None:
    flat = read({"device": "p", "a": 1, "unit": "mm", "ok": True, "b": None})[1]
    nested = read({"device": "p", "values": {"a": 1.0}})[1]
    assert isinstance(flat.data, Reading)
    assert isinstance(nested.data, Reading)
    assert flat.data.values == nested.data.values == {"a": 1.0}


def test_the_key_is_the_same_for_the_same_reading_and_only_for_it() -> None:
    base = {"device": "p", "time": 5, "a": 1.0}
    key = read(base)[0]
    assert key == read({"a": 1.0, "time": "1970-01-01T00:00:05Z", "device": "p"})[0]
    assert key not in {read({**base, "a": 2.0})[0], read({**base, "device": "q"})[0], read({**base, "time": 6})[0]}
    assert read({"device": "p", "a": 1.0})[0] is None, "without a time two equal readings are two"


@given(st.binary(max_size=2000))
def test_no_bytes_from_the_bus_raise_anything_but_a_refusal(payload: bytes) -> None:
    with contextlib.suppress(Refused):
        readings(payload, source="test", device="d", zone=ZONE, boot_id="b")


_NAMES = st.text(max_size=4) | st.sampled_from(["time", "device", "values", "x" * 201])
_VALUES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)


@given(st.lists(st.dictionaries(_NAMES, _VALUES, max_size=6), max_size=3))
def test_a_message_of_nothing_but_numbers_is_read_as_any_other(objects: list[dict[str, float]]) -> None:
    with_a_text = [{**fields, "remark": "ok"} for fields in objects]

    def said(fields: list[dict[str, Any]]) -> list[object]:
        try:
            accepted = readings(msgspec.json.encode(fields), source="test", device="d", zone=ZONE, boot_id="b")
        except Refused as refusal:
            return [str(refusal).partition(":")[0]]
        return [(key, event.at if key else None, event.subject, event.data) for key, event in accepted]

    assert said(objects) == said(with_a_text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
        max_leaves=8,
    )
)
def test_no_object_raises_anything_but_a_refusal(value: Any) -> None:
    with contextlib.suppress(Refused):
        read({"device": "p", "x": value, "time": value})


@pytest.mark.parametrize(
    ("pattern", "topic", "device"),
    [
        ("mine/{device}/telemetry", "mine/hoist-07/telemetry", "hoist-07"),
        ("{device}/up", "p/up", "p"),
        ("plant/+/{device}/#", "plant/a/p/x/y", "p"),
    ],
)
def test_a_topic_pattern_finds_the_device(pattern: str, topic: str, device: str) -> None:
    found = topic_regex(pattern).fullmatch(topic)
    assert found is not None
    assert found["device"] == device
    assert topic_filter("mine/{device}/telemetry") == "mine/+/telemetry"
    assert topic_regex("mine/{device}/telemetry").fullmatch("mine/a/b/telemetry") is None


def rows(path: Path, text: str | bytes) -> list[Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_log(path))


def test_rows_that_do_not_fit_are_told_by_line_and_the_others_are_read(tmp_path: Path) -> None:
    got = rows(tmp_path / "a.csv", "time,device,t\n1,p,5\n2,p,x\n3,p\n\n4,p,6\n")
    assert [(row.line, row.fault) for row in got if row.fault] == [
        (3, "t: 'x' is not a number"),
        (4, "2 fields where the header has 3"),
    ]
    assert [row.fields for row in got if row.fields] == [
        {"time": "1", "device": "p", "t": 5.0},
        {"time": "4", "device": "p", "t": 6.0},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "time,t\n1,2\n", "a.csv line 1: the column 'device' is missing"),
        ("a.csv", "device,t\np,2\n", "a.csv line 1: the column 'time' is missing"),
        ("a.csv", "", "a.csv line 1: the column 'time' is missing"),
        ("a.csv", "time,device\n", "no sensor's column"),
        ("a.csv", "time,device,t\n1,p," + "9" * 10_000_000, "a.csv line 2 is longer than 65,536 bytes"),
        ("a.csv", b"time,device,t\n1,\xff\xfe,2\n", "a.csv line 2 is not UTF-8 text"),
        ("a.jsonl", "", "a.jsonl is empty"),
    ],
)
def test_a_file_that_is_no_device_log_is_refused_whole(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    with pytest.raises(Refused) as caught:
        rows(tmp_path / name, text)
    assert said in str(caught.value)


@given(st.text(max_size=500))
def test_no_text_in_a_log_raises_anything_but_a_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("logs")
    for name, head in (("a.csv", "time,device,t\n"), ("a.jsonl", "")):
        with contextlib.suppress(Refused):
            assert all(row.fields or row.fault or row.line == 1 for row in rows(folder / name, (head + text).encode()))
