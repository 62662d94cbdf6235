"""How the journal's replica is, as the process that keeps it (sync/replica.py) wrote it down."""

import fcntl
import os
import time

import msgspec

from edge.health import ReplicaState
from edge.site import Site


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """data/replica/state.json: `behind_since_s` is CLOCK_BOOTTIME, None while the replica is up to date."""

    url: str
    behind_since_s: float | None
    problem: str


def look(site: Site) -> ReplicaState | None:
    """The replica that site.toml names; None if it names none."""
    settings = site.settings.replica
    if settings is None:
        return None
    folder = site.data / "replica"
    try:
        written = msgspec.json.decode((folder / "state.json").read_bytes(), type=Written)
    except (FileNotFoundError, msgspec.DecodeError):
        return ReplicaState(url=settings.url, lag_s=None, problem="Nothing keeps the journal's replica; see the log.")
    if not _held(folder / "lock"):
        reason = written.problem or "see the log."
        return ReplicaState(url=settings.url, lag_s=None, problem=f"Nothing keeps the journal's replica: {reason}")
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    lag_s = 0.0 if written.behind_since_s is None else max(0.0, now_s - written.behind_since_s)
    return ReplicaState(url=settings.url, lag_s=round(lag_s), problem=written.problem)


def _held(lock: os.PathLike[str]) -> bool:
    """Whether a process is at work on the replica: it holds this lock as long as it lives."""
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
