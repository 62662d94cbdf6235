"""Which faults happen in a round, when, and for how long: all of it follows from a seed."""

import random
from typing import Literal

import msgspec

Part = Literal["site", "hq", "line", "site disk", "hq disk", "clock", "broker's traffic"]
"""What a fault is done to. One part suffers one fault at a time; different parts suffer together."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of fault: what it is done to, how often it is drawn, how long it lasts (s), and with which HQ alone it can
    be done ('': with any)."""

    name: str
    part: Part
    weight: int
    hq: Literal["plain", "shipped", ""] = ""
    shortest_s: float = 0.0
    longest_s: float = 0.0


KINDS: tuple[Kind, ...] = (
    Kind(name="kill the daemon", part="site", weight=10, longest_s=1.0),
    Kind(name="kill the link", part="site", weight=10),
    Kind(name="kill HQ", part="hq", weight=10, longest_s=2.0),
    Kind(name="kill HQ's broker", part="hq", weight=8),
    Kind(name="cut", part="line", weight=8),
    Kind(name="cut for a while", part="line", weight=5, shortest_s=0.5, longest_s=3.0),
    Kind(name="cut inside a packet, from the site", part="line", weight=5, longest_s=0.5),
    Kind(name="cut inside a packet, from HQ", part="line", weight=5, longest_s=0.5),
    Kind(name="delay", part="line", weight=5, shortest_s=1.0, longest_s=4.0),
    Kind(name="throttle", part="line", weight=5, shortest_s=1.0, longest_s=4.0),
    Kind(name="stall", part="line", weight=4, shortest_s=0.5, longest_s=4.0),
    Kind(name="half-open, from the site", part="line", weight=3, shortest_s=0.5, longest_s=2.0),
    Kind(name="half-open, from HQ", part="line", weight=3, shortest_s=0.5, longest_s=2.0),
    Kind(name="garble, from the site", part="line", weight=4, shortest_s=0.1, longest_s=0.5),
    Kind(name="garble, from HQ", part="line", weight=4, shortest_s=0.1, longest_s=0.5),
    Kind(name="alter envelopes at the broker", part="broker's traffic", weight=4, hq="plain"),
    Kind(name="repeat envelopes at the broker", part="broker's traffic", weight=4, hq="plain"),
    Kind(name="forge HQ's words", part="broker's traffic", weight=4, hq="plain"),
    Kind(name="fill the site's disk", part="site disk", weight=5, shortest_s=0.5, longest_s=3.0),
    Kind(name="fill HQ's disk", part="hq disk", weight=5, shortest_s=0.5, longest_s=3.0),
    Kind(name="clock an hour back", part="clock", weight=3, shortest_s=0.5, longest_s=4.0),
    Kind(name="clock a year ahead", part="clock", weight=2, shortest_s=0.5, longest_s=4.0),
    Kind(name="clock in 1970", part="clock", weight=3, shortest_s=0.5, longest_s=4.0),
    Kind(name="HQ falls back to an older copy", part="hq", weight=2),
    Kind(name="the broker's store is wiped", part="hq", weight=2),
    Kind(name="link.db is lost", part="site", weight=2),
    Kind(name="the box is lost and restored", part="site", weight=4, hq="shipped"),
)
NAMES = tuple(kind.name for kind in KINDS)

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.7


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: it begins `begin_s` after the round's start and is over at `end_s`. `amount`, 0 to 1, is whatever else
    is left to chance in it (how slow, how many)."""

    number: int
    kind: str
    part: Part
    begin_s: float
    end_s: float
    amount: float


def schedule(seed: int, count: int, without: frozenset[str] = frozenset()) -> list[Fault]:
    """`count` faults in the order in which they begin; none of the kinds in `without`."""
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if kind.name not in without]
    weights = [kind.weight for kind in kinds]
    free_at: dict[Part, float] = {}
    faults: list[Fault] = []
    at_s = 0.0
    for number in range(count):
        at_s += chance.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S)
        (kind,) = chance.choices(kinds, weights)
        lasts_s = chance.uniform(kind.shortest_s, kind.longest_s)
        amount = chance.random()
        at_s = max(at_s, free_at.get(kind.part, 0.0))
        free_at[kind.part] = at_s + lasts_s + SHORTEST_PAUSE_S
        faults.append(
            Fault(
                number=number,
                kind=kind.name,
                part=kind.part,
                begin_s=round(at_s, 3),
                end_s=round(at_s + lasts_s, 3),
                amount=round(amount, 3),
            )
        )
    return faults
