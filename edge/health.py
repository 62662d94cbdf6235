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
    accepted is worked on, and cards move. `ready` is whether it is worked on. `readings_behind` counts accepted
    readings that no step has concluded, `calls_waiting` calls without a complete transcript, `writer_waiting` jobs
    before the journal's writer, `refusals` inputs kept aside so far. `replica` is None where site.toml names none.
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


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether events are worked on (`live`; if not, only a restart helps), and whether they are accepted too (`ready`).

    `problems` say why not: a sentence each, none while it is ready.
    """

    live: bool
    ready: bool
    problems: tuple[str, ...] = ()


class ChildState(msgspec.Struct, frozen=True):
    """A process that the daemon watches, and how often it had to start it again."""

    name: str
    running: bool
    restarts: int


class BusState(msgspec.Struct, frozen=True):
    """The device bus, and how many messages that nobody keeps (QoS 0) could not wait here."""

    connected: bool
    messages_lost: int


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What can be measured of the gateway at one moment. `bus` is None on a site without one, `hq_heard_at` (µs) 0
    while HQ never said anything."""

    health: Health
    readiness: Readiness
    disk_free_bytes: int
    journal_bytes: int
    children: tuple[ChildState, ...]
    bus: BusState | None
    hq_heard_at: int
