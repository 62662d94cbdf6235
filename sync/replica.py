"""Keeps the journal's replica: runs litestream in the one way that was seen to lose nothing, and watches it.

    python -m sync.replica SITE_DIR

The daemon starts it, or a systemd unit. Each start of litestream begins with a whole copy of the journal: if the
journal's log was begun anew while litestream was away, it would leave out what was committed last before that, and
neither it nor a restore's integrity check says so (docs/decisions/0002-a-whole-copy-at-each-start-of-the-replica.md).

How it goes lies in data/replica/state.json (State), written when it changes; it is true while `lock` beside it is held.
"""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import msgspec

from sync import log
from sync.ending import ending
from sync.errors import LinkSettingsError, SyncError
from sync.litestream import Litestream, end, read_target
from sync.notify import Notify
from sync.settings import read_settings

LOOK_S = 1.0
LATE_S = 30.0
"""A sync is due every second (ten, away from the box); from here on it is late."""
CHECKPOINT_MS = 20_000
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
LOCK_WAIT_S = 2.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When litestream has to be stopped.

    It is given `silence_s`, and the time that the journal and what waits take at `bytes_per_s`, to bring the replica up
    to date once: longer than its own pauses between attempts (5 minutes). `waiting_bytes` is how much its files and the
    journal's log may take, not counting the whole copy that it begins with.
    """

    silence_s: float = 900.0
    bytes_per_s: float = 32 << 10
    waiting_bytes: int = 256 << 20


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How the replica is: `behind_since_s` (CLOCK_BOOTTIME; None: it is at most LATE_S behind) and why, as a sentence
    ('': for no known reason, as while a large journal is copied)."""

    url: str
    behind_since_s: float | None
    problem: str


class Replica:
    """The replica of one journal; `folder` holds what is needed while it runs."""

    def __init__(self, litestream: Litestream, folder: Path, limits: Limits) -> None:
        self._litestream = litestream
        self._folder = folder
        self._limits = limits
        self._notify = Notify()
        self._behind_since_s: float | None = None
        self._state: State | None = None
        self._last_error = ""
        self._whole: bool | None = None  # whether litestream began with a whole copy; None: it has not begun

    def run(self, stopping: threading.Event) -> None:
        """Keep the replica until `stopping`. To be called in the main thread: litestream dies with its caller.

        Raises LinkSettingsError when another process keeps this replica.
        """
        held = self._lock(stopping)
        self._notify.ready()
        self._behind_since_s = now_s()
        self._tell("")
        wait_s = FIRST_WAIT_S
        while not stopping.is_set():
            # Whatever stopped litestream: its local files must not lie here until the target answers.
            self._litestream.reset()
            problem = self._begin_anew()
            if not problem:
                began_s = now_s()
                problem = self._follow(held, stopping)
                if now_s() - began_s > LONGEST_WAIT_S:
                    wait_s = FIRST_WAIT_S
            if stopping.is_set():
                break
            self._tell(problem)
            self._wait(wait_s, stopping)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        os.close(held)

    def _lock(self, stopping: threading.Event) -> int:
        """Held by this process and by litestream: two of them on one journal would lose rows for each other."""
        held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline_s = now_s() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if now_s() > deadline_s or stopping.wait(0.2):
                    os.close(held)
                    raise LinkSettingsError(
                        f"{self._folder / 'lock'}: another process keeps this replica; end the daemon or the unit."
                    ) from None
            else:
                return held

    def _begin_anew(self) -> str:
        """Have the journal's log emptied, so that litestream copies the whole; '' or why it cannot start now."""
        journal = self._litestream.database
        if not journal.exists():
            return f"{journal} is not there yet"
        fault = self._litestream.probe()
        if fault:
            return f"{self._litestream.target.url} cannot be reached: {fault}; the whole journal is copied once it can."
        try:
            connection = apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(CHECKPOINT_MS)
            # The pragma: a connection that has not read yet knows of no log, and its wal_checkpoint() does nothing.
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.close()
        except apsw.Error as error:
            return f"{journal} cannot be read ({error}); free the disk, or restore it from its replica."
        if busy:
            return f"{journal}: somebody reads it without an end, so its log could not be emptied; it is tried again."
        return ""

    def _follow(self, held: int, stopping: threading.Event) -> str:
        """Run litestream until `stopping`, or until it ended or had to be ended: then why."""
        self._whole = None
        process = self._litestream.start(held)
        reader = threading.Thread(target=self._hear, args=(process,))
        reader.start()
        try:
            problem = self._watch(process, stopping)
            end(process, politely=stopping.is_set())
        finally:
            process.kill()
            reader.join()
        return problem

    def _watch(self, process: "subprocess.Popen[bytes]", stopping: threading.Event) -> str:
        last_sync = ""
        heard_s = looked_s = now_s()
        while not stopping.wait(LOOK_S):
            self._notify.alive()
            code = process.poll()
            if code is not None:
                return f"litestream ended with code {code}; it is started again. {self._last_error}".strip()
            if self._whole is False:
                # What was committed since the log was emptied came to more than litestream had last time, and it takes
                # the one log for the other.
                return "litestream did not begin with a whole copy; it is started again."
            said, now = self._litestream.last_sync(), now_s()
            if said not in ("", last_sync):
                last_sync, heard_s, self._last_error = said, now, ""
                self._behind_since_s = now
            if now - (self._behind_since_s or now) > LATE_S:
                self._tell(self._last_error)
            elif last_sync:
                self._tell("")
            if now - looked_s >= 5 * LOOK_S:
                looked_s = now
                fault = self._limit_passed(now - heard_s)
                if fault:
                    return fault
        return ""

    def _limit_passed(self, silent_s: float) -> str:
        """Whether litestream has to be stopped, and why."""
        journal, limits = self._litestream.database, self._limits
        if not journal.exists():
            return f"{journal} is not there any more."
        waiting_bytes = self._litestream.waiting_bytes()
        if waiting_bytes > limits.waiting_bytes:
            return (
                f"what waits for {self._litestream.target.url} came to {waiting_bytes >> 20} MiB here and was let go; "
                "the whole journal is copied once it can be reached."
            )
        patience_s = limits.silence_s + (journal.stat().st_size + waiting_bytes) / limits.bytes_per_s
        if silent_s > patience_s and not self._litestream.probe():
            return f"litestream did nothing for {silent_s:.0f} s although its target answers; it is started again."
        return ""

    def _hear(self, process: "subprocess.Popen[bytes]") -> None:
        """Pass on what litestream says of importance, keep its last complaint, and note how it began."""
        assert process.stderr is not None
        for line in process.stderr:
            try:
                said = msgspec.json.decode(line, type=dict[str, object])
            except msgspec.DecodeError:
                said = {"level": "ERROR", "msg": "litestream", "error": line.decode("utf-8", "replace").strip()}
            if said.get("msg") == "sync" and self._whole is None:
                self._whole = said.get("snap") == "true"
            level = said.get("level")
            if level in ("WARN", "ERROR"):
                tell = log.error if level == "ERROR" else log.warning
                tell("litestream", **{name: said[name] for name in said.keys() - {"at", "event", "level", "time"}})
            if level == "ERROR":
                self._last_error = f"litestream says: {said.get('msg')}: {said.get('error')}."

    def _wait(self, wait_s: float, stopping: threading.Event) -> None:
        deadline_s = now_s() + wait_s
        while now_s() < deadline_s and not stopping.wait(LOOK_S):
            self._notify.alive()

    def _tell(self, problem: str) -> None:
        """Write down how it goes, if that is news: flash does not last for ever."""
        late = self._behind_since_s is not None and now_s() - self._behind_since_s > LATE_S
        state = State(
            url=self._litestream.target.url,
            behind_since_s=self._behind_since_s if late or problem else None,
            problem=problem,
        )
        if state == self._state:
            return
        if problem and (self._state is None or problem != self._state.problem):
            log.warning("the replica is behind", reason=problem)
        try:
            write_state(self._folder, state)
        except OSError:  # the disk is full: it is written at the next turn
            return
        self._state = state


def write_state(folder: Path, state: State) -> None:
    """Let who looks into `folder` know."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / "state.part"
    part.write_bytes(msgspec.json.encode(state))
    part.replace(folder / "state.json")


def now_s() -> float:
    """Seconds since the machine's boot, for all its processes; no clock that is set can disturb it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def keep(site: Path, stopping: threading.Event, limits: Limits) -> None:
    """Keep the replica that site.toml of the folder `site` names, until `stopping`.

    Raises LinkSettingsError when it names none, or what it takes to get there is wrong.
    """
    settings = read_settings(site)
    if not settings.replica:
        raise LinkSettingsError(
            f"{site / 'site.toml'}: there is no table [replica]; say where, as docs/operate.md does."
        )
    folder = settings.journal.parent / "replica"
    try:
        target = read_target(settings.replica, settings.key.parent)
        replica = Replica(Litestream(settings.journal, target, folder), folder, limits)
    except SyncError as fault:
        write_state(folder, State(url=settings.replica, behind_since_s=None, problem=str(fault)))
        raise
    replica.run(stopping)


def main(arguments: list[str]) -> int:
    """Keep the replica of the site folder that is the only argument; gives the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sync.replica SITE_DIR", file=sys.stderr)
        return 2
    try:
        keep(Path(arguments[0]), ending(), Limits())
    except SyncError as fault:
        log.error("the replica cannot be kept", reason=str(fault))
        return fault.exit_code
    except OSError as fault:
        log.error("what keeps the replica cannot write its own files; free the disk", reason=str(fault))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
