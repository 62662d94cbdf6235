"""Actions fire when they should, once, and what they do survives a crash between doing and saying so."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.bench.waiting import until
from edge.errors import JournalError
from edge.events import Action, now_us
from edge.site import Site
from edge.store.journal import Conclusions, Journal
from tests.records import an_action

MINUTE_US = 60_000_000


class DownBus:
    """A bus whose broker is away."""

    def command(self, topic: str, payload: bytes) -> None:
        raise ConnectionError("the broker does not answer")


def propose(journal: Journal, *actions: Action) -> None:
    journal.conclude(Conclusions(actions=actions)).result()


def states(journal: Journal, actions: Sequence[Action]) -> list[str]:
    rows = journal.readers.connection().execute("SELECT id, state FROM actions").fetchall()
    found = {row[0]: str(row[1]) for row in rows}
    return [found[action.id] for action in actions]


def hooks(site: Site) -> list[Path]:
    return sorted(site.webhooks.glob("*"))


def test_an_action_fires_by_itself_when_its_countdown_has_ended_and_only_then(site: Site, journal: Journal) -> None:
    now = now_us()
    ended = an_action(channel="webhook", at=now, fires_at=now, due=now + MINUTE_US, payload={"template": "offer"})
    running = an_action(channel="webhook", at=now, fires_at=now + MINUTE_US, due=now + MINUTE_US)
    waits = an_action(channel="webhook", at=now, due=now + MINUTE_US)
    propose(journal, ended, running, waits)
    countdown = Countdown(journal, Channels(None, site.webhooks, site.messages))
    countdown.settle()
    countdown.settle()
    assert states(journal, [ended, running, waits]) == ["done", "proposed", "proposed"]
    (file,) = hooks(site)
    assert msgspec.json.decode(file.read_bytes(), type=Action) == ended
    moves = journal.readers.connection().execute("SELECT state, by FROM transitions ORDER BY seq").fetchall()
    assert moves == [("fired", "gateway"), ("done", "gateway")]


def test_only_what_has_something_to_do_is_looked_at(journal: Journal) -> None:
    now = now_us()
    card, hook, later, soon = (
        an_action(at=now, due=now + MINUTE_US),
        an_action(at=now, due=now + MINUTE_US, channel="webhook"),
        an_action(at=now, due=now + MINUTE_US, channel="webhook", fires_at=now + MINUTE_US // 2),
        an_action(at=now, due=now + MINUTE_US, channel="webhook", fires_at=now),
    )
    propose(journal, card, hook, later, soon)
    for action in (card, hook):
        journal.move(action.id, "accepted", "rep").result()
    assert [(timer.what, timer.action.id) for timer in journal.due_timers(10)] == [
        ("perform", hook.id),
        ("fire", soon.id),
    ]


def test_what_nobody_answers_expires_when_it_is_due(site: Site, journal: Journal) -> None:
    card = an_action(at=now_us(), due=now_us() - 1)
    propose(journal, card)
    Countdown(journal, Channels(None, site.webhooks, site.messages)).settle()
    assert states(journal, [card]) == ["expired"]


def test_an_accepted_step_is_performed_and_an_accepted_card_waits_for_its_reader(site: Site, journal: Journal) -> None:
    now = now_us()
    card, hook = an_action(at=now, due=now + MINUTE_US), an_action(at=now, due=now + MINUTE_US, channel="webhook")
    propose(journal, card, hook)
    for action in (card, hook):
        journal.move(action.id, "accepted", "rep").result()
    Countdown(journal, Channels(None, site.webhooks, site.messages)).settle()
    assert states(journal, [card, hook]) == ["accepted", "done"]


def test_what_was_fired_before_a_kill_is_performed_after_it_under_the_same_name(site: Site, journal: Journal) -> None:
    action = an_action(channel="webhook", at=now_us(), due=now_us() + MINUTE_US)
    propose(journal, action)
    journal.move(action.id, "fired", "gateway").result()
    channels = Channels(None, site.webhooks, site.messages)
    channels.perform(action)  # killed after it was done, before the journal said so
    Countdown(journal, channels).settle()
    assert states(journal, [action]) == ["done"]
    assert [file.name for file in hooks(site)] == [f"{action.id}.json"]


def test_a_full_disk_holds_actions_up_and_does_not_end_the_countdown(site: Site, journal: Journal) -> None:
    now = now_us()
    due = an_action(channel="webhook", at=now, fires_at=now, due=now + 10 * MINUTE_US)
    propose(journal, due)
    pages = journal._writer.submit(lambda connection: connection.pragma("page_count")).result()
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", pages)).result()
    filler = an_action(what={"en": "x" * 100_000})
    with pytest.raises(JournalError):
        propose(journal, filler)
    _fill_last_page(journal)
    countdown = Countdown(journal, Channels(None, site.webhooks, site.messages))
    countdown.start()
    try:
        with capture_logs() as logs:
            until(lambda: any(entry["event"] == "actions wait" for entry in logs), "the full disk was noticed")
        journal._writer.submit(lambda connection: connection.pragma("max_page_count", 1_000_000)).result()
        until(lambda: states(journal, [due]) == ["done"], "the action is done when there is room again")
    finally:
        countdown.stop()
    assert len(hooks(site)) == 1


def _fill_last_page(journal: Journal) -> None:
    """Small transitions until not even one more fits."""
    with contextlib.suppress(JournalError):
        while True:
            propose(journal, an_action(at=now_us(), due=now_us() + 10 * MINUTE_US))


def test_a_command_waits_for_the_bus_and_fails_at_its_deadline_and_then_somebody_is_asked(
    site: Site, journal: Journal
) -> None:
    now = now_us()
    waiting = an_action(channel="device", payload={"topic": "t"}, at=now, due=now + MINUTE_US)
    late = an_action(channel="device", payload={"topic": "t"}, at=now, due=now - 1)
    propose(journal, waiting, late)
    for action in (waiting, late):
        journal.move(action.id, "accepted", "rep").result()
    Countdown(journal, Channels(DownBus(), site.webhooks, site.messages)).settle()
    assert states(journal, [waiting, late]) == ["accepted", "failed"]
    remark = journal.readers.connection().execute("SELECT remark FROM transitions WHERE state = 'failed'").fetchall()
    assert remark == [("the broker does not answer",)]
    (by_hand,) = [action for action, _ in journal.open_actions() if action.id != waiting.id]
    assert (by_hand.decision_id, by_hand.channel, by_hand.role) == (late.decision_id, "card", "rep")
    assert "the broker does not answer" in by_hand.what["en"]
