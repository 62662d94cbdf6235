"""The link as a process, a broker, and an HQ that forgets, falls silent, refuses and lies: each row gets there."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.linkdb import LinkDb, LinkState
from sync.protocol import Ack, Have, Held, Taken
from sync.ranges import Ranges
from tests.sync.site_end import SITE, Broker, HqEnd, Journal, SiteEnd, eventually


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    yield made
    made.stop()


@pytest.fixture
def site(tmp_path: Path, broker: Broker) -> Iterator[SiteEnd]:
    made = SiteEnd(tmp_path / "site", broker.port)
    yield made
    made.kill()


@pytest.fixture
def hq(broker: Broker, site: SiteEnd) -> Iterator[HqEnd]:
    made = HqEnd(broker.port, site.key.public_key())
    site.know(made)
    yield made
    made.close()


@pytest.fixture
def journal(site: SiteEnd) -> Iterator[Journal]:
    made = Journal(site.data / "journal.db")
    yield made
    made.close()


def state_of(site: SiteEnd) -> LinkState:
    linkdb = LinkDb.read(site.data / "link.db")
    if linkdb is None:
        return LinkState()
    state = linkdb.state()
    linkdb.close()
    return state


def stuck_of(site: SiteEnd) -> set[int]:
    linkdb = LinkDb.read(site.data / "link.db")
    if linkdb is None:
        return set()
    rows = linkdb.stuck()
    linkdb.close()
    return {row.seq for row in rows}


def test_every_row_of_every_lane_arrives_once_and_is_remembered(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    for lane in ("now", "day", "bulk"):
        journal.add(lane, 2500)
    site.start()
    eventually(lambda: hq.rows == journal.ids())
    journal.add("now", 3)
    eventually(lambda: hq.rows == journal.ids())
    assert sum(len(rows) for _, _, rows in hq.envelopes) == 7503

    def remembered() -> bool:
        linkdb = LinkDb.read(site.data / "link.db")
        return linkdb is not None and linkdb.delivered() == hq.held

    eventually(remembered)
    state = eventually(lambda: (state := state_of(site)).rows_per_s > 0 and state)
    assert (state.connected, state.reason) == (True, "")
    newest = {lane.lane: lane.newest_seq for lane in hq.states[-1].lanes}
    assert set(newest) == {"now", "day", "bulk"}


def test_nothing_is_sent_to_a_broker_without_an_hq(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    hq.answers = False
    journal.add("now", 10)
    site.start()
    eventually(lambda: hq.states)
    eventually(lambda: "does not answer" in state_of(site).reason)
    assert hq.envelopes == []
    hq.answers = True
    eventually(lambda: hq.rows == journal.ids())


def test_rows_that_hq_lost_are_sent_again_after_its_hello(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    journal.add("day", 300)
    site.start()
    eventually(lambda: hq.rows == journal.ids())
    hq.fall_back("day", 100)
    hq.hello()
    eventually(lambda: hq.rows == journal.ids())
    assert "fewer rows" in site.said()


def test_a_link_that_lost_its_memory_sends_nothing_twice(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    journal.add("day", 2500)
    journal.replace("day", 11, 60)
    site.start()
    eventually(lambda: hq.rows == journal.ids())
    site.kill()
    (site.data / "link.db").write_bytes(b"no database at all" * 100)
    for rest in ("link.db-wal", "link.db-shm"):
        (site.data / rest).unlink(missing_ok=True)
    journal.add("day", 5)
    before = len(hq.envelopes)
    site.start()
    eventually(lambda: hq.rows == journal.ids())
    eventually(lambda: (linkdb := LinkDb.read(site.data / "link.db")) is not None and linkdb.delivered() == hq.held)
    sent = sorted(row.seq for _, _, rows in hq.envelopes[before:] for row in rows)
    assert sent == [60, 2501, 2502, 2503, 2504, 2505]  # and the short word on what is gone, which has no record


def test_words_that_hq_did_not_say_change_nothing(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    hq.acknowledges = False
    site.start()
    journal.add("now", 5)
    eventually(lambda: hq.envelopes)
    liar = Ed25519PrivateKey.generate()
    taken = (Taken(epoch=1, lane="now", first_seq=1, last_seq=5),)
    hq.say(Ack(site=SITE, at=1, taken=taken), liar)
    stale = (Held(epoch=1, lane="now", runs=((1, 5),)),)
    hq.say(Have(site=SITE, introduction="of another time", at=1, lanes=stale))
    hq.acknowledges = True
    # Neither was believed: the rows come again.
    eventually(lambda: len(hq.envelopes) > 1)
    assert "not a word of HQ" in site.said()


def test_an_identity_that_somebody_else_uses_is_reported(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    hq.held[1, "now"] = Ranges(((1, 700),))
    hq.held[9, "now"] = Ranges(((1, 900),))
    journal.add("now", 5)
    site.start()
    eventually(lambda: "another box" in state_of(site).reason)
    journal.add("now", 1)
    # A number that HQ holds of somebody else is ours to send all the same.
    eventually(lambda: (1, "now", 6) in hq.rows)


def test_a_refused_site_says_why_and_sends_nothing(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    hq.refuses = "The key of mine-3 was revoked."
    journal.add("now", 5)
    site.start()
    eventually(lambda: "was revoked" in state_of(site).reason)
    assert hq.envelopes == []


def test_a_row_that_can_never_travel_holds_up_no_other(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    journal.add("day", 20)
    journal.add("day", 1, text="x" * (1 << 20))
    journal.add("day", 20)
    journal.execute("UPDATE outbox SET kind = 'Not a kind' WHERE seq = 5")
    site.start()
    expected = {place: id for place, id in journal.ids().items() if place[2] not in (5, 21)}
    eventually(lambda: hq.rows == expected)
    eventually(lambda: stuck_of(site) == {5, 21})
    assert state_of(site).reason


def test_what_is_gone_travels_in_the_place_of_the_rows(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    journal.add("bulk", 100)
    journal.replace("bulk", 11, 60)
    journal.delete("bulk", 70, 75)
    site.start()
    missing = Ranges(((1, 69), (76, 100)))
    eventually(lambda: hq.held.get((1, "bulk")) == missing)
    assert hq.rows == journal.ids()


def test_the_connection_comes_back_and_nothing_is_missing(
    site: SiteEnd, hq: HqEnd, journal: Journal, broker: Broker
) -> None:
    journal.add("day", 100)
    site.start()
    eventually(lambda: hq.rows == journal.ids())
    broker.stop()
    journal.add("day", 100)
    eventually(lambda: "no connection" in state_of(site).reason)
    broker.start()
    eventually(lambda: hq.rows == journal.ids(), 40)


def test_older_epochs_go_too(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    for epoch in (3, 1, 2):
        journal.add("day", 10, epoch=epoch)
    site.start()
    eventually(lambda: hq.rows == journal.ids())


def test_a_dictionary_is_trained_offered_used_and_given_up(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    journal.add("now", 1500)
    site.start()
    eventually(lambda: hq.dictionaries, 40)
    journal.add("now", 1)
    eventually(lambda: hq.rows == journal.ids())
    assert hq.envelopes[-1][0].dictionary in hq.dictionaries
    hq.dictionaries.clear()
    hq.learns = False
    journal.add("now", 1)
    eventually(lambda: hq.rows == journal.ids())
    assert hq.envelopes[-1][0].dictionary == ""


def test_one_site_has_one_link(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    site.start()
    eventually(lambda: hq.states)
    second = SiteEnd.__new__(SiteEnd)
    second.folder, second.log = site.folder, site.folder / "second.log"
    second.start()
    assert second.wait() == 2
    assert "runs already" in second.said()


def test_a_site_that_is_not_enrolled_is_told_how(site: SiteEnd) -> None:
    site.start()
    assert site.wait() == 3
    assert "sync enrol" in site.said()


def test_the_link_ends_when_it_is_asked_to(site: SiteEnd, hq: HqEnd, journal: Journal) -> None:
    site.start()
    eventually(lambda: hq.states)
    os.kill(site.pid, signal.SIGTERM)
    assert site.wait() == 0
    eventually(lambda: hq.states[-1].state == "down")
