"""What stands on a call's time line, as numbers."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.features.time_line import COLUMNS, MARKS, STEPS, Row, Step, TimeLine, Turn, faded, row_of, shown

SPOKEN = "you told me that on friday already"
SECONDS = st.floats(-1e6, 1e6, allow_nan=False)
TURNS = st.builds(Turn, st.booleans(), st.text(max_size=30), SECONDS, SECONDS, st.none() | st.floats(0, 1))
LINES = st.builds(
    TimeLine,
    turn=st.none() | TURNS,
    earlier=st.lists(TURNS, max_size=5).map(tuple),
    steps=st.none() | st.lists(st.builds(Step, st.sampled_from([*STEPS, "upset"]), SECONDS), max_size=9).map(tuple),
)


def numbers(row: Row) -> dict[str, float]:
    return {name: value for name, value in zip(COLUMNS, row.tolist(), strict=True) if not math.isnan(value)}


def spoken(start_s: float, end_s: float, *earlier: Turn) -> dict[str, float]:
    turn = Turn(True, SPOKEN, start_s, end_s)
    return numbers(row_of(SPOKEN, TimeLine(turn=turn, earlier=earlier)))


@given(st.text(max_size=40), st.none() | LINES)
def test_nothing_that_comes_in_weighs_without_bound(text: str, line: TimeLine | None) -> None:
    row = row_of(text, line)
    assert row.shape == (len(COLUMNS),)
    assert row.dtype == np.float32
    assert all(abs(value) <= 20 for value in numbers(row).values())
    assert all(shown(name, value, line) for name, value in numbers(row).items() if value or name not in STEPS)


def test_what_nobody_spoke_has_its_marks_and_nothing_else() -> None:
    assert numbers(row_of("I asked you. Where is it?!", None)) == {"exclamations": 1, "questions": 1, "trails_off": 0}
    assert numbers(row_of("where is it", None)) == {}
    assert set(MARKS) == set(numbers(row_of("在哪？", None)))


def test_pace_is_that_of_the_turn_and_against_the_speakers_own() -> None:
    calm = Turn(True, SPOKEN, 0.0, 3.5)
    assert math.isclose(spoken(10.0, 13.5)["words_a_second"], math.log(2), rel_tol=1e-5)
    assert math.isclose(spoken(10.0, 11.75, calm)["pace_change"], math.log(2), rel_tol=1e-5)
    assert "pace_change" not in spoken(10.0, 11.75, Turn(False, SPOKEN, 0.0, 3.5))
    chinese = row_of("你们上次就这么说的", TimeLine(turn=Turn(True, "你们上次就这么说的", 0.0, 2.0)))
    assert math.isclose(numbers(chinese)["characters_a_second"], math.log(4.5), rel_tol=1e-5)


def test_who_answers_late_has_a_gap_and_who_cuts_in_an_overlap() -> None:
    agent = Turn(False, "one moment please", 2.0, 5.0)
    assert spoken(7.0, 9.0, agent)["gap"] > spoken(5.2, 7.2, agent)["gap"] > 0
    assert spoken(7.0, 9.0, agent)["overlap"] == 0
    cutting = spoken(4.0, 6.0, agent)
    assert (cutting["gap"], round(cutting["overlap"], 3)) == (0, 1)
    assert "gap" not in spoken(7.0, 9.0, agent, Turn(True, "well", 5.5, 6.0))


def test_what_was_said_and_what_happened_before_fades() -> None:
    turns = [Turn(True, "first", 0.0, 1.0), Turn(False, "theirs", 1.0, 2.0), Turn(True, "second", 20.0, 21.0)]
    kept = faded(Turn(True, "now", 41.0, 42.0), turns)
    assert [(turn.text, round(share, 3)) for turn, share in kept] == [("first", 0.25), ("second", 0.5)]
    week = 7 * 86_400.0
    line = TimeLine(steps=(Step("expired", 0.0), Step("expired", week), Step("device_anomaly", 3_600.0)))
    known = numbers(row_of("well", line))
    assert (known["expired"], known["device_anomaly"], known["complaint"]) == (1.5, 0.5, 0.0)
    assert shown("expired", 1.5, line) == "0 min"
