"""What happens to an action by itself: it is asked for again, goes to somebody else, fires, expires; once each, also
when the gateway is killed in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.bench.waiting import until
from edge.events import Terms
from edge.store.journal import Journal
from tests.edge.acting import DAY_S, Acting


def test_nobody_answering_it_is_asked_for_again_then_goes_to_somebody_else(acting: Acting) -> None:
    terms = Terms(ask_again_s=60, ask_again_times=2, escalate_to="manager", escalate_s=150)
    action = acting.propose(terms=terms, due_s=300)
    seen = []
    for _ in range(6):
        acting.settle(50)
        card = acting.card(action)
        seen.append((card.state, card.asked, card.role))
    assert seen == [
        ("proposed", 0, "rep"),
        ("proposed", 1, "rep"),
        ("proposed", 2, "manager"),
        ("proposed", 2, "manager"),
        ("proposed", 2, "manager"),
        ("expired", 2, "manager"),
    ]
    acting.verify()


def test_who_answered_is_not_asked_again(acting: Acting) -> None:
    terms = Terms(ask_again_s=60, ask_again_times=5, escalate_to="manager", escalate_s=150)
    action = acting.propose(terms=terms)
    acting.journal.move(action.id, "accepted", "Lin").result()
    acting.settle(500)
    card = acting.card(action)
    assert (card.state, card.asked, card.role) == ("accepted", 0, "rep")


def test_a_command_whose_bus_is_down_for_a_day_becomes_a_card_for_a_person(acting: Acting) -> None:
    acting.bus.down = True
    terms = Terms(escalate_to="manager", escalate_s=3_000, undo={"topic": "t", "speed": "5"}, undo_s=60)
    action = acting.propose(channel="device", payload={"topic": "t"}, fires_s=10, due_s=600, terms=terms)
    acting.settle(11)
    assert acting.card(action).state == "fired"
    acting.settle(DAY_S)
    assert acting.moves(action) == ["fired", "failed"]
    ((by_hand, state),) = acting.journal.open_actions()
    assert (by_hand.channel, by_hand.role, state) == ("card", "manager", "proposed")
    assert by_hand.what["en"].endswith(action.what["en"])
    assert "the broker does not answer" in by_hand.what["en"]
    assert "the broker does not answer" in by_hand.what["zh"]
    assert acting.card(by_hand).due > acting.clock.wall, "there is time to do it"
    acting.bus.down = False
    acting.settle(DAY_S)
    assert acting.bus.said == [], "what somebody was asked to do by hand is not done by itself as well"
    acting.verify()


def test_a_channel_that_comes_back_in_time_does_it_once(acting: Acting) -> None:
    acting.bus.down = True
    action = acting.propose(channel="device", payload={"topic": "t"}, fires_s=10, due_s=600)
    for _ in range(5):
        acting.settle(20)
    acting.bus.down = False
    acting.settle(300)
    acting.settle(300)
    assert acting.moves(action) == ["fired", "done"]
    assert len(acting.bus.said) == 1


def test_what_a_start_finds_long_overdue_expires_and_does_not_fire_any_more(acting: Acting) -> None:
    actions = [acting.propose(channel="webhook", fires_s=60, due_s=600), acting.propose(due_s=600)]
    acting.clock.passes(DAY_S)
    acting.reopen()
    acting.settle()
    assert [acting.moves(action) for action in actions] == [["expired"], ["expired"]]
    assert acting.files("webhooks") == []


def test_what_fires_at_the_last_moment_of_its_time_fires(acting: Acting) -> None:
    action = acting.propose(channel="webhook", fires_s=60, due_s=60)
    acting.settle(59)
    acting.settle(2)
    assert acting.moves(action) == ["fired", "done"]


def test_what_fires_at_the_last_moment_and_finds_its_channel_down_fails(acting: Acting) -> None:
    acting.bus.down = True
    action = acting.propose(channel="device", payload={"topic": "t"}, fires_s=60, due_s=60)
    acting.settle(61)
    acting.settle(DAY_S)
    assert acting.moves(action) == ["fired", "failed"]


# ---- killed ----------------------------------------------------------------------------------------------------------

COUNTS_DOWN = """
import sys
from pathlib import Path
from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.events import now_us
from edge.store.journal import Conclusions, Journal
from tests.records import an_action
folder = Path(sys.argv[1])
journal = Journal(folder / "journal.db")
now = now_us()
action = an_action(channel="webhook", at=now, fires_at=now + int(sys.argv[2]), due=now + 60_000_000)
journal.conclude(Conclusions(actions=[action])).result()
countdown = Countdown(journal, Channels(None, folder / "webhooks", folder / "messages"))
countdown.start()
print(action.id, flush=True)
"""
DIES_DOING_IT = """
import os, signal
from edge.act.channels import Channels
does = Channels.perform
def perform(self, action):
    does(self, action)
    os.kill(os.getpid(), signal.SIGKILL)
Channels.perform = perform
"""


def killed(folder: Path, program: str, fires_us: int, kill: bool) -> str:
    """Run a gateway's countdown until it is killed; gives the action's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(fires_us)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    action_id = process.stdout.readline().strip()
    if kill:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    return action_id


@pytest.mark.parametrize(
    ("program", "fires_us", "kill"),
    [(COUNTS_DOWN, 1_500_000, True), (DIES_DOING_IT + COUNTS_DOWN, 0, False)],
    ids=["in the middle of the countdown", "after it was done and before that was written down"],
)
def test_a_gateway_killed_goes_on_where_it_was_and_fires_once(
    tmp_path: Path, program: str, fires_us: int, kill: bool
) -> None:
    action_id = killed(tmp_path, program, fires_us, kill)
    journal = Journal(tmp_path / "journal.db")
    countdown = Countdown(journal, Channels(None, tmp_path / "webhooks", tmp_path / "messages"))

    def states() -> list[object]:
        rows = journal.readers.connection().execute("SELECT state FROM transitions ORDER BY seq")
        return [row[0] for row in rows]

    try:
        assert states() == (["fired"] if fires_us == 0 else [])
        countdown.start()
        until(lambda: states()[-1:] == ["done"], "it is done after the restart")
        countdown.settle()
    finally:
        countdown.stop()
        journal.close()
    assert states() == ["fired", "done"]
    assert [path.name for path in (tmp_path / "webhooks").iterdir()] == [f"{action_id}.json"]
