"""What may follow what, who may take what back until when, and that nothing is done twice whatever people, clocks and
kills do in between."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from edge.decide.playbook import read_playbook
from edge.decide.plays import Decider
from edge.decide.tables import Tables
from edge.errors import Conflict
from edge.events import Action, Prediction, Terms, new_id
from edge.store.journal import Conclusions
from tests.edge.acting import HOUR_S, Acting, Clock
from tests.served import parts_of, served

UNDO = Terms(undo_s=60, hand_over="finance", undo={"speed": "5"})
Move = Callable[[Acting, Action], object]


def accept(acting: Acting, action: Action) -> object:
    return acting.journal.move(action.id, "accepted", "Lin").result()


def decline(acting: Acting, action: Action) -> object:
    return acting.journal.move(action.id, "declined", "Lin").result()


def done(acting: Acting, action: Action) -> object:
    return acting.journal.move(action.id, "done", "Lin").result()


def hand_over(acting: Acting, action: Action, role: str = "finance") -> object:
    return acting.journal.hand_over(action.id, role, "Lin").result()


def undo(acting: Acting, action: Action) -> object:
    return acting.journal.undo(action.id, "Lin").result()


def fires(acting: Acting, action: Action) -> None:
    acting.settle(11)


# ---- taken back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["card", "message"])
@pytest.mark.parametrize("move", [accept, decline])
def test_what_was_only_said_is_as_if_it_had_not_been_said(acting: Acting, channel: str, move: Move) -> None:
    action = acting.propose(channel=channel, terms=UNDO, fires_s=300)
    move(acting, action)
    acting.settle(30)
    undo(acting, action)
    card = acting.card(action)
    assert (card.state, card.role, card.undo_until, card.fires_at) == ("proposed", "rep", None, None)
    acting.settle(500)
    assert acting.card(action).state == "proposed", "it waits for a person now"
    acting.settle(HOUR_S)
    assert acting.card(action).state == "expired"
    acting.verify()


@pytest.mark.parametrize("move", [accept, decline, hand_over])
def test_after_its_window_nothing_is_taken_back_and_it_says_for_how_long_that_went(acting: Acting, move: Move) -> None:
    action = acting.propose(terms=UNDO)
    move(acting, action)
    before = acting.moves(action)
    acting.settle(61)
    with pytest.raises(Conflict, match="goes for 1 min"):
        undo(acting, action)
    assert acting.moves(action) == before
    assert acting.card(action).undo_until is None


def test_an_undo_takes_back_what_was_seen_and_not_what_somebody_else_did_meanwhile(acting: Acting) -> None:
    action = acting.propose(terms=UNDO)
    accept(acting, action)
    acting.journal.move(action.id, "declined", "Wu").result()
    with pytest.raises(Conflict, match="Wu has moved this meanwhile, it is declined now"):
        acting.journal.undo(action.id, "Lin", mover="Lin").result()
    assert acting.card(action).state == "declined"
    acting.journal.undo(action.id, "Lin", mover="Wu").result()
    assert acting.moves(action) == ["accepted", "declined", "proposed"]


@pytest.mark.parametrize("mover", ["Lin", "gateway"])
def test_what_the_gateway_made_of_a_move_is_taken_back_with_it(acting: Acting, mover: str) -> None:
    action = acting.propose(channel="webhook", terms=UNDO)
    accept(acting, action)
    acting.settle()
    assert acting.card(action).by == "gateway"
    acting.journal.undo(action.id, "Lin", mover=mover).result()
    assert acting.card(action).state == "undone"


def test_what_nobody_answered_has_nothing_to_take_back(acting: Acting) -> None:
    action = acting.propose(terms=UNDO, due_s=60)
    with pytest.raises(Conflict, match="can no longer be taken back"):
        undo(acting, action)
    acting.settle(61)
    with pytest.raises(Conflict, match="expired"):
        undo(acting, action)


def test_a_file_that_nobody_picked_up_goes_and_of_one_that_was_picked_up_another_says_that_it_is_undone(
    acting: Acting,
) -> None:
    waits, gone = (acting.propose(channel="webhook", fires_s=10, terms=UNDO) for _ in range(2))
    fires(acting, waits)
    assert acting.files("webhooks") == sorted(f"{action.id}.json" for action in (waits, gone))
    (acting.folder / "webhooks" / f"{gone.id}.json").unlink()
    for action in (waits, gone):
        undo(acting, action)
    acting.settle()
    assert acting.files("webhooks") == [f"{gone.id}.undo.json"]
    assert acting.moves(gone) == ["fired", "done", "undone"]
    acting.verify()


def test_a_command_is_taken_back_by_the_command_that_the_play_names_also_when_the_bus_was_down(acting: Acting) -> None:
    action = acting.propose(channel="device", payload={"topic": "t", "speed": "1"}, terms=UNDO)
    accept(acting, action)
    acting.settle()
    acting.bus.down = True
    undo(acting, action)
    acting.settle(10)
    acting.reopen()
    acting.bus.down = False
    acting.settle(600)
    acting.settle(600)
    said = [(topic, msgspec.json.decode(payload)) for topic, payload in acting.bus.said]
    assert said == [("t", {"id": action.id, "speed": "1"}), ("t", {"id": action.id, "speed": "5"})]


def test_a_command_that_the_play_does_not_say_how_to_take_back_stays(acting: Acting) -> None:
    action = acting.propose(channel="device", payload={"topic": "t"}, terms=Terms(undo_s=60))
    accept(acting, action)
    acting.settle()
    with pytest.raises(Conflict, match="by hand"):
        undo(acting, action)
    assert acting.card(action).state == "done"


def test_a_message_is_held_back_while_it_can_be_undone_and_then_handed_on(acting: Acting) -> None:
    kept, undone, fired = (
        acting.propose(channel="message", payload={"to": "138", "text": "offer"}, terms=UNDO, fires_s=fires_s)
        for fires_s in (None, None, 10)
    )
    accept(acting, kept)
    accept(acting, undone)
    fires(acting, fired)
    assert acting.files("messages") == []
    undo(acting, undone)
    undo(acting, fired)
    acting.settle(61)
    assert acting.files("messages") == [f"{kept.id}.json"]
    sent = msgspec.json.decode((acting.folder / "messages" / f"{kept.id}.json").read_bytes(), type=Action)
    assert sent.payload == {"to": "138", "text": "offer"}
    assert [acting.card(one).state for one in (kept, undone, fired)] == ["done", "proposed", "undone"]
    with pytest.raises(Conflict):
        undo(acting, kept)
    acting.verify()


def test_a_message_that_could_be_undone_for_longer_than_its_time_goes_out_in_its_time(acting: Acting) -> None:
    action = acting.propose(channel="message", terms=Terms(undo_s=3_000), due_s=600)
    accept(acting, action)
    acting.settle(601)
    assert acting.moves(action) == ["accepted", "done"]
    with pytest.raises(Conflict):
        undo(acting, action)


# ---- handed over -----------------------------------------------------------------------------------------------------


def test_what_is_handed_over_waits_for_an_answer_from_there_and_does_not_fire(acting: Acting) -> None:
    action = acting.propose(terms=UNDO, fires_s=30)
    hand_over(acting, action)
    card = acting.card(action)
    assert (card.role, card.state, card.fires_at, card.hand_over) == ("finance", "proposed", None, "")
    with pytest.raises(Conflict, match="with finance already"):
        hand_over(acting, action)
    acting.settle(100)
    assert acting.card(action).state == "proposed"


def test_a_hand_over_that_is_taken_back_goes_back_to_who_had_it(acting: Acting) -> None:
    action = acting.propose(terms=UNDO)
    hand_over(acting, action, "finance")
    hand_over(acting, action, "manager")
    undo(acting, action)
    assert acting.card(action).role == "finance"
    hand_over(acting, action, "rep")
    undo(acting, action)
    assert acting.card(action).role == "finance", "handed back to whom the play named, and that was taken back"
    acting.verify()


def test_what_does_itself_cannot_be_handed_over(acting: Acting) -> None:
    action = acting.propose(channel="webhook", terms=UNDO)
    with pytest.raises(Conflict, match="Only what a person does"):
        hand_over(acting, action)


# ---- two at once -----------------------------------------------------------------------------------------------------


def test_of_two_who_accept_at_once_one_has_it_and_the_other_is_told_so(acting: Acting) -> None:
    for _ in range(20):
        action = acting.propose()
        together = threading.Barrier(2)
        told: list[str] = []

        def answer(by: str, action: Action = action, told: list[str] = told, at: threading.Barrier = together) -> None:
            at.wait()
            try:
                told.append(acting.journal.move(action.id, "accepted", by).result().by)
            except Conflict as conflict:
                told.append(str(conflict))

        threads = [threading.Thread(target=answer, args=(by,)) for by in ("Lin", "Wang")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum("accepted already" in one for one in told) == 1
        assert acting.card(action).by in told
    acting.verify()


def test_over_http_the_second_gets_409_and_an_undo_goes_for_its_window_only(acting: Acting) -> None:
    action = acting.propose(terms=UNDO)
    with served(parts_of(acting.journal, acting.folder)) as url, httpx.Client(base_url=url) as client:

        def post(move: str, **said: str) -> httpx.Response:
            return client.post(f"/api/cards/{action.id}/{move}", json={"by": "Lin", **said})

        assert post("accept").json()["state"] == "accepted"
        assert post("accept").status_code == 409
        assert post("hand_over").json()["role"] == "finance", "the role that the play names"
        assert post("hand_over", role="manager").json()["role"] == "manager"
        assert post("undo").json()["role"] == "finance"
        acting.clock.passes(100)
        late = post("undo")
        assert late.status_code == 409
        assert "can no longer be taken back" in late.json()["detail"]
        assert client.post("/api/cards/nobody/undo", json={"by": "Lin"}).status_code == 404
        assert client.post("/api/cards/nobody/hand_over", json={"by": "Lin"}).status_code == 404
        assert post("hand_over", role="x" * 300).status_code == 400


# ---- the play is edited meanwhile ------------------------------------------------------------------------------------

BOOK = """
[[play]]
name = "budget"
label = "budget_concern"
title = { en = "Budget" }
[[play.step]]
role = "rep"
channel = "webhook"
what = { en = "Offer TEXT" }
within_minutes = 10
fires_after_s = SECONDS
undo_minutes = SECONDS
"""


def test_a_play_that_is_edited_changes_nothing_of_what_is_under_way(acting: Acting) -> None:
    def decided(text: str, seconds: int) -> Action:
        path = acting.folder / "playbook.toml"
        path.write_text(BOOK.replace("TEXT", text).replace("SECONDS", str(seconds)))
        decider = Decider(read_playbook(path), Tables(acting.folder / "tables"), {})
        said = Prediction(
            at=acting.clock.wall,
            signal_id="s",
            subject=new_id(),
            pack="p",
            pack_version="1",
            label="budget_concern",
            probability=0.9,
            evidence=(),
        )
        (play,) = decider.begin(said.subject, said.label, said.at)
        decision, actions = decider.decide(said, "e", play, acting.clock.wall)
        made = Conclusions(predictions=[said], decisions=[decision], actions=actions)
        acting.journal.conclude(made).result()
        return actions[0]

    old = decided("instalments", 60)
    new = decided("a discount", 5)
    assert acting.card(old).what == {"en": "Offer instalments"}
    acting.settle(6)
    assert [acting.moves(one) for one in (old, new)] == [[], ["fired", "done"]]
    acting.settle(55)
    assert acting.moves(old) == ["fired", "done"]
    acting.settle(6 * 60)
    undo(acting, old)
    with pytest.raises(Conflict, match="goes for 5 min"):
        undo(acting, new)


# ---- whatever happens ------------------------------------------------------------------------------------------------

ENDS = {"expired", "withdrawn", "undone"}
MAY_RUN = {
    "proposed": {"ask", "escalate", "fire", "expire", "undo"},
    "accepted": {"expire", "perform", "undo"},
    "fired": {"expire", "perform", "undo"},
    "declined": {"expire", "undo"},
    "done": {"undo"},
    "failed": {"undo"},
    "expired": set(),
    "withdrawn": set(),
    "undone": {"take_back"},
}


class Whatever(RuleBasedStateMachine):
    """People, clocks, kills and a bus that is down now and then, in any order."""

    actions = Bundle("actions")

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp())
        self.all: list[Action] = []

    @initialize()
    def begin(self) -> None:
        shutil.copyfile(EMPTY[0], self.folder / "journal.db")
        self.acting = Acting(self.folder, Clock(self.patches))

    def teardown(self) -> None:
        if hasattr(self, "acting"):
            self.acting.journal.close()
        self.patches.undo()
        shutil.rmtree(self.folder)

    @rule(
        target=actions,
        channel=st.sampled_from(["card", "device", "webhook", "message"]),
        fires_s=st.sampled_from([None, 0, 30, 600]),
        undo_s=st.sampled_from([0, 60, 5_000]),
        undoes=st.booleans(),
        asks=st.booleans(),
    )
    def proposed(self, channel: str, fires_s: int | None, undo_s: int, undoes: bool, asks: bool) -> Action:
        terms = Terms(
            undo_s=undo_s,
            undo={"speed": "5"} if undoes else {},
            ask_again_s=20 if asks else None,
            ask_again_times=2 if asks else 0,
            escalate_to="manager" if asks else "",
            escalate_s=50 if asks else None,
        )
        action = self.acting.propose(channel=channel, payload={"topic": "t"}, fires_s=fires_s, terms=terms)
        self.all.append(action)
        return action

    @rule(action=actions, move=st.sampled_from([accept, decline, done, hand_over, undo]))
    def moved(self, action: Action, move: Move) -> None:
        before, until = self.acting.card(action).state, self.acting.card(action).undo_until
        moves = self.acting.moves(action)
        try:
            move(self.acting, action)
        except Conflict:
            assert self.acting.moves(action) == moves, "what was refused changed nothing"
            assert not (move is accept and before == "proposed")
            return
        assert before not in ENDS
        assert move is not accept or before == "proposed"
        assert move is not undo or (until is not None and until > self.acting.clock.wall)

    @rule(seconds=st.sampled_from([0, 1, 31, 61, 700]))
    def time_passes(self, seconds: int) -> None:
        self.acting.settle(seconds)

    @rule(seconds=st.sampled_from([-3_600, 365 * 86_400]))
    def clock_is_set(self, seconds: int) -> None:
        self.acting.clock.is_set(seconds)

    @rule()
    def bus_goes_or_comes(self) -> None:
        self.acting.bus.down = not self.acting.bus.down

    @rule()
    def killed(self) -> None:
        self.acting.reopen()

    @invariant()
    def nothing_is_done_twice(self) -> None:
        assert all(count == 1 for count in self.acting.channels.performed.values() if count)
        assert all(count == 1 for count in self.acting.channels.taken_back.values() if count)

    @invariant()
    def every_state_is_that_of_the_last_move_and_only_its_timers_run(self) -> None:
        for action in self.all:
            state = self.acting.card(action).state
            assert state == ([*self.acting.moves(action)] or ["proposed"])[-1]
            assert self.acting.timers(action) <= MAY_RUN[state], (state, self.acting.timers(action))

    @invariant()
    def the_audit_has_nothing_to_say(self) -> None:
        if self.all:
            self.acting.verify()


EMPTY: list[Path] = []


def test_whatever_happens_nothing_is_done_twice(empty_journal: Path) -> None:
    EMPTY[:] = [empty_journal]
    run_state_machine_as_test(
        Whatever,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
