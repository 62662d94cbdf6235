"""At the floor nothing more is accepted, what was accepted goes on, and accepting resumes by itself."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest

from edge.bench.waiting import until
from edge.events import Decision, Event
from edge.site import Disk, Outbox, Site, SiteSettings
from edge.sources.inbox import Inbox
from edge.sources.refused import RefusedFolder
from edge.store import outbox
from edge.store.journal import Journal
from edge.store.room import Room
from edge.store.rows import select
from edge.store.sound import LiveSound
from edge.upkeep import Upkeep
from sync.linkdb import LinkDb
from tests.edge.small_disk import FLOOR_MB, LOW_MB, SmallDisk, needs_mount, small_disk, small_site
from tests.edge.test_inbox import CSV, drop, recording
from tests.records import AT
from tests.served import PATIENCE_S, parts_of, served
from tests.site_fixture import Filled, fill

NOTE = {"subject": "fan-2", "author": "Li Wei", "text": "squeaks", "key": "a1"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def site(disk: SmallDisk) -> Site:
    return small_site(disk.folder)


@pytest.fixture
def filled(journal: Journal) -> Filled:
    return fill(journal)


@pytest.fixture
def client(site: Site, journal: Journal, filled: Filled) -> Iterator[httpx.Client]:
    room = Room(journal, site.settings)
    with served(parts_of(journal, site.audio, room=room)) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as one:
        yield one


@needs_mount
def test_at_the_floor_notes_are_refused_cards_move_and_notes_are_taken_when_there_is_room(
    disk: SmallDisk, client: httpx.Client, filled: Filled
) -> None:
    disk.leave(FLOOR_MB - 1)
    answer = client.post("/api/notes", json=NOTE)
    assert answer.status_code == 507
    assert answer.json()["detail"].startswith("The disk is full, nothing more is accepted: ")
    assert "free the disk" in answer.json()["detail"]
    assert client.post(f"/api/cards/{filled.budget}/accept", json={"by": "Li Wei"}).json()["state"] == "accepted"
    assert client.post(f"/api/cards/{filled.danger}/decline", json={"by": "Li Wei"}).json()["state"] == "declined"
    disk.leave(FLOOR_MB + 2)
    assert client.post("/api/notes", json=NOTE).status_code == 201
    assert len(client.get("/api/notes").json()) == 2


@needs_mount
def test_at_the_floor_files_stay_in_the_inbox_until_there_is_room(
    site: Site, disk: SmallDisk, journal: Journal
) -> None:
    inbox = Inbox(site, journal, RefusedFolder(site.refused, journal), Room(journal, site.settings))
    recording(site, "a.wav")
    drop(site, "p.csv", CSV.encode())
    drop(site, "x.mp3", b"no recording")
    disk.leave(FLOOR_MB - 1)
    before = sorted(path.name for path in site.inbox.iterdir())
    with pytest.raises(Exception, match="free the disk"):
        inbox.take()
    assert sorted(path.name for path in site.inbox.iterdir()) == before
    assert not list(site.refused.iterdir())
    assert not list(site.audio.iterdir())
    assert select(journal.readers.connection(), Event, "") == []
    disk.free()
    assert inbox.take()
    assert len(select(journal.readers.connection(), Event, "")) == 3


@needs_mount
def test_a_recording_that_does_not_fit_waits_and_holds_nobody_up(site: Site, disk: SmallDisk, journal: Journal) -> None:
    inbox = Inbox(site, journal, RefusedFolder(site.refused, journal), Room(journal, site.settings))
    recording(site, "a-long.wav", seconds=200, rate=16_000)
    drop(site, "p.csv", CSV.encode())
    disk.leave(FLOOR_MB + 3)
    with pytest.raises(Exception, match="a file of 6 MiB is not accepted"):
        inbox.take()
    assert len(select(journal.readers.connection(), Event, "")) == 2
    assert (site.inbox / "a-long.wav").exists()


@needs_mount
def test_upkeep_makes_room_by_itself_and_the_warning_goes(site: Site, disk: SmallDisk, journal: Journal) -> None:
    room = Room(journal, site.settings)
    drop(site, "old.csv", CSV.encode()).rename(site.logs / "old.csv")
    (site.logs / "new.csv").write_bytes(bytes(4 * 2**20))
    disk.leave(LOW_MB - 2)
    assert "MiB are free" in room.warning()
    upkeep = Upkeep(site, journal, room, LiveSound(site.live, lambda _: None))
    upkeep.start()
    until(lambda: not list(site.logs.iterdir()), "the logs went")
    until(lambda: room.warning() == "", "there is room")
    upkeep.stop()


# ---- the outbox ----------------------------------------------------------------------------------------------------


def a_decision(kilobytes: int) -> Decision:
    return Decision(at=AT, prediction_id="p", event_id="e", subject="x" * kilobytes * 1024, play="p", deadline=AT)


def test_an_outbox_full_of_what_may_not_go_stops_the_intake_until_hq_has_some(
    tmp_path: Path, empty_journal: Path
) -> None:
    site = Site(
        folder=tmp_path,
        settings=SiteSettings(
            name="far", disk=Disk(low_mb=2, floor_mb=1), outbox=Outbox(total_mb=1, keep_delivered_days=0.0)
        ),
    )
    site.data.mkdir()
    shutil.copyfile(empty_journal, site.journal)
    journal = Journal(site.journal)
    room = Room(journal, site.settings)
    upkeep = Upkeep(site, journal, room, LiveSound(site.live, lambda _: None))
    for _ in range(3):
        journal.write(lambda connection: outbox.put(connection, [a_decision(300)])).result()
    assert not upkeep.step()
    room.check()
    journal.write(lambda connection: outbox.put(connection, [a_decision(300)])).result()
    assert not upkeep.step()
    assert "bring up the link" in room.shut()
    assert sum(1 for _ in journal.readers.connection().execute("SELECT 1 FROM outbox WHERE kind = 'decision'")) == 4
    hq_has(site, journal, 1)
    while upkeep.step():
        pass
    room.check()
    journal.close()


def hq_has(site: Site, journal: Journal, last: int) -> None:
    """What the link writes down when HQ has the first numbers of the day lane."""
    epoch = journal.readers.connection().execute("SELECT value FROM meta WHERE key = 'epoch'").get
    LinkDb.open(site.link_db).close()
    connection = apsw.Connection(str(site.link_db))
    connection.execute("INSERT INTO delivered VALUES (?, 'day', 1, ?)", (int(str(epoch)), last))
    connection.close()


def test_with_room_nothing_is_said(tmp_path: Path, empty_journal: Path) -> None:
    shutil.copyfile(empty_journal, tmp_path / "journal.db")
    journal = Journal(tmp_path / "journal.db")
    room = Room(journal, SiteSettings(name="roomy", disk=Disk(low_mb=2, floor_mb=1)))
    assert (room.shut(), room.warning()) == ("", "")
    room.check(file_bytes=1)
    low = Room(journal, msgspec.structs.replace(SiteSettings(name="low"), disk=Disk(low_mb=10**9, floor_mb=1)))
    assert low.shut() == ""
    assert "MiB are free" in low.warning()
    full = Room(journal, SiteSettings(name="full", disk=Disk(low_mb=10**9, floor_mb=10**8)))
    assert "floor_mb" in full.shut()
    journal.close()
