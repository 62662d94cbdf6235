"""What the HTTP interface needs of the gateway; every route takes it as `parts`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
from litestar.di import NamedDependency

from edge.decide.experiments import Experiments
from edge.decide.playbook import Playbook
from edge.events import Utterance, now_us
from edge.health import Health, Readiness
from edge.orders import Orders
from edge.sources.live import About
from edge.store.journal import Journal
from edge.store.queries import Wall
from edge.store.room import Room
from models.pack import Manifest


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """The journal, what site.toml says of the site, and how to ask for the gateway's health.

    `hosts` are further names under which the page may be opened, `packs` what is known of the packs in use,
    `titles` says each play in Chinese and English, `orders` looks after what HQ sends, `room` says whether more may be
    accepted. `register` keeps what is known of a leg that will come with a UUID, `speaking` is what is being said now,
    by call and channel. `playbook` and `experiments` are those in
    force now. `health` and `readiness` are called in a thread: they may read files and the journal.
    """

    journal: Journal
    site_name: str
    language: str
    version: str
    audio: Path
    titles: Mapping[str, Mapping[str, str]]
    health: Callable[[], Health]
    readiness: Callable[[], Readiness]
    orders: Orders
    room: Room
    register: Callable[[UUID, About], None]
    playbook: Callable[[], Playbook]
    experiments: Callable[[], Experiments]
    speaking: Mapping[tuple[str, str], Utterance] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    packs: Sequence[Manifest] = ()
    started_at: int = field(default_factory=now_us)

    @property
    def wall(self) -> Wall:
        """How the journal's records are put for people now."""
        return Wall(titles=self.titles, shift=self.journal.steady.shift)


Parts = NamedDependency[WebParts]
Person = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=200, pattern=r"^(?!\s*(?:hq|gateway)\s*$).*\S", description="Who says so."),
]
"""A person's name; that of no machine."""
