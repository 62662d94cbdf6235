"""The packs that label text, each opened once and shared by all that are made of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.compose.composed import Composed
from models.errors import PackInvalid, PackMissing
from models.pack import Pack
from models.store import find_pack
from models.tasks.labelling import About, Labeller
from models.tasks.mood import Mood
from models.tasks.text_labels import LabelScore, TextLabels


class Library:
    """Finds packs in some packs folders, the first that has it, and makes them ready. Loading a model is left to the
    first turn."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._found: dict[str, Pack] = {}
        self._ready: dict[str, Labeller] = {}

    def find(self, name: str) -> Pack:
        """A pack by name, checked once. Raises ModelError."""
        if name not in self._found:
            self._found[name] = self._look_for(name)
        return self._found[name]

    def _look_for(self, name: str) -> Pack:
        for folder in self._folders[:-1]:
            try:
                return find_pack(name, folder)
            except PackMissing:
                continue
        return find_pack(name, self._folders[-1])

    def named(self, name: str) -> Labeller:
        """The pack of that name that labels text, the same for all who ask. Raises ModelError."""
        return self._named(name, ())

    def ready(self, pack: Pack) -> Labeller:
        """A pack that somebody has found elsewhere; its parts are those of the library. Raises ModelError."""
        return self.composed(pack) if pack.manifest.runtime == "compose" else _model_of(pack)

    def composed(self, pack: Pack) -> Composed:
        """The same for a composed pack. Raises ModelError."""
        return self._composed(pack, ())

    def _named(self, name: str, within: tuple[str, ...]) -> Labeller:
        if name in within:
            circle = " → ".join([*within[within.index(name) :], name])
            raise PackInvalid(f"the packs {circle} are made of each other in a circle; break it.")
        if name not in self._ready:
            pack = self.find(name)
            is_composed = pack.manifest.runtime == "compose"
            self._ready[name] = self._composed(pack, within) if is_composed else Once(_model_of(pack))
        return self._ready[name]

    def _composed(self, pack: Pack, within: tuple[str, ...]) -> Composed:
        inside = (*within, pack.manifest.name)
        return Composed(pack, lambda name: self._named(name, inside), site_of(self._folders[0]))


class Once:
    """A model that several ask about the same turns, one after the other: it runs once, and answers the others from
    memory. May be shared by threads."""

    def __init__(self, labeller: Labeller) -> None:
        self._labeller = labeller
        self._last: tuple[tuple[Sequence[Any], ...], list[list[LabelScore]]] | None = None
        self.name, self.version, self.languages = labeller.name, labeller.version, labeller.languages
        self.labels, self.thresholds = labeller.labels, labeller.thresholds
        self.speaks, self.abstains, self.open = labeller.speaks, labeller.abstains, labeller.open

    def score(
        self, texts: Sequence[str], before: Sequence[str] = (), about: Sequence[About] = (), /
    ) -> list[list[LabelScore]]:
        """See `models.tasks.labelling.Labeller.score`."""
        asked = (tuple(texts), tuple(before), tuple(about))
        last = self._last
        if last is None or last[0] != asked:
            last = self._last = (asked, self._labeller.score(*asked))
        return last[1]


def _model_of(pack: Pack) -> Labeller:
    return Mood(pack) if pack.manifest.task == "mood" else TextLabels(pack)


def site_of(packs: Path) -> Path | None:
    """The folder of the site that a packs folder belongs to (SITE/data/packs); None: it is nobody's."""
    packs = packs.absolute()
    site = packs.parent.parent
    return site if packs.name == "packs" and (site / "site.toml").is_file() else None
