"""A journal made from its replica: what was synced, and records that HQ will not take for repeats."""

import os
import subprocess
from pathlib import Path

import pytest

from edge.store.journal import Conclusions, Journal
from tests.firmware.programs import FIRMWARE
from tests.firmware.replica import Replica, contents, opened
from tests.records import an_action


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A site's data folder."""
    if os.geteuid() != 0:
        pytest.skip("restore.sh acts as the owner of the journal, which only root may")
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def tell_hq(data: Path) -> None:
    """Write a record that goes to HQ into the site's journal."""
    journal = Journal(data / "journal.db")
    journal.conclude(Conclusions(actions=[an_action()]), cursor=("note", 1)).result()
    journal.close()


def restore(data: Path, replica: Path) -> subprocess.CompletedProcess[str]:
    """Run restore.sh on a data folder."""
    command = [str(FIRMWARE / "restore.sh"), f"file://{replica}", str(data)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_restored_journal_has_what_was_synced_and_goes_on_in_an_epoch_that_hq_has_not_seen(
    data: Path, tmp_path: Path
) -> None:
    tell_hq(data)
    with Replica(data / "journal.db", tmp_path / "replica") as replica:
        replica.start()
        replica.complete()
    synced = contents(data / "journal.db")
    tell_hq(data)
    done = restore(data, tmp_path / "replica")
    assert done.returncode == 0, done.stderr

    restored = contents(data / "journal.db")
    assert {name for name in synced if restored[name] != synced[name]} == {"meta", "lanes"}
    (aside,) = data.glob("before-*")
    assert len(contents(aside / "journal.db")["actions"]) == 2

    tell_hq(data)
    with opened(data / "journal.db") as journal:
        numbers = journal.execute("SELECT seq FROM outbox ORDER BY epoch, seq").fetchall()
    assert numbers == [(1,), (1,)]


def test_two_restores_of_one_copy_do_not_share_an_epoch(data: Path, tmp_path: Path) -> None:
    tell_hq(data)
    with Replica(data / "journal.db", tmp_path / "replica") as replica:
        replica.start()
        replica.complete()
    epochs = [contents(data / "journal.db")["meta"]]
    for _ in range(2):
        assert restore(data, tmp_path / "replica").returncode == 0
        epochs.append(contents(data / "journal.db")["meta"])
    assert all(epochs.count(epoch) == 1 for epoch in epochs)


def test_without_a_replica_the_journal_stays_as_it_is(data: Path, tmp_path: Path) -> None:
    tell_hq(data)
    before = contents(data / "journal.db")
    refused = restore(data, tmp_path / "nowhere")
    assert refused.returncode != 0
    assert contents(data / "journal.db") == before
    assert not list(data.glob("before-*"))
