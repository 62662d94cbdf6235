"""How the gateway is: what the page's dot, the terminal's status line and `outstation doctor` show."""

import msgspec


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Records that HQ has not acknowledged yet, by lane."""

    now: int = 0
    day: int = 0
    bulk: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway at one moment. `problems` are sentences for people: what is wrong and what to do.

    `readings_behind` counts accepted readings that no step has concluded, `calls_waiting` calls without a complete
    transcript, `writer_waiting` jobs before the journal's writer, `refusals` inputs kept aside so far.
    """

    ready: bool
    problems: tuple[str, ...] = ()
    readings_behind: int = 0
    calls_waiting: int = 0
    writer_waiting: int = 0
    outbox: Waiting = Waiting()
    refusals: int = 0
