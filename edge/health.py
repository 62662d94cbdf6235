"""How the gateway is: what the page's dot, the terminal's status line and `outstation doctor` show."""

import msgspec


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Records that HQ has not acknowledged yet, by lane."""

    now: int = 0
    day: int = 0
    bulk: int = 0


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's replica: where it lies, how many seconds it is behind (0: at most half a minute; None: nothing
    keeps it now), and why, as a sentence ('': for no known reason, as while a large journal is copied)."""

    url: str
    lag_s: float | None
    problem: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway at one moment. `problems` are sentences for people: what is wrong and what to do.

    `accepting` is whether recordings, readings and notes are taken: not while there is no room for them; what was
    accepted is worked on, and cards move. `readings_behind` counts accepted readings that no step has concluded,
    `calls_waiting` calls without a complete transcript, `writer_waiting` jobs before the journal's writer, `refusals`
    inputs kept aside so far. `replica` is None where site.toml names none.
    """

    ready: bool
    accepting: bool = True
    problems: tuple[str, ...] = ()
    readings_behind: int = 0
    calls_waiting: int = 0
    writer_waiting: int = 0
    outbox: Waiting = Waiting()
    refusals: int = 0
    replica: ReplicaState | None = None
