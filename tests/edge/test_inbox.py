"""Files in the inbox are accepted once, or kept aside with one sentence; none stops the rest."""

import os
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge.events import Call, Event
from edge.site import Inbox as InboxSettings
from edge.site import Site
from edge.sources.inbox import Inbox
from edge.sources.refused import RefusedFolder
from edge.store.journal import Journal
from edge.store.room import Room
from edge.store.rows import select

CSV = "time,device,t\n2026-03-14T00:00:00Z,p,1.5\n2026-03-14T00:00:01Z,p,2.5\n"


@pytest.fixture
def inbox(site: Site, journal: Journal) -> Inbox:
    return Inbox(site, journal, RefusedFolder(site.refused, journal), Room(journal, site.settings))


def events(journal: Journal) -> list[Event]:
    return select(journal.readers.connection(), Event, "ORDER BY seq")


def drop(site: Site, name: str, content: bytes) -> Path:
    """A file that was put there a while ago."""
    path = site.inbox / name
    path.write_bytes(content)
    old = time.time() - 60
    os.utime(path, (old, old))
    return path


def recording(
    site: Site, name: str, seconds: float = 1.0, rate: int = 8000, tracks: int = 1, level: float = 0.2
) -> Path:
    shape = (int(seconds * rate), tracks)
    path = site.inbox / name
    soundfile.write(path, level * np.random.default_rng(7).uniform(-1, 1, shape), rate)
    old = time.time() - 60
    os.utime(path, (old, old))
    return path


def reasons(site: Site) -> dict[str, str]:
    return {
        path.name.removesuffix(".reason.txt"): path.read_text("utf-8") for path in site.refused.glob("*.reason.txt")
    }


@pytest.mark.parametrize(
    ("name", "rate", "tracks", "channels"),
    [
        ("a.wav", 8000, 1, ("both",)),
        ("b.flac", 16000, 2, ("agent", "customer")),
        ("c.ogg", 48000, 2, ("agent", "customer")),
        ("D.WAV", 44100, 1, ("both",)),
    ],
)
def test_a_recording_becomes_a_call_and_leaves_the_inbox(
    site: Site, journal: Journal, inbox: Inbox, name: str, rate: int, tracks: int, channels: tuple[str, ...]
) -> None:
    recording(site, name, rate=rate, tracks=tracks)
    assert inbox.take()
    (event,) = events(journal)
    assert isinstance(event.data, Call)
    assert (event.data.sample_rate_hz, event.data.channels) == (rate, channels)
    assert event.data.duration_s == pytest.approx(1.0, abs=0.01)
    assert (site.audio / event.data.audio).exists()
    assert [path.name for path in site.inbox.iterdir()] == ["refused"]


def test_the_side_car_says_who_spoke_and_when(site: Site, journal: Journal, inbox: Inbox) -> None:
    recording(site, "call.wav", tracks=2)
    said = {
        "customer": "Red Ridge",
        "agent": "Anna",
        "start": "2026-03-14T09:30:00",
        "direction": "in",
        "language": "en",
        "channels": ["customer", "agent"],
    }
    drop(site, "call.json", msgspec.json.encode(said))
    inbox.take()
    (event,) = events(journal)
    assert isinstance(event.data, Call)
    assert event.subject == event.data.customer == "Red Ridge"
    assert event.at == 1_773_451_800_000_000, "a time without an offset is the site's"
    assert event.data.channels == ("customer", "agent")
    assert not (site.inbox / "call.json").exists()


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        (b"{", "call.json: "),
        (b'{"custmer": "x"}', "unknown field `custmer`"),
        (b'{"start": "noon"}', "call.json: start: 'noon' is not a time"),
        (b'{"channels": ["a"]}', "1 names for 2 tracks"),
        (b'{"channels": ["a", "a"]}', "two tracks have one name"),
        (b'{"customer": "' + b"x" * 100_000 + b'"}', "call.json is longer than"),
    ],
)
def test_a_wrong_side_car_keeps_both_files_aside(
    site: Site, journal: Journal, inbox: Inbox, sidecar: bytes, said: str
) -> None:
    recording(site, "call.wav", tracks=2)
    drop(site, "call.json", sidecar)
    inbox.take()
    assert events(journal) == []
    assert said in reasons(site)["call.wav"]
    assert {"call.wav", "call.json"} <= {path.name for path in site.refused.iterdir()}


def test_the_same_recording_is_accepted_once_under_any_name(site: Site, journal: Journal, inbox: Inbox) -> None:
    content = recording(site, "a.wav").read_bytes()
    inbox.take()
    drop(site, "a.wav", content)
    drop(site, "b.wav", content)
    inbox.take()
    assert len(events(journal)) == 1
    assert reasons(site) == {}
    assert not list(site.inbox.glob("*.wav"))


def test_a_recording_left_behind_by_a_kill_is_found_again(site: Site, journal: Journal, inbox: Inbox) -> None:
    path = recording(site, "a.wav")
    content = path.read_bytes()
    (site.audio / "half.wav.part").write_bytes(content[:100])
    inbox.take()
    drop(site, "a.wav", content)  # killed after the commit, before the file had left
    Inbox(site, journal, RefusedFolder(site.refused, journal), Room(journal, site.settings)).take()
    assert len(events(journal)) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.wav", b"", "empty.wav"),
        ("text.wav", b"hello, this is no sound at all" * 10, "text.wav"),
        ("call.mp3", b"ID3" + bytes(100), "the inbox takes .wav, .flac and .ogg"),
        ("noext", b"x", "the inbox takes"),
        ("bad.csv", b"time,t\n1,2\n", "the column 'device' is missing"),
        ("long.csv", b"time,device,t\n" + b"9" * 10_000_000, "long.csv line 2 is longer than"),
        ("bad.jsonl", b"", "bad.jsonl is empty"),
    ],
)
def test_what_cannot_be_taken_is_kept_aside_with_its_reason(
    site: Site, journal: Journal, inbox: Inbox, name: str, content: bytes, said: str
) -> None:
    drop(site, name, content)
    drop(site, "good.csv", CSV.encode())
    assert inbox.take()
    assert said in reasons(site)[name]
    assert reasons(site)[name].count("\n") == 1, "one sentence"
    assert (site.refused / name).read_bytes() == content
    assert len(events(journal)) == 2, "the good file beside it is taken"
    rows = journal.readers.connection().execute("SELECT source, name FROM refusals").fetchall()
    assert rows == [("inbox", name)]


def test_damaged_sound_is_kept_aside(site: Site, journal: Journal, inbox: Inbox) -> None:
    whole = recording(site, "a.wav", seconds=2.0).read_bytes()
    flac = recording(site, "b.flac", seconds=2.0).read_bytes()
    for path in site.inbox.glob("*.*"):
        path.unlink()
    drop(site, "truncated.wav", whole[: len(whole) // 2])
    drop(site, "header-only.wav", whole[:44])
    drop(site, "really-flac.wav", flac)
    drop(site, "corrupt.flac", flac[:200] + bytes(2000) + flac[2200:])
    no_rate = bytearray(whole)
    no_rate[24:28] = bytes(4)
    drop(site, "no-rate.wav", bytes(no_rate))
    recording(site, "silent.wav", level=0.0)
    assert inbox.take()
    assert events(journal) == []
    told = reasons(site)
    assert set(told) == {
        "truncated.wav",
        "header-only.wav",
        "really-flac.wav",
        "corrupt.flac",
        "no-rate.wav",
        "silent.wav",
    }
    assert all(name in reason for name, reason in told.items())
    assert "silence" in told["silent.wav"]


def test_a_call_beyond_the_limit_is_kept_aside(site: Site, journal: Journal) -> None:
    limited = msgspec.structs.replace(
        site, settings=msgspec.structs.replace(site.settings, inbox=InboxSettings(longest_call_minutes=0.1))
    )
    inbox = Inbox(limited, journal, RefusedFolder(site.refused, journal), Room(journal, limited.settings))
    recording(site, "five.wav", seconds=5)
    recording(site, "seven.wav", seconds=7)
    inbox.take()
    assert [event.subject for event in events(journal)] == ["five"]
    assert "longer than a call may be" in reasons(site)["seven.wav"]


def test_rows_that_do_not_fit_are_kept_aside_and_the_others_accepted(
    site: Site, journal: Journal, inbox: Inbox
) -> None:
    drop(site, "p.csv", CSV.encode() + b"2026-03-14T00:00:02Z,p,nan\nlater,p,3\n,p,4\n2026-03-14T00:00:03Z,p,9\n")
    inbox.take()
    assert len(events(journal)) == 3
    assert (
        "p.csv: 3 rows were kept aside, the others accepted: line 4: t: nan is not a finite number"
        in reasons(site)["p.csv"]
    )
    kept = (site.refused / "p.csv").read_text("utf-8").splitlines()
    assert kept == ["time,device,t", "2026-03-14T00:00:02Z,p,nan", "later,p,3", ",p,4"]


def test_rows_that_were_accepted_before_are_not_accepted_again(site: Site, journal: Journal, inbox: Inbox) -> None:
    drop(site, "p.csv", CSV.encode())
    inbox.take()
    drop(site, "p-again.csv", CSV.encode() + b"2026-03-14T00:00:02Z,p,3.5\n")
    drop(site, "p.jsonl", b'{"time": "2026-03-14T00:00:01Z", "device": "p", "t": 2.5}\n')
    inbox.take()
    assert len(events(journal)) == 3
    assert reasons(site) == {}


def test_a_file_that_is_still_being_written_waits(site: Site, journal: Journal, inbox: Inbox) -> None:
    path = site.inbox / "p.csv"
    path.write_text(CSV)
    assert not inbox.take()
    assert events(journal) == []
    old = time.time() - 60
    os.utime(path, (old, old))
    assert inbox.take()
    assert len(events(journal)) == 2


def test_unfinished_and_hidden_files_links_and_folders_are_left_alone(
    site: Site, journal: Journal, inbox: Inbox
) -> None:
    for name in ("a.wav.part", ".hidden.csv", "b.tmp", "alone.json"):
        drop(site, name, CSV.encode())
    (site.inbox / "folder.wav").mkdir()
    (site.inbox / "link.csv").symlink_to(drop(site, ".target", CSV.encode()))
    assert inbox.take()
    assert events(journal) == []
    assert reasons(site) == {}


def test_what_was_refused_earlier_under_the_same_name_stays(site: Site, inbox: Inbox) -> None:
    drop(site, "x.mp3", b"one")
    inbox.take()
    drop(site, "x.mp3", b"two")
    inbox.take()
    assert (site.refused / "x.mp3").read_bytes() == b"one"
    assert (site.refused / "x-2.mp3").read_bytes() == b"two"
