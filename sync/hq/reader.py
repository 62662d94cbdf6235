"""What is in HQ's store, for receivers, commands and the page; nothing here changes it.

Nothing counts the table of records: it may hold many millions, and whatever is asked of it is answered by an index.
"""

import heapq
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

import msgspec

from sync.envelope import MAX_ROWS
from sync.hq.database import Database, marks, open_database
from sync.protocol import LANES, MAX_EPOCHS, MAX_RUNS, Held, Lane, Taken, digest_of
from sync.ranges import Ranges

MAX_DICTIONARIES = 16
"""Of a site; as many as one Have can name."""

_CACHED_DICTIONARIES = 64
_PAGE = 8
_CHUNK = 1000
_MOST = 2**63 - 1  # what JSON's readers can bear; numbers that a stolen key made up add up to more
ENDED = ("done", "fired", "declined", "expired", "withdrawn", "failed", "undone")
"""The states of an action that has ended."""

_RECORD_COLUMNS = "site, epoch, lane, seq, kind, id, record, at, received_at, mono"


class SiteKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a site signs with, or did. Times in µs."""

    key: str
    key_id: str
    enrolled_at: int
    revoked_at: int | None


class LaneLag(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a lane wait at the site, as it last said, and since when (µs of HQ's clock; None: none waits, or
    the site's clock cannot tell)."""

    lane: Lane
    waiting: int
    waiting_since: int | None


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """What HQ knows of a site at a glance. `state` is None until its link was heard of; times in µs.

    `lacking` are the numbers missing below the highest of each lane, `gone` those whose records nobody has any more, by
    reason. `refused`, `conflicts` and `set_aside` count messages, messages of another box with this identity, and rows.
    """

    site: str
    revoked: bool
    enrolled_at: int
    state: str | None
    state_at: int | None
    heard_at: int | None
    records: int
    lag: list[LaneLag]
    lacking: int
    gone: dict[str, int]
    refused: int
    conflicts: int
    set_aside: int


class LaneView(msgspec.Struct, frozen=True, kw_only=True):
    """A lane of an epoch: how many numbers are held, up to which, and what the site last said of it."""

    epoch: int
    lane: str
    held: int
    top_seq: int
    newest_seq: int | None
    waiting: int | None
    waiting_since: int | None
    reported_at: int | None

    @property
    def lacking(self) -> int:
        """How many numbers are missing below the highest."""
        return self.top_seq - self.held


class Tally(msgspec.Struct, frozen=True):
    """How many records of a kind came on a lane."""

    kind: str
    lane: str
    records: int


class GoneView(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone for one reason: how many numbers, their bytes, and of which kinds as far as that is known."""

    reason: str
    numbers: int
    bytes: int
    kinds: dict[str, int]


class BootView(msgspec.Struct, frozen=True, kw_only=True):
    """A boot of a site: when its newest record happened (µs), and how HQ knows: heard, row or order."""

    boot: str
    clock: str
    newest_at: int | None


class SiteDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that HQ knows of one site beside its records."""

    view: SiteView
    replica: str
    keys: list[SiteKey]
    lanes: list[LaneView]
    tallies: list[Tally]
    gone: list[GoneView]
    boots: list[BootView]


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """A received record, with its JSON as it lies in the store. `at` is the site's clock as it was, `happened_at` when
    it was indeed; µs."""

    site: str
    epoch: int
    lane: str
    seq: int
    kind: str
    id: str
    at: int
    happened_at: int
    received_at: int
    record: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What was set aside, why, how often it came, and when last (µs). `seq` where it is a row of a lane."""

    site: str
    cause: str
    reason: str
    epoch: int | None
    lane: str | None
    seq: int | None
    times: int
    at: int


class PlayView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a play over all sites: its decisions, and its actions by their newest state."""

    play: str
    decisions: int
    states: dict[str, int]

    @property
    def actions(self) -> int:
        """All of them."""
        return sum(self.states.values())

    @property
    def share_done(self) -> float | None:
        """Of the actions that have ended, the part that was carried out (0 to 1); None: none has ended."""
        ended = sum(self.states.get(state, 0) for state in ENDED)
        return (self.states.get("done", 0) + self.states.get("fired", 0)) / ended if ended else None


class Reader:
    """A connection to HQ's store that sees it as it was when it was first asked. For one thread."""

    _write = False

    def __init__(self, database: Database) -> None:
        self.database = database
        self._dictionaries: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """The store at `where`, a path or postgresql://…; raises LinkSettingsError when it cannot be used."""
        return cls(open_database(where, write=cls._write))

    def close(self) -> None:
        """Release the database."""
        self.database.close()

    # ---- who may send ------------------------------------------------------------------------------------------

    def key_of(self, site: str) -> str | None:
        """The public key that `site` signs with; None if nothing is taken from it."""
        found = self.database.select("SELECT key FROM keys WHERE site = ? AND revoked_at IS NULL", site)
        return found[0][0] if found else None

    def keys(self, site: str) -> list[SiteKey]:
        """All keys that `site` ever signed with, the newest first."""
        return [
            SiteKey(key=key, key_id=key_id, enrolled_at=enrolled_at, revoked_at=revoked_at)
            for key, key_id, enrolled_at, revoked_at in self.database.select(
                "SELECT key, key_id, enrolled_at, revoked_at FROM keys WHERE site = ? ORDER BY enrolled_at DESC, key",
                site,
            )
        ]

    def enrolled(self) -> list[tuple[str, str]]:
        """Every site that something is taken from, and its key's id."""
        return [
            (site, key_id)
            for site, key_id in self.database.select(
                "SELECT site, key_id FROM keys WHERE revoked_at IS NULL ORDER BY site"
            )
        ]

    # ---- what is held of a site --------------------------------------------------------------------------------

    def have(self, site: str, named: Collection[int] = ()) -> tuple[Held, ...]:
        """What a Have tells `site`: of the epochs that it `named` (it named none: of the newest) the newest runs that
        are held. Epochs that somebody made up with a stolen key are not named, and so do not displace the others."""
        epochs = sorted(named)[-MAX_EPOCHS:] or [
            epoch
            for (epoch,) in self.database.select(
                "SELECT DISTINCT epoch FROM lanes WHERE site = ? AND top_seq > 0 ORDER BY epoch DESC LIMIT ?",
                site,
                MAX_EPOCHS,
            )
        ]
        if not epochs:
            return ()
        lanes = self.database.select(
            "SELECT epoch, lane FROM lanes WHERE site = ? AND top_seq > 0"
            f" AND epoch IN ({marks(len(epochs))}) ORDER BY epoch, lane",
            site,
            *epochs,
        )
        return tuple(Held(epoch=epoch, lane=lane, runs=self._newest_runs(site, epoch, lane)) for epoch, lane in lanes)

    def holds(self, site: str, rows: Taken) -> bool:
        """Whether HQ has a record for every one of these numbers, and they are the ones that the digest is of."""
        numbers = rows.last_seq - rows.first_seq + 1
        if not 1 <= numbers <= MAX_ROWS:
            return False
        ids = [
            id
            for (id,) in self.database.select(
                "SELECT id FROM received WHERE site = ? AND epoch = ? AND lane = ? AND seq BETWEEN ? AND ?"
                " ORDER BY seq",
                site,
                rows.epoch,
                rows.lane,
                rows.first_seq,
                rows.last_seq,
            )
        ]
        return len(ids) == numbers and digest_of(ids) == rows.digest

    def held(self, site: str, epoch: int, lane: str) -> Ranges:
        """All numbers of a lane that are held."""
        return Ranges(
            (first, last)
            for first, last in self.database.select(
                "SELECT first_seq, last_seq FROM held WHERE site = ? AND epoch = ? AND lane = ?", site, epoch, lane
            )
        )

    def lanes(self, site: str) -> list[LaneView]:
        """Every lane of every epoch of `site`, the newest epoch first; `newest_seq` is the newest number that the site
        ever reported, which may be above what is held."""
        return [
            LaneView(
                epoch=epoch,
                lane=lane,
                held=held,
                top_seq=top_seq,
                newest_seq=newest_seq,
                waiting=waiting,
                waiting_since=waiting_since,
                reported_at=reported_at,
            )
            for epoch, lane, held, top_seq, newest_seq, waiting, waiting_since, reported_at in self.database.select(
                "SELECT epoch, lane, held, top_seq, newest_seq, waiting, waiting_since, reported_at FROM lanes"
                " WHERE site = ? ORDER BY epoch DESC, lane",
                site,
            )
        ]

    def records_after(self, site: str, epoch: int, lane: str, seq: int) -> Iterator[RecordView]:
        """The records of a lane behind number `seq`, in their order."""
        while rows := self.database.select(
            "SELECT seq, kind, id, record, at, received_at, happened_at FROM history"
            " WHERE site = ? AND epoch = ? AND lane = ? AND seq > ? ORDER BY seq LIMIT ?",
            site,
            epoch,
            lane,
            seq,
            _CHUNK,
        ):
            for seq, kind, id, record, at, received_at, happened_at in rows:
                yield RecordView(
                    site=site,
                    epoch=epoch,
                    lane=lane,
                    seq=seq,
                    kind=kind,
                    id=id,
                    at=at,
                    happened_at=happened_at,
                    received_at=received_at,
                    record=msgspec.Raw(record.encode()),
                )

    def dictionaries(self, site: str) -> tuple[str, ...]:
        """The ids of the dictionaries that are known of `site`, the newest first."""
        return tuple(
            id
            for (id,) in self.database.select(
                "SELECT id FROM dictionaries WHERE site = ? ORDER BY learnt_at DESC, id LIMIT ?", site, MAX_DICTIONARIES
            )
        )

    def dictionary(self, site: str, id: str) -> bytes | None:
        """A dictionary that envelopes of `site` name; None if it is not known."""
        content = self._dictionaries.get((site, id))
        if content is None:
            found = self.database.select("SELECT content FROM dictionaries WHERE site = ? AND id = ?", site, id)
            if not found:
                return None
            content = self._dictionaries[site, id] = bytes(found[0][0])
            if len(self._dictionaries) > _CACHED_DICTIONARIES:
                self._dictionaries.popitem(last=False)
        self._dictionaries.move_to_end((site, id))
        return content

    def _newest_runs(self, site: str, epoch: int, lane: str) -> tuple[tuple[int, int], ...]:
        found = self.database.select(
            "SELECT first_seq, last_seq FROM held WHERE site = ? AND epoch = ? AND lane = ?"
            " ORDER BY first_seq DESC LIMIT ?",
            site,
            epoch,
            lane,
            MAX_RUNS,
        )
        return tuple((first, last) for first, last in reversed(found))

    # ---- for people --------------------------------------------------------------------------------------------

    def sites(self) -> list[SiteView]:
        """All sites that were ever enrolled, by name."""
        lag: defaultdict[str, dict[str, LaneLag]] = defaultdict(dict)
        lacking: defaultdict[str, int] = defaultdict(int)
        for site, lane, held, top_seq, waiting, since in self.database.select(
            "SELECT site, lane, held, top_seq, coalesce(waiting, 0), waiting_since FROM lanes ORDER BY site, lane"
        ):
            lacking[site] += top_seq - held
            if waiting:
                known = lag[site].get(lane)
                moments = [moment for moment in (since, known.waiting_since if known else None) if moment is not None]
                lag[site][lane] = LaneLag(
                    lane=lane,
                    waiting=waiting + (known.waiting if known else 0),
                    waiting_since=min(moments, default=None),
                )
        gone: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for site, reason, numbers in self.database.select(
            "SELECT site, reason, numbers FROM gone_tally WHERE numbers > 0 ORDER BY site, reason"
        ):
            gone[site][reason] = numbers
        causes = {
            (site, cause): number
            for site, cause, number in self.database.select("SELECT site, cause, number FROM quarantine_tally")
        }
        records: dict[str, int] = dict(
            self.database.select("SELECT site, CAST(sum(records) AS BIGINT) FROM tally GROUP BY site")
        )
        return [
            SiteView(
                site=site,
                revoked=bool(revoked),
                enrolled_at=enrolled_at,
                state=state,
                state_at=state_at,
                heard_at=heard_at,
                records=records.get(site, 0),
                lag=sorted(lag[site].values(), key=lambda one: LANES.index(one.lane)),
                lacking=min(lacking[site], _MOST),
                gone=gone[site],
                refused=causes.get((site, "refused"), 0),
                conflicts=causes.get((site, "conflict"), 0),
                set_aside=causes.get((site, "row"), 0),
            )
            for site, revoked, enrolled_at, state, state_at, heard_at in self.database.select(
                "SELECT site, revoked, enrolled_at, state, state_at, heard_at FROM"
                " (SELECT site, min(CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END) AS revoked,"
                " max(enrolled_at) AS enrolled_at FROM keys GROUP BY site) AS known"
                " LEFT JOIN contact USING (site) ORDER BY site"
            )
        ]

    def site(self, name: str) -> SiteDetail | None:
        """All of one site; None if it was never enrolled."""
        view = next((view for view in self.sites() if view.site == name), None)
        if view is None:
            return None
        found = self.database.select("SELECT replica FROM contact WHERE site = ?", name)
        return SiteDetail(
            view=view,
            replica=found[0][0] if found else "",
            keys=self.keys(name),
            lanes=self.lanes(name),
            tallies=[
                Tally(*row)
                for row in self.database.select(
                    "SELECT kind, lane, records FROM tally WHERE site = ? ORDER BY lane, kind", name
                )
            ],
            gone=self.gone(name),
            boots=[
                BootView(boot=boot, clock=clock, newest_at=newest_at)
                for boot, clock, newest_at in self.database.select(
                    "SELECT boot, clock, newest_at FROM boots WHERE site = ? ORDER BY offset_us DESC LIMIT 10", name
                )
            ],
        )

    def gone(self, site: str) -> list[GoneView]:
        """What is gone of a site, by reason."""
        kinds: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for reason, encoded in self.database.select("SELECT reason, kinds FROM gone WHERE site = ?", site):
            for kind, number in msgspec.json.decode(encoded).items():
                kinds[reason][kind] = kinds[reason].get(kind, 0) + number
        return [
            GoneView(reason=reason, numbers=numbers, bytes=size, kinds=dict(sorted(kinds[reason].items())))
            for reason, numbers, size in self.database.select(
                "SELECT reason, numbers, bytes FROM gone_tally WHERE site = ? AND numbers > 0 ORDER BY reason", site
            )
        ]

    def newest(self, limit: int, site: str | None = None) -> list[RecordView]:
        """The records that happened last, of all sites or of one, newest first."""
        # Within a boot the order of `mono` is the order of happening, so only the boots with the newest records count.
        boots = self.database.select(
            "SELECT boot_no, offset_us FROM boots WHERE newest_at IS NOT NULL"
            + (" AND site = ?" if site is not None else "")
            + " ORDER BY newest_at DESC LIMIT ?",
            *([] if site is None else [site]),
            limit,
        )
        merged = heapq.merge(
            *(self._newest_of_boot(boot_no, offset_us) for boot_no, offset_us in boots),
            key=lambda record: (-record.happened_at, -record.seq),
        )
        return list(islice(merged, limit))

    def plays(self) -> list[PlayView]:
        """Every play of every site by name."""
        numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for play, what, number in self.database.select(
            "SELECT play, what, CAST(sum(number) AS BIGINT) FROM plays GROUP BY play, what ORDER BY play, what"
        ):
            numbers[play][what] = number
        return [
            PlayView(
                play=play,
                decisions=states.pop("decision", 0),
                states={state: number for state, number in states.items() if number},
            )
            for play, states in numbers.items()
        ]

    def refused(self) -> dict[str, int]:
        """How much was set aside since the store began, by cause."""
        return dict(
            self.database.select(
                "SELECT cause, CAST(sum(number) AS BIGINT) FROM quarantine_tally GROUP BY cause ORDER BY cause"
            )
        )

    def newest_refusals(self, limit: int, site: str | None = None) -> list[Refusal]:
        """What was set aside last, of all sites or of one, newest first."""
        found = self.database.select(
            "SELECT site, cause, reason, epoch, lane, seq, times, at FROM quarantine"
            + (" WHERE site = ?" if site is not None else "")
            + " ORDER BY at DESC, n DESC LIMIT ?",
            *([] if site is None else [site]),
            limit,
        )
        return [
            Refusal(site=name, cause=cause, reason=reason, epoch=epoch, lane=lane, seq=seq, times=times, at=at)
            for name, cause, reason, epoch, lane, seq, times, at in found
        ]

    def _newest_of_boot(self, boot_no: int, offset_us: int) -> Iterator[RecordView]:
        begin, size = 0, _PAGE
        while rows := self.database.select(
            f"SELECT {_RECORD_COLUMNS} FROM received WHERE boot_no = ? ORDER BY mono DESC, seq DESC LIMIT ? OFFSET ?",
            boot_no,
            size,
            begin,
        ):
            yield from (_record(row, offset_us) for row in rows)
            begin, size = begin + size, size * 4


def _record(row: tuple[Any, ...], offset_us: int) -> RecordView:
    site, epoch, lane, seq, kind, id, record, at, received_at, mono = row
    return RecordView(
        site=site,
        epoch=epoch,
        lane=lane,
        seq=seq,
        kind=kind,
        id=id,
        at=at,
        happened_at=offset_us + mono,
        received_at=received_at,
        record=msgspec.Raw(record.encode()),
    )
