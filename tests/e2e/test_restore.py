"""A lost site comes back from its replica and from HQ, and nothing is lost or used twice in silence."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from edge.events import new_id
from edge.store.journal import Conclusions, Journal
from sync import keys
from sync.envelope import Header, Row
from sync.errors import LinkSettingsError, ReplicaUnusable
from sync.hq.restore import Lost, restore
from sync.hq.store import Store, store_path
from sync.litestream import PROGRAM
from sync.protocol import LANES, Lane, LaneState, State
from sync.ranges import Ranges
from tests.e2e.conftest import OUTSTATION
from tests.firmware.replica import Replica, contents, folder_url, opened
from tests.firmware.sftp import SftpServer
from tests.records import an_action

SITE = "red-ridge"
FILES = {
    "site.toml": f'name = "{SITE}"\n',
    "playbook.toml": "# plays\n",
    "vocabulary.toml": "# words\n",
    "rules/hot.rule": "当电机过热时通知班长\n",
}


@pytest.fixture
def hq(tmp_path: Path) -> Path:
    """HQ's folder."""
    folder = tmp_path / "hq"
    folder.mkdir()
    return folder


@pytest.fixture
def store(hq: Path) -> Iterator[Store]:
    """HQ's store."""
    opened = Store.open(store_path(hq))
    yield opened
    opened.close()


class Box:
    """A site's box: its journal, its replica, and what it told HQ."""

    def __init__(self, folder: Path, store: Store, url: str) -> None:
        self.folder = folder
        self.url = url
        (folder / "data").mkdir(parents=True)
        (folder / "site.toml").write_text(f'name = "{SITE}"\n[replica]\nurl = "{url}"\n')
        (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        store.enrol(SITE, keys.create(folder / "secrets" / "site.key"))
        self.journal = folder / "data" / "journal.db"
        Journal(self.journal).close()
        connection = apsw.Connection(str(self.journal))
        connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, 0)", FILES.items())
        connection.close()
        self._store = store

    def write(self, records: int) -> None:
        """Accept so many records for HQ, each with a number of its own."""
        journal = Journal(self.journal)
        journal.conclude(Conclusions(actions=[an_action() for _ in range(records)])).result()
        journal.close()

    def replicate(self) -> None:
        """Bring the replica to where the journal is."""
        command = [str(PROGRAM), "replicate", "-once", str(self.journal), self.url]
        subprocess.run(command, check=True, capture_output=True)

    def tell_hq(self, *numbers: int) -> None:
        """Let HQ have these records, and know the newest number there is."""
        with opened(self.journal) as connection:
            found: list[Any] = connection.execute(
                "SELECT epoch, seq, kind, id, at, boot, mono, record FROM outbox"
            ).fetchall()
        now = time.time_ns() // 1000
        newest = max(seq for _, seq, *_ in found)
        with self._store.transaction([SITE]):
            for epoch, seq, kind, id, at, boot, mono, record in found:
                if seq in numbers:
                    header = Header(
                        site=SITE, epoch=epoch, lane="now", first_seq=seq, last_seq=seq, count=1, key_id="0" * 16
                    )
                    row = Row(seq=seq, kind=kind, id=id, at=at, boot=boot, mono=mono, record=msgspec.Raw(record))
                    self._store.apply(header, [row], now)
            lane = LaneState(epoch=found[0][0], lane="now", newest_seq=newest, waiting=0, waiting_since=None)
            self._store.note_state(
                State(
                    site=SITE,
                    state="up",
                    connection=new_id(),
                    introduction=new_id(),
                    at=now,
                    boot="boot",
                    mono=1,
                    lanes=(lane,),
                    replica=self.url,
                ),
                now,
            )


@pytest.fixture
def box(tmp_path: Path, store: Store) -> Box:
    """A box with three records in journal and replica; HQ has the first two."""
    box = Box(tmp_path / "old", store, folder_url(tmp_path / "replica"))
    box.write(records=3)
    box.tell_hq(1, 2)
    box.replicate()
    return box


def meta(journal: Path) -> dict[str, str]:
    return {str(key): str(value) for key, value in contents(journal)["meta"]}


def epoch_of(journal: Path) -> int:
    return int(meta(journal)["epoch"])


def records_in(path: Path) -> list[str]:
    lines = path.read_bytes().splitlines()
    return [msgspec.json.decode(line)["record"]["id"] for line in lines]


def test_a_new_box_has_all_that_replica_and_hq_have_and_the_rest_is_named(
    box: Box, tmp_path: Path, hq: Path, store: Store
) -> None:
    box.write(records=4)
    box.tell_hq(4, 6)  # of 4 to 7; the last the site ever said is 7
    old_key = store.key_of(SITE)
    new = tmp_path / "new"
    made = restore(SITE, new, store, hq, None)

    with opened(box.journal) as old:
        by_number: dict[Any, Any] = dict(old.execute("SELECT seq, id FROM outbox").fetchall())  # type: ignore[arg-type]
    assert records_in(new / "data" / "from-hq.jsonl") == [by_number[4], by_number[6]]
    epoch = epoch_of(box.journal)
    assert made.lost == [
        Lost(epoch=epoch, lane="now", first_seq=5, last_seq=5),
        Lost(epoch=epoch, lane="now", first_seq=7, last_seq=7),
    ]
    assert store.held(SITE, epoch, "now") == Ranges([(1, 2), (4, 7)])  # 3 is on its way with the new box
    assert {name: (new / name).read_text("utf-8") for name in FILES} == FILES

    with opened(new / "data" / "journal.db") as journal:
        assert journal.execute("SELECT seq FROM outbox ORDER BY seq").fetchall() == [(1,), (2,), (3,)]
    carried_over = {key: value for key, value in meta(box.journal).items() if key not in ("epoch", "site_key")}
    assert carried_over.items() <= meta(new / "data" / "journal.db").items()
    assert epoch_of(new / "data" / "journal.db") == made.epoch
    assert store.key_of(SITE) == (new / "secrets" / "site.pub").read_text().strip() != old_key
    assert [key.revoked_at is None for key in store.keys(SITE) if key.key == old_key] == [False]
    assert {path.name for path in (new / "secrets").iterdir()} >= {"site.key", "site.crt", "hq-ca.crt", "hq.pub"}


def test_no_number_is_used_again(box: Box, tmp_path: Path, hq: Path, store: Store) -> None:
    made = restore(SITE, tmp_path / "new", store, hq, None)
    Box.write(Moved(tmp_path / "new"), records=1)
    with opened(tmp_path / "new" / "data" / "journal.db") as journal:
        numbers = journal.execute("SELECT epoch, seq FROM outbox ORDER BY epoch, seq").fetchall()
    old = epoch_of(box.journal)
    assert made.epoch > old
    assert numbers == [(old, 1), (old, 2), (old, 3), (made.epoch, 1)]


def test_numbers_that_a_thief_made_up_do_not_stop_a_restore(box: Box, tmp_path: Path, hq: Path, store: Store) -> None:
    now, last = time.time_ns() // 1000, 2**62 - 1
    places: list[tuple[int, Lane]] = [
        (epoch, lane) for epoch in (epoch_of(box.journal), last - 1, last) for lane in LANES
    ]
    for epoch, lane in places:
        header = Header(site=SITE, epoch=epoch, lane=lane, first_seq=last, last_seq=last, count=1, key_id="0" * 16)
        row = Row(seq=last, kind="event", id=new_id(), at=now, boot="boot", mono=1, record=msgspec.Raw(b"\x80"))
        with store.transaction([SITE]):
            store.apply(header, [row], now)
    made = restore(SITE, tmp_path / "new", store, hq, None)
    assert epoch_of(box.journal) < made.epoch < 2**60


class Moved(Box):
    """A box in a folder that is there already."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "data" / "journal.db"


def test_the_box_that_is_restored_last_is_the_one_that_speaks(box: Box, tmp_path: Path, hq: Path, store: Store) -> None:
    box.write(records=1)
    box.tell_hq()
    first = restore(SITE, tmp_path / "first", store, hq, None)
    second = restore(SITE, tmp_path / "second", store, hq, None)
    assert [len(first.lost), len(second.lost)] == [1, 0]
    assert first.epoch < second.epoch
    in_force = [key.key_id for key in store.keys(SITE) if key.revoked_at is None]
    assert in_force == [second.key_id]


def test_a_folder_with_anything_in_it_stays_as_it_is(box: Box, tmp_path: Path, hq: Path, store: Store) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    key = store.key_of(SITE)
    with pytest.raises(LinkSettingsError, match="is not empty"):
        restore(SITE, full, store, hq, None)
    assert [path.name for path in full.iterdir()] == ["notes.txt"]
    assert store.key_of(SITE) == key


def nothing(box: Box, replica: Path) -> None:
    for path in sorted(replica.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def damaged(box: Box, replica: Path) -> None:
    for path in replica.rglob("*.ltx"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)


def cut_short(box: Box, replica: Path) -> None:
    for path in replica.rglob("*.ltx"):
        path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("harm", [nothing, damaged, cut_short])
def test_without_a_sound_replica_there_is_no_folder_and_the_old_box_still_counts(
    box: Box, tmp_path: Path, hq: Path, store: Store, harm: object
) -> None:
    assert callable(harm)
    harm(box, tmp_path / "replica")
    key = store.key_of(SITE)
    with pytest.raises(ReplicaUnusable, match="--from"):
        restore(SITE, tmp_path / "new", store, hq, None)
    assert store.key_of(SITE) == key
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


def test_the_replica_of_another_site_is_not_taken_for_this_one(
    box: Box, tmp_path: Path, hq: Path, store: Store
) -> None:
    store.enrol("blue-hill", keys.create(tmp_path / "blue-hill.key"))
    with pytest.raises(LinkSettingsError, match="replica of site 'red-ridge'"):
        restore("blue-hill", tmp_path / "new", store, hq, box.url)
    assert not (tmp_path / "new").exists()


def test_from_an_sftp_server_with_the_keys_that_hq_keeps_for_the_site(tmp_path: Path, hq: Path, store: Store) -> None:
    kept = hq / "secrets" / "replicas" / SITE
    with SftpServer(tmp_path / "sftp", kept) as server:
        secrets = tmp_path / "old" / "secrets"
        secrets.mkdir(parents=True)
        for path in kept.iterdir():
            (secrets / path.name).write_bytes(path.read_bytes())
            (secrets / path.name).chmod(0o600)
        box = Box(tmp_path / "old", store, server.url)
        box.write(records=2)
        box.tell_hq(1, 2)
        with Replica(box.folder, server.url) as replica:
            replica.start_and_copy()
            replica.complete()
        made = restore(SITE, tmp_path / "new", store, hq, None)
    assert (made.records, made.lost) == (0, [])
    assert contents(tmp_path / "new" / "data" / "journal.db")["actions"] == contents(box.journal)["actions"]
    assert (tmp_path / "new" / "secrets" / "replica.key").stat().st_mode & 0o077 == 0


def test_the_command_says_what_it_did(box: Box, tmp_path: Path, hq: Path, store: Store) -> None:
    box.write(records=2)
    box.tell_hq()
    command = [*OUTSTATION, "hq", "restore", SITE, "--to", str(tmp_path / "new"), "--dir", str(hq)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 records, numbers 4 to 5 of lane now" in done.stdout
    assert "Sound (data/audio)" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (2, "")
    assert "is not empty" in again.stderr


# ---- on the box itself ---------------------------------------------------------------------------------------------


def restore_here(box: Box) -> subprocess.CompletedProcess[str]:
    command = [*OUTSTATION, "restore", str(box.folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_journal_restored_on_its_box_goes_on_in_an_epoch_that_hq_has_not_seen(box: Box) -> None:
    synced = contents(box.journal)
    box.write(records=1)
    epochs = [epoch_of(box.journal)]
    for _ in range(2):
        done = restore_here(box)
        assert done.returncode == 0, done.stderr
        restored = contents(box.journal)
        assert {name for name in synced if restored[name] != synced[name]} == {"meta", "lanes"}
        epochs.append(epoch_of(box.journal))
    assert sorted(set(epochs)) == epochs
    asides = sorted(box.journal.parent.glob("before-*"))
    assert [len(contents(aside / "journal.db")["actions"]) for aside in asides] == [4, 3]


def test_a_journal_that_is_in_use_or_has_no_replica_stays_as_it_is(box: Box, tmp_path: Path) -> None:
    before = contents(box.journal)
    journal = Journal(box.journal)
    refused = restore_here(box)
    journal.close()
    assert refused.returncode == 2
    assert "is in use; end the daemon" in refused.stderr
    nothing(box, tmp_path / "replica")
    refused = restore_here(box)
    assert refused.returncode == 1
    assert contents(box.journal) == before
    assert not list(box.journal.parent.glob("before-*"))


def test_a_journal_that_is_damaged_is_replaced(box: Box) -> None:
    synced = contents(box.journal)
    box.journal.write_bytes(b"\0" * 8192)
    for end in ("-wal", "-shm"):
        box.journal.with_name(f"journal.db{end}").unlink(missing_ok=True)
    done = restore_here(box)
    assert done.returncode == 0, done.stderr
    assert contents(box.journal)["actions"] == synced["actions"]
