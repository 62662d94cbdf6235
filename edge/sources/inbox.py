"""The inbox folder: recordings and device logs become events, files of outcomes (`outcomes*.csv`, `outcomes*.jsonl`)
outcomes, each exactly once however often it is offered.

A file is taken when it has been left alone for a while. It leaves the folder only after the journal's commit; killed
in between, the gateway finds it again at the next start and the journal knows its hash (a recording) or its rows (a
log) already.
"""

import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import structlog

from edge.errors import NoRoom, Refused
from edge.events import Call, Event, now_us
from edge.site import Site
from edge.sources.logs import Row, read_log
from edge.sources.outcomes import claim_of, read_outcomes
from edge.sources.readings import reading
from edge.sources.refused import RefusedFolder
from edge.store.journal import Journal, Offer
from edge.store.placing import put_in_place
from edge.store.room import Room
from models.device_log import parse_time
from models.errors import InputInvalid
from models.features.audio import AudioInfo, read_chunks, read_info
from models.pack import sha256_of

AUDIO = frozenset({".wav", ".flac", ".ogg"})
LOGS = frozenset({".csv", ".jsonl"})
OUTCOMES = "outcomes"
UNFINISHED = frozenset({".part", ".tmp", ".crdownload"})
ROWS_PER_COMMIT = 1_000
FAULTS_TOLD = 5
SIDECAR_BYTES = 64 * 1024
# A recording whose loudest sample stays below this (of 32,767; about -60 dB) holds no speech.
SILENCE_PEAK = 33

log = structlog.get_logger()


class SideCar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a JSON file beside a recording says of the call. `channels` names who speaks on each track."""

    customer: str = ""
    agent: str = ""
    start: str | int | float | None = None
    direction: Literal["in", "out", ""] = ""
    language: str = ""
    channels: tuple[str, ...] = ()


class Inbox:
    """Takes what lies in a site's inbox folder."""

    def __init__(self, site: Site, journal: Journal, refused: RefusedFolder, room: Room) -> None:
        self._site = site
        self._journal = journal
        self._refused = refused
        self._room = room
        # By path the size and time of change that were last seen, and since when they have stood.
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for folder in (site.inbox, site.audio, site.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def take(self) -> bool:
        """Take every file that is settled; False when files are left that are still being written. Raises NoRoom when
        some have to wait where they are; those that there is room for are taken."""
        waiting = False
        no_room: NoRoom | None = None
        for path in self._files():
            if not self._is_settled(path):
                waiting = True
                continue
            try:
                self._take_file(path)
            except NoRoom as error:
                no_room = error
        if no_room is not None:
            raise no_room
        return not waiting

    def _files(self) -> list[Path]:
        """The files to take, oldest name first. A side-car is taken with its recording."""
        files = [
            path
            for path in sorted(self._site.inbox.iterdir())
            if path.suffix.lower() not in UNFINISHED
            and not path.name.startswith(".")
            and path.is_file()
            and not path.is_symlink()
            and path.suffix.lower() != ".json"
        ]
        self._seen = {path: seen for path, seen in self._seen.items() if path in files}
        return files

    def _is_settled(self, path: Path) -> bool:
        """Whether nobody has written to the file (or its side-car) for the settling time, by either clock."""
        settle_s = self._site.settings.inbox.settle_seconds
        sizes: list[int] = []
        changed: list[int] = []
        for part in (path, path.with_suffix(".json")):
            try:
                status = part.stat()
            except FileNotFoundError:
                continue
            sizes.append(status.st_size)
            changed.append(status.st_mtime_ns)
        if not sizes:
            return False
        now = time.monotonic()
        state = (sum(sizes), max(changed))
        if self._seen.get(path, (None, 0.0))[0] != state:
            self._seen[path] = (state, now)
        return now - self._seen[path][1] >= settle_s or time.time() - max(changed) / 1e9 >= settle_s

    def _take_file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        try:
            self._room.check(path.stat().st_size if suffix in AUDIO else 0)
            if suffix in AUDIO:
                self._take_call(path)
            elif suffix in LOGS and path.name.lower().startswith(OUTCOMES):
                self._take_outcomes(path)
            elif suffix in LOGS:
                self._take_log(path)
            else:
                raise Refused(
                    f"{path.name}: the inbox takes .wav, .flac and .ogg recordings and .csv and .jsonl device logs; "
                    "rename or convert it."
                )
        except (Refused, InputInvalid) as refusal:
            self._refused.file(path, str(refusal))
            sidecar = path.with_suffix(".json")
            if suffix in AUDIO and sidecar.is_file():
                sidecar.rename(self._site.refused / sidecar.name)
        except FileNotFoundError:
            log.info("gone from the inbox before it was taken", file=path.name)

    # ---- recordings ------------------------------------------------------------------------------------------

    def _take_call(self, path: Path) -> None:
        info = read_info(path)
        longest_s = self._site.settings.inbox.longest_call_minutes * 60
        if info.duration_s > longest_s:
            raise Refused(
                f"{path.name}: {info.duration_s / 60:.0f} minutes is longer than a call may be "
                f"({longest_s / 60:.0f}); cut it, or raise inbox.longest_call_minutes in site.toml."
            )
        sidecar = self._read_sidecar(path.with_suffix(".json"), info)
        _check_audible(path, info)
        digest = sha256_of(path)
        kept = self._site.audio / f"{digest[:32]}{path.suffix.lower()}"
        _keep_copy(path, kept)
        event = self._call_event(path, info, sidecar, kept, digest)
        new = self._journal.accept([Offer(events=[(event.once, event)])]).result()
        if not new:
            log.info("this recording was accepted before", file=path.name)
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)

    def _read_sidecar(self, path: Path, info: AudioInfo) -> SideCar:
        if not path.is_file():
            return SideCar()
        if path.stat().st_size > SIDECAR_BYTES:
            raise Refused(f"{path.name} is longer than {SIDECAR_BYTES:,} bytes; say only what the call is about.")
        try:
            sidecar = msgspec.json.decode(path.read_bytes(), type=SideCar)
            if sidecar.start is not None:
                parse_time(sidecar.start, self._site.zone)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{path.name}: {error}; correct it and drop both files again.") from None
        except ValueError:
            raise Refused(
                f"{path.name}: start: {sidecar.start!r} is not a time; write RFC 3339, e.g. 2026-03-14T09:30:00+08:00."
            ) from None
        if sidecar.channels and len(sidecar.channels) != info.channels:
            raise Refused(
                f"{path.name}: channels: {len(sidecar.channels)} names for {info.channels} tracks; name each track."
            )
        if len(set(sidecar.channels)) != len(sidecar.channels):
            raise Refused(f"{path.name}: channels: two tracks have one name; give each its own.")
        return sidecar

    def _call_event(self, path: Path, info: AudioInfo, sidecar: SideCar, kept: Path, digest: str) -> Event:
        received_at = now_us()
        if sidecar.start is not None:
            at = parse_time(sidecar.start, self._site.zone)
        else:
            at = path.stat().st_mtime_ns // 1_000 - round(info.duration_s * 1e6)
        both = ("agent", "customer") if info.channels == 2 else ("both",)
        return Event(
            at=at,
            source="inbox",
            subject=sidecar.customer or path.stem,
            received_at=received_at,
            boot_id=self._journal.boot_id,
            data=Call(
                audio=kept.name,
                duration_s=info.duration_s,
                sample_rate_hz=info.sample_rate_hz,
                channels=sidecar.channels or both,
                language=sidecar.language or self._site.settings.language,
                customer=sidecar.customer,
                agent=sidecar.agent,
                direction=sidecar.direction,
                sha256=digest,
            ),
        )

    # ---- device logs -----------------------------------------------------------------------------------------

    def _take_log(self, path: Path) -> None:
        digest = sha256_of(path)
        faults: list[Row] = []
        header = ""
        rows = read_log(path)
        for chunk in _chunks(rows, ROWS_PER_COMMIT):
            events = []
            for row in chunk:
                if row.fields is None and not row.fault:
                    header = row.text
                elif row.fields is None:
                    faults.append(row)
                else:
                    try:
                        events.append(self._reading(row))
                    except Refused as refusal:
                        faults.append(msgspec.structs.replace(row, fault=str(refusal)))
            self._room.check()
            self._journal.accept([Offer(events=events)]).result()
        if faults:
            self._refused.part(path.name, header + "".join(row.text for row in faults), _told(path.name, faults))
        path.rename(self._site.logs / f"{path.stem}-{digest[:12]}{path.suffix}")

    # ---- outcomes --------------------------------------------------------------------------------------------

    def _take_outcomes(self, path: Path) -> None:
        faults: list[Row] = []
        header = ""
        for chunk in _chunks(read_outcomes(path), ROWS_PER_COMMIT):
            self._room.check()
            told = []
            for row in chunk:
                try:
                    if row.fields is None and not row.fault:
                        header = row.text
                    elif row.fields is None:
                        faults.append(row)
                    else:
                        told.append((row, self._journal.tell(claim_of(row.fields, self._site.zone))))
                except Refused as refusal:
                    faults.append(msgspec.structs.replace(row, fault=str(refusal)))
            for row, outcome in told:
                try:
                    outcome.result()
                except Refused as refusal:
                    faults.append(msgspec.structs.replace(row, fault=str(refusal)))
        if faults:
            faults.sort(key=lambda row: row.line)
            self._refused.part(path.name, header + "".join(row.text for row in faults), _told(path.name, faults))
        path.unlink()

    def _reading(self, row: Row) -> tuple[bytes | None, Event]:
        fields = row.fields or {}
        if fields.get("time") in (None, ""):
            raise Refused("time: it is missing; a log's rows say when they were measured")
        return reading(fields, source="inbox", device=None, zone=self._site.zone, boot_id=self._journal.boot_id)


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _told(name: str, faults: list[Row]) -> str:
    told = "; ".join(f"line {row.line}: {row.fault}" for row in faults[:FAULTS_TOLD])
    more = f"; and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
    rows = "1 row was" if len(faults) == 1 else f"{len(faults)} rows were"
    return f"{name}: {rows} kept aside, the others accepted: {told}{more}."


def _check_audible(path: Path, info: AudioInfo) -> None:
    """Raise Refused when no track ever rises above silence: the recorder failed, and somebody must know."""
    for chunk in read_chunks(path, 0.0, 10.0):
        if np.abs(chunk.astype(np.int32)).max(initial=0) >= SILENCE_PEAK:
            return
    raise Refused(f"{path.name}: {info.duration_s:.0f} s of silence on every track; check the recorder.")


def _keep_copy(path: Path, kept: Path) -> None:
    """Make sure that the recording lies at `kept`, whole and on disk, before the journal says that it does."""
    if kept.exists() and kept.stat().st_size == path.stat().st_size:
        return
    unfinished = kept.with_name(kept.name + ".part")
    shutil.copyfile(path, unfinished)
    put_in_place(unfinished, kept)
