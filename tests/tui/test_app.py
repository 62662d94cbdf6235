"""The terminal against a real gateway: what a rep sees, and what their keys change."""

import pytest
from textual.widgets import Input

from edge.events import MeasuredEvidence, Note, Sheet, SpokenEvidence, Terms
from tests.tui.conftest import Rep, Site, proxied, rep_at
from tests.tui.test_view import columns_of
from tui.app import Terminal

pytestmark = pytest.mark.anyio

SPOKEN = SpokenEvidence(
    event_id="e",
    channel="customer",
    start_s=87.2,
    end_s=92.4,
    text="that is more than we budgeted",
    weights=(("budgeted", 1.52), ("more than", 1.84)),
)
MEASURED = MeasuredEvidence(event_id="e", sensor="bearing_temp_c", value=92.41, usual=61.0, weights=(("max_60s", 2.1),))
# Terms of a step that can be taken back and handed over, with a table to look at.
FULL = Terms(
    tool={"en": "comparison sheet", "zh": "竞品对比表"},
    sheet=Sheet(name="rivals", columns=("supplier", "full service"), rows=(("Summit", "61,000"), ("ours", "84,000"))),
    undo_s=300,
    hand_over="finance",
    ask_again_s=0.05,
    ask_again_times=1,
)


def _field(rep: Rep) -> str | None:
    """The field that keys go into."""
    return rep.app.focused.id if isinstance(rep.app.focused, Input) else None


async def test_a_card_that_was_there_before_is_shown_in_full(site: Site) -> None:
    site.put_card(due_in_min=30.5, evidence=MEASURED)
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        screen = "\n".join(rep.lines)
    assert "red-ridge" in screen
    assert "1 card" in screen
    assert "budget concern, 87 % probable" in screen
    assert "bearing_temp_c 92.41, usually 61" in screen
    assert "max_60s +2.10" in screen
    assert "30 min left" in screen


async def test_a_card_appears_by_itself_with_the_second_of_the_call_and_the_words(site: Site) -> None:
    async with rep_at(site.url) as rep:
        await rep.see("Nothing to do now")
        site.put_card("call-back", evidence=SPOKEN)
        await rep.see("Call back as promised")
        # The event of these cards is a note, which has no seconds.
        await rep.see('"that is more than we budgeted"')


async def test_cards_stand_in_the_order_of_the_time_that_is_left(site: Site) -> None:
    site.put_card(subject="later", due_in_min=90)
    site.put_card(subject="overdue", due_in_min=-5)
    site.put_card(subject="acts soon", due_in_min=200, fires_in_min=3)
    async with rep_at(site.url) as rep:
        await rep.see("later")
        subjects = [line[-16:].strip() for line in rep.lines[2:5]]
    assert subjects == ["overdue", "acts soon", "later"]


async def test_accepting_changes_the_gateway_and_says_so(site: Site) -> None:
    card = site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        await rep.press("a")
        await rep.see("Fit the offer to the budget: accepted")
        await rep.see("accepted by zhang")
    assert site.moves(card) == [("accepted", "zhang")]


async def test_declining_changes_the_gateway(site: Site) -> None:
    card = site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        await rep.press("d")
        await rep.see("declined by zhang")
    assert site.moves(card) == [("declined", "zhang")]


async def test_done_on_a_new_card_accepts_it_first(site: Site) -> None:
    card = site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        await rep.press("x")
        await rep.see("done by zhang")
    assert site.moves(card) == [("accepted", "zhang"), ("done", "zhang")]


async def test_a_finished_card_stays_under_the_finger_until_the_rep_moves_on(site: Site) -> None:
    first = site.put_card(subject="first", due_in_min=5)
    second = site.put_card(subject="second", due_in_min=10)
    async with rep_at(site.url) as rep:
        await rep.see("second")
        await rep.press("x", "x")
        await rep.see("done by zhang")
        await rep.press("x")
        assert rep.app.board.chosen_id == first
        await rep.press("j")
        assert rep.app.board.chosen_id == second
        assert "first" not in "\n".join(rep.lines)
    assert site.moves(second) == []


async def test_what_somebody_else_did_is_said_in_one_sentence(site: Site) -> None:
    card = site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("a")
        site.journal.move(card, "declined", "li").result()
        site.start()
        await rep.see("Not changed: the card is declined already, by li.")
        assert not rep.app.board.waiting
    assert site.moves(card) == [("declined", "li")]


async def test_keys_pressed_without_a_link_are_sent_once_and_in_order_when_it_is_back(site: Site) -> None:
    first = site.put_card(subject="first", due_in_min=5)
    second = site.put_card(subject="second", due_in_min=10)
    async with rep_at(site.url) as rep:
        await rep.see("second")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("a", "a", "j", "x")
        await rep.see("3 waiting to be sent")
        assert "done: waiting to be sent" in "\n".join(rep.lines)
        site.start()
        await rep.until(lambda: not rep.app.board.waiting)
        await rep.see("done by zhang")
    assert site.moves(first) == [("accepted", "zhang")]
    assert site.moves(second) == [("accepted", "zhang"), ("done", "zhang")]


async def test_an_answer_that_was_lost_is_not_taken_for_a_conflict(site: Site) -> None:
    card = site.put_card()
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("Offer two instalments.")
            proxy.loses_answers_to = b"/accept"
            await rep.press("a")
            await rep.see("Fit the offer to the budget: accepted")
    assert site.moves(card) == [("accepted", "zhang")]
    assert sum(b"/accept" in request for request in proxy.requests) == 2


async def test_after_a_cut_only_what_was_missed_is_asked_for(site: Site) -> None:
    site.put_card(subject="before")
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("before")
            await rep.until(lambda: rep.app.board.link == "connected")
            site.put_card(subject="live")
            await rep.see("live")
            proxy.requests.clear()
            proxy.cut()
            site.put_card(subject="missed")
            await rep.see("missed")
    asked = b"".join(proxy.requests).lower()
    assert b"last-event-id: " in asked
    assert b"/api/cards" not in asked


async def test_a_terminal_starts_without_a_gateway_and_finds_it_later(site: Site) -> None:
    site.stop()
    site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see(f"No gateway answers at {site.url}")
        site.start()
        await rep.press("r")
        await rep.see("Offer two instalments.")
        await rep.see("connected")


async def test_an_address_that_is_no_gateway_is_told_with_its_answer(site: Site) -> None:
    async with rep_at(site.url + "/schema") as rep:
        await rep.see(f"{site.url}/schema answers: ")


async def test_a_link_that_falls_silent_counts_as_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.client.SILENCE_S", 0.3)
    async with rep_at(site.url) as rep:
        await rep.see("NO LINK since")
        await rep.see("is too slow; trying again by itself.")


async def test_a_card_that_comes_is_named_until_the_next_key(site: Site) -> None:
    site.put_card(subject="first")
    async with rep_at(site.url) as rep:
        await rep.see("first")
        await rep.until(lambda: rep.app.board.link == "connected")
        site.put_card("call-back", subject="second")
        await rep.see("New: Call back as promised")
        await rep.press("r")
        await rep.see("Reloaded.")
        assert "New: " not in "\n".join(rep.lines)


async def test_a_note_reaches_the_journal_once(site: Site) -> None:
    site.put_card(subject="hoist-7")
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("hoist-7")
            proxy.loses_answers_to = b"/api/notes"
            await rep.press("n")
            await rep.until(lambda: _field(rep) is not None)
            await rep.press(*"rope worn", "enter")
            await rep.see("Note saved: hoist-7")
    (note,) = site.notes()
    assert isinstance(note.data, Note)
    assert (note.subject, note.data.text, note.data.author) == ("hoist-7", "rope worn", "zhang")


async def test_a_note_asks_for_what_is_missing_and_can_be_left(site: Site) -> None:
    async with rep_at(site.url) as rep:
        await rep.see("Nothing to do now")
        await rep.press("n")
        await rep.until(lambda: _field(rep) is not None)
        assert _field(rep) == "subject"
        await rep.press("enter", *"fan-2", "enter")
        assert _field(rep) == "text"
        await rep.press("escape")
        await rep.until(lambda: len(rep.app.screen_stack) == 1)
    assert site.notes() == []


async def test_the_language_changes_with_a_key(site: Site) -> None:
    site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Fit the offer to the budget")
        await rep.press("l")
        await rep.see("把方案调到预算之内")
        assert "提出分两期付款。" in "\n".join(rep.lines)
        assert "已连接" in rep.lines[0]


async def test_quitting_asks_again_while_something_was_not_sent(site: Site) -> None:
    site.put_card()
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("a", "q")
        await rep.see("Not sent yet: 1. Press q again to quit without sending.")
        assert rep.app.is_running
        await rep.press("q")
        await rep.until(lambda: not rep.app.is_running)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 24), (20, 6), (8, 3)])
async def test_every_size_is_drawn_to_its_edges(site: Site, size: tuple[int, int]) -> None:
    site.put_card(evidence=SPOKEN, terms=FULL, has_chain=True)
    site.want_outcome("西山矿的第三号提升机", SPOKEN)
    async with rep_at(site.url, "zh", size) as rep:
        await rep.until(lambda: len(rep.app.board.cards) == 1)
        await rep.press("pagedown", "end", "j", "home", "k")
        widths = {strip.cell_length for strip in rep.strips}
        await rep.press("question_mark")
        await rep.press("escape")
        await rep.press("n")
        await rep.press("escape")
        await rep.press("o", "j", "5", "k")
        assert max(map(columns_of, rep.page.splitlines()), default=0) <= size[0]
        await rep.press("escape")
    assert widths == {size[0]}


async def test_the_rest_of_a_long_card_is_a_page_away(site: Site) -> None:
    site.put_card(what={"en": " ".join(f"word{number}" for number in range(200))})
    async with rep_at(site.url) as rep:
        await rep.see("more: PgDn")
        assert "STATE new" not in "\n".join(rep.lines)
        await rep.press(*["pagedown"] * 9)
        await rep.see("STATE new")
        await rep.see("more above: PgUp")


async def test_what_was_declined_is_taken_back_with_a_key(site: Site) -> None:
    card = site.put_card(terms=FULL)
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        await rep.press("d")
        await rep.see("can be undone until ")
        await rep.press("u")
        await rep.see("Taken back: Fit the offer to the budget (Red Ridge mine), now new")
    assert site.moves(card)[-2:] == [("declined", "zhang"), ("proposed", "zhang")]


async def test_what_was_done_and_has_left_the_list_is_undone_as_what_the_rep_did_last(site: Site) -> None:
    first = site.put_card(subject="first", due_in_min=5, terms=FULL)
    second = site.put_card(subject="second", due_in_min=10)
    async with rep_at(site.url) as rep:
        await rep.see("second")
        await rep.press("x")
        await rep.see("can be undone until ")
        await rep.press("j", "u")
        await rep.see("Taken back: Fit the offer to the budget (first), now undone")
        assert rep.app.board.chosen_id == second
    assert site.moves(first)[-1] == ("undone", "zhang")
    assert site.moves(second) == []


async def test_undo_without_a_link_takes_out_what_waits_and_sends_what_was_sent(site: Site) -> None:
    sent = site.put_card(subject="first", due_in_min=5, terms=FULL)
    waits = site.put_card(subject="second", due_in_min=10, terms=FULL)
    async with rep_at(site.url) as rep:
        await rep.see("second")
        await rep.press("d")
        await rep.see("can be undone until ")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("u")
        await rep.see("1 waiting to be sent")
        await rep.press("j", "x")
        await rep.see("3 waiting to be sent")
        await rep.press("u")
        await rep.see("Taken back before it was sent")
        await rep.see("1 waiting to be sent")
        site.start()
        await rep.until(lambda: not rep.app.board.waiting)
    assert site.moves(sent) == [("declined", "zhang"), ("proposed", "zhang")]
    assert site.moves(waits) == []


async def test_an_undo_whose_answer_was_lost_is_not_taken_for_a_conflict(site: Site) -> None:
    card = site.put_card(terms=FULL)
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("Offer two instalments.")
            await rep.press("d")
            await rep.see("can be undone until ")
            proxy.loses_answers_to = b"/undo"
            await rep.press("u")
            await rep.see("Taken back: Fit the offer to the budget")
    assert site.moves(card) == [("declined", "zhang"), ("proposed", "zhang")]


async def test_an_undo_that_comes_too_late_is_told_with_the_gateways_sentence(site: Site) -> None:
    card = site.put_card(terms=FULL)
    async with rep_at(site.url) as rep:
        await rep.see("Offer two instalments.")
        await rep.press("d")
        await rep.see("can be undone until ")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("u")
        site.journal.undo(card, "li").result()
        site.start()
        await rep.see("The gateway did not take it: This action is proposed and can no longer be")
        assert not rep.app.board.waiting


async def test_nobody_elses_move_is_taken_back_when_the_own_one_was_refused(site: Site) -> None:
    card = site.put_card(terms=FULL)
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("Offer two instalments.")
            await rep.until(lambda: rep.app.board.link == "connected")
            site.stop()
            await rep.press("a")
            await rep.see("NO LINK since")
            rep.app.board.waiting.first().begun = True
            await rep.press("u")
            site.journal.move(card, "declined", "li").result()
            site.start()
            await rep.until(lambda: not rep.app.board.waiting)
    assert site.moves(card) == [("declined", "li")]


async def test_a_card_is_handed_over_with_one_key_and_that_can_be_taken_back(site: Site) -> None:
    card = site.put_card(terms=FULL)
    async with rep_at(site.url, size=(80, 40)) as rep:
        await rep.see("h: hand to finance")
        await rep.press("h")
        await rep.see("Handed to finance: Fit the offer to the budget")
        await rep.see("(for: finance)")
        assert "h: hand to finance" not in "\n".join(rep.lines)
        await rep.press("u")
        await rep.see("(for: rep)")
    assert site.moves(card) == [("proposed", "zhang"), ("proposed", "zhang")]


async def test_a_hand_over_without_a_link_waits_and_is_sent_once(site: Site) -> None:
    card = site.put_card(terms=FULL)
    with proxied(site) as proxy:
        async with rep_at(proxy.url) as rep:
            await rep.see("Offer two instalments.")
            proxy.loses_answers_to = b"/hand_over"
            await rep.press("h")
            await rep.see("Handed to finance: Fit the offer to the budget")
    assert site.moves(card) == [("proposed", "zhang")]


async def test_the_bell_calls_to_a_card_that_is_asked_for_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[bool] = []
    monkeypatch.setattr(Terminal, "bell", lambda app: rung.append(True))
    site.put_card(terms=FULL)
    async with rep_at(site.url, size=(80, 40)) as rep:
        await rep.see("Offer two instalments.")
        await rep.until(lambda: rep.app.board.link == "connected")
        assert not rung
        site.let_time_pass()
        await rep.see("Asked again: Fit the offer to the budget")
        await rep.see("asked again once")
        assert rung


async def test_a_chain_stands_above_the_card_and_marks_its_steps(site: Site) -> None:
    site.put_card(terms=FULL, has_chain=True)
    async with rep_at(site.url, size=(80, 40)) as rep:
        await rep.see("0.83 now; do this one within 17 min: 0.91 (0.86-0.94), unproven")
        screen = "\n".join(rep.lines)
    assert "STEP  step 1 of 1 of the chain, unproven" in screen
    assert ">*new" in screen
    assert "WITH  comparison sheet" in screen
    assert " SHEET supplier  full service" in screen


async def test_what_came_of_it_is_told_with_keys(site: Site) -> None:
    first, second, third = (site.want_outcome(name, SPOKEN) for name in ("first", "second", "third"))
    async with rep_at(site.url) as rep:
        await rep.see("o: 3 outcomes asked")
        await rep.press("o")
        await rep.until(lambda: "Did the customer order?" in rep.page)
        assert 'said then: "that is more than we budgeted"' in rep.page
        await rep.press("y", "y", "x", "u", "j", "n", "j", "8", "7", "enter")
        await rep.until(lambda: len(site.outcomes()) == 3)
        await rep.until(lambda: "Outcome saved." in rep.page)
        assert "answer: 87 %" in rep.page
        await rep.press("escape")
        await rep.until(lambda: "asked" not in rep.lines[0])
    assert site.outcomes() == [(first, 1.0, "zhang"), (second, 0.0, "zhang"), (third, 0.87, "zhang")]


async def test_an_outcome_told_without_a_link_waits_and_is_told_once(site: Site) -> None:
    decision = site.want_outcome("first")
    async with rep_at(site.url) as rep:
        await rep.see("o: 1 outcome asked")
        site.stop()
        await rep.see("NO LINK since")
        await rep.press("o", "n", "y")
        await rep.until(lambda: "answer: yes, waiting to be sent" in rep.page)
        await rep.press("1", "0", "1", "enter")
        await rep.until(lambda: "It lies between 0 and 100." in rep.page)
        await rep.press("escape")
        await rep.see("1 waiting to be sent")
        site.start()
        await rep.until(lambda: not rep.app.board.waiting)
    assert site.outcomes() == [(decision, 1.0, "zhang")]
