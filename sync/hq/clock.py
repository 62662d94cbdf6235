"""When records happened, although boxes without a battery clock wake up in 1970.

A record carries the time since its machine's boot, which is always right; what HQ lacks is when that boot was. It
takes, in this order: what it heard while the boot ran (State.mono against its own clock; the delay of a message makes
this late, never early, so the earliest counts); the newest row with a plausible time; the place between the boots
before and after. Two things always hold: nothing happened after HQ had it, and boots follow one another as their
numbers do. `place` depends on no order of arrival.
"""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise

import msgspec

from sync.envelope import Row
from sync.hq.database import Database
from sync.protocol import State

PLAUSIBLE_FROM = 1_735_689_600_000_000
"""2025-01-01: no box was built before."""

_EARLIEST_US = -(2**62)
"""What an integer of the database can hold whatever a stolen key says."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a boot; see the table boots."""

    number: int
    bound_us: int
    heard: bool
    row_mono: int | None = None
    row_offset_us: int | None = None
    first_mono: int | None = None
    newest_mono: int | None = None


class Stretch(msgspec.Struct, frozen=True):
    """From which number on a boot has records in a lane."""

    boot: int
    epoch: int
    lane: str
    first_seq: int


class Placed(msgspec.Struct, frozen=True):
    """When a boot was: happened_at = offset_us + mono, and how that is known."""

    offset_us: int
    clock: str


def place(boots: Sequence[Boot], stretches: Iterable[Stretch]) -> dict[int, Placed]:
    """Where the boots of one site are in time."""
    known = {boot.number: boot for boot in boots}
    before = _before(known, stretches)
    order = _order(known, before)
    bound_us = {number: boot.bound_us for number, boot in known.items()}
    # Likely not more: as the bound, but by what the boots after it say of themselves.
    likely_us = {number: min(boot.bound_us, _said_us(boot)) for number, boot in known.items()}
    for number in reversed(order):
        for offsets_us in (bound_us, likely_us):
            began_us = offsets_us[number] + (known[number].first_mono or 0)
            for earlier in before[number]:
                ends_us = began_us - 1 - (known[earlier].newest_mono or 0)
                offsets_us[earlier] = max(_EARLIEST_US, min(offsets_us[earlier], ends_us))
    placed: dict[int, Placed] = {}
    for number in order:
        boot = known[number]
        floors_us = [
            placed[earlier].offset_us + (known[earlier].newest_mono or 0) + 1 - (boot.first_mono or 0)
            for earlier in before[number]
        ]
        if boot.heard:
            placed[number] = Placed(bound_us[number], "heard")
        elif boot.row_offset_us is not None:
            placed[number] = Placed(min(bound_us[number], max([boot.row_offset_us, *floors_us])), "row")
        else:
            placed[number] = Placed(min(bound_us[number], max(floors_us, default=likely_us[number])), "order")
    return placed


def _said_us(boot: Boot) -> int:
    return boot.bound_us if boot.heard or boot.row_offset_us is None else boot.row_offset_us


def _before(known: dict[int, Boot], stretches: Iterable[Stretch]) -> dict[int, set[int]]:
    before: dict[int, set[int]] = {number: set() for number in known}
    ordered = sorted(stretches, key=lambda stretch: (stretch.lane, stretch.epoch, stretch.first_seq))
    for _lane, of_lane in groupby(ordered, key=lambda stretch: stretch.lane):
        for earlier, later in pairwise(of_lane):
            if earlier.boot != later.boot:
                before[later.boot].add(earlier.boot)
    return before


def _order(known: dict[int, Boot], before: dict[int, set[int]]) -> list[int]:
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        # Only where two boxes use one identity; then the order of arrival has to do.
        for number, earlier in before.items():
            before[number] = {other for other in earlier if other < number}
        return sorted(known)


# ---- what the store keeps of it, inside a transaction that holds the site's lock ---------------------------------


def hear(database: Database, state: State, at: int) -> None:
    """A State came at `at` (µs): its boot's clock is known from now on."""
    number, boot = _boot(database, state.site, state.boot, at - state.mono)
    if not boot.heard or at - state.mono < boot.bound_us:
        database.execute(
            "UPDATE boots SET heard = 1, bound_us = ? WHERE boot_no = ?", min(boot.bound_us, at - state.mono), number
        )
        settle(database, state.site)


def see(database: Database, site: str, epoch: int, lane: str, rows: Sequence[Row], at: int) -> dict[str, int]:
    """Rows came at `at` (µs), none of them `gone`: the numbers of their boots."""
    by_boot: dict[str, list[Row]] = {}
    for row in rows:
        by_boot.setdefault(row.boot, []).append(row)
    numbers: dict[str, int] = {}
    changed = False
    for name, of_boot in by_boot.items():
        newest_mono = max(row.mono for row in of_boot)
        numbers[name], known = _boot(database, site, name, at - newest_mono)
        changed |= _learn(database, known, of_boot, at)
        changed |= _stretch(database, Stretch(known.number, epoch, lane, min(row.seq for row in of_boot)), site)
    if changed:
        settle(database, site)
    return numbers


def settle(database: Database, site: str) -> None:
    """Place the boots of a site anew."""
    rows = database.select(
        "SELECT boot_no, bound_us, heard, row_mono, row_offset_us, first_mono, newest_mono, offset_us, clock, newest_at"
        " FROM boots WHERE site = ?",
        site,
    )
    boots = [
        Boot(
            number=number,
            bound_us=bound_us,
            heard=bool(heard),
            row_mono=row_mono,
            row_offset_us=row_offset_us,
            first_mono=first_mono,
            newest_mono=newest_mono,
        )
        for number, bound_us, heard, row_mono, row_offset_us, first_mono, newest_mono, *_ in rows
    ]
    stretches = database.select("SELECT boot_no, epoch, lane, first_seq FROM stretches WHERE site = ?", site)
    placed = place(boots, [Stretch(*row) for row in stretches])
    changed = []
    for boot, (*_, offset_us, clock, newest_at) in zip(boots, rows, strict=True):
        new = placed[boot.number]
        new_newest_at = None if boot.newest_mono is None else new.offset_us + boot.newest_mono
        if (new.offset_us, new.clock, new_newest_at) != (offset_us, clock, newest_at):
            changed.append((new.offset_us, new.clock, new_newest_at, boot.number))
    if changed:
        database.execute_many("UPDATE boots SET offset_us = ?, clock = ?, newest_at = ? WHERE boot_no = ?", changed)


def _boot(database: Database, site: str, name: str, bound_us: int) -> tuple[int, Boot]:
    name = name.replace("\0", "\ufffd")
    query = (
        "SELECT boot_no, bound_us, heard, row_mono, row_offset_us, first_mono, newest_mono FROM boots"
        " WHERE site = ? AND boot = ?"
    )
    found = database.select(query, site, name)
    if not found:
        database.execute(
            "INSERT INTO boots (site, boot, bound_us, heard, offset_us, clock) VALUES (?, ?, ?, 0, ?, 'order')",
            site,
            name,
            bound_us,
            bound_us,
        )
        found = database.select(query, site, name)
    number, bound_us, heard, row_mono, row_offset_us, first_mono, newest_mono = found[0]
    return number, Boot(
        number=number,
        bound_us=bound_us,
        heard=bool(heard),
        row_mono=row_mono,
        row_offset_us=row_offset_us,
        first_mono=first_mono,
        newest_mono=newest_mono,
    )


def _learn(database: Database, known: Boot, rows: Sequence[Row], at: int) -> bool:
    monos = [row.mono for row in rows]
    plausible = max((row for row in rows if row.at >= PLAUSIBLE_FROM), key=lambda row: row.mono, default=None)
    row_mono, row_offset_us = known.row_mono, known.row_offset_us
    if plausible is not None and (row_mono is None or plausible.mono > row_mono):
        row_mono, row_offset_us = plausible.mono, plausible.at - plausible.mono
    new = Boot(
        number=known.number,
        bound_us=min(known.bound_us, at - max(monos)),
        heard=known.heard,
        row_mono=row_mono,
        row_offset_us=row_offset_us,
        first_mono=min([*monos, *([] if known.first_mono is None else [known.first_mono])]),
        newest_mono=max([*monos, *([] if known.newest_mono is None else [known.newest_mono])]),
    )
    if new == known:
        return False
    database.execute(
        "UPDATE boots SET bound_us = ?, row_mono = ?, row_offset_us = ?, first_mono = ?, newest_mono = ?"
        " WHERE boot_no = ?",
        new.bound_us,
        new.row_mono,
        new.row_offset_us,
        new.first_mono,
        new.newest_mono,
        new.number,
    )
    return True


def _stretch(database: Database, stretch: Stretch, site: str) -> bool:
    changed = database.select(
        "INSERT INTO stretches (site, boot_no, epoch, lane, first_seq) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (site, boot_no, epoch, lane) DO UPDATE SET first_seq = excluded.first_seq"
        " WHERE excluded.first_seq < stretches.first_seq RETURNING boot_no",
        site,
        stretch.boot,
        stretch.epoch,
        stretch.lane,
        stretch.first_seq,
    )
    return bool(changed)
