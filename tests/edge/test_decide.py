"""A prediction calls for its plays once an episode, and the actions say who does what by when."""

from pathlib import Path

import pytest

from edge.decide.playbook import Playbook, read_playbook
from edge.decide.plays import MINUTE_US, Decider
from edge.decide.tables import Tables
from tests.records import AT, a_prediction

BOOK = """
[[play]]
name = "budget"
label = "budget_concern"
title = { en = "Budget" }
quiet_minutes = 10
[[play.step]]
role = "rep"
channel = "card"
what = { en = "Show instalments" }
within_minutes = 5
[[play.step]]
role = "maintenance"
channel = "device"
what = { en = "Slow down" }
within_minutes = 15
fires_after_s = 30
payload = { topic = "mine/{subject}/command", why = "{label} in {event}" }
[[play]]
name = "finance"
label = "budget_concern"
title = { en = "Finance" }
[[play.step]]
role = "finance"
channel = "webhook"
what = { en = "Offer" }
within_minutes = 1
"""


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    (tmp_path / "playbook.toml").write_text(BOOK)
    return read_playbook(tmp_path / "playbook.toml")


def decider_of(playbook: Playbook, episodes: dict[tuple[str, str], int] | None = None) -> Decider:
    return Decider(playbook, Tables(playbook.path.parent / "tables"), episodes or {})


def names(decider: Decider, at: int, subject: str = "hoist") -> list[str]:
    return [play.name for play in decider.begin(subject, "budget_concern", at)]


def test_a_play_is_not_called_again_while_the_label_keeps_being_said(playbook: Playbook) -> None:
    decider = decider_of(playbook)
    assert names(decider, AT) == ["budget", "finance"]
    for minutes in (1, 9, 18, 27):
        assert names(decider, AT + minutes * MINUTE_US) == [], "each time within ten minutes of the last"
    assert names(decider, AT + 38 * MINUTE_US) == ["budget"], "quiet for eleven minutes: a new episode"
    assert names(decider, AT + 38 * MINUTE_US, "pump") == ["budget", "finance"], "another subject has its own"


def test_episodes_that_the_journal_keeps_go_on_after_a_restart(playbook: Playbook) -> None:
    first = decider_of(playbook)
    names(first, AT)
    moved = first.take_moved()
    assert moved == {("hoist", "budget"): AT, ("hoist", "finance"): AT}
    assert first.take_moved() == {}
    assert names(decider_of(playbook, moved), AT + MINUTE_US) == []


def test_a_clock_that_jumps_back_does_not_silence_a_play(playbook: Playbook) -> None:
    decider = decider_of(playbook)
    names(decider, AT)
    assert names(decider, 5_000_000) == ["budget", "finance"], "the source woke up in 1970"


def test_what_the_agent_says_is_not_the_customers_worry(playbook: Playbook) -> None:
    decider = decider_of(playbook)
    assert not decider.answers("budget_concern", "agent")
    assert decider.begin("hoist", "budget_concern", AT, "agent") == []
    assert decider.answers("budget_concern", "customer")
    assert len(decider.begin("hoist", "budget_concern", AT, "customer")) == 2


def test_actions_carry_role_channel_deadline_and_what_is_filled_in(playbook: Playbook) -> None:
    prediction = a_prediction(subject="hoist-07")
    play = playbook.plays["budget_concern"][0]
    decision, (card, command) = decider_of(playbook).decide(prediction, "event-1", play, AT + 7)
    assert (decision.prediction_id, decision.event_id, decision.play) == (prediction.id, "event-1", "budget")
    assert decision.deadline == AT + 7 + 15 * MINUTE_US
    assert (card.role, card.channel, card.due, card.fires_at) == ("rep", "card", AT + 7 + 5 * MINUTE_US, None)
    assert command.fires_at == AT + 7 + 30_000_000
    assert command.payload == {"topic": "mine/hoist-07/command", "why": "budget_concern in event-1"}
    assert card.decision_id == command.decision_id == decision.id
