"""What goes when the disk runs low: the oldest first, no more than it takes, each named once; and what never goes."""

import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.daemon import open_site
from edge.events import Call, Event, Loss, Reading, Rollup, now_us
from edge.site import Disk, Site, SiteSettings, make_site, read_site
from edge.store import clearing, rollups
from edge.store.clearing import Clearing
from edge.store.database import number
from edge.store.journal import Conclusions, Journal, Offer, Progress
from edge.store.room import Room
from edge.store.rows import select
from tests.edge.small_disk import FLOOR_MB, LOW_MB, MB, SmallDisk, needs_mount, small_disk, small_site
from tests.records import AT, an_event

HOUR = rollups.HOUR_US


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def site(disk: SmallDisk) -> Site:
    return small_site(disk.folder)


@pytest.fixture
def clearing_of(site: Site, journal: Journal) -> Clearing:
    return Clearing(site, journal, Room(journal, site.settings))


def call(site: Site, journal: Journal, name: str, at: int, *, megabytes: float = 4.0, done: bool = True) -> Event:
    """A call and its sound, transcribed or not."""
    (site.audio / name).write_bytes(bytes(int(megabytes * MB)))
    data = Call(audio=name, duration_s=1.0, sample_rate_hz=8000, channels=("both",), language="en")
    event = an_event(data, name, at)
    journal.accept([Offer(events=[(None, event)])]).result()
    progress = Progress(event_id=event.id, done=done, seconds={})
    journal.conclude(Conclusions(), progress=progress).result()
    return event


def take(journal: Journal, readings: list[Event], *, concluded: bool = True) -> None:
    """Accept readings, and conclude all there are."""
    for start in range(0, len(readings), 5_000):
        journal.accept([Offer(events=[(None, reading) for reading in readings[start : start + 5_000]])]).result()
    if concluded:
        last = number(journal.readers.connection(), "SELECT coalesce(max(seq), 0) FROM events")
        journal.conclude(Conclusions(), cursor=("reading", last), window_state=b"").result()


def a_reading(number: int, device: str = "", at: int | None = None, **values: float) -> Event:
    return an_event(
        Reading(values=values or {"vibration_mm_s": number / 7, "motor_temp_c": 61.5}),
        device or f"pump-{number % 10}",
        AT + number * 1_000_000 if at is None else at,
    )


def clear(clearing: Clearing) -> int:
    """Steps until nothing is left to do; gives how many."""
    steps = 0
    while clearing.step():
        steps += 1
        assert steps < 10_000, "it comes to an end"
    return steps


def losses(journal: Journal) -> list[Loss]:
    return select(journal.readers.connection(), Loss, "ORDER BY seq")


def told_to_hq(journal: Journal) -> list[Loss]:
    rows = journal.readers.connection().execute("SELECT record FROM outbox WHERE kind = 'loss' ORDER BY seq")
    return [msgspec.msgpack.decode(record, type=Loss) for (record,) in rows]


def readings(journal: Journal) -> int:
    return number(journal.readers.connection(), "SELECT count(*) FROM events WHERE kind = 'reading'")


# ---- files ---------------------------------------------------------------------------------------------------------


@needs_mount
def test_the_oldest_sound_goes_and_only_as_much_as_it_takes(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    ages = random.Random(7).sample(range(8), 8)
    calls = {age: call(site, journal, f"{age}.wav", AT + age * HOUR) for age in ages}
    disk.leave(LOW_MB + 1)
    assert not clearing_of.step()
    disk.leave(LOW_MB - 9)
    clear(clearing_of)
    assert {path.name for path in site.audio.iterdir()} == {f"{age}.wav" for age in range(3, 8)}
    (loss,) = losses(journal)
    assert (loss.reason, loss.kinds, loss.bytes, loss.since) == ("disk", {"call": 3}, 12 * MB, AT)
    assert loss.ids == tuple(calls[age].id for age in range(3))
    assert told_to_hq(journal) == [loss]


@needs_mount
def test_the_sound_of_a_call_that_is_not_transcribed_stays_whatever_the_disk_says(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    call(site, journal, "waits.wav", AT, done=False)
    call(site, journal, "heard.wav", AT + HOUR)
    (site.audio / "being-taken.wav").write_bytes(bytes(MB))  # copied, and not accepted yet
    disk.leave(2)
    clear(clearing_of)
    assert {path.name for path in site.audio.iterdir()} == {"waits.wav", "being-taken.wav"}


@needs_mount
def test_copies_of_logs_go_before_sound_and_readings_after_it(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    call(site, journal, "a.wav", AT)
    take(journal, [a_reading(number) for number in range(100)])
    for age, name in enumerate(("old.csv", "new.csv")):
        (site.logs / name).write_bytes(bytes(2 * MB))
        os.utime(site.logs / name, (age, age))
    went: list[tuple[bool, bool, bool, int]] = []
    for left in (LOW_MB - 1, LOW_MB - 1, LOW_MB - 3, LOW_MB - 5):
        disk.leave(left)
        clear(clearing_of)
        there = [(site.logs / "old.csv").exists(), (site.logs / "new.csv").exists(), (site.audio / "a.wav").exists()]
        went.append((there[0], there[1], there[2], readings(journal)))
    assert went == [
        (False, True, True, 100),
        (False, False, True, 100),
        (False, False, False, 100),
        (False, False, False, 1),
    ]
    assert [loss.kinds for loss in losses(journal)] == [{"log": 1}, {"log": 1}, {"call": 1}, {"reading": 99}]


@needs_mount
def test_sound_goes_when_not_one_byte_is_free(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    heard = call(site, journal, "a.wav", AT)
    disk.fill()
    clear(clearing_of)
    assert not list(site.audio.iterdir())
    assert [loss.ids for loss in losses(journal)] == [(heard.id,)]


@needs_mount
def test_what_was_killed_half_way_is_named_once_also_when_there_is_room_again(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied, named = call(site, journal, "a.wav", AT), call(site, journal, "b.wav", AT + 1)
    disk.leave(LOW_MB - 1)
    clearing._empty(site.audio / "a.wav")  # killed before it was written down
    disk.leave(LOW_MB - 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):  # killed after it was written down, before the files were removed
            clearing_of.step()
    assert {path.stat().st_size for path in site.audio.iterdir()} == {0}
    disk.free()
    clear(Clearing(site, journal, Room(journal, site.settings)))
    assert not list(site.audio.iterdir())
    assert sorted(file_id for loss in losses(journal) for file_id in loss.ids) == [emptied.id, named.id]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@needs_mount
def test_who_is_hearing_the_sound_hears_it_to_its_end(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    call(site, journal, "a.wav", AT)
    disk.leave(LOW_MB - 1)
    with (site.audio / "a.wav").open("rb") as file:
        clear(clearing_of)
        assert len(file.read()) == 4 * MB


# ---- readings ------------------------------------------------------------------------------------------------------


@needs_mount
def test_readings_that_go_make_room_in_the_journal_whose_file_grows_no_more(
    site: Site, disk: SmallDisk, journal: Journal, clearing_of: Clearing
) -> None:
    take(journal, [a_reading(number) for number in range(60_000)])
    room = Room(journal, site.settings)
    disk.leave(FLOOR_MB - 0.5)
    assert "disk is full" in room.shut()
    clear(clearing_of)
    assert readings(journal) < 60_000
    assert room.shut() == "", "the free pages of the journal count"
    assert "disk is full" in room.shut(file_bytes=MB), "a recording needs the disk itself"
    taken, pages = readings(journal), journal.readers.connection().pragma("page_count")
    take(journal, [a_reading(70_000 + number) for number in range(10_000)], concluded=False)
    assert readings(journal) == taken + 10_000
    assert journal.readers.connection().pragma("page_count") == pages


def test_a_restart_finds_devices_windows_and_cards_after_readings_went(tmp_path: Path) -> None:
    make_site(tmp_path / "site", sample=True)
    text = (tmp_path / "site" / "site.toml").read_text("utf-8")
    never_room = "\n[disk]\nlow_mb = 1000000000\nfloor_mb = 1\nkeep_readings_hours = 0\n"
    (tmp_path / "site" / "site.toml").write_text(text + never_room, "utf-8")
    site = read_site(tmp_path / "site")
    for path in [*site.inbox.glob("*.wav"), *site.inbox.glob("*.flac")]:
        path.unlink()
    seen: list[Any] = []
    for clears in (True, False):
        with ExitStack() as stack:
            opened = open_site(site, stack)
            connection = opened.journal.readers.connection()
            if clears:
                while not opened.inbox.take():
                    pass
                opened.pipeline.drain()
                opened.pipeline._keep_windows()
            seen.append(
                (
                    opened.pipeline._windows.snapshot(),
                    connection.execute("SELECT * FROM devices").fetchall(),
                    connection.execute("SELECT id, state FROM actions").fetchall(),
                )
            )
            if clears:
                assert readings(opened.journal) > 1000
                clear(Clearing(site, opened.journal, opened.room))
                assert readings(opened.journal) == 1
            else:
                before = opened.journal.readings_by_device()["hoist-07"]
                opened.journal.accept([Offer(events=[(None, a_reading(1, "hoist-07"))])]).result()
                opened.pipeline.drain()
                assert opened.journal.readings_by_device()["hoist-07"] == before + 1
            opened.listener.stop()
    assert seen[0] == seen[1]
    assert seen[0][2], "there are cards"


@pytest.fixture
def tight(tmp_path: Path, empty_journal: Path) -> Iterator[tuple[Site, Journal]]:
    """A site whose disk is always low, so that all goes that may."""
    site = tight_site(tmp_path / "tight", 0.0)
    shutil.copyfile(empty_journal, site.journal)
    journal = Journal(site.journal)
    yield site, journal
    journal.close()


def tight_site(folder: Path, keep_hours: float) -> Site:
    disk = Disk(low_mb=10**9, floor_mb=1, keep_readings_hours=keep_hours)
    site = Site(folder=folder, settings=SiteSettings(name="tight", disk=disk))
    site.data.mkdir(parents=True)
    return site


def test_a_rollup_tells_of_each_sensor_what_its_readings_were(tight: tuple[Site, Journal]) -> None:
    site, journal = tight
    hour = AT // HOUR * HOUR
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    take(journal, [a_reading(0, "fan", hour + place, t=value) for place, value in enumerate(values)])
    take(journal, [a_reading(0, "fan", hour + HOUR + place, t=7.0, u=1e308) for place in range(8)])
    take(journal, [a_reading(0, "last")])
    clear(Clearing(site, journal, Room(journal, site.settings)))
    first, second = select(journal.readers.connection(), Rollup, "ORDER BY seq")
    assert (first.subject, first.since, first.at, first.readings) == ("fan", hour, hour + 7, 8)
    assert msgspec.structs.astuple(first.sensors["t"]) == (8, 1.0, 31 / 8, 9.0, 6.0)
    assert second.sensors.keys() == {"t", "u"}
    assert second.sensors["u"].mean == 1e308, "a sum beyond what a number can be is no infinity"
    sent = journal.readers.connection().execute("SELECT lane FROM outbox WHERE kind = 'rollup'").fetchall()
    assert sent == [("bulk",), ("bulk",)]


def test_devices_that_report_seldom_get_roll_ups_that_are_worth_it(tight: tuple[Site, Journal]) -> None:
    site, journal = tight
    take(journal, [a_reading(0, f"meter-{number % 20}", AT + number * HOUR) for number in range(2_001)])
    clear(Clearing(site, journal, Room(journal, site.settings)))
    made = select(journal.readers.connection(), Rollup, "")
    assert sum(rollup.readings for rollup in made) == 2_000
    assert len(made) <= 2_000 / rollups.PAYS


def test_a_device_of_very_many_sensors_has_several_roll_ups(tight: tuple[Site, Journal]) -> None:
    site, journal = tight
    many = {f"s{number}": float(number) for number in range(1_000)}
    take(journal, [a_reading(0, "plc", AT, **many), a_reading(0, "plc", AT, other=1.0), a_reading(0, "last")])
    clear(Clearing(site, journal, Room(journal, site.settings)))
    made = select(journal.readers.connection(), Rollup, "")
    assert sorted(len(rollup.sensors) for rollup in made) == [1, 1_000]


@pytest.mark.parametrize("received", [-HOUR // 2, HOUR // 2])
def test_readings_that_just_came_stay(tmp_path: Path, empty_journal: Path, received: int) -> None:
    site = tight_site(tmp_path / "tight", 1.0)
    shutil.copyfile(empty_journal, site.journal)
    journal = Journal(site.journal)
    old, late = a_reading(1), a_reading(2)
    late = msgspec.structs.replace(late, received_at=now_us() + received)
    take(journal, [old, late, a_reading(3)])
    clear(Clearing(site, journal, Room(journal, site.settings)))
    left = [event.id for event in select(journal.readers.connection(), Event, "")]
    journal.close()
    assert late.id in left
    assert old.id not in left


devices = st.sampled_from(["a", "b", "c"])
batches = st.lists(
    st.tuples(
        devices, st.integers(0, 5 * HOUR), st.dictionaries(st.sampled_from(["t", "u"]), st.floats(-9, 9), min_size=1)
    ),
    max_size=40,
)
plans = st.lists(
    st.one_of(
        st.tuples(st.just("take"), batches),
        st.tuples(st.just("conclude"), st.integers(1, 60)),
        st.tuples(st.just("step"), st.integers(1, 4)),
        st.tuples(st.just("kill"), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(plans)
def test_each_reading_is_in_the_journal_or_in_one_roll_up_and_is_counted_once(
    empty_journal: Path, tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, Any]]
) -> None:
    site = tight_site(tmp_path_factory.mktemp("plan") / "site", 0.0)
    shutil.copyfile(empty_journal, site.journal)
    box = Box(site)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clearing, "READINGS_PER_STEP", 7)
            patch.setattr(rollups, "BYTES_PER_RUN", 600)
            for what, given_ in plan:
                getattr(box, what)(given_)
            while box.clearing._delete_readings():
                pass
        check(box.journal, box.accepted, box.concluded)
    finally:
        box.journal.close()


class Box:
    """A journal and its clearing, what was accepted, and the readings of it that the pipeline has seen."""

    def __init__(self, site: Site) -> None:
        self.accepted: list[Event] = []
        self.concluded: list[str] = []
        self._site = site
        self._open()

    def _open(self) -> None:
        self.journal = Journal(self._site.journal)
        self.clearing = Clearing(self._site, self.journal, Room(self.journal, self._site.settings))

    def take(self, batch: list[tuple[str, int, dict[str, float]]]) -> None:
        new = [a_reading(0, device, AT + at, **values) for device, at, values in batch]
        take(self.journal, new, concluded=False)
        self.accepted.extend(new)

    def conclude(self, limit: int) -> None:
        batch = self.journal.events_after("reading", self.journal.cursor("reading"), limit)
        if batch:
            cursor = ("reading", batch[-1][0])
            self.journal.conclude(Conclusions(), cursor=cursor, window_state=b"").result()
            self.concluded.extend(event.id for _, event in batch)

    def step(self, count: int) -> None:
        for _ in range(count):
            self.clearing.step()

    def kill(self, _: None) -> None:
        self.journal.close()
        self._open()


def check(journal: Journal, accepted: list[Event], concluded: list[str]) -> None:
    connection = journal.readers.connection()
    kept = {event.id for event in select(connection, Event, "")}
    still_to_see = [event.id for _, event in journal.events_after("reading", journal.cursor("reading"), 10_000)]
    assert concluded + still_to_see == [event.id for event in accepted], "each is seen once, in order"
    gone = [event for event in accepted if event.id not in kept]
    assert gone == accepted[: len(gone)], "the oldest first"
    assert len(gone) <= len(concluded)
    assert sum(loss.kinds["reading"] for loss in losses(journal)) == len(gone)
    assert told_to_hq(journal) == losses(journal)
    expected: dict[tuple[str, str], list[float]] = defaultdict(list)
    of_device: Counter[str] = Counter()
    for event in gone:
        assert isinstance(event.data, Reading)
        of_device[event.subject] += 1
        for sensor, value in event.data.values.items():
            expected[event.subject, sensor].append(value)
    told: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for rollup in select(connection, Rollup, ""):
        of_device[rollup.subject] -= rollup.readings
        assert rollup.since <= rollup.at
        for sensor, summary in rollup.sensors.items():
            assert summary.min <= summary.mean <= summary.max
            assert summary.min <= summary.last <= summary.max
            told[rollup.subject, sensor].append(summary)
    assert not any(of_device.values())
    assert told.keys() == expected.keys()
    for key, values in expected.items():
        assert sum(summary.count for summary in told[key]) == len(values)
        assert min(summary.min for summary in told[key]) == min(values)
        assert max(summary.max for summary in told[key]) == max(values)
        mean = sum(summary.mean * summary.count for summary in told[key]) / len(values)
        assert mean == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_nothing_goes_while_there_is_room(site_with_room: Site, empty_journal: Path) -> None:
    journal = Journal(site_with_room.journal)
    call(site_with_room, journal, "a.wav", AT, megabytes=0.01)
    take(journal, [a_reading(number) for number in range(10)])
    assert not Clearing(site_with_room, journal, Room(journal, site_with_room.settings)).step()
    assert losses(journal) == []
    journal.close()


@pytest.fixture
def site_with_room(tmp_path: Path, empty_journal: Path) -> Site:
    site = Site(
        folder=tmp_path / "roomy",
        settings=SiteSettings(name="roomy", disk=Disk(low_mb=2, floor_mb=1, keep_readings_hours=0.0)),
    )
    site.audio.mkdir(parents=True)
    shutil.copyfile(empty_journal, site.journal)
    return site
