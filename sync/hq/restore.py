"""Makes a lost site's folder for a new box, from its replica and from what HQ holds, and keeps HQ's record whole.

What the replica had not seen but HQ has goes along (data/from-hq.jsonl, which the daemon takes in at its start); what
neither has, up to the newest number that the site ever reported, is named as lost. The old box's key is revoked in the
transaction that does so: if it comes back, its records are set aside.
"""

import os
import shutil
import time
import tomllib
from pathlib import Path, PurePosixPath

import msgspec

from sync import keys
from sync.certificates import open_authority
from sync.errors import LinkSettingsError
from sync.hq.store import Store
from sync.protocol import LANES
from sync.ranges import Ranges
from sync.restore import Restored, begin_epoch, restore_journal

MOST_EPOCH, MOST_NUMBER = 2**60, 2**40
"""Beyond these nobody counts but whoever made numbers up with the site's key: an epoch is ms since 1970 times 65536."""
NOT_IMPORTED = "audio"
"""Sound is not in the replica, and what HQ asked for of it stays at HQ."""


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of a lane that neither HQ nor the replica has."""

    epoch: int
    lane: str
    first_seq: int
    last_seq: int


class NewBox(msgspec.Struct, frozen=True, kw_only=True):
    """A restored site: its folder, new epoch and key, how many `records` HQ had beyond the replica, what is lost, and
    which of the site's files were not in the replica."""

    site: str
    folder: str
    replica: str
    epoch: int
    key_id: str
    records: int
    lost: list[Lost]
    missing: list[str]

    def sentences(self) -> list[str]:
        """What people have to know of it."""
        said = [
            f"{self.folder} is site {self.site} as its replica at {self.replica} has it; carry it to the new box.",
            f"It signs with key {self.key_id} and counts in epoch {self.epoch}; the old box's key is revoked.",
            f"HQ had {self.records} records that the replica had not; the daemon takes them in at its start.",
        ]
        said += [
            f"Lost: {run.last_seq - run.first_seq + 1} records, numbers {run.first_seq} to {run.last_seq} of lane "
            f"{run.lane} in epoch {run.epoch}; neither HQ nor the replica has them."
            for run in self.lost
        ]
        said += [
            f"{name} was not in the replica; write it anew (`outstation init` makes one)." for name in self.missing
        ]
        said.append(
            "Sound (data/audio), fetched packs and other secrets are not in a replica; bring them if you have them."
        )
        return said


def restore(site: str, to: Path, store: Store, hq: Path, url: str | None) -> NewBox:
    """Make the folder `to`, which must be empty or not there, for `site`.

    `url` is where the replica lies; None: where the site said. What it takes to get there is looked for in
    `hq`/secrets/replicas/`site` and goes along. Raises LinkSettingsError when one of these is wrong, ReplicaUnusable
    when the replica is: then neither `to` nor the store is changed.
    """
    known = store.site(site)
    if known is None:
        raise LinkSettingsError(f"site {site!r} is not known here; `outstation hq sites` lists those that are.")
    place = url or known.replica
    if not place:
        raise LinkSettingsError(f"site {site} never said where its replica lies; say it with --from.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise LinkSettingsError(f"{to} is not empty; name a new folder.")
    staged = to.parent / f".{to.name}.restoring"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        made = _make(site, staged, store, hq, place)
        staged.replace(to)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return msgspec.structs.replace(made, folder=str(to))


def _make(site: str, staged: Path, store: Store, hq: Path, place: str) -> NewBox:
    data, secrets = staged / "data", staged / "secrets"
    data.mkdir(parents=True)
    (staged / "inbox").mkdir()
    secrets.mkdir(mode=0o700)
    access = hq / "secrets" / "replicas" / site
    if access.is_dir():
        shutil.copytree(access, secrets, dirs_exist_ok=True)
    journal = data / "journal.db"
    restored = restore_journal(place, secrets, journal)
    missing = _write_settings(site, staged, restored.settings)
    public_key = _enrol(secrets, hq / "secrets")
    with store.transaction([site]):
        lanes = {
            (lane.epoch, lane.lane): min(MOST_NUMBER, max(lane.newest_seq or 0, lane.top_seq))
            for lane in store.lanes(site)
            if lane.epoch < MOST_EPOCH
        }
        epoch = begin_epoch(journal, above=max([restored.epoch, *(epoch for epoch, _ in lanes)]), site_key=public_key)
        records = _write_records(data / "from-hq.jsonl", site, store, restored, list(lanes))
        lost = _name_lost(site, store, restored, lanes)
        store.replace_key(site, public_key)
    return NewBox(
        site=site,
        folder="",
        replica=place,
        epoch=epoch,
        key_id=keys.key_id(keys.parse_public(public_key)),
        records=records,
        lost=lost,
        missing=missing,
    )


def _enrol(secrets: Path, of_hq: Path) -> str:
    """Write what the box needs to reach HQ, as enrolment does, with a new key; gives its public half."""
    public_key = keys.create(secrets / "site.key")
    authority = open_authority(of_hq)
    hq_key = keys.load_or_create(of_hq / "hq.key")
    for name, content in {
        "site.pub": f"{public_key}\n".encode(),
        "site.crt": authority.certify_site(keys.parse_public(public_key)),
        "hq-ca.crt": authority.pem,
        "hq.pub": f"{keys.public_text(hq_key.public_key())}\n".encode(),
    }.items():
        keys.write_private(secrets / name, content)
    return public_key


def _write_settings(site: str, folder: Path, settings: dict[str, str]) -> list[str]:
    """Write the site's files; gives the names of those that every site has and this one's replica has not."""
    for name, content in settings.items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] in ("/", "data", "secrets", "inbox") or ".." in parts:
            raise LinkSettingsError(f"the journal has a file named {name!r}, which is none of a site's.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    named = tomllib.loads(settings.get("site.toml", "")).get("name", site)
    if named != site:
        raise LinkSettingsError(f"this is the replica of site {named!r}, not of {site!r}; say another with --from.")
    return [name for name in ("site.toml", "playbook.toml", "vocabulary.toml") if name not in settings]


def _write_records(to: Path, site: str, store: Store, restored: Restored, lanes: list[tuple[int, str]]) -> int:
    """Write what HQ holds and the replica had not seen, epochs in their order, the most urgent lane first."""
    written = 0
    with to.open("wb") as file:
        for epoch, lane in sorted(lanes, key=lambda place: (place[0], LANES.index(place[1]))):
            if epoch < restored.epoch:
                continue  # all of it was in the journal before the epoch in which the replica is began
            seen = restored.last_seq.get(lane, 0) if epoch == restored.epoch else 0
            for record in store.records_after(site, epoch, lane, seen):
                if record.kind != NOT_IMPORTED:
                    file.write(msgspec.json.encode({"kind": record.kind, "record": record.record}) + b"\n")
                    written += 1
        file.flush()
        os.fsync(file.fileno())
    return written


def _name_lost(site: str, store: Store, restored: Restored, newest: dict[tuple[int, str], int]) -> list[Lost]:
    """Note, and give, the numbers that were used and that nobody has."""
    lost = []
    at = time.time_ns() // 1000
    for (epoch, lane), last in sorted(newest.items()):
        waiting = restored.outbox.get((epoch, lane), Ranges())
        numbers = Ranges([(1, last)]) - store.held(site, epoch, lane) - waiting
        store.lose(site, epoch, lane, numbers, at)
        lost += [Lost(epoch=epoch, lane=lane, first_seq=begin, last_seq=end) for begin, end in numbers.runs]
    return lost
