"""What labels turns, whatever it is made of: a model, or other packs."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

import msgspec

from models.features.time_line import TimeLine
from models.tasks.text_labels import LabelScore


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a turn beside its words: its language ('': not known), the customer or device that it is about,
    the names in it as (kind, name), in their order, the day on which it was said, and what stood on the time line then
    (None: nobody knows)."""

    language: str = ""
    subject: str = ""
    names: tuple[tuple[str, str], ...] = ()
    day: date
    line: TimeLine | None = None


class Labeller(Protocol):
    """A pack for text, ready to label turns."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...

    def speaks(self, text: str, language: str = "") -> bool:
        """Whether a turn is in a language of the pack; `language` is what is known of it."""

    def abstains(self, text: str, language: str = "") -> str:
        """Why the pack has nothing to say of a turn ('': it has)."""

    def open(self) -> object:
        """Load what is not loaded yet. Raises ModelError."""

    def score(
        self, texts: Sequence[str], before: Sequence[str] = (), about: Sequence[About] = (), /
    ) -> list[list[LabelScore]]:
        """For each turn its labels; one that has no answer for this turn is left out. `before` is by turn what was said
        before it, `about` what else is known of it."""
