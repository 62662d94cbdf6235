"""Files of outcomes in the inbox: each row counts once, and what is about no decision is kept aside with its reason."""

from edge.events import Decision, Outcome
from edge.site import Site
from edge.sources.inbox import Inbox
from edge.store.journal import Conclusions, Journal
from edge.store.rows import select
from tests.edge.test_inbox import drop, inbox, reasons
from tests.records import AT

__all__ = ["inbox"]
DAY_US = 86_400_000_000


def decided(journal: Journal, subject: str, play: str = "budget", at: int = AT) -> Decision:
    decision = Decision(
        at=at, prediction_id="p", event_id="e", subject=subject, play=play, deadline=at + 1, outcome_until=at + DAY_US
    )
    journal.conclude(Conclusions(decisions=[decision])).result()
    return decision


def told(journal: Journal) -> list[tuple[str, float, str, bool]]:
    found = select(journal.readers.connection(), Outcome, "ORDER BY seq")
    return [(one.decision_id, one.value, one.by, one.excluded == "") for one in found]


def test_a_table_and_json_lines_tell_outcomes_once(site: Site, journal: Journal, inbox: Inbox) -> None:
    red, blue = decided(journal, "red-hill"), decided(journal, "blue-pit")
    when = "2026-03-14T04:00:00Z"
    table = f"subject,play,value,at,by\nred-hill,budget,1,{when},li\nnobody,budget,1,{when},li\nred-hill,budget,no,,\n"
    drop(site, "outcomes-week-12.csv", table.encode())
    assert inbox.take()
    assert told(journal) == [(red.id, 1.0, "li", True)]
    (reason,) = reasons(site).values()
    assert "line 3: There is no decision of the play 'budget' about 'nobody'" in reason
    assert "line 4: value: 'no' is not a number" in reason

    good, wrong = f'"decision": "{blue.id}", "value": 0.4, "at": "{when}"', f'"decision": "{blue.id}", "value": 7'
    lines = f"{{{good}}}\n{{{wrong}}}\nnot json\n"
    drop(site, "outcomes.jsonl", lines.encode())
    drop(site, "outcomes-again.csv", table.encode())
    assert inbox.take()
    assert told(journal) == [(red.id, 1.0, "li", True), (blue.id, 0.4, "file", True)]
    assert any("an outcome lies between 0 and 1" in reason for reason in reasons(site).values())
    assert not [path for path in site.inbox.iterdir() if path.is_file()]


def test_one_that_comes_a_year_late_is_kept_and_does_not_count(site: Site, journal: Journal, inbox: Inbox) -> None:
    decision = decided(journal, "red-hill")
    drop(site, "outcomes.csv", f"decision,value,at\n{decision.id},1,2027-03-14T00:00:00Z\n".encode())
    inbox.take()
    assert told(journal) == [(decision.id, 1.0, "file", False)]


def test_a_table_without_its_columns_is_kept_aside_whole(site: Site, journal: Journal, inbox: Inbox) -> None:
    drop(site, "outcomes.csv", b"subject,value\nred-hill,1\n")
    inbox.take()
    (reason,) = reasons(site).values()
    assert "begins with value,decision or value,subject,play" in reason
