"""One small world: a site, a bad line and an HQ, all of them the real programs, in a folder of its own."""

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import httpx

from edge.bench.waiting import answers
from edge.site import make_site
from tests.faults import headquarters
from tests.faults.compare import Held, Truth, Verdict, judge
from tests.faults.feed import Feed
from tests.faults.hostile import Hostile
from tests.faults.parts import OUTSTATION, Clock, Disk, Part
from tests.faults.proxy import Line, Proxy
from tests.faults.schedule import Fault

SITE = "mine-7"
SITE_DISK_MB, HQ_DISK_MB = 48, 96
START_S = 60.0
TICK_S = 0.05
DRAIN_S = 90.0
LOOK_S = 0.5
SNAPSHOT_S = 3.0
HOUR_S, YEAR_S = 3600, 365 * 86400

SITE_TOML = """\
name = "{site}"
language = "en"

[web]
port = {page_port}

[inbox]
settle_seconds = 0.1

[disk]
low_mb = 2
floor_mb = 1
keep_readings_hours = 1e6

[hq]
hosts = ["127.0.0.1"]
port = {line_port}
"""
REPLICA_TOML = """
[replica]
url = "file://{folder}"
"""


class World:
    """A site and its HQ in `folder`; `seed` decides what is fed. Beside an HQ that ships the site has a replica. With
    `disks` site and HQ each have a small disk, for which the process must be allowed to mount."""

    def __init__(self, folder: Path, seed: int, hq: headquarters.Kind, *, disks: bool) -> None:
        self.folder = folder
        self.truth = Truth()
        self.remarks: list[str] = []
        self._seed = seed
        self._began_s = 0.0
        self._snapshot_s = 0.0
        self._readings_gone = 0
        folder.mkdir(parents=True)
        self.site = folder / "site"
        self.hq_folder = folder / "hq"
        self.disks = {
            "site disk": Disk(self.site, SITE_DISK_MB) if disks else None,
            "hq disk": Disk(self.hq_folder, HQ_DISK_MB) if disks else None,
        }
        self.clock = Clock(folder / "clock")
        self.line = Proxy(_port(), _port())
        self.page_port = _port()
        self.hq = getattr(headquarters, hq)(self.hq_folder, self.line.target_port, folder / "hq.log")
        self.gateway = Part(
            "daemon", [*OUTSTATION, "run", str(self.site)], folder / "site.log", self.clock.environment()
        )
        self._make(hq)
        self.hostile = Hostile(self.line.target_port, SITE, seed) if hq == "plain" else None
        self.feed = Feed(f"http://127.0.0.1:{self.page_port}", self.site / "inbox", seed)

    def _make(self, hq: headquarters.Kind) -> None:
        make_site(self.site, sample=False)
        settings = SITE_TOML.format(site=SITE, page_port=self.page_port, line_port=self.line.port)
        if hq == "plain":
            (self.site / "site.toml").write_text(settings, "utf-8")
            headquarters.enrol_plainly(self.hq_folder, SITE, self.site)
        else:
            replica = self.folder / "replica"
            replica.mkdir()
            (self.site / "site.toml").write_text(settings + REPLICA_TOML.format(folder=replica), "utf-8")
            self.hq.start()
            self._until(lambda: "HQ's page" in self.hq.said(), "HQ runs", START_S)
            headquarters.enrol(self.hq_folder, SITE, self.site)
        self._take_snapshot()

    # ---- a round ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything, and the feed once the gateway's page answers."""
        self.line.start()
        self.hq.start()
        self.gateway.start()
        self._until(self._is_ready, "the gateway is ready", START_S)
        self._until(self._is_replicated, "the journal has its replica", START_S)
        self.feed.start()
        if self.hostile is not None:
            self.hostile.start()
        self._began_s = time.monotonic()

    def suffer(self, faults: list[Fault]) -> None:
        """Let the faults happen, each at its time."""
        turns = sorted(
            [(fault.begin_s, fault.number, "begin", fault) for fault in faults]
            + [(fault.end_s, fault.number, "end", fault) for fault in faults],
            key=lambda turn: (turn[0], turn[1], turn[2]),
        )
        for at_s, _, what, fault in turns:
            while (left_s := self._began_s + at_s - time.monotonic()) > 0:
                self._keep_running()
                time.sleep(min(TICK_S, left_s))
            self._say(f"{what} {fault.kind}")
            if what == "begin":
                self._begin(fault)
            else:
                self._end(fault)
                self._perhaps_take_snapshot(fault)

    def drain(self) -> tuple[Verdict, float]:
        """Mend everything and wait until HQ has all of it; gives the verdict and how long that took (s)."""
        self.line.heal()
        self.clock.set(0)
        for disk in self.disks.values():
            if disk is not None:
                disk.free()
        for part in (self.hq, self.gateway):
            part.start()
        began_s = time.monotonic()
        self._until(self._is_ready, "the gateway is ready again", START_S)
        time.sleep(1.0)  # so that what comes after the last fault is fed as well
        self.feed.finish()
        verdict = self._verdict()
        while not (verdict.good and self._is_idle()) and time.monotonic() < began_s + DRAIN_S:
            self._keep_running()
            time.sleep(LOOK_S)
            verdict = self._verdict()
        self._say(f"drained: {verdict.records} records, good {verdict.good}")
        return verdict, time.monotonic() - began_s

    def stop(self) -> None:
        """End everything in good order; what does not end well becomes a remark."""
        if self.hostile is not None:
            self.hostile.stop()
        for part in (self.gateway, self.hq):
            code = part.end()
            if code != 0:
                self.remarks.append(f"{part.name} ended with {code} after SIGTERM")
            unexpected = [code for code in part.codes if code != 0]
            if unexpected:
                self.remarks.append(f"{part.name} ended by itself with {unexpected}")
        self.line.stop()
        for log in self.folder.glob("*.log"):
            count = log.read_text("utf-8", errors="replace").count("Traceback (most recent call last)")
            if count:
                self.remarks.append(f"{log.name} holds {count} tracebacks")

    def keep(self) -> None:
        """Copy the small disks to where they outlive this process."""
        for disk in self.disks.values():
            if disk is not None:
                kept = disk.folder.with_name(f"{disk.folder.name}-kept")
                subprocess.run(["cp", "-a", str(disk.folder), str(kept)], check=True)

    # ---- faults ----------------------------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        amount = fault.amount
        match fault.kind:
            case "kill the daemon":
                self.gateway.kill()
            case "kill the link":
                self.gateway.kill_child("sync.uplink")
            case "kill HQ":
                self.hq.kill()
            case "kill HQ's broker":
                self.hq.kill_child("nats-server")
            case "cut":
                self.line.cut()
            case "cut for a while":
                self.line.set(Line(refusing=True))
                self.line.cut()
            case "cut inside a packet, from the site":
                self.line.set(Line(cut_inside=frozenset({"up"})))
            case "cut inside a packet, from HQ":
                self.line.set(Line(cut_inside=frozenset({"down"})))
            case "delay":
                self.line.set(Line(delay_s=0.05 + amount))
            case "throttle":
                self.line.set(Line(bytes_per_s=500 + 24_500 * amount))  # 4 to 200 kbit/s
            case "stall":
                self.line.set(Line(held=frozenset({"up", "down"})))
            case "half-open, from the site":
                self.line.set(Line(swallowed=frozenset({"up"})))
            case "half-open, from HQ":
                self.line.set(Line(swallowed=frozenset({"down"})))
            case "garble, from the site":
                self.line.set(Line(garbled=frozenset({"up"})))
            case "garble, from HQ":
                self.line.set(Line(garbled=frozenset({"down"})))
            case "fill the site's disk" | "fill HQ's disk":
                disk = self.disks[fault.part]
                assert disk is not None
                disk.fill()
            case "clock an hour back":
                self.clock.set(-HOUR_S)
            case "clock a year ahead":
                self.clock.set(YEAR_S)
            case "clock in 1970":
                self.clock.set(-int(time.time()) + 3 * HOUR_S)
            case "HQ falls back to an older copy":
                self.hq.kill()
                self._put_snapshot_back()
            case "the broker's store is wiped":
                self.hq.kill()
                self._wipe_broker()
            case "link.db is lost":
                self.gateway.kill()
                for path in (self.site / "data").glob("link.db*"):
                    path.unlink()
            case "the box is lost and restored":
                self._lose_the_box()
            case "alter envelopes at the broker" if self.hostile is not None:
                self.hostile.alter()
            case "repeat envelopes at the broker" if self.hostile is not None:
                self.hostile.repeat()
            case "forge HQ's words" if self.hostile is not None:
                self.hostile.forge(self.truth.places.values())
            case _:
                raise NotImplementedError(fault.kind)

    def _end(self, fault: Fault) -> None:
        match fault.part:
            case "site":
                self.gateway.start()
            case "hq":
                self.hq.start()
            case "line":
                self.line.heal()
            case "site disk" | "hq disk":
                disk = self.disks[fault.part]
                assert disk is not None
                disk.free()
            case "clock":
                self.clock.set(0)
            case "broker's traffic":
                pass

    def _wipe_broker(self) -> None:
        subprocess.run(["rm", "-rf", str(self.hq_folder / "broker" / "store")], check=True)

    # ---- another box ---------------------------------------------------------------------------------------------

    def _lose_the_box(self) -> None:
        """Destroy all of the site but its inbox, and put there what HQ makes of the replica and of what it holds."""
        self.gateway.kill()
        journal = self.site / "data" / "journal.db"
        self.truth.look(journal)
        readings = self.truth.readings
        for path in self.site.iterdir():
            if path.name not in ("inbox", "filler"):
                subprocess.run(["rm", "-rf", str(path)], check=True)
        for disk in self.disks.values():
            if disk is not None:
                disk.free()  # whoever brings a new box has room on it, and at HQ
        reported = self._reported()
        new = self.folder / "new-box"
        headquarters.said("hq", "restore", SITE, "--to", new, "--dir", self.hq_folder)
        subprocess.run(["cp", "-a", f"{new}/.", str(self.site)], check=True)
        subprocess.run(["rm", "-rf", str(new)], check=True)
        for text in self.truth.mourn(journal, Held(self._store, SITE), reported):
            self.feed.taken.pop(text, None)
        self._readings_gone += readings - self.truth.readings
        self._snapshot.unlink()  # of the old box's key, which would refuse the new one
        self._until(self._takes_snapshot, "a copy of HQ's store", START_S)

    def _reported(self) -> dict[tuple[int, str], int]:
        """The newest number that HQ knows of, by epoch and lane."""
        with contextlib.closing(apsw.Connection(str(self._store), flags=apsw.SQLITE_OPEN_READONLY)) as store:
            store.set_busy_timeout(10_000)
            rows: list[tuple[Any, ...]] = store.execute(
                "SELECT epoch, lane, max(coalesce(newest_seq, 0), top_seq) FROM lanes WHERE site = ?", (SITE,)
            ).fetchall()
        return {(epoch, lane): newest for epoch, lane, newest in rows}

    def _takes_snapshot(self) -> bool:
        self._take_snapshot()
        return self._snapshot.exists()

    # ---- HQ's older copy -------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Path:
        return self.hq_folder / "hq.db"

    @property
    def _snapshot(self) -> Path:
        return self.folder / "hq-older.db"

    def _perhaps_take_snapshot(self, fault: Fault) -> None:
        if fault.amount < 0.3 and time.monotonic() > self._snapshot_s + SNAPSHOT_S:
            self._take_snapshot()

    def _take_snapshot(self) -> None:
        unfinished = self._snapshot.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        with (
            contextlib.closing(apsw.Connection(str(self._store), flags=apsw.SQLITE_OPEN_READONLY)) as source,
            contextlib.closing(apsw.Connection(str(unfinished))) as copy,
            contextlib.suppress(apsw.BusyError, apsw.FullError, apsw.IOError),
        ):
            source.set_busy_timeout(2000)
            with copy.backup("main", source, "main") as backup:
                backup.step()
            unfinished.rename(self._snapshot)
            self._snapshot_s = time.monotonic()

    def _put_snapshot_back(self) -> None:
        for path in self.hq_folder.glob("hq.db*"):
            path.unlink()
        self._store.write_bytes(self._snapshot.read_bytes())

    # ---- looking ---------------------------------------------------------------------------------------------------

    def _verdict(self) -> Verdict:
        held = Held(self._store, SITE)
        self.truth.look(self.site / "data" / "journal.db")
        return judge(self.truth, held, self.feed.taken)

    def _is_idle(self) -> bool:
        """Whether the gateway has nothing left to do that would make more records at once."""
        if [path for path in (self.site / "inbox").iterdir() if path.is_file()]:
            return False
        try:
            health = httpx.get(f"http://127.0.0.1:{self.page_port}/api/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return False
        readings = self.truth.readings + self._readings_gone
        return not health["readings_behind"] and readings == self.feed.readings

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.page_port}/api/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def _is_replicated(self) -> bool:
        """Whether a copy of the journal is where the site wants one."""
        replica = httpx.get(f"http://127.0.0.1:{self.page_port}/api/health", timeout=5).json()["replica"]
        return replica is None or (replica["lag_s"] == 0 and not replica["problem"])

    def _keep_running(self) -> None:
        self.gateway.keep_running()
        self.hq.keep_running()

    def _until(self, true: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s:g} s: {what}; {self.folder} has the logs")
            self._keep_running()
            time.sleep(TICK_S)

    def _say(self, what: str) -> None:
        at_s = time.monotonic() - self._began_s if self._began_s else 0.0
        with (self.folder / "faults.log").open("a", encoding="utf-8") as log:
            log.write(f"{at_s:8.3f} {what}\n")


def _port() -> int:
    """A port of ours for the whole round: below those from which the kernel gives connections theirs, or one of them
    could take it while the part that listens there is down."""
    while answers(port := random.SystemRandom().randrange(10_000, 32_000)):
        pass
    return port
