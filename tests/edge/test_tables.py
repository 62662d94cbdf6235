"""The site's tables in the texts and sheets of steps."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.decide.playbook import read_playbook
from edge.decide.plays import Decider
from edge.decide.tables import SHEET_ROWS, Tables
from edge.events import Action, SpokenEvidence
from tests.records import AT, a_prediction

BOOK = """
[[play]]
name = "budget"
label = "budget_concern"
title = { en = "Budget" }
[[play.step]]
role = "rep"
channel = "message"
what = { en = "Send the figures" }
within_minutes = 15
sheet = "rivals"
payload = { to = "{quotes.contact}", text = "12 x {quotes.monthly}, {second} s {said} {braces} {not a name}" }
fires_after_s = 30
undo_minutes = 5
"""


def messages(folder: Path, subject: str) -> Action:
    (folder / "playbook.toml").write_text(BOOK)
    spoken = SpokenEvidence(event_id="e", channel="customer", start_s=87.21, end_s=90.0, text="Summit is cheaper")
    prediction = a_prediction(subject=subject, evidence=(spoken,))
    decider = Decider(read_playbook(folder / "playbook.toml"), Tables(folder), {})
    (play,) = decider.begin(subject, "budget_concern", AT)
    _, (action,) = decider.decide(prediction, "e", play, AT)
    return action


def test_a_message_has_the_subjects_own_figures_and_a_sheet_the_rows_that_were_named(tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text('customer,monthly,contact\nred-hill,"7,210",tom\n')
    (tmp_path / "rivals.csv").write_text("supplier,price\nSummit,61\nours,84\n")
    action = messages(tmp_path, "red-hill")
    assert action.payload == {"to": "tom", "text": "12 x 7,210, 87.2 s Summit is cheaper {braces} {not a name}"}
    assert action.channel == "message"
    assert action.fires_at == AT + 30_000_000
    assert action.terms.sheet is not None
    assert action.terms.sheet.rows == (("Summit", "61"),)


def test_a_message_that_lacks_a_figure_is_a_card_for_somebody_to_fill_in(tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text("customer,monthly,contact\nred-hill,,tom\n")
    for subject in ("red-hill", "nobody"):
        action = messages(tmp_path, subject)
        assert (action.channel, action.fires_at) == ("card", None)
        assert "12 x ?" in action.payload["text"]


def test_a_table_is_read_again_when_it_changes_and_has_no_cells_when_it_cannot_be_read(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    path = tmp_path / "t.csv"
    assert tables.cell("t", "a", "x") is None
    path.write_text("key,x\na,1\n")
    assert tables.cell("t", "a", "x") == "1"
    path.write_text("key,x\na,22\n")
    assert tables.cell("t", "a", "x") == "22"
    path.write_bytes(b"key,x\na,\xff\xff\n")
    os.utime(path, ns=(1, 1))
    assert tables.cell("t", "a", "x") is None
    assert tables.cell("../t", "a", "x") is None


@given(content=st.text(max_size=300), key=st.text(max_size=20), said=st.text(max_size=50))
def test_no_table_makes_a_play_fail(tmp_path_factory: object, content: str, key: str, said: str) -> None:
    folder = tmp_path_factory.mktemp("t")  # type: ignore[attr-defined]
    (folder / "t.csv").write_text(content, "utf-8", errors="replace")
    tables = Tables(folder)
    tables.cell("t", key, "x")
    sheet = tables.sheet("t", said)
    assert sheet is None or len(sheet.rows) <= SHEET_ROWS
